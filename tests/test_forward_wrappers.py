"""Wrapped models, adapters and modules that are not of transformers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload
from kinds import tokenizer_of
from scored_models import Make, assert_scored_by_its_own_logits, llama, scored
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, RobertaConfig, RobertaForCausalLM

from bio_facts.measure.causality import check_causal
from bio_facts.measure.forward import logits_at
from bio_facts.measure.modules import context_length, vocabulary_size


class ByName(torch.nn.Module):
    """Not of transformers: takes tokens by another name, knows no cache, and says nothing of its vocabulary."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.inner, self.form = llama(), form

    def forward(self, tokens: torch.Tensor) -> Any:
        logits = self.inner(input_ids=tokens).logits
        return {"tensor": logits, "mapping": {"logits": logits}, "tuple": (logits, None)}[self.form]


def without_names() -> Any:
    model = llama()
    model.config.return_dict = False
    return model


def distributed() -> Any:
    return torch.nn.parallel.DistributedDataParallel(llama())


@pytest.fixture(scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store = torch.distributed.FileStore(str(tmp_path_factory.mktemp("store") / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.DataParallel(llama()),
        distributed,
        lambda: torch.compile(llama(), backend="eager"),
        lambda: ByName("tensor"),
        lambda: ByName("mapping"),
        lambda: ByName("tuple"),
        lambda: torch.nn.DataParallel(ByName("tensor")),
        without_names,
        lambda: cpu_offload(llama()),
    ],
    ids=["DataParallel", "DDP", "compiled", "tensor", "mapping", "tuple", "DataParallel tensor", "return_dict", "cpu_offload"],
)
def test_wrapped_and_plain_models_score_as_the_model_itself(make: Make, process_group: None) -> None:
    expected, actual = scored(llama()), scored(make())
    for name in ("nlls", "top_probabilities", "entropies"):
        for row, expected_row in zip(getattr(actual, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(row, expected_row, atol=1e-5)


def test_model_compiled_in_place_scores_as_the_model_itself() -> None:
    model = llama()
    model.compile(backend="eager")
    assert scored(model).totals().loss_sum == pytest.approx(scored(llama()).totals().loss_sum, rel=1e-5)
    assert scored(model).totals().loss_sum == pytest.approx(scored(llama()).totals().loss_sum, rel=1e-5)


def test_model_offloaded_to_disk_scores_as_the_model_itself(tmp_path: Path) -> None:
    tied = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer_of("bio_facts")), n_embd=16, n_layer=1, n_head=2)).eval()
    expected = scored(tied).totals().loss_sum
    offloaded = disk_offload(tied, tmp_path)
    assert next(offloaded.parameters()).device.type == "meta"
    assert scored(offloaded).totals().loss_sum == pytest.approx(expected, rel=1e-6)


def test_settings_of_a_model_are_left_as_they_were() -> None:
    model = without_names()
    scored(model)
    assert model.config.return_dict is False


@pytest.mark.ecosystem
@pytest.mark.parametrize("targets", [["embed_tokens"], ["q_proj"], ["lm_head"], ["embed_tokens", "lm_head", "v_proj"]])
@pytest.mark.parametrize("use_dora", [False, True])
def test_adapters_on_any_layer_are_scored(targets: list[str], use_dora: bool) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=targets, r=2, use_dora=use_dora, init_lora_weights=False)
    model = get_peft_model(llama(), config)
    assert vocabulary_size(model) == len(tokenizer_of("bio_facts"))
    assert_scored_by_its_own_logits(model)
    assert scored(model).totals().loss_sum != pytest.approx(
        scored(llama()).totals().loss_sum, rel=1e-6
    )  # the adapters have an effect


@pytest.mark.ecosystem
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("LoraConfig", {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}),
        ("LoraConfig", {"target_modules": ["q_proj"], "trainable_token_indices": [3, 4]}),
        ("PromptTuningConfig", {"num_virtual_tokens": 3}),
        ("PrefixTuningConfig", {"num_virtual_tokens": 3}),
        ("IA3Config", {"target_modules": ["k_proj"], "feedforward_modules": []}),
    ],
    ids=["modules_to_save", "trainable_tokens", "prompt_tuning", "prefix_tuning", "ia3"],
)
def test_other_adapters_are_scored(kind: str, settings: dict[str, Any]) -> None:
    import peft

    torch.manual_seed(0)
    config = getattr(peft, kind)(task_type="CAUSAL_LM", **settings)
    assert_scored_by_its_own_logits(peft.get_peft_model(llama(), config))


@pytest.mark.parametrize("form", ["tensor", "mapping", "tuple"])
def test_adapters_around_a_plain_module_are_scored(form: str) -> None:
    import peft

    torch.manual_seed(0)
    model = peft.get_peft_model(ByName(form), peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    assert_scored_by_its_own_logits(model)
    assert scored(model).totals().loss_sum != pytest.approx(scored(llama()).totals().loss_sum, rel=1e-6)


SIZES = {"vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def adapted(kind: str, **settings: Any) -> Any:
    import peft

    model = LlamaForCausalLM(LlamaConfig(**SIZES, max_position_embeddings=20))
    return peft.get_peft_model(model, getattr(peft, kind)(task_type="CAUSAL_LM", **settings))


@pytest.mark.parametrize(
    ("make", "length"),
    [
        (lambda: adapted("PromptTuningConfig", num_virtual_tokens=6), 14),
        (lambda: adapted("PrefixTuningConfig", num_virtual_tokens=6), 14),
        (lambda: adapted("LoraConfig"), 20),
        (lambda: RobertaForCausalLM(RobertaConfig(**SIZES, max_position_embeddings=20, is_decoder=True)), 18),
        (lambda: RobertaForCausalLM(RobertaConfig(**SIZES, max_position_embeddings=9, pad_token_id=3, is_decoder=True)), 5),
        (lambda: GPT2LMHeadModel(GPT2Config(vocab_size=99, n_embd=16, n_layer=1, n_head=2, n_positions=3)), 3),
        (lambda: torch.nn.Identity(), None),
    ],
    ids=["prompt tuning", "prefix tuning", "lora", "roberta", "roberta padding 3", "gpt2", "unknown"],
)
def test_context_length_is_the_longest_text_a_model_takes(make: Make, length: int | None) -> None:
    assert context_length(make()) == length
    if length is not None:
        check_causal(make())
        ids = torch.full((2, length), 7)  # none of padding
        with torch.no_grad():
            assert logits_at(make().eval(), ids, torch.ones((2, length), dtype=torch.bool)).shape == (2 * length, 99)


def headless() -> Any:
    from transformers import GPT2Model

    model = GPT2Model(GPT2Config(vocab_size=len(tokenizer_of("bio_facts")), n_embd=16, n_layer=1, n_head=2))
    model.config.return_dict = False
    return model


class WithoutLogits(ByName):
    def forward(self, tokens: torch.Tensor) -> Any:
        return {"hidden": super().forward(tokens)}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (headless, r"model is a GPT2Model, which does not run on token ids alone \(it returns a .* without logits\)"),
        (lambda: torch.nn.Linear(2, 2), r"model is a Linear, which does not run on token ids alone \(.*dtype.*\)"),
        (lambda: WithoutLogits("tensor"), r"model is a WithoutLogits, .*\(it returns a dict without logits\)"),
        (lambda: "gpt2", r"model is a str; it must be a causal language model, a torch.nn.Module"),
    ],
    ids=["no head", "no tokens", "no logits", "no module"],
)
def test_model_that_cannot_be_scored_is_refused_with_the_reason(make: Make, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        scored(make())
