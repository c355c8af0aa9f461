"""What is outside the recipe and would change a run's numbers: it has no effect, or is recorded and compared on resume."""

import json
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from conftest import ROOT, SCRIPT_ENVIRONMENT, SMOKE, assert_refused, load_recipe, script_command
from safetensors.torch import load_file

from bio_facts.runs.environment import _DECIDED_BY_RECIPE, apply_recipe
from bio_facts.runs.folder import RunFolder
from bio_facts.runs.machine import machine_difference, this_machine
from bio_facts.runs.precision import use_precision

MEMORY = ROOT / "train" / "recipes" / "associative_memory" / "pretraining-smoke.yaml"
SHORT = ("--num_steps", 4, "--eval_every", "[[2, 4]]", "--save_every", 2, "--keep_models_at", "[]", "--num_eval_biographies", 5)
HOSTILE = {  # values that ask for something else than the smoke recipe does
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "2",
    "ACCELERATE_DYNAMO_BACKEND": "inductor",
    "ACCELERATE_DYNAMO_MODE": "max-autotune",
    "ACCELERATE_DOWNCAST_BF16": "true",
    "ACCELERATE_GRADIENT_CLIPPING": "0.001",
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "DNNL_DEFAULT_FPMATH_MODE": "BF16",
    "NVIDIA_TF32_OVERRIDE": "1",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
}


def train(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = script_command("train/pretrain.py", "--config", SMOKE, "--output-dir", folder, *SHORT, *arguments)
    return subprocess.run(command, env=SCRIPT_ENVIRONMENT | environment, capture_output=True, text=True, timeout=300)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoint-4" / "model.safetensors")


def config(run: Path) -> dict[str, Any]:
    return json.loads((run / "config.json").read_text(encoding="utf-8"))


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run with one thread and none of these variables. Read only."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    done = train(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def interrupted(plain: Path, tmp_path: Path) -> Path:
    """That run, without its last checkpoint."""
    run = shutil.copytree(plain, tmp_path / "run")
    shutil.rmtree(run / "checkpoint-4")
    return run


# Decided by the recipe


def test_variables_change_no_weight_and_are_named(plain: Path, tmp_path: Path) -> None:
    done = train(tmp_path / "run", **HOSTILE)
    assert done.returncode == 0, done.stderr
    assert same(weights(tmp_path / "run"), weights(plain))
    assert config(tmp_path / "run") == config(plain)
    assert [name for name in HOSTILE if f"{name}={HOSTILE[name]} has no effect: " not in done.stderr] == []


def test_precision_of_the_recipe_does_change_weights(plain: Path, tmp_path: Path) -> None:
    """Else the equality of weights above would show nothing; the variable that says the same is not worth a line."""
    done = train(tmp_path / "run", "--precision", "bf16", ACCELERATE_MIXED_PRECISION="bf16")
    assert done.returncode == 0, done.stderr
    assert "has no effect" not in done.stderr
    assert not same(weights(tmp_path / "run"), weights(plain))


def test_what_asks_for_nothing_is_taken_out_without_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(_DECIDED_BY_RECIPE):
        monkeypatch.setenv(name, ("no", "false", "0", "None", "")[number % 5])
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    apply_recipe(load_recipe(SMOKE, {}))
    assert capsys.readouterr().err == ""
    assert [name for name in _DECIDED_BY_RECIPE if name in os.environ] == []


@pytest.mark.parametrize("name", _DECIDED_BY_RECIPE)
def test_every_variable_that_asks_for_something_is_named_with_what_decides(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe(SMOKE, {"torch_compile": name in ("TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE")})
    monkeypatch.setenv(name, "2")
    apply_recipe(recipe)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{name}=2 has no effect: ")
    key = _DECIDED_BY_RECIPE[name]
    assert (f"({key}: {getattr(recipe, key)})" if key else "recipes train with data parallelism") in line


# Recorded, and compared on resume


def test_machine_is_recorded(plain: Path) -> None:
    recorded = config(plain)
    assert recorded["device"] == "CPU, 1 thread a run"
    assert recorded["precision"] == "float32"
    assert recorded["matmul_precision"] in ("highest", "medium")
    assert recorded["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert recorded["environment"] == {}
    assert recorded["num_processes"] == 1
    assert recorded["versions"]["torch"] == version("torch")


def test_same_machine_resumes_as_if_it_had_never_stopped(plain: Path, interrupted: Path) -> None:
    before = (interrupted / "config.json").read_bytes()
    done = train(interrupted, MKL_NUM_THREADS="1")  # which it has already, by OMP_NUM_THREADS
    assert done.returncode == 0, done.stderr
    assert same(weights(interrupted), weights(plain))
    assert (interrupted / "config.json").read_bytes() == before


def test_other_number_of_threads_is_refused_or_noted(interrupted: Path) -> None:
    two = {"OMP_NUM_THREADS": "2"}
    before = (interrupted / "config.json").read_bytes()
    difference = "device 'CPU, 1 thread a run', here 'CPU, 2 threads a run'"
    assert_refused(train(interrupted, **two), difference, "--allow-other-machine")
    assert (interrupted / "config.json").read_bytes() == before
    done = train(interrupted, "--allow-other-machine", **two)
    assert done.returncode == 0, done.stderr
    (resumed,) = config(interrupted)["resumed_on"]
    assert (resumed["step"], resumed["device"]) == (2, "CPU, 2 threads a run")
    assert config(interrupted)["device"] == "CPU, 1 thread a run"
    shutil.rmtree(interrupted / "checkpoint-4")
    assert_refused(train(interrupted), "device 'CPU, 2 threads a run', here 'CPU, 1 thread a run'")  # the last machine counts


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="this CPU has no other instructions")
def test_other_instructions_are_refused_or_noted(interrupted: Path) -> None:
    assert_refused(
        train(interrupted, ATEN_CPU_CAPABILITY="default"), "cpu_capability", "here 'DEFAULT'", "--allow-other-machine"
    )
    done = train(interrupted, "--allow-other-machine", ATEN_CPU_CAPABILITY="default")
    assert done.returncode == 0, done.stderr
    (resumed,) = config(interrupted)["resumed_on"]
    assert (resumed["cpu_capability"], resumed["environment"]) == ("DEFAULT", {"ATEN_CPU_CAPABILITY": "default"})


@pytest.fixture
def one_thread() -> Any:
    """This process as the script was."""
    PartialState(cpu=True)
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    use_precision("float32", "cpu")
    yield
    torch.set_num_threads(before[0])
    torch.set_float32_matmul_precision(before[1])


@pytest.mark.parametrize(
    "name",
    ["ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_NUM_THREADS"],
)
def test_variable_of_numeric_libraries_is_compared(
    name: str, plain: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunFolder(plain).check_machine()
    monkeypatch.setenv(name, "7")
    with pytest.raises(ValueError, match=rf"environment \{{\}}, here \{{'{name}': '7'\}}; .* --allow-other-machine$"):
        RunFolder(plain).check_machine()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"device": "NVIDIA H100 80GB HBM3"}, "device 'NVIDIA H100 80GB HBM3', here 'CPU, 1 thread a run'"),
        ({"precision": "bf16"}, "precision 'bf16', here 'float32'"),
        ({"matmul_precision": "high"}, "matmul_precision 'high', here "),
        ({"num_processes": 2}, "num_processes 2, here 1"),
        ({"versions": {"torch": "1.0"}}, "torch '1.0', here "),
        ({"versions": {"transformers": "1.0"}}, "transformers '1.0', here "),
        ({"versions": {"accelerate": "1.0"}}, "accelerate '1.0', here "),
        ({"cpu_capability": "Z900"}, "cpu_capability 'Z900', here "),
        ({"environment": {"MKL_CBWR": "COMPATIBLE"}}, "environment {'MKL_CBWR': 'COMPATIBLE'}, here {}"),
    ],
)
def test_other_device_processes_and_versions_are_refused(
    change: dict[str, Any], difference: str, interrupted: Path, one_thread: None
) -> None:
    recorded = config(interrupted)
    changed = recorded | change | {"versions": recorded["versions"] | change.get("versions", {})}
    (interrupted / "config.json").write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(ValueError) as refused:
        RunFolder(interrupted).check_machine()
    assert difference in str(refused.value)
    assert "--allow-other-machine" in str(refused.value)


def test_instructions_of_the_cpu_do_not_matter_to_a_gpu() -> None:
    here = this_machine() | {"device": "NVIDIA H100 80GB HBM3"}
    assert machine_difference(here | {"cpu_capability": "Z900"}, here) is None


def test_what_an_earlier_version_did_not_record_is_not_compared(interrupted: Path, one_thread: None) -> None:
    recorded = config(interrupted)
    del recorded["cpu_capability"], recorded["environment"]
    (interrupted / "config.json").write_text(json.dumps(recorded), encoding="utf-8")
    RunFolder(interrupted).check_machine()


# Devices that are not there


@pytest.mark.parametrize("device", ["meta", "nonsense", "cuda"])
def test_device_that_cannot_be_used_is_refused(device: str, tmp_path: Path) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = train(tmp_path / "run", ACCELERATE_TORCH_DEVICE=device, ACCELERATE_USE_CPU="false")
    assert_refused(result, f"ACCELERATE_TORCH_DEVICE is {device!r}", "must be one that can, such as cpu")
    assert not (tmp_path / "run").exists()


def test_memory_learns_on_the_cpu_whatever_the_device(tmp_path: Path) -> None:
    command = script_command("train/train_memory.py", "--config", MEMORY, "--output-dir", tmp_path / "run")
    environment = SCRIPT_ENVIRONMENT | {"ACCELERATE_TORCH_DEVICE": "meta", "ACCELERATE_USE_CPU": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert config(tmp_path / "run")["device"] == "CPU, 1 thread a run"
