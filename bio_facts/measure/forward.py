"""Logits of a causal language model at chosen positions, computed for these alone where that gives the same logits.

Imports torch when it is called.
"""

import hashlib
import weakref
from typing import Any, NamedTuple

from bio_facts.measure.modules import (
    ROUNDING,
    all_logits,
    largest,
    output_layer,
    short_length,
    unwrapped,
    vocabulary_size,
)

_NUM_PROVEN_ROWS = 2


class _Proof(NamedTuple):
    """Whether a model's output layer can be given some positions alone (`holds`), tried on texts up to a length."""

    layer: Any
    holds: bool
    length: int


_PROVEN: "weakref.WeakKeyDictionary[Any, _Proof]" = weakref.WeakKeyDictionary()


def fingerprint(model: Any) -> str:
    """A digest of a model's logits for a few fixed tokens, which changes with weights and adapters, however they were changed.

    Takes one forward, in the mode that the model is in.
    """
    import torch

    length, size = short_length(model), vocabulary_size(model) or 2
    with torch.no_grad():
        logits = all_logits(model, (torch.arange(length) * size // length)[None])
    return hashlib.sha256(logits.float().cpu().numpy().tobytes()).hexdigest()


def logits_at(model: Any, input_ids: Any, positions: Any) -> Any:
    """Logits [n, V] at the n `positions`, bool [B, L], of token ids [B, L].

    The output layer is given the hidden states at these positions only, which saves most of the work and memory, if this
    gives the model's own logits; otherwise all logits are computed. A model that was not yet tried on texts of this length is
    tried first (see prove).
    """
    import torch

    model = unwrapped(model)
    layer = output_layer(model)
    if layer is not None:
        proof = _PROVEN.get(model)
        if proof is None or proof.layer is not layer or proof.length < input_ids.shape[1]:
            prove(model, input_ids)
        if _PROVEN[model].holds:
            try:
                return _logits_of_chosen(model, layer, input_ids, positions)[0]
            except torch.OutOfMemoryError:
                raise
            except Exception:  # of any type, for a reason that the trial did not show
                _PROVEN[model] = _PROVEN[model]._replace(holds=False)
    logits = all_logits(model, input_ids)
    return logits[positions.to(logits.device)]


def prove(model: Any, input_ids: Any) -> None:
    """Try whether logits_at can leave out positions: on random tokens, and on the first rows of token ids [B, L].

    The result holds for texts of up to L tokens, until forget is called: it can change with the weights. The trial always takes
    four forwards, so that processes that share a model run the same number.
    """
    import torch

    model = unwrapped(model)
    layer = output_layer(model)
    if layer is None:
        return
    before = _PROVEN.get(model)
    failed = before is not None and before.layer is layer and not before.holds
    with torch.no_grad():
        holds = _is_position_wise(model, layer, input_ids[:_NUM_PROVEN_ROWS])
    _PROVEN[model] = _Proof(layer, holds and not failed, input_ids.shape[1])


def forget(model: Any) -> None:
    """Discard the result of prove, so that the model is tried again."""
    _PROVEN.pop(unwrapped(model), None)


def _logits_of_chosen(model: Any, layer: Any, input_ids: Any, positions: Any) -> tuple[Any, str]:
    """Logits [n, V] from an output layer that is given the hidden states at `positions` alone, and the dtype of its output.

    Raises:
        ValueError: if the layer was not called once, on hidden states of all positions.
    """
    dtypes: list[str] = []

    def choose(module: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = arguments[0]
        if hidden.shape[:2] != positions.shape or hidden.dim() != 3:
            raise ValueError(f"the output layer is given {list(hidden.shape)}")
        return (hidden[positions.to(hidden.device)], *arguments[1:])

    def note(module: Any, arguments: tuple[Any, ...], output: Any) -> None:
        dtypes.append(str(output.dtype).removeprefix("torch."))

    handles = [layer.register_forward_pre_hook(choose), layer.register_forward_hook(note)]
    try:
        logits = all_logits(model, input_ids)
    finally:
        for handle in handles:
            handle.remove()
    if len(dtypes) != 1 or logits.dim() != 2 or len(logits) != int(positions.sum()):
        raise ValueError(f"the output layer was called {len(dtypes)} times and gave logits {list(logits.shape)}")
    return logits, dtypes[0]


def _is_position_wise(model: Any, layer: Any, input_ids: Any) -> bool:
    """Whether logits at some positions depend on hidden states there alone, on random tokens and on `input_ids` [B, L]."""
    import torch

    generator = torch.Generator().manual_seed(0)
    size = vocabulary_size(model) or int(input_ids.max()) + 1
    random_ids = torch.randint(size, (2, short_length(model)), generator=generator)
    holds = []
    for ids in (random_ids, input_ids):
        positions = torch.rand(ids.shape, generator=generator) < 0.5
        positions[0, 0] = True
        logits = all_logits(model, ids)
        expected = logits[positions.to(logits.device)].float()
        try:
            chosen, dtype = _logits_of_chosen(model, layer, ids, positions)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # of any type: a model need not accept fewer hidden states than tokens
            holds.append(False)
            continue
        tolerance = ROUNDING.get(dtype, ROUNDING["bfloat16"]) * largest(expected)
        holds.append(
            chosen.shape == expected.shape and torch.allclose(chosen.float(), expected, rtol=0, atol=tolerance, equal_nan=True)
        )
    return all(holds)
