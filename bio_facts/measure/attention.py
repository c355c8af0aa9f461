"""Attention patterns of decoders of transformers: copied into another model (paper Fig. 3), and summarized (App. D.2).

A pattern is the output of a layer's attention softmax: float [B, H, L, L], the weights of each head and position on the
positions up to it. Any decoder that uses transformers' attention interface will do.
Imports torch and transformers when it is called.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import needs
from bio_facts.measure.modules import input_device

_PATCHED = "bio_facts_patched"  # the name of our attention function


def patch_attention(model: Any, reference: Any) -> None:
    """Replace the attention patterns of `model`, in every forward, by those of `reference` on the same input.

    The twin forward of the paper (section 3.1): `reference` runs first, without gradient. The patterns are constants, so the
    weights for queries and keys of `model` get no gradient. The two models have the same class and size; `reference` is put
    into evaluation mode and is not saved with `model`. This cannot be undone: load the model again.

    Raises:
        ValueError: if either model does not use transformers' attention interface, or they differ in their numbers of layers.
    """
    with needs("train", "bio_facts.measure.attention"):
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import eager_mask

    AttentionInterface.register(_PATCHED, _attend_by_given_pattern)
    AttentionMaskInterface.register(_PATCHED, eager_mask)
    layers = attention_layers(model)
    reference_layers = attention_layers(reference)
    if len(layers) != len(reference_layers):
        raise ValueError(
            f"model has {len(layers)} layers with attention and reference {len(reference_layers)}; they must have as many"
        )
    model.set_attn_implementation(_PATCHED)
    reference.set_attn_implementation("eager")  # the implementation that returns its patterns
    reference.eval().requires_grad_(False)

    def run_reference(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        named = {name: value for name, value in named.items() if name in ("input_ids", "attention_mask", "position_ids")}
        if arguments or "input_ids" not in named:
            raise ValueError("a patched model takes its input by name: model(input_ids=...)")
        reference.to(named["input_ids"].device)
        for layer, pattern in zip(layers, attention_patterns(reference, **named), strict=True):
            layer.given_pattern = pattern

    model.register_forward_pre_hook(run_reference, with_kwargs=True)


def attention_patterns(model: Any, **inputs: Any) -> tuple[Any, ...]:
    """The pattern of each layer, a tensor [B, H, L, L], without gradient; `model` must compute attention eagerly."""
    with needs("train", "bio_facts.measure.attention"):
        import torch

    with torch.no_grad():
        patterns = model.base_model(**inputs, use_cache=False, output_attentions=True).attentions
    if not patterns or patterns[0] is None:
        raise ValueError(f"{type(model).__name__} does not give its attention patterns; it must compute attention eagerly")
    return tuple(patterns)


def attention_layers(model: Any) -> list[Any]:
    """The attention modules of a model, in the order of layers.

    Raises:
        ValueError: if there are none, or they do not use transformers' attention interface.
    """
    layers = {}
    for module in model.modules():
        if isinstance(getattr(module, "layer_idx", None), int) and "Attention" in type(module).__name__:
            layers[module.layer_idx] = module
    if not layers or not getattr(model, "_supports_attention_backend", False):
        raise ValueError(
            f"{type(model).__name__} does not use transformers' attention interface; its attention cannot be patched"
        )
    return [layers[index] for index in sorted(layers)]


def _attend_by_given_pattern(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, dropout: float = 0.0, **_: Any
) -> tuple[Any, Any]:
    """An attention function for transformers that weights values by the module's given pattern. value: [B, H or less, L, D]."""
    import torch

    pattern = module.given_pattern.to(value.dtype)
    value = value.repeat_interleave(pattern.shape[1] // value.shape[1], dim=1)
    if pattern.shape[1] != value.shape[1] or pattern.shape[2] != query.shape[2]:
        raise ValueError(
            f"the given pattern has {pattern.shape[1]} heads and {pattern.shape[2]} positions, the layer "
            f"{query.shape[1]} heads and {query.shape[2]} positions; model and reference must be of one size, without a cache"
        )
    pattern = torch.nn.functional.dropout(pattern, p=dropout, training=module.training)
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


@contextmanager
def eager_attention(model: Any) -> Iterator[None]:
    """Make a model compute attention eagerly within the context."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def attention_signatures(
    model: Any, input_ids: NDArray[np.int64], attribute_ids: NDArray[np.int64], is_name: NDArray[np.bool_]
) -> dict[str, list[float]]:
    """What a model attends to when it predicts a value (paper App. D.2): for each layer, means over values and heads.

    At the position that predicts the first token of a value: value_to_name and value_to_text, the sums of its weights on tokens
    of names and of template text, and entropy, that of its weights divided by the log of their number. At the last token of
    each mention of a name: name_to_name, the sum of its weights on the other tokens of the mention.

    Args:
        input_ids, attribute_ids, is_name: [B, L], padded on the right: token ids, the attribute of the value that a token is
            part of (0: none), whether a token is part of a name.
    """
    with needs("train", "bio_facts.measure.attention"):
        import torch

    begins = (attribute_ids[:, 1:] > 0) & (attribute_ids[:, 1:] != attribute_ids[:, :-1])
    rows, positions = np.nonzero(begins)  # position p predicts token p + 1
    is_text = ~is_name & (attribute_ids == 0)
    is_first = is_name & ~np.pad(is_name, ((0, 0), (1, 0)))[:, :-1]
    is_last = is_name & ~np.pad(is_name, ((0, 0), (0, 1)))[:, 1:]
    mention = np.where(is_name, np.cumsum(is_first, axis=1), 0)
    last_rows, lasts = np.nonzero(is_last)
    is_other = mention[last_rows] == mention[last_rows, lasts][:, None]  # [mentions, L]
    is_other[np.arange(len(lasts)), lasts] = False
    ids = torch.from_numpy(input_ids).to(input_device(model))
    signatures: dict[str, list[float]] = {"value_to_name": [], "value_to_text": [], "name_to_name": [], "entropy": []}
    with eager_attention(model):
        for pattern in attention_patterns(model, input_ids=ids):
            weights = pattern[rows, :, positions].float().cpu().numpy().astype(np.float64)  # [values, H, L]
            signatures["value_to_name"].append(float((weights * is_name[rows, None]).sum(axis=-1).mean()))
            signatures["value_to_text"].append(float((weights * is_text[rows, None]).sum(axis=-1).mean()))
            name_weights = pattern[last_rows, :, lasts].float().cpu().numpy().astype(np.float64)  # [mentions, H, L]
            signatures["name_to_name"].append(float((name_weights * is_other[:, None]).sum(axis=-1).mean()))
            logs = np.log(np.where(weights > 0, weights, 1.0))
            entropy = -(weights * logs).sum(axis=-1) / np.log(np.maximum(positions, 1) + 1)[:, None]
            signatures["entropy"].append(float(entropy.mean()))
    return signatures
