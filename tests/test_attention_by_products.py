"""Attention by products of whole matrices, against the attention that transformers has."""

from typing import Any

import numpy as np
import pytest
import torch

from bio_facts.measure.attention import eager_attention
from bio_facts.runs.attention_by_products import attend_by_products

SIZES = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
MODELS = {
    "gpt_neox": {},
    "llama": {},
    "grouped queries": {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2},
    "sliding window": {"model_type": "mistral", "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 4},
    "dropout": {"model_type": "gpt_neox", "attention_dropout": 0.5},
}


def tiny_model(model_type: str, attention: str = "sdpa", **settings: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **SIZES | settings)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


def named_model(name: str) -> Any:
    return tiny_model(**{"model_type": name} | MODELS[name])


def random_ids(num_rows: int = 3, length: int = 12) -> torch.Tensor:
    return torch.randint(50, (num_rows, length), generator=torch.Generator().manual_seed(1))


def mask_of(lengths: list[int], left: bool = False) -> torch.Tensor:
    is_token = torch.arange(12) < torch.tensor(lengths)[:, None]
    return (is_token.flip(1) if left else is_token).long()


MASKS = {
    "none": None,
    "ones": mask_of([12, 12, 12]),
    "padding on the right": mask_of([12, 7, 3]),
    "padding on the left": mask_of([12, 7, 3], left=True),
}


def loss_and_gradients(model: Any, mask: torch.Tensor | None) -> tuple[float, dict[str, np.ndarray]]:
    ids = random_ids()
    labels = ids.clone()
    if mask is not None:
        labels[mask == 0] = -100
        labels[:, 1:][mask[:, :-1] == 0] = -100  # predicted at padding, which attends to nothing
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: weight.grad.numpy().copy() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_pytorchs_attention(name: str, mask: str) -> None:
    model = named_model(name)
    expected_loss, expected = loss_and_gradients(model, MASKS[mask])
    attend_by_products(model, "bf16")
    assert model.config._attn_implementation == "bio_facts_products"
    loss, gradients = loss_and_gradients(model, MASKS[mask])
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    for weight, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[weight], rtol=1e-4, atol=1e-6, err_msg=weight)


def test_bfloat16_is_as_near_to_float32_as_eager_attention_in_bfloat16() -> None:
    model = tiny_model("gpt_neox", initializer_range=0.3)  # weights of attention far from equal
    _, exact = loss_and_gradients(model, None)
    distances = []
    for attention in ("eager", "products"):
        if attention == "eager":
            with eager_attention(model), torch.autocast("cpu", torch.bfloat16):
                _, gradients = loss_and_gradients(model, None)
        else:
            attend_by_products(model, "bf16")
            with torch.autocast("cpu", torch.bfloat16):
                _, gradients = loss_and_gradients(model, None)
        distances.append(sum(float(((gradients[name] - exact[name]) ** 2).sum()) for name in exact) ** 0.5)
    size = sum(float((gradient**2).sum()) for gradient in exact.values()) ** 0.5
    assert 0 < distances[1] < min(0.05 * size, 1.5 * distances[0])


def test_text_is_generated_with_the_cache_as_without_our_attention() -> None:
    model = tiny_model("llama")
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    prompts, mask = random_ids(), mask_of([12, 7, 3], left=True)
    expected = model.generate(prompts, attention_mask=mask, **options)
    attend_by_products(model, "bf16")
    assert torch.equal(model.generate(prompts, attention_mask=mask, **options), expected)


def test_dropout_is_applied_in_training() -> None:
    model = named_model("dropout").train()
    attend_by_products(model, "bf16")
    torch.manual_seed(1)
    first = model(input_ids=random_ids()).logits
    assert not torch.equal(first, model(input_ids=random_ids()).logits)


def test_attention_patterns_are_read_between_training_steps() -> None:
    model = tiny_model("gpt_neox")
    attend_by_products(model, "bf16")
    with eager_attention(model):
        patterns = model.base_model(input_ids=random_ids(), output_attentions=True).attentions
    assert patterns[0].shape == (3, 2, 12, 12)
    assert model.config._attn_implementation == "bio_facts_products"


def test_saved_config_does_not_name_our_attention() -> None:
    model = tiny_model("gpt_neox")
    attend_by_products(model, "bf16")
    assert "_attn_implementation" not in model.config.to_json_string()
