"""The training loss in chunks, against PyTorch's cross-entropy of all logits at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from bio_facts.runs import loss as loss_module
from bio_facts.runs.loss import IGNORED_LABEL, TrainingLoss, chunked_cross_entropy

RECURRENT = {"block_types": ["recurrent"], "use_cache": False, "pad_token_id": None}
TINY = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}


class LargestTensor(TorchDispatchMode):
    """Notes the most elements of any tensor that an operation returns."""

    most = 0

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        result = operation(*arguments, **(named or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.most = max(self.most, tensor.numel())
        return result


def random_inputs(seed, num_tokens, width, vocabulary, with_bias):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_tokens, width, generator=generator, requires_grad=True)
    weight = torch.randn(vocabulary, width, generator=generator, requires_grad=True)
    bias = torch.randn(vocabulary, generator=generator, requires_grad=True) if with_bias else None
    return hidden, weight, bias, torch.randint(vocabulary, (num_tokens,), generator=generator)


def gradients(loss, *inputs):
    return [gradient.numpy() for gradient in torch.autograd.grad(loss, [x for x in inputs if x is not None])]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_tokens=st.integers(0, 300),
    width=st.integers(1, 20),
    vocabulary=st.integers(1, 90),
    with_bias=st.booleans(),
    scale=st.sampled_from([1.0, 0.125]),
)
def test_value_and_gradients_are_those_of_cross_entropy(seed, num_tokens, width, vocabulary, with_bias, scale):
    hidden, weight, bias, targets = random_inputs(seed, num_tokens, width, vocabulary, with_bias)
    logits = hidden @ weight.T + (0 if bias is None else bias)
    expected = cross_entropy(logits, targets, reduction="sum") * scale
    chunked = chunked_cross_entropy(hidden, weight, bias, targets) * scale
    np.testing.assert_allclose(chunked.item(), expected.item(), rtol=1e-5, atol=1e-5)
    for actual, right in zip(gradients(chunked, hidden, weight, bias), gradients(expected, hidden, weight, bias), strict=True):
        np.testing.assert_allclose(actual, right, rtol=1e-4, atol=1e-4)


def test_large_logits_do_not_overflow():
    hidden, weight, _, targets = random_inputs(0, 100, 8, 30, False)
    expected = cross_entropy(1e4 * hidden @ weight.T, targets, reduction="sum")
    assert chunked_cross_entropy(1e4 * hidden, weight, None, targets).item() == pytest.approx(expected.item(), rel=1e-5)


def test_bfloat16_products_are_within_their_rounding():
    hidden, weight, _, targets = random_inputs(0, 400, 32, 60, False)
    exact = chunked_cross_entropy(hidden, weight, None, targets)
    rounded = chunked_cross_entropy(hidden, weight, None, targets, torch.bfloat16)
    assert rounded.dtype == torch.float32
    assert 0 < abs(rounded.item() - exact.item()) < 2**-7 * exact.item()
    for actual, right in zip(gradients(rounded, hidden, weight), gradients(exact, hidden, weight), strict=True):
        assert np.abs(actual - right).max() < 2**-4 * np.abs(right).max()


def test_no_tensor_has_the_size_of_all_logits():
    hidden, weight, _, targets = random_inputs(0, 3_000, 8, 9_000, False)
    with LargestTensor() as sizes:
        chunked_cross_entropy(hidden, weight, None, targets).backward()
    assert sizes.most <= max(64 * len(weight), loss_module._CHUNK_LOGITS)
    with LargestTensor() as sizes:
        cross_entropy(hidden @ weight.T, targets).backward()
    assert sizes.most == len(hidden) * len(weight)


def tiny_model(model_type, **fields):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    names = AutoConfig.for_model(model_type).attribute_map
    config = AutoConfig.for_model(model_type, **{names.get(key, key): value for key, value in {**TINY, **fields}.items()})
    return AutoModelForCausalLM.from_config(config).train()


MODELS = [
    pytest.param("gpt_neox", {"tie_word_embeddings": True}, True, id="gpt_neox, tied"),
    pytest.param("gpt_neox", {"tie_word_embeddings": False}, True, id="gpt_neox"),
    pytest.param("llama", {"num_key_value_heads": 1}, True, id="llama"),
    pytest.param("gptj", {"rotary_dim": 4}, True, id="gptj, with a bias"),
    pytest.param(
        "gemma2", {"head_dim": 8, "num_key_value_heads": 1, "final_logit_softcapping": 0.5}, False, id="gemma2, soft-capped"
    ),
    pytest.param("recurrent_gemma", RECURRENT, False, id="recurrent_gemma, soft-capped far above its first logits"),
    pytest.param("cohere", {"num_key_value_heads": 1, "logit_scale": 0.1}, True, id="cohere, scaled"),
]


@pytest.mark.parametrize(("model_type", "fields", "in_chunks"), MODELS)
def test_loss_and_gradients_are_those_of_the_model(model_type, fields, in_chunks):
    if model_type == "gptj":
        fields = fields | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    model = tiny_model(model_type, **fields)
    input_ids = torch.randint(50, (3, 12), generator=torch.Generator().manual_seed(1))
    labels = input_ids.clone()
    labels[1, 7:] = IGNORED_LABEL
    expected = model(input_ids=input_ids, labels=labels).loss
    expected.backward()
    right = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    logits = model.eval()(input_ids=input_ids).logits

    loss = TrainingLoss(model)
    assert (loss.layer is not None) == in_chunks
    actual = loss(model.train()(input_ids=input_ids), labels)
    actual.backward()
    assert actual.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, right[name], rtol=1e-4, atol=1e-6)
    assert torch.equal(model.eval()(input_ids=input_ids).logits, logits)


def test_soft_cap_is_found_where_it_changes_the_logits_of_a_fresh_model_less_than_rounding():
    model = tiny_model("recurrent_gemma", **RECURRENT, w_init_variance_scale=1e-4).eval()
    input_ids = torch.arange(8)[None]
    capped = model(input_ids=input_ids).logits
    model.config.logits_soft_cap = 1e9
    torch.testing.assert_close(model(input_ids=input_ids).logits, capped, rtol=1e-4, atol=1e-4)
    model.config.logits_soft_cap = 30.0
    assert TrainingLoss(model).layer is None


def test_loss_is_per_token_of_the_whole_step():
    model = tiny_model("gpt_neox")
    loss = TrainingLoss(model)
    input_ids = torch.randint(50, (4, 9), generator=torch.Generator().manual_seed(1))
    labels = input_ids.clone()
    labels[0, 5:] = IGNORED_LABEL
    num_tokens = int((labels[:, 1:] != IGNORED_LABEL).sum())
    whole = loss(model(input_ids=input_ids), labels)
    halves = [loss(model(input_ids=input_ids[k]), labels[k], torch.tensor(num_tokens)) for k in (slice(0, 2), slice(2, 4))]
    assert sum(half.item() for half in halves) == pytest.approx(whole.item(), rel=1e-5)
