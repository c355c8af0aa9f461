"""Load a causal language model: all its weights, or one error.

Imports torch and transformers when it is called.
"""

import json
import logging
import os
import textwrap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bio_facts.checks import needs

_NO_FOLDER = "no-adapter"  # a name that no folder of a checkpoint has
_MAX_NAMES = 3  # of weights in a message
_MAX_REASON = 300  # characters of another library's error in a message
_logger = logging.getLogger(__name__)


def load_model(name_or_path: str | os.PathLike[str], dtype: Any = "auto") -> Any:
    """A causal language model of transformers, on the CPU: a folder or a Hub id, or an adapter of PEFT with its base model.

    transformers initializes weights that a checkpoint lacks with random numbers; here a missing weight is an error. Weights
    that the model does not use are listed in a warning, on this module's logger. No code of the checkpoint is run.

    Args:
        dtype: that of the weights; "auto": the checkpoint's.

    Raises:
        ValueError: one line with the model and the reason: it cannot be loaded, lacks weights, or has weights of other shapes
            than its config says.
        ImportError: without transformers; it names the extra to install. It is a ValueError too.
    """
    with needs("train", "load_model"):
        import torch  # noqa: F401 - without it transformers has no models
        from transformers import AutoModelForCausalLM

    name = os.fspath(name_or_path)
    try:
        with only_errors():
            base, is_adapter = _base(name)
            if base == name:
                model, loaded = AutoModelForCausalLM.from_pretrained(
                    name,
                    dtype=dtype,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,
                    trust_remote_code=False,
                    adapter_kwargs={"subfolder": _NO_FOLDER},  # or the loading info would be the adapter's alone
                )
    except Exception as error:  # of transformers, safetensors, json, torch, and packages for quantized weights
        raise ValueError(f"model is {name!r}, which cannot be loaded: {reason(error)}") from error
    if base == name:
        _check_loaded(name, type(model).__name__, loaded)
    else:
        model = load_model(base, dtype)
    if is_adapter:
        try:
            with only_errors():
                loaded = model.load_adapter(name).to_dict()
        except Exception as error:
            raise ValueError(f"model is {name!r}, an adapter that cannot be loaded: {reason(error)}") from error
        _check_loaded(name, type(model).__name__, loaded)
    return model


def check_config(name: str) -> None:
    """ValueError if `name` has a config.json that transformers cannot read."""
    from transformers import AutoConfig
    from transformers.utils import cached_file

    try:
        with only_errors():
            if cached_file(name, "config.json", _raise_exceptions_for_missing_entries=False) is not None:
                AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # of transformers, json, huggingface_hub
        raise ValueError(f"model is {name!r}, whose config.json cannot be loaded: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The message of another library's error in one line, with the error's type where the message does not say enough."""
    text = textwrap.shorten(str(error), _MAX_REASON)
    return text if text and not isinstance(error, KeyError) else f"{type(error).__name__} {text}".strip()


def _check_loaded(name: str, kind: str, loaded: dict[str, Any]) -> None:
    """ValueError for weights that are missing or have other shapes; a warning for weights that the model does not use."""
    if loaded["missing_keys"]:
        raise ValueError(
            f"model is {name!r}, which lacks weights of a {kind}: {_listed(loaded['missing_keys'])}; it must have all of them"
        )
    if loaded["mismatched_keys"]:
        shapes = [
            f"{key} {list(shape)} instead of {list(expected)}" for key, shape, expected in sorted(loaded["mismatched_keys"])
        ]
        raise ValueError(f"model is {name!r}, which has weights of other shapes than its config says: {_listed(shapes)}")
    if loaded["unexpected_keys"]:
        _logger.warning(
            "model is %r, which has weights that a %s does not use: %s", name, kind, _listed(loaded["unexpected_keys"])
        )


def _listed(names: Collection[str]) -> str:
    """The first names, and their number if there are more."""
    first = ", ".join(sorted(names)[:_MAX_NAMES])
    return first if len(names) <= _MAX_NAMES else f"{first}, ... ({len(names)} in all)"


def _base(name: str) -> tuple[str, bool]:
    """The whole model, which is `name` itself or the base model of an adapter of PEFT, and whether there is an adapter.

    As for transformers, a folder that has a config.json beside an adapter is the adapter's base model.
    """
    from transformers.utils import find_adapter_config_file, is_peft_available

    file = find_adapter_config_file(name) if is_peft_available() else None
    if file is None or (Path(name) / "config.json").exists():
        return name, file is not None
    base = json.loads(Path(file).read_text(encoding="utf-8"))["base_model_name_or_path"]
    if not isinstance(base, str):
        raise ValueError(f"base_model_name_or_path of its adapter_config.json is {base!r}; it must be a folder or a Hub id")
    return base, True


@contextmanager
def only_errors() -> Iterator[None]:
    """Hide reports and progress bars of transformers; the caller reports what matters."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(max(verbosity, logging.ERROR))
    if bars:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
