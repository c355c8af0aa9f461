"""Attention on a CPU by products of whole matrices, with few passes over its weights [B, H, L, L].

PyTorch's attention calls the library of matrix products once for each head and sequence where that is oneDNN, and its gradient
is slow in bfloat16. transformers' eager attention scales, masks and converts the weights one after another, in float32. Here
products scale and mask them as well, and only the softmax is float32.
"""

from functools import lru_cache
from typing import Any

from bio_facts.checks import needs
from bio_facts.runs.precision import uses_onednn

with needs("train", "training"):
    import torch
    from torch import Tensor

_NAME = "bio_facts_products"  # of our attention function among those of transformers


def attend_by_products(model: Any, precision: str) -> None:
    """Let a model compute attention on a CPU by products of whole matrices where that is faster than PyTorch's own attention.

    Without effect on a model whose attention is not PyTorch's scaled_dot_product_attention. precision: as use_precision gives
    it.
    """
    is_pytorchs = getattr(model.config, "_attn_implementation", None) == "sdpa"
    if is_pytorchs and getattr(model, "_supports_attention_backend", False) and (precision == "bf16" or uses_onednn("cpu")):
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """An attention function for transformers, as its sdpa_attention_forward, which does what this one leaves out.

    query: [B, H, L, D]; key, value: [B, H or less, M, D]; attention_mask: bool [B, 1, L, M], True where a position is attended
    to, or None; output: [B, L, H, D].
    """
    is_causal = (getattr(module, "is_causal", True) if is_causal is None else is_causal) and attention_mask is None
    has_rest = dropout > 0 or any(more.get(name) is not None for name in ("position_bias", "cache", "softcap"))
    if has_rest or not (is_causal or attention_mask is not None) or (is_causal and query.shape[2] != key.shape[2]):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        options = {"dropout": dropout, "scaling": scaling, "is_causal": is_causal, **more}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)  # type: ignore[no-any-return]
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    if attention_mask is None:
        mask = _causal_mask(query.shape[2], dtype)
    else:
        mask = _additive(attention_mask, dtype).expand(*query.shape[:2], -1, -1).flatten(0, 1)
    matrices = [matrix.to(dtype).flatten(0, 1) for matrix in (query, key, value)]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    output: Tensor = _Attention.apply(*matrices, mask, scale)  # type: ignore[no-untyped-call]
    return output.view(*query.shape[:2], *output.shape[1:]).transpose(1, 2).contiguous(), None


@lru_cache(maxsize=64)  # lengths; it is needed by every layer of every forward
def _causal_mask(length: int, dtype: torch.dtype) -> Tensor:
    return _additive(torch.ones(length, length, dtype=torch.bool).tril(), dtype)


def _additive(is_attended: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores: 0, or the smallest number where a position is not attended to."""
    return torch.zeros(is_attended.shape, dtype=dtype).masked_fill_(~is_attended, torch.finfo(dtype).min)


class _Attention(torch.autograd.Function):
    """softmax(scale * query @ key.mT + mask) @ value, whose softmax is computed in float32.

    query: [n, L, D]; key, value: [n, M, D]; mask: [L, M] or [n, L, M]; all of the type that products have.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
        scores = torch.baddbmm(mask, query, key.mT, alpha=scale)
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
        ctx.save_for_backward(query, key, value, weights)
        ctx.scale = scale
        return weights @ value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights = ctx.saved_tensors
        gradient = gradient.to(query.dtype)
        of_scores = torch._softmax_backward_data(gradient @ value.mT, weights, -1, query.dtype)
        of_query, of_key = of_scores @ key, of_scores.mT @ query
        return of_query.mul_(ctx.scale), of_key.mul_(ctx.scale), weights.mT @ gradient, None, None
