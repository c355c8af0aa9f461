"""The precision that a run computes in: chosen by what the hardware can do, never by a timing, and recorded in config.json."""

from typing import Any

from bio_facts.checks import needs

PRECISIONS = ("auto", "float32", "bf16")


def has_bf16_instructions(device: str) -> bool:
    """Whether products of bfloat16 are computed by instructions of their own on a device ("cpu", "cuda", ...).

    On a CPU these are AVX512-BF16 and AMX; without them bfloat16 is emulated, and many times slower than float32.
    """
    with needs("train", "training"):
        import torch

    if device == "cpu":
        return any(_cpu_has(name) for name in ("avx512_bf16", "amx_tile"))
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return False


def _cpu_has(name: str) -> bool:
    """Whether PyTorch says that the CPU has a set of instructions; False where it cannot say."""
    import torch

    supports: Any = getattr(torch.cpu, f"_is_{name}_supported", None)
    return bool(supports is not None and supports())


def uses_onednn(device: str) -> bool:
    """Whether oneDNN is to compute products of float32 on a device."""
    return device == "cpu" and _cpu_has("avx512") and not _cpu_has("amx_tile")


def use_precision(precision: str, device: str) -> str:
    """The precision of a run on a device, "float32" or "bf16", for one of PRECISIONS.

    Products of float32 are computed in float32, whatever the process had set. With torch.set_float32_matmul_precision
    "medium", a CPU computes them by oneDNN, which on AMD is faster than MKL and still float32; with AMX it may use bfloat16
    inside, so there the setting is "highest".
    """
    import torch

    torch.set_float32_matmul_precision("medium" if uses_onednn(device) else "highest")
    torch.backends.cudnn.allow_tf32 = False
    if precision != "auto":
        return precision
    return "bf16" if has_bf16_instructions(device) else "float32"
