"""The machine that a run trains on: its processes, its device, and what changes the last digits of a run."""

import contextlib
import ctypes
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import bio_facts
from bio_facts.checks import needs
from bio_facts.measure.models import reason

# What changes the last digits of a run; cpu_capability is compared only if the run is on a CPU.
_COMPARED = (
    "device", "precision", "matmul_precision", "cpu_capability", "environment", "num_processes", "torch", "transformers",
    "accelerate",
)  # fmt: skip
# Variables with which numeric libraries choose other instructions or orders of sums.
NUMERIC_VARIABLES = (
    "ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "MKL_DYNAMIC",
    "MKL_DOMAIN_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS", "DNNL_CPU_ISA_HINTS",
    "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "OMP_DYNAMIC", "OMP_THREAD_LIMIT", "OMP_SCHEDULE",
    "KMP_DETERMINISTIC_REDUCTION", "KMP_FORCE_REDUCTION", "CUBLAS_WORKSPACE_CONFIG", "CUBLASLT_WORKSPACE_SIZE",
    "TORCH_BLAS_PREFER_CUBLASLT", "TORCH_BLAS_PREFER_HIPBLASLT", "DISABLE_ADDMM_CUDA_LT", "PYTORCH_MPS_FAST_MATH",
    "PYTORCH_MPS_PREFER_METAL",
)  # fmt: skip
_THREADS = ("MKL_NUM_THREADS",)  # recorded if it differs from the number of threads, which is recorded with the device
_DEVICE_VARIABLE = "ACCELERATE_TORCH_DEVICE"

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_MADV_HUGEPAGE, _HUGE_PAGE = 14, 2**21  # madvise of Linux
_HUGE_HEAP = 2**31  # bytes


def join_processes() -> Any:
    """accelerate's PartialState of this run, on the CPU if ACCELERATE_USE_CPU says so.

    Raises:
        ValueError: if fewer processes joined than the launcher started, or the device cannot be used.
    """
    with needs("train", "training"):
        import torch
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

    try:
        processes = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
        torch.ones(1, device=processes.device).item()
    except (RuntimeError, ValueError, AssertionError) as error:  # PyTorch has no specific error
        if (device := os.environ.get(_DEVICE_VARIABLE)) is None:
            raise
        raise ValueError(
            f"{_DEVICE_VARIABLE} is {device!r}, a device that cannot be used here ({reason(error)}); "
            "it must be one that can, such as cpu, or be left out"
        ) from error
    started = int(os.environ.get("WORLD_SIZE", 1))
    if processes.num_processes != started:
        raise ValueError(
            f"WORLD_SIZE is {started}, but {processes.num_processes} process(es) joined; "
            "several processes need a GPU each, or ACCELERATE_USE_CPU=true"
        )
    return processes


def use_cpu() -> None:
    """Compute on the CPU in one process, whatever the environment asks for."""
    with needs("train", "training"):
        from accelerate import PartialState

    os.environ.pop(_DEVICE_VARIABLE, None)
    PartialState(cpu=True)


def machine_difference(config: dict[str, Any], here: dict[str, Any]) -> str | None:
    """The first difference between the machine that a run was last trained on and this one, as text; None if there is none.

    Only what the config.json records is compared; earlier versions recorded less.
    """
    last = config.get("resumed_on", [config])[-1]
    for name in _COMPARED:
        before, now = ({**machine, **machine["versions"]}.get(name) for machine in (last, here))
        if name == "cpu_capability" and not here["device"].startswith("CPU"):
            continue
        if before is not None and before != now:
            return f"{name} {before!r}, here {now!r}"
    return None


def this_machine(precision: str = "float32") -> dict[str, Any]:
    """What config.json records of the machine, the versions, and the `precision` that use_precision chose for the run."""
    import torch
    from accelerate import PartialState

    device, num_threads = PartialState().device.type, torch.get_num_threads()
    if device == "cuda":
        device = torch.cuda.get_device_name()
    elif device == "cpu":
        device = f"CPU, {num_threads} thread{'s' if num_threads > 1 else ''} a run"
    environment = {name: os.environ[name] for name in NUMERIC_VARIABLES if os.environ.get(name)}
    environment |= {name: os.environ[name] for name in _THREADS if os.environ.get(name, "") not in ("", str(num_threads))}
    versions = {"python": platform.python_version(), "bio_facts": bio_facts.__version__}
    for package in ("numpy", "torch", "transformers", "accelerate", "tokenizers"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return {
        "data_version": bio_facts.DATA_VERSION,
        "device": device,
        "precision": precision,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "environment": environment,
        "num_processes": PartialState().num_processes,
        "versions": versions,
    }


def keep_freed_memory() -> None:
    """Let the C library reuse freed memory, in pages of 2 MB where the system has them; without effect outside glibc.

    Tensors of megabytes are allocated in every step. By default glibc maps fresh pages for them each time, and pages have
    4 kB, which on a CPU takes a considerable share of a step.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.malloc.restype = ctypes.c_void_p
        start = libc.malloc(ctypes.c_size_t(_HUGE_HEAP))  # address space; memory is taken where it is used
        if start:
            aligned = -(-start // _HUGE_PAGE) * _HUGE_PAGE
            size = (start + _HUGE_HEAP - aligned) // _HUGE_PAGE * _HUGE_PAGE
            libc.madvise(ctypes.c_void_p(aligned), ctypes.c_size_t(size), _MADV_HUGEPAGE)
            libc.free(ctypes.c_void_p(start))
