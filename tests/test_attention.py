"""Attention patterns given to another model, and summed up. Tiny stock models with random weights."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bio_facts import draw, get_config
from bio_facts.measure.attention import attention_layers, attention_signatures, patch_attention
from bio_facts.measure.tokens import ROLES, BiographyTokenizer, load_tokenizer

SIZES = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "vocab_size": 50}
KINDS = {
    "gpt_neox": {"model_type": "gpt_neox", "intermediate_size": 64},
    "llama": {"model_type": "llama", "intermediate_size": 64, "num_key_value_heads": 2},
    "gpt2": {"model_type": "gpt2", "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0},
    "qwen3": {"model_type": "qwen3", "intermediate_size": 64, "num_key_value_heads": 1, "head_dim": 8},
}
KIND = pytest.mark.parametrize("kind", KINDS)
IDS = torch.randint(50, (3, 12), generator=torch.Generator().manual_seed(0))


def model_of(kind: str, seed: int = 0, **fields: Any) -> Any:
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**KINDS[kind] | SIZES | fields))
    for parameter in model.parameters():  # random queries and keys, so that patterns are far from uniform
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def logits(model: Any, input_ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=input_ids, use_cache=False).logits


@KIND
def test_patching_with_its_own_patterns_changes_nothing(kind: str) -> None:
    model = model_of(kind)
    before = logits(model)
    patch_attention(model, copy.deepcopy(model))
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)


@KIND
def test_patterns_of_another_model_change_what_a_model_says(kind: str) -> None:
    model = model_of(kind)
    before = logits(model)
    patch_attention(model, model_of(kind, seed=1))
    assert (logits(model) - before).abs().max() > 0.1


@KIND
def test_patched_model_sees_no_later_token(kind: str) -> None:
    model = model_of(kind)
    patch_attention(model, model_of(kind, seed=1))
    changed = IDS.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 50
    torch.testing.assert_close(logits(model, changed)[:, :7], logits(model)[:, :7])
    assert (logits(model, changed)[:, 7:] - logits(model)[:, 7:]).abs().max() > 1e-3


def test_queries_keys_and_the_reference_get_no_gradient_and_values_do() -> None:
    model, reference = model_of("llama"), model_of("llama", seed=1)
    patch_attention(model, reference)
    model.train()
    model(input_ids=IDS, labels=IDS).loss.backward()
    for layer in attention_layers(model):
        assert layer.q_proj.weight.grad is None
        assert layer.k_proj.weight.grad is None
        assert layer.v_proj.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_reference_is_not_saved_with_the_model(tmp_path: Any) -> None:
    model = model_of("gpt_neox")
    names = set(model.state_dict())
    patch_attention(model, model_of("gpt_neox", seed=1))
    assert set(model.state_dict()) == names
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(loaded), logits(model_of("gpt_neox")))


def test_models_of_other_depth_are_refused() -> None:
    with pytest.raises(ValueError, match="model has 2 layers with attention and reference 1; they must have as many"):
        patch_attention(model_of("gpt_neox"), model_of("gpt_neox", num_hidden_layers=1))


def test_models_of_other_numbers_of_heads_are_refused() -> None:
    model = model_of("gpt_neox")
    patch_attention(model, model_of("gpt_neox", num_attention_heads=2))
    with pytest.raises(ValueError, match="pattern has 2 heads and 12 positions, the layer 4 heads"):
        logits(model)


def test_model_without_attention_is_refused() -> None:
    config = AutoConfig.for_model("mamba", hidden_size=32, num_hidden_layers=1, state_size=4, vocab_size=50)
    with pytest.raises(ValueError, match="MambaForCausalLM does not use transformers' attention interface"):
        attention_layers(AutoModelForCausalLM.from_config(config))


def test_input_that_the_reference_cannot_be_given_is_refused() -> None:
    model = model_of("gpt_neox")
    patch_attention(model, model_of("gpt_neox", seed=1))
    with pytest.raises(ValueError, match=r"takes its input by name: model\(input_ids=\.\.\.\)"):
        model(IDS)


def test_signatures_of_uniform_attention_are_shares_of_tokens() -> None:
    biographies = draw(get_config("n1k"), "validation", range(4))
    tokenizer = BiographyTokenizer(load_tokenizer("bio_facts"))
    batch, is_name = tokenizer(biographies), tokenizer.roles(biographies) == ROLES.index("name")
    model = model_of("llama", vocab_size=len(load_tokenizer("bio_facts")))
    for layer in attention_layers(model):
        torch.nn.init.zeros_(layer.q_proj.weight)  # all positions get the same weight
    names, texts, within = [], [], []
    for ids, name in zip(batch.attribute_ids, is_name, strict=True):
        for position in range(1, len(ids)):
            if ids[position] and ids[position] != ids[position - 1]:
                names.append(name[:position].mean())
                texts.append((~name[:position] & (ids[:position] == 0)).mean())
        for position in np.flatnonzero(name[:-1] & ~name[1:]):  # the last of three tokens of a mention
            assert name[position - 2 : position + 1].all()
            within.append(2 / (position + 1))
    signatures = attention_signatures(model, batch.input_ids, batch.attribute_ids, is_name)
    assert len(names) == 24
    assert signatures["value_to_name"] == pytest.approx([np.mean(names)] * 2, rel=1e-5)
    assert signatures["value_to_text"] == pytest.approx([np.mean(texts)] * 2, rel=1e-5)
    assert signatures["name_to_name"] == pytest.approx([np.mean(within)] * 2, rel=1e-5)
    assert signatures["entropy"] == pytest.approx([1.0, 1.0], rel=1e-5)
    assert model.config._attn_implementation != "eager"
