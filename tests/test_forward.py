"""Any model, whatever wraps it and wherever it stands: left as it was, and scored by its own logits."""

import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload
from conftest import ROOT, SCRIPT_ENVIRONMENT
from kinds import model_of, tokenizer_of
from plain_metric import NAMES
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, RobertaConfig, RobertaForCausalLM

from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS, Config
from bio_facts.generate.splits import draw
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.causality import check_causal
from bio_facts.measure.forward import fingerprint, logits_at, prove
from bio_facts.measure.modules import (
    ROUNDING,
    all_logits,
    context_length,
    evaluation_mode,
    input_device,
    unwrapped,
    vocabulary_size,
)
from bio_facts.measure.scoring import Scores, score, token_scores

ROWS = rows(draw(CONFIGS["n1k"], "validation", range(5)))
Make = Callable[[], Any]


def llama() -> Any:
    return model_of("llama", tokenizer_of("own"))


def scored(model: Any) -> Scores:
    return score(model, tokenizer_of("own"), ROWS, batch_size=2)


def assert_scored_by_its_own_logits(model: Any) -> None:
    """Losses of all value tokens are those of the model's whole logits, one row at a time."""
    found, whole = scored(model), unwrapped(model)
    for ids, attributes, nlls in zip(found.references, found.attribute_ids, found.nlls, strict=True):
        with evaluation_mode(whole), torch.no_grad():
            log_probabilities = all_logits(whole, torch.from_numpy(ids)[None])[0].double().log_softmax(-1)
        places = np.flatnonzero(attributes)
        expected = -log_probabilities[places - 1, ids[places]].numpy()
        np.testing.assert_allclose(nlls[places], expected, atol=1e-4, rtol=1e-5)


# Modes


class State:
    """What the callback asks of a Trainer's."""

    global_step = 0
    is_world_process_zero = True


def evaluate(model: Any) -> None:
    AttributeEvaluation(tokenizer_of("own"), "n1k", num_biographies=2).evaluate(State(), model)


@pytest.mark.parametrize("run", [scored, check_causal, evaluate], ids=["score", "check_causal", "callback"])
@pytest.mark.parametrize("fails", [False, True])
def test_every_module_keeps_its_mode(run: Callable[[Any], object], fails: bool) -> None:
    model = model_of("gpt2", tokenizer_of("own")).train()
    model.transformer.h[0].eval()
    model.transformer.h[1].attn.eval()
    model.transformer.h[1].attn.c_proj.train()
    before = [module.training for module in model.modules()]
    if fails:
        model.transformer.h[1].register_forward_hook(lambda module, args, output: 1 / 0)
        with pytest.raises((ValueError, ZeroDivisionError)):
            run(model)
    else:
        run(model)
    assert [module.training for module in model.modules()] == before


def test_modules_that_do_something_when_their_mode_changes_do_it_both_ways() -> None:
    class Merging(torch.nn.Linear):
        """As LoRA layers of some libraries: the weights are merged in evaluation mode."""

        merged = False

        def train(self, mode: bool = True) -> Any:
            self.merged = not mode
            return super().train(mode)

    model = torch.nn.Sequential(Merging(2, 2), Merging(2, 2)).train()
    with evaluation_mode(model):
        assert [layer.merged for layer in model] == [True, True]
    assert [layer.merged for layer in model] == [False, False]


def test_mode_is_kept_by_a_model_whose_eval_fails_halfway() -> None:
    class Stubborn(torch.nn.Module):
        def train(self, mode: bool = True) -> Any:
            if not mode:
                raise RuntimeError("no")
            return super().train(mode)

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), Stubborn()).train()
    with pytest.raises(RuntimeError, match="no"), evaluation_mode(model):
        pass
    assert all(module.training for module in model.modules())


# What a forward leaves behind


def test_model_that_keeps_what_its_first_forward_computes_can_be_trained_afterwards() -> None:
    class Caching(torch.nn.Module):
        """Keeps rotations as attributes, as much remote code does."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(len(tokenizer_of("own")), 8)
            self.head = torch.nn.Linear(8, len(tokenizer_of("own")))
            self.rotations: torch.Tensor | None = None

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            if self.rotations is None:
                self.rotations = torch.arange(1000.0).cos()
            return self.head(self.embedding(input_ids) * self.rotations[: input_ids.shape[1], None])

    model = Caching()
    scored(model)
    model(torch.zeros((1, 4), dtype=torch.int64)).sum().backward()
    assert model.embedding.weight.grad is not None


def test_trial_is_forgotten_with_its_model() -> None:
    model = llama()
    scored(model)
    there = weakref.ref(model)
    del model
    gc.collect()
    assert there() is None


# Logits at positions


class Wrong(torch.nn.Module):
    """A causal model whose logits are not those that its output layer gives for single hidden states."""

    def __init__(self, tied_to_input: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = llama()
        self.tied_to_input = tied_to_input

    def get_input_embeddings(self) -> Any:
        return self.inner.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        return self.get_input_embeddings() if self.tied_to_input else self.inner.lm_head

    def hidden(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.inner.model(input_ids=input_ids, use_cache=False).last_hidden_state

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Tied(Wrong):
    """Weights shared with the input embedding, applied by a function; the output embedding is the input embedding."""

    def __init__(self) -> None:
        super().__init__(tied_to_input=True)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(self.hidden(input_ids), self.get_input_embeddings().weight)


class TiedAndFlat(Tied):
    """The same, for which it makes no difference whether tokens come in rows."""

    def hidden(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.get_input_embeddings()(input_ids)


class Smoothed(Wrong):
    """Logits that look back at those of the position before."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        return logits + 0.5 * torch.nn.functional.pad(logits, (0, 0, 1, 0))[:, :-1]


class TwoHeads(Wrong):
    """Logits of the output layer and, for the whole text, of a second one."""

    def __init__(self) -> None:
        super().__init__()
        self.second = torch.nn.Linear(16, len(tokenizer_of("own")))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        hidden = self.hidden(input_ids)
        return self.inner.lm_head(hidden) + self.second(hidden[:, :1])


class ByPosition(Wrong):
    """Logits with a scale that depends on the position."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        return logits * (1 + torch.arange(logits.shape[-2]) % 3)[:, None]


class OnRealTokens(Wrong):
    """Logits with a scale by position where there is a period, as in all texts and in no random tokens."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        period = tokenizer_of("own")(".").input_ids[0]
        scale = 1 + torch.arange(logits.shape[-2]) % 3
        return torch.where((input_ids == period).any(), logits * scale[:, None], logits)


class InPieces(Wrong):
    """The output layer is given longer texts piece by piece."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        pieces = self.hidden(input_ids).split(16, dim=1)
        return torch.cat([self.inner.lm_head(piece) for piece in pieces], dim=1)


@pytest.mark.parametrize("kind", [Tied, TiedAndFlat, Smoothed, TwoHeads, ByPosition, OnRealTokens, InPieces])
def test_model_whose_output_layer_does_not_say_it_all_is_scored_by_its_own_logits(kind: type[Wrong]) -> None:
    assert_scored_by_its_own_logits(kind())


def test_texts_may_grow_beyond_what_the_trial_saw() -> None:
    model, ids = InPieces(), torch.arange(30)[None]
    with torch.no_grad():
        for length in (8, 30):  # 8: in one piece, for which the shortcut holds
            positions = torch.arange(length)[None] % 3 == 1
            expected = model(ids[:, :length])[positions]
            torch.testing.assert_close(logits_at(model, ids[:, :length], positions), expected)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "mamba"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_output_layer_sees_chosen_positions_alone_in_any_dtype(family: str, dtype: str) -> None:
    model = model_of(family, tokenizer_of("own")).to(getattr(torch, dtype))
    seen = []
    layer = model.get_output_embeddings()
    forward = layer.forward
    layer.forward = lambda hidden: seen.append(hidden.dim()) or forward(hidden)
    ids, positions = torch.arange(12).reshape(2, 6), torch.eye(6, dtype=torch.bool)[[1, 3]]
    with torch.no_grad():
        expected = model(input_ids=ids).logits[positions].float()
        for _ in range(2):
            del seen[:]
            chosen = logits_at(model, ids, positions).float()
    assert seen == [2]
    torch.testing.assert_close(chosen, expected, rtol=0, atol=ROUNDING[dtype] * float(expected.abs().max()))


def test_trial_takes_as_many_forwards_whatever_it_finds() -> None:
    counts = []
    for model in (llama(), Tied(), Smoothed()):
        calls: list[int] = []
        model.register_forward_pre_hook(lambda module, args, calls=calls: calls.append(1))
        for ids in (np.zeros((0, 1), dtype=np.int64), np.arange(8).reshape(2, 4)):
            token_scores(model, ids, np.zeros((len(ids), ids.shape[1] - 1), dtype=bool))
        counts.append(len(calls))
    assert counts == [6, 6, 6]


class Gated(Wrong):
    """Logits that look back at those of the position before, through a gate that is closed at first."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = torch.nn.Parameter(torch.zeros(()))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        return logits + self.gate * torch.nn.functional.pad(logits, (0, 0, 1, 0))[:, :-1]


def test_model_whose_gate_opened_since_it_was_tried_is_scored_by_its_own_logits() -> None:
    model = Gated()
    assert_scored_by_its_own_logits(model)
    model.gate.data.fill_(0.5)
    assert_scored_by_its_own_logits(model)


def test_callback_tries_a_model_anew_at_each_evaluation() -> None:
    model, losses = Gated(), []
    callback, state = AttributeEvaluation(tokenizer_of("own"), "n1k", num_biographies=5, splits=["validation"]), State()
    for state.global_step, gate in enumerate((0, 0.5)):
        model.gate.data.fill_(gate)
        losses.append(callback.evaluate(state, model)["validation/attribute_loss"])
        assert losses[-1] == pytest.approx(scored(model).totals().summary(NAMES)["attribute_loss"], rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


class OnLongTexts(Wrong):
    """Logits with a scale that depends on the position, in long texts."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        return logits * (1 + torch.arange(logits.shape[-2]) % 3)[:, None] if input_ids.shape[1] > 16 else logits


@pytest.mark.parametrize("prove_first", [False, True])
def test_longer_texts_than_a_model_was_tried_on_are_tried(prove_first: bool) -> None:
    model, ids = OnLongTexts(), torch.arange(30)[None]
    if prove_first:
        prove(model, ids[:, :8])
    with torch.no_grad():
        for length in (8, 30, 8):
            positions = torch.arange(length)[None] % 3 == 1
            expected = model(ids[:, :length])[positions]
            torch.testing.assert_close(logits_at(model, ids[:, :length], positions), expected)


def test_fingerprint_tells_weights_and_adapters_apart() -> None:
    import peft

    model = peft.get_peft_model(
        llama(), peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], init_lora_weights=False)
    ).eval()
    found = [fingerprint(model)]
    with model.disable_adapter():
        found.append(fingerprint(model))
    found.append(fingerprint(model))
    model.base_model.model.lm_head.weight.data = model.base_model.model.lm_head.weight.data * 1.01
    found.append(fingerprint(model))
    assert found[1] == fingerprint(llama())
    assert found[0] == found[2]
    assert len(set(found)) == 3


def test_another_output_layer_is_tried_anew() -> None:
    model = llama()
    scored(model)

    class Shifting(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden) + torch.arange(hidden.shape[-2])[:, None]

    layer = Shifting(16, len(tokenizer_of("own")), bias=False)
    layer.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone() * 2)
    layer.register_forward_hook(lambda module, args, output: output.roll(1, dims=-2))
    model.set_output_embeddings(layer)
    # Logits of a position are those of the one before, and the first one's those of the last: not causal, but that was checked.
    ids, positions = torch.arange(6)[None], torch.tensor([[False, True, True, False, True, False]])
    with torch.no_grad():
        torch.testing.assert_close(logits_at(model, ids, positions), model(input_ids=ids).logits[positions])


# Wrappers and other kinds of modules


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
    expected, found = scored(llama()), scored(make())
    for name in ("nlls", "top_probabilities", "entropies"):
        for ours, theirs in zip(getattr(found, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_model_compiled_in_place_scores_as_the_model_itself() -> None:
    model = llama()
    model.compile(backend="eager")
    assert scored(model).totals().loss_sum == pytest.approx(scored(llama()).totals().loss_sum, rel=1e-5)
    assert scored(model).totals().loss_sum == pytest.approx(scored(llama()).totals().loss_sum, rel=1e-5)


def test_model_offloaded_to_disk_scores_as_the_model_itself(tmp_path: Path) -> None:
    tied = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer_of("own")), n_embd=16, n_layer=1, n_head=2)).eval()
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
    assert vocabulary_size(model) == len(tokenizer_of("own"))
    assert_scored_by_its_own_logits(model)
    assert scored(model).totals().loss_sum != pytest.approx(scored(llama()).totals().loss_sum, rel=1e-6)  # they are at work


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
def test_context_is_what_a_model_leaves_to_a_text(make: Make, length: int | None) -> None:
    assert context_length(make()) == length
    if length is not None:
        check_causal(make())
        ids = torch.full((2, length), 7)  # none of padding
        with torch.no_grad():
            assert logits_at(make().eval(), ids, torch.ones((2, length), dtype=torch.bool)).shape == (2 * length, 99)


def headless() -> Any:
    from transformers import GPT2Model

    model = GPT2Model(GPT2Config(vocab_size=len(tokenizer_of("own")), n_embd=16, n_layer=1, n_head=2))
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
def test_what_cannot_be_scored_is_refused_with_the_reason(make: Make, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        scored(make())


# Devices that are not here


class Elsewhere(torch.Tensor):
    """Stands in for a tensor of another device: it meets no tensor of the CPU but weights, and has no float64."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            return torch.device("mps:0")
        with torch._C.DisableTorchFunctionSubclass():
            if function is torch.Tensor.cpu:
                return args[0].as_subclass(torch.Tensor)
        if function is torch.Tensor.double or any(argument is torch.float64 for argument in args):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        if function is torch.Tensor.numpy:
            raise TypeError("can't convert mps:0 device type tensor to numpy")
        for argument in torch.utils._pytree.tree_leaves((args, kwargs)):
            if isinstance(argument, torch.Tensor) and not isinstance(argument, Elsewhere | torch.nn.Parameter):
                raise RuntimeError("Expected all tensors to be on the same device")
        return super().__torch_function__(function, types, args, kwargs)


def send(tensor: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
    if str(arguments[:1]) == str((torch.device("mps:0"),)):
        return tensor.as_subclass(Elsewhere)
    return plain_to(tensor, *arguments, **named)


plain_to = torch.Tensor.to


def test_last_layers_may_stand_on_a_device_of_their_own_without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, model = scored(llama()), llama()
    model.model.norm.register_forward_hook(lambda module, args, hidden: hidden.as_subclass(Elsewhere))
    monkeypatch.setattr(torch.Tensor, "to", send)
    found = scored(model)
    for name in ("nlls", "top_probabilities", "entropies", "predictions"):
        for ours, theirs in zip(getattr(found, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_input_goes_where_the_embedding_stands() -> None:
    model = llama()
    assert input_device(model) == torch.device("cpu")
    model.model.layers.to("meta")
    assert input_device(model) == torch.device("cpu")
    model.to("meta")  # as offloaded weights stand, whose hooks take ids from the CPU
    assert input_device(model) == torch.device("cpu")
    assert input_device(torch.nn.Identity()) == torch.device("cpu")


# Processes that share a sharded model

SHARDED = """
import json, sys
from accelerate import PartialState
from kinds import model_of, tokenizer_of
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import TrainerState
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.generate.config import Config
from bio_facts.measure.tokens import BiographyTokenizer

processes = PartialState(cpu=True)
assert processes.num_processes == 2
losses = []
for kind in (lambda tokenizer: tokenizer, BiographyTokenizer):
    for num_biographies in (1, 3):
        model, mesh = model_of("llama", tokenizer_of("own")), init_device_mesh("cpu", (2,))
        for module in (*model.model.layers, model):
            fully_shard(module, mesh=mesh)
        callback = AttributeEvaluation(
            kind(tokenizer_of("own")), Config(num_individuals=20), num_biographies=num_biographies, batch_size=1,
            splits=["validation"],
        )
        state = TrainerState(is_world_process_zero=processes.is_main_process)
        losses.append(callback.evaluate(state, model)["validation/attribute_loss"])
model.lm_head.weight.data.fill_(float("nan"))
model.lm_head.weight.data.sum()
state.global_step = 1
try:
    callback.evaluate(state, model)
except ValueError as error:
    losses.append(str(error))
if processes.is_main_process:
    open(sys.argv[1], "w").write(json.dumps(losses))
"""


def launched(script: str, tmp_path: Path) -> None:
    """Run it in two processes, with found.json as what to write."""
    # PyTorch's threads now and then abort an interpreter that ends in its usual way, after the script has done its work.
    end = "import os; PartialState().wait_for_everyone(); PartialState().destroy_process_group(); os._exit(0)"
    (tmp_path / "script.py").write_text(f"{script}\n{end}\n")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone"]
    environment = SCRIPT_ENVIRONMENT | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    result = subprocess.run(
        [*launch, str(tmp_path / "script.py"), str(tmp_path / "found.json")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stderr


def test_processes_of_a_sharded_model_make_as_many_forwards_as_one_another(tmp_path: Path) -> None:
    """With one biography the second process has none; with three the first has one batch more. Both would wait for ever."""
    launched(SHARDED, tmp_path)
    *losses, message = json.loads((tmp_path / "found.json").read_text())
    data, tokenizer = Config(num_individuals=20), tokenizer_of("own")
    expected = [
        score(llama(), tokenizer, rows(draw(data, "validation", range(number)))).totals().loss_sum.sum() / (6 * number)
        for number in (1, 3)
    ]
    assert losses == pytest.approx(expected * 2, rel=1e-5)
    assert "NaN" in message


UNPREPARED = """
import sys, json
from accelerate import PartialState
from kinds import model_of, tokenizer_of
from transformers import TrainerState
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.split_scoring import SplitScorer
from bio_facts.generate.config import Config

processes = PartialState(cpu=True)
messages, tokens = [], SplitScorer._tokens
for error in (ValueError("this row"), KeyError("that row")):

    def failing(self, split, rows, model):
        if split == "unseen" and processes.process_index == 1:
            raise error
        return tokens(self, split, rows, model)

    SplitScorer._tokens = failing
    callback = AttributeEvaluation(tokenizer_of("own"), Config(num_individuals=20), num_biographies=2)
    try:
        callback.evaluate(TrainerState(), model_of("llama", tokenizer_of("own")))
    except (ValueError, RuntimeError) as raised:
        messages.append(f"{type(raised).__name__}: {raised}")
    except KeyError:
        messages.append("its own")
if processes.is_main_process:
    open(sys.argv[1], "w").write(json.dumps(messages))
"""


def test_error_of_one_process_while_tokens_are_prepared_is_raised_by_all(tmp_path: Path) -> None:
    launched(UNPREPARED, tmp_path)
    assert json.loads((tmp_path / "found.json").read_text()) == [
        "ValueError: another process: ValueError: this row",
        "RuntimeError: another process: KeyError: 'that row'",
    ]
