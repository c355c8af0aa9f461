"""Properties of any causal language model: wrappers, vocabulary size, context length, device, mode, output layer, logits.

Imports torch when it is called.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# How much two computations of the same logits may differ, relative to the largest logit, by the dtype of the output layer.
# float32: TF32 has a mantissa of 10 bits, and GPUs may multiply in it. bfloat16 has 7 bits, float16 has 10.
ROUNDING = {"float64": 1e-9, "float32": 2e-3, "bfloat16": 2**-6, "float16": 2**-8}
_NUM_TOKENS = 8  # of the short texts that a model is tried on, or its context length if that is less


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Put a model into evaluation mode; afterwards every module has the mode that it had before, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:  # train() can do more than set the flag: LoRA layers merge or unmerge weights
            if module.training != training:
                module.train(training)
        for module, training in modes:  # train() also set the flags of modules inside
            module.training = training


def unwrapped(model: Any) -> Any:
    """The model inside DataParallel, DistributedDataParallel or torch.compile; its outputs are the same."""
    from torch.nn.parallel import DataParallel, DistributedDataParallel

    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in getattr(model, "_modules", {}):  # torch.compile: hooks do not work with compiled graphs
            model = model._orig_mod
        else:
            return model


def vocabulary_size(model: Any) -> int | None:
    """The number of tokens in a model's vocabulary, by its input embedding or else its config; None if neither has it."""
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
    """The largest number of tokens of a text that a model takes, by its config; None if the config does not say."""
    config = _text_config(model)
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len")]
    limit = next((limit for limit in limits if isinstance(limit, int) and limit > 0), None)
    if limit is None:
        return None
    return max(1, limit - _positions_before_text(model, limit) - _virtual_tokens(model))


def short_length(model: Any) -> int:
    """Number of tokens of the short texts that a model is tried on."""
    return min(_NUM_TOKENS, context_length(model) or _NUM_TOKENS)


def is_prompted(model: Any) -> bool:
    """Whether the model is one of PEFT that puts virtual tokens before the text."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def _virtual_tokens(model: Any) -> int:
    model = unwrapped(model)
    return int(model.active_peft_config.num_virtual_tokens) if is_prompted(model) else 0


def _positions_before_text(model: Any, limit: int) -> int:
    """Number of position embeddings before that of the first token: RoBERTa's positions begin after its padding index."""
    for name, module in unwrapped(model).named_modules():
        padding = getattr(module, "padding_idx", None)
        is_position_embedding = "position" in name.rpartition(".")[2] and getattr(module, "num_embeddings", None) == limit
        if is_position_embedding and isinstance(padding, int):
            return padding + 1
    return 0


def _text_config(model: Any) -> Any:
    config: Any = getattr(unwrapped(model), "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def input_device(model: Any) -> Any:
    """The device that a model takes token ids on; for offloaded weights, which are on "meta", it is the CPU."""
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


def output_layer(model: Any) -> Any:
    """The module that the model declares as its output layer; None if there is none, or it is compiled."""
    try:
        layer = model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    is_compiled = any(getattr(module, "_compiled_call_impl", None) is not None for module in (model, layer))
    return None if is_compiled or not hasattr(layer, "register_forward_pre_hook") else layer


def all_logits(model: Any, input_ids: Any) -> Any:
    """Logits [B, L, V] of token ids [B, L], which are moved to the model's device.

    Raises:
        ValueError: if the model returns no logits.
    """
    model = unwrapped(model)
    with _named_outputs(model):
        positional, named = _arguments(model, input_ids.to(input_device(model)))
        output = model(*positional, **named)
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
    if is_prompted(model):
        logits = logits[:, -input_ids.shape[1] :]
    return logits


@contextmanager
def _named_outputs(model: Any) -> Iterator[None]:
    """Make a model of transformers return its outputs by name; some models cannot run with return_dict=False."""
    config: Any = getattr(model, "config", None)
    if getattr(config, "return_dict", True):
        yield
        return
    config.return_dict = True
    try:
        yield
    finally:
        config.return_dict = False


def _arguments(model: Any, input_ids: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments to call a model with: the token ids, and use_cache=False if the model has a cache."""
    parameters = inspect.signature(model.forward).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    names = [
        name
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    named = {}
    if "use_cache" in names or (
        inspect.Parameter.VAR_KEYWORD in kinds and hasattr(getattr(model, "config", None), "use_cache")
    ):
        named["use_cache"] = False
    if not names and inspect.Parameter.VAR_POSITIONAL in kinds:  # adapters of PEFT forward all arguments
        return (input_ids,), named
    return (), named | {"input_ids" if "input_ids" in names or not names else names[0]: input_ids}


def largest(numbers: Any) -> float:
    """The largest finite magnitude of a tensor, or 0."""
    finite = numbers[numbers.isfinite()].abs()
    return float(finite.max()) if finite.numel() else 0.0
