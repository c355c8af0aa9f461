"""How scoring runs a causal language model: any wrapper, any device, logits at chosen positions alone where that is safe.

Imports torch when it is called.
"""

import inspect
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# How far apart two ways to compute the same logits may lie, as a share of the largest logit, by the dtype of the output layer.
# float32: TF32 has a mantissa of 10 bits, and GPUs may multiply in it. bfloat16 has 7 bits, float16 has 10.
ROUNDING = {"float64": 1e-9, "float32": 2e-3, "bfloat16": 2**-6, "float16": 2**-8}
_MAX_PROBED_LOGITS = 2**24  # of the batch on which the shortcut is proven
_NUM_RANDOM_TOKENS = 8  # in each of two rows

# Model -> its output layer and whether its logits at some positions are those of the layer's inputs there.
_PROVEN: "weakref.WeakKeyDictionary[Any, tuple[Any, bool]]" = weakref.WeakKeyDictionary()


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Put a model into evaluation mode; afterwards every module has the mode it had before, whatever happened."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:  # by the module's own method, which may do more: LoRA layers merge their weights
            if module.training != training:
                module.train(training)
        for module, training in modes:  # which also changed the modules below it
            module.training = training


def unwrapped(model: Any) -> Any:
    """The model inside DataParallel, DistributedDataParallel or torch.compile, which computes the same."""
    from torch.nn.parallel import DataParallel, DistributedDataParallel

    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in getattr(model, "_modules", {}):  # torch.compile: hooks and compiled graphs do not mix
            model = model._orig_mod
        else:
            return model


def vocabulary_size(model: Any) -> int | None:
    """How many tokens a model knows, by its input embedding or else its config; None if neither says."""
    try:
        embedding = unwrapped(model).get_input_embeddings()
    except (AttributeError, NotImplementedError):
        embedding = None
    for layer in (embedding, getattr(embedding, "base_layer", None)):  # adapters of PEFT keep the embedding as base_layer
        size = getattr(layer, "num_embeddings", None)
        if isinstance(size, int):
            return size
    weight = getattr(embedding, "weight", None)
    if getattr(weight, "ndim", 0) == 2:
        return int(weight.shape[0])  # type: ignore[union-attr]
    size = getattr(_text_config(model), "vocab_size", None)
    return size if isinstance(size, int) else None


def context_length(model: Any) -> int | None:
    """The most tokens that a model takes, by its config; None if it does not say."""
    config = _text_config(model)
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len")]
    return next((limit for limit in limits if isinstance(limit, int) and limit > 0), None)


def _text_config(model: Any) -> Any:
    config: Any = getattr(unwrapped(model), "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def input_device(model: Any) -> Any:
    """The device that a model takes token ids on; offloaded weights stand on "meta", and their hooks take ids from the CPU."""
    import torch

    model = unwrapped(model)
    try:
        embedding = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        embedding = None
    for module in (embedding, model):
        device = next((weight.device for weight in module.parameters()), None) if module is not None else None
        if device is not None:
            return torch.device("cpu") if device.type == "meta" else device
    return torch.device("cpu")


def all_logits(model: Any, input_ids: Any) -> Any:
    """Logits [B, L, V] of token ids [B, L], which are moved to the model's device.

    Raises:
        ValueError: if the model returns no logits.
    """
    model = unwrapped(model)
    with _named_outputs(model):
        output = model(**_arguments(model, input_ids.to(input_device(model))))
    logits = output
    if isinstance(output, Mapping):  # as the outputs of transformers are
        logits = output.get("logits")
    elif isinstance(output, tuple | list):
        logits = output[0]
        if vocabulary_size(model) not in (None, getattr(logits, "shape", (0,))[-1]):
            logits = None  # hidden states
    elif hasattr(output, "logits"):
        logits = output.logits
    if not hasattr(logits, "dim"):
        raise ValueError(f"it returns a {type(output).__name__} without logits")
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        logits = logits[:, -input_ids.shape[1] :]  # prompt tuning of PEFT puts virtual tokens before the text
    return logits


@contextmanager
def _named_outputs(model: Any) -> Iterator[None]:
    """Let a model of transformers return its outputs by name; with return_dict=False some cannot run at all."""
    config: Any = getattr(model, "config", None)
    if getattr(config, "return_dict", True):
        yield
        return
    config.return_dict = True
    try:
        yield
    finally:
        config.return_dict = False


def _arguments(model: Any, input_ids: Any) -> dict[str, Any]:
    """What to call a model with: no cache, which would be made for nothing, where it knows one."""
    parameters = inspect.signature(model.forward).parameters
    named = [
        name
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    takes_more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    arguments = {"input_ids" if "input_ids" in named or not named else named[0]: input_ids}
    if "use_cache" in named or (takes_more and hasattr(getattr(model, "config", None), "use_cache")):
        arguments["use_cache"] = False
    return arguments


def logits_at(model: Any, input_ids: Any, positions: Any) -> Any:
    """Logits [n, V] at the n `positions`, bool [B, L], of token ids [B, L].

    The output layer is given the hidden states at these positions alone, which saves most of the work and memory, if that
    gives the model's own logits. Whether it does is tried once for each model, on random tokens and on these; otherwise all
    logits are computed. The trial takes four forwards, whatever it finds, so that processes that share a model stay in step.
    """
    import torch

    model = unwrapped(model)
    layer = _output_layer(model)
    if layer is not None:
        if _PROVEN.get(model, (None, False))[0] is not layer:
            _PROVEN[model] = layer, _is_position_wise(model, layer, input_ids)
        if _PROVEN[model][1]:
            try:
                return _logits_of_chosen(model, layer, input_ids, positions)[0]
            except torch.OutOfMemoryError:
                raise
            except Exception:  # a model that sees longer texts piece by piece, say
                _PROVEN[model] = layer, False
    logits = all_logits(model, input_ids)
    return logits[positions.to(logits.device)]


def _output_layer(model: Any) -> Any:
    """The module whose output are a model's logits, by its own word; None if it names none, or a compiled one."""
    try:
        layer = model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    is_compiled = any(getattr(module, "_compiled_call_impl", None) is not None for module in (model, layer))
    return None if is_compiled or not hasattr(layer, "register_forward_pre_hook") else layer


def _logits_of_chosen(model: Any, layer: Any, input_ids: Any, positions: Any) -> tuple[Any, str]:
    """Logits [n, V] when the output layer sees the hidden states at `positions` alone, and the dtype that it gave them in.

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
    length = min(_NUM_RANDOM_TOKENS, context_length(model) or _NUM_RANDOM_TOKENS)
    size = vocabulary_size(model) or int(input_ids.max()) + 1
    random_ids = torch.randint(size, (2, length), generator=generator)
    max_rows = max(2, _MAX_PROBED_LOGITS // (size * input_ids.shape[1]))
    holds = []
    for ids in (random_ids, input_ids[:max_rows]):
        positions = torch.rand(ids.shape, generator=generator) < 0.5
        positions[0, 0] = True
        logits = all_logits(model, ids)
        expected = logits[positions.to(logits.device)].float()
        try:
            chosen, dtype = _logits_of_chosen(model, layer, ids, positions)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # whatever a model makes of fewer hidden states than it has tokens
            holds.append(False)
            continue
        finite = expected.isfinite()
        tolerance = ROUNDING.get(dtype, ROUNDING["bfloat16"]) * float(expected[finite].abs().max() if finite.any() else 0)
        holds.append(
            chosen.shape == expected.shape and torch.allclose(chosen.float(), expected, rtol=0, atol=tolerance, equal_nan=True)
        )
    return all(holds)


def check_causal(model: Any) -> None:
    """ValueError unless `model` gives logits for token ids alone, and what it says at a position depends on no later token."""
    import torch

    name = type(unwrapped(model)).__name__
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model is a {name}; it must be a causal language model, a torch.nn.Module")
    size = vocabulary_size(model) or 2  # a module that does not say how many tokens it knows has two at least
    input_ids = torch.arange(_NUM_RANDOM_TOKENS)[None] % size
    changed = input_ids.clone()
    changed[0, -1] = (changed[0, -1] + 1) % size
    try:
        with evaluation_mode(model), torch.no_grad():
            before, after = (all_logits(model, ids) for ids in (input_ids, changed))
    except Exception as error:  # each model has its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"model is a {name}, which does not run on token ids alone ({reason}); it must be a causal language model"
        ) from error
    if before.dim() != 3 or before.shape[:2] != input_ids.shape:
        raise ValueError(
            f"model is a {name}, whose logits for [1, {_NUM_RANDOM_TOKENS}] tokens are {list(before.shape)}; "
            "it must give some for each"
        )
    if not torch.allclose(before[0, :-1], after[0, :-1], atol=1e-4, equal_nan=True):
        raise ValueError(f"model is a {name}, which sees later tokens; it must be a causal one")
