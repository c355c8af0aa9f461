"""Check that a model is a causal language model, as scores have no meaning otherwise. Imports torch when it is called."""

from typing import Any

from bio_facts.measure.modules import (
    ROUNDING,
    all_logits,
    evaluation_mode,
    largest,
    output_layer,
    short_length,
    unwrapped,
    vocabulary_size,
)

_OF_EXPERTS = 8  # in low precision, rounding may send a token to another expert, which changes more than rounding itself


def check_causal(model: Any) -> None:
    """ValueError unless `model` gives logits for token ids alone, which depend on no later token and no other row of a batch.

    Logits of a short text are compared with those after its second half is changed, and with those in a batch with another
    text. In a batch, rounding may differ, because matrices have other shapes (and experts get other tokens).
    """
    import torch

    name = type(unwrapped(model)).__name__
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model is a {name}; it must be a causal language model, a torch.nn.Module")
    size = vocabulary_size(model)
    num_ids, length = size or 2, short_length(model)  # every vocabulary has at least two tokens
    middle = length // 2
    ids = torch.arange(length)[None] % num_ids
    other = (ids + 1) % num_ids
    changed = torch.cat([ids[:, :middle], other[:, middle:]], dim=1)
    try:
        with evaluation_mode(model), torch.no_grad():
            alone, rounding = _logits_and_rounding(model, ids)
            _check_shape(name, alone, ids, size)
            after, together = (all_logits(model, tokens) for tokens in (changed, torch.cat([ids, other])))
    except _Refused:
        raise
    except Exception as error:  # of any type
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"model is a {name}, which does not run on token ids alone ({reason}); it must be a causal language model"
        ) from error
    alone, after, together = (logits[0].float() for logits in (alone, after, together))
    largest_logit, is_exact = largest(alone), rounding <= ROUNDING["float32"]
    most_noise = largest_logit * (ROUNDING["float32"] if is_exact else _OF_EXPERTS * rounding)
    # When only later tokens change, most models give exactly the same logits in any dtype; some differ as between batches.
    allowed = 1e-4 + 1e-5 * largest_logit + (0 if is_exact else 2 * min(largest(alone - together), most_noise))
    if not torch.allclose(alone[:middle], after[:middle], rtol=0, atol=allowed, equal_nan=True):
        raise ValueError(
            f"model is a {name}, whose logits at a position depend on later tokens; it must be a causal one, "
            "without a scale of quantization that texts share"
        )
    if not torch.allclose(alone, together, rtol=0, atol=most_noise + 1e-4, equal_nan=True):
        raise ValueError(
            f"model is a {name}, whose logits for a text depend on the other texts of a batch; it must take each by itself"
        )


class _Refused(ValueError):
    """The logits of a model that runs have the wrong shape."""


def _check_shape(name: str, logits: Any, ids: Any, size: int | None) -> None:
    if logits.dim() != 3 or logits.shape[:2] != ids.shape:
        raise _Refused(
            f"model is a {name}, whose logits for {list(ids.shape)} tokens are {list(logits.shape)}; it must give some for each"
        )
    if size is not None and 2 * logits.shape[-1] < size:  # somewhat fewer is fine: a model may not predict tokens of images
        raise _Refused(
            f"model is a {name}, whose logits have {logits.shape[-1]:,} entries, and it has {size:,} tokens; "
            "it must be a causal language model"
        )


def _logits_and_rounding(model: Any, ids: Any) -> tuple[Any, float]:
    """Logits, and their relative rounding error, by the coarsest dtype among the weights and the output layer's output."""
    import torch

    dtypes = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    layer = output_layer(unwrapped(model))

    def note(module: Any, arguments: Any, output: Any) -> None:  # autocast gives it another dtype than the weights have
        dtypes.add(getattr(output, "dtype", torch.float32))

    handle = None if layer is None else layer.register_forward_hook(note)
    try:
        logits = all_logits(model, ids)
    finally:
        if handle is not None:
            handle.remove()
    names = {str(dtype).removeprefix("torch.") for dtype in dtypes | {logits.dtype}}
    return logits, max(ROUNDING.get(dtype, ROUNDING["bfloat16"]) for dtype in names)
