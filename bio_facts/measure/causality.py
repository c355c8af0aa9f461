"""check_causal: scores mean something for causal language models alone. Imports torch when it is called."""

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

    Tokens of the second half of a short text are changed, and the text is put beside another one in a batch. What a model
    rounds may differ then, as matrices have other shapes (of experts, with the tokens that each one gets).
    """
    import torch

    name = type(unwrapped(model)).__name__
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model is a {name}; it must be a causal language model, a torch.nn.Module")
    size = vocabulary_size(model)
    num_ids, length = size or 2, short_length(model)  # a module that does not say how many tokens it knows has two at least
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
    except Exception as error:  # each model has its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"model is a {name}, which does not run on token ids alone ({reason}); it must be a causal language model"
        ) from error
    alone, after, together = (logits[0].float() for logits in (alone, after, together))
    largest_logit, is_exact = largest(alone), rounding <= ROUNDING["float32"]
    most_noise = largest_logit * (ROUNDING["float32"] if is_exact else _OF_EXPERTS * rounding)
    # Most models give the very same numbers when only later tokens change, in any dtype; some differ as from batch to batch.
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
    """What is wrong with a model's logits, rather than with its run."""


def _check_shape(name: str, logits: Any, ids: Any, size: int | None) -> None:
    if logits.dim() != 3 or logits.shape[:2] != ids.shape:
        raise _Refused(
            f"model is a {name}, whose logits for {list(ids.shape)} tokens are {list(logits.shape)}; it must give some for each"
        )
    if size is not None and 2 * logits.shape[-1] < size:  # somewhat fewer: tokens of images, say, are not predicted
        raise _Refused(
            f"model is a {name}, whose logits have {logits.shape[-1]:,} entries, and it has {size:,} tokens; "
            "it must be a causal language model"
        )


def _logits_and_rounding(model: Any, ids: Any) -> tuple[Any, float]:
    """Logits, and how far rounding may take them: by the coarsest dtype of weights and of the output layer's own logits."""
    import torch

    dtypes = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    layer = output_layer(unwrapped(model))

    def note(module: Any, arguments: Any, output: Any) -> None:  # which autocast makes another than that of the weights
        dtypes.add(getattr(output, "dtype", torch.float32))

    handle = None if layer is None else layer.register_forward_hook(note)
    try:
        logits = all_logits(model, ids)
    finally:
        if handle is not None:
            handle.remove()
    names = {str(dtype).removeprefix("torch.") for dtype in dtypes | {logits.dtype}}
    return logits, max(ROUNDING.get(dtype, ROUNDING["bfloat16"]) for dtype in names)
