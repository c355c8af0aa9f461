"""Removes environment variables that would override the recipe and so change the numbers of a run."""

import os
import sys
from typing import Any

# Variables that accelerate, transformers, PyTorch and its libraries read -> the recipe key that decides instead.
_DECIDED_BY_RECIPE = {
    "ACCELERATE_MIXED_PRECISION": "precision",
    "ACCELERATE_DOWNCAST_BF16": "precision",
    "ACCELERATE_FP8_BACKEND": "precision",
    "ONEDNN_DEFAULT_FPMATH_MODE": "precision",
    "DNNL_DEFAULT_FPMATH_MODE": "precision",
    "NVIDIA_TF32_OVERRIDE": "precision",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "precision",
    "XLA_USE_BF16": "precision",
    "XLA_DOWNCAST_BF16": "precision",
    "ACCELERATE_DYNAMO_BACKEND": "torch_compile",
    "ACCELERATE_DYNAMO_MODE": "torch_compile",
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "torch_compile",
    "ACCELERATE_DYNAMO_USE_DYNAMIC": "torch_compile",
    "ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION": "torch_compile",
    "TORCHDYNAMO_DISABLE": "torch_compile",
    "TORCH_COMPILE_DISABLE": "torch_compile",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "gradient_accumulation_steps",
    "ACCELERATE_GRADIENT_CLIPPING": "max_grad_norm",
    "ACCELERATE_USE_FSDP": "",
    "ACCELERATE_USE_DEEPSPEED": "",
    "ACCELERATE_USE_MEGATRON_LM": "",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "",
    "ACCELERATE_USE_SAGEMAKER": "",
}
_NO_EFFECT = {"", "no", "none", "false", "off", "0", "default", "strict"}  # values that change nothing


def apply_recipe(recipe: Any) -> None:
    """Remove variables that would change the numbers of a run; a line on stderr names each whose value differs from the recipe.

    Must run before torch and accelerate are imported, which read them once. `accelerate launch` sets most of them, to values
    that change nothing.
    """
    for name, key in _DECIDED_BY_RECIPE.items():
        value = os.environ.pop(name, "")
        if value.lower() in _NO_EFFECT or _agrees(recipe, name, value.lower()):
            continue
        decides = f"the recipe decides ({key}: {getattr(recipe, key, False)})" if key else "recipes train with data parallelism"
        print(f"{name}={value} has no effect: {decides}", file=sys.stderr)


def _agrees(recipe: Any, name: str, value: str) -> bool:
    bf16, torch_compile = getattr(recipe, "precision", None) == "bf16", getattr(recipe, "torch_compile", False)
    return (
        (name == "ACCELERATE_MIXED_PRECISION" and value == "bf16" and bf16)
        or (name == "ACCELERATE_DYNAMO_BACKEND" and value == "inductor" and torch_compile)
        or (name in ("TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE") and not torch_compile)
        or (
            name == "ACCELERATE_GRADIENT_ACCUMULATION_STEPS" and value == str(getattr(recipe, "gradient_accumulation_steps", 1))
        )
    )
