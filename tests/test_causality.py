"""check_causal: what is no causal language model is refused with the real reason, and nothing else is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from kinds import model_of, tokenizer_of
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2ForTokenClassification,
    GPT2LMHeadModel,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)

from bio_facts.measure.causality import check_causal

TINY_GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 500}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "vocab_size": 500}
EXPERTS = {"num_key_value_heads": 2, "num_experts_per_tok": 2}
CAUSAL: dict[str, Callable[[], Any]] = {
    **{
        family: lambda family=family: model_of(family, tokenizer_of("bio_facts"))
        for family in ("gpt2", "gpt_neox", "llama", "mamba")
    },
    "recurrent_gemma": lambda: RecurrentGemmaForCausalLM(
        RecurrentGemmaConfig(**TINY, block_types=["recurrent"], use_cache=False, pad_token_id=None)
    ),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**TINY, num_key_value_heads=2)),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**TINY, **EXPERTS, num_local_experts=8)),
    "olmoe": lambda: OlmoeForCausalLM(OlmoeConfig(**TINY, **EXPERTS, num_experts=16)),
}
DTYPES = ["float32", "bfloat16", "float16", "float64"]


@pytest.mark.parametrize(
    ("family", "dtype"),
    [(family, dtype) for family in CAUSAL for dtype in DTYPES if (family in ("mixtral", "olmoe"), dtype) != (True, "float64")],
)
def test_causal_models_are_taken_in_any_dtype(family: str, dtype: str) -> None:
    torch.manual_seed(0)
    check_causal(CAUSAL[family]().to(getattr(torch, dtype)))


@pytest.mark.parametrize("family", ["llama", "olmoe"])
def test_causal_models_are_taken_under_autocast(family: str) -> None:
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        check_causal(CAUSAL[family]())


@pytest.mark.parametrize("dtype", DTYPES)
def test_untrained_model_that_sees_later_tokens_is_refused_in_any_dtype(dtype: str) -> None:
    torch.manual_seed(0)
    model = BertLMHeadModel(BertConfig(**TINY)).to(getattr(torch, dtype))
    with pytest.raises(ValueError, match="model is a BertLMHeadModel, whose logits at a position depend on later tokens"):
        check_causal(model)


@pytest.mark.filterwarnings("ignore:.*quantize_dynamic.*:DeprecationWarning", "ignore:.*ao.quantization.*")
def test_dynamically_quantized_model_is_refused_for_what_it_does() -> None:
    from torch.ao.quantization import quantize_dynamic

    model = quantize_dynamic(model_of("llama", tokenizer_of("bio_facts")), {torch.nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ValueError, match=r"depend on later tokens; .* without a scale of quantization that texts share"):
        check_causal(model)


def test_model_that_looks_at_other_texts_of_its_batch_is_refused() -> None:
    class Centred(torch.nn.Module):
        """Logits less their mean over texts."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model_of("llama", tokenizer_of("bio_facts"))

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            logits = self.inner(input_ids=input_ids).logits
            return logits - logits[:, :1].mean(dim=0)

    with pytest.raises(ValueError, match="model is a Centred, whose logits for a text depend on the other texts of a batch"):
        check_causal(Centred())


@pytest.mark.parametrize("return_dict", [True, False])
def test_head_of_another_task_is_refused_with_its_size(return_dict: bool) -> None:
    model = GPT2ForTokenClassification(GPT2Config(**TINY_GPT2 | {"vocab_size": 50_257}, num_labels=2, return_dict=return_dict))
    with pytest.raises(ValueError, match="whose logits have 2 entries, and it has 50,257 tokens; it must be a causal language"):
        check_causal(model)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_model_of_few_positions_is_taken(length: int) -> None:
    check_causal(GPT2LMHeadModel(GPT2Config(**TINY_GPT2, n_positions=length)))
