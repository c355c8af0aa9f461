"""The Makefile: which build of PyTorch it installs, what it asks of whom, and what it does not do twice."""

import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, UNIT

TORCH = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
VERSION = TORCH.partition("==")[2]


def write_wheel(folder: Path, version: str) -> None:
    """A package named torch, without modules."""
    folder.mkdir(parents=True)
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


class Index:
    """Package indexes below one address: /default has torch as on PyPI, /cpu has the CPU build, /slow answers late."""

    def __init__(self, folder: Path) -> None:
        write_wheel(folder / "default" / "torch", VERSION)
        write_wheel(folder / "cpu" / "torch", f"{VERSION}+cpu")
        asked: list[str] = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *given: object) -> None:
                super().__init__(*given, directory=str(folder))  # type: ignore[arg-type]

            def do_GET(self) -> None:
                asked.append(self.path)
                if self.path.startswith("/slow"):
                    time.sleep(8)
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.asked = asked
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    index = Index(tmp_path_factory.mktemp("index"))
    yield index
    index.server.shutdown()


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def venv(made_once: Path) -> Path:
    """A virtual environment without torch."""
    (made_once / ".torch").unlink(missing_ok=True)
    for folder in made_once.glob("lib/python*/site-packages/torch-*.dist-info"):  # the wheels of this test have nothing else
        shutil.rmtree(folder)
    return made_once


def make(
    venv: Path, index: Index, *arguments: str, cpu_index: str = "cpu", driver: str = ""
) -> subprocess.CompletedProcess[str]:
    """`make .../.torch`, with pip and the Makefile turned to the indexes of this test."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE"))}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"{index.address}/default", "PIP_RETRIES": "0"}
    environment |= {"no_proxy": "127.0.0.1", "PIP_NO_CACHE_DIR": "1"}
    settings = [f"VENV={venv}", f"TORCH_CPU_INDEX={index.address}/{cpu_index}", f"NVIDIA_DRIVER={driver}"]
    index.asked.clear()
    return subprocess.run(
        ["make", f"{venv}/.torch", f"PYTHON={sys.executable}", *settings, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def installed(venv: Path) -> str:
    (folder,) = venv.glob("lib/python*/site-packages/torch-*.dist-info")
    return folder.name.removeprefix("torch-").removesuffix(".dist-info")


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux are there two builds of PyTorch")


@LINUX
def test_cpu_build_is_installed_where_the_cpu_index_answers(venv: Path, index: Index) -> None:
    result = make(venv, index)
    assert result.returncode == 0, result.stderr
    assert installed(venv) == f"{VERSION}+cpu"
    assert not [path for path in index.asked if path.startswith("/default")]
    first, second = (line for line in result.stdout.splitlines() if line.startswith("make: "))
    assert first == f"make: PyTorch: the CPU build, from {index.address}/cpu (a download of 200 MB)"
    assert second.startswith(f"make: installing {TORCH} into {venv}: less than 1 minute")
    assert "Downloading" in result.stdout  # pip is not quiet
    again = make(venv, index)
    assert (again.returncode, index.asked) == (0, [])
    assert "up to date" in again.stdout


@LINUX
@pytest.mark.parametrize("cpu_index", ["missing", "slow"])
def test_package_index_is_used_where_the_cpu_index_does_not_answer(venv: Path, index: Index, cpu_index: str) -> None:
    result = make(venv, index, cpu_index=cpu_index)
    assert result.returncode == 0, result.stderr
    assert installed(venv) == VERSION
    assert f"make: PyTorch: {index.address}/{cpu_index} does not answer, so what the package index has" in result.stdout
    assert "up to 3 GB" in result.stdout
    assert index.asked.count(f"/{cpu_index}/torch/") == 1


@LINUX
def test_machine_with_a_driver_gets_the_cuda_build_and_the_cpu_index_is_not_asked(venv: Path, index: Index) -> None:
    result = make(venv, index, driver="/proc/driver/nvidia/version")
    assert result.returncode == 0, result.stderr
    assert installed(venv) == VERSION
    assert "this machine has an NVIDIA driver, so the CUDA build (a download of up to 3 GB)" in result.stdout
    assert not [path for path in index.asked if path.startswith("/cpu")]


def test_build_that_is_asked_for_replaces_the_other_one_and_stays(venv: Path, index: Index) -> None:
    for choice, version in (("cpu", f"{VERSION}+cpu"), ("cuda", VERSION), ("auto", VERSION), ("cpu", f"{VERSION}+cpu")):
        result = make(venv, index, f"TORCH={choice}", driver="/proc/driver/nvidia/version" if choice == "cpu" else "")
        assert result.returncode == 0, result.stderr
        assert installed(venv) == version, choice


def test_cpu_build_in_place_of_the_cuda_build_is_an_error(venv: Path, index: Index) -> None:
    settings = [f"PIP_INDEX_URL={index.address}/cpu", "TORCH=cuda"]
    result = make(venv, index, *settings)
    assert result.returncode != 0
    assert f"the package index gave torch {VERSION}+cpu, which is no CUDA build" in result.stderr
    assert not (venv / ".torch").exists()


def test_other_values_of_torch_are_refused(venv: Path, index: Index) -> None:
    result = make(venv, index, "TORCH=gpu")
    assert result.returncode != 0
    assert "make: error: expected auto, cpu, cuda or default for TORCH, got 'gpu'" in result.stderr
    assert index.asked == []


def test_demo_after_test_installs_nothing(tmp_path: Path) -> None:
    """Nor does demo after demo; but make test installs more than demo."""
    (tmp_path / ".torch").write_text("cpu\n")
    stamps = {level: tmp_path / f".installed-{level}" for level in ("demo", "test")}

    def installs(target: str, *there: str) -> bool:
        for level, stamp in stamps.items():
            stamp.unlink(missing_ok=True)
            if level in there:
                stamp.touch()
        command = ["make", "--dry-run", f"VENV={tmp_path}", target]
        return "pip install" in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert installs("demo")
    assert not installs("demo", "demo")
    assert not installs("paper", "demo")
    assert installs("test", "demo")
    assert not installs("test", "demo", "test")
    install = (ROOT / "Makefile").read_text().partition("$(VENV)/.installed-test:")[2].partition("\n\n")[0]
    assert install.endswith("@touch $(VENV)/.installed-demo $@")


def test_help_lists_every_target_with_its_time() -> None:
    text = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    (phony,) = (line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("make ")}
    assert set(lines) == set(phony.split()[1:]) - {"help", "force"}
    for target in set(lines) - {"clean"}:
        assert " min" in lines[target] or "(hours" in lines[target]


def test_files_of_make_test_fast_exist() -> None:
    assert {file.stem for file in (ROOT / "tests").glob("test_*.py")} >= UNIT


@pytest.mark.ecosystem
@pytest.mark.parametrize(
    "package",
    [
        *("datasets", "datatrove", "duckdb", "evaluate", "gradio", "lm_eval", "nnsight", "pandas", "peft", "polars"),
        *("inspect_ai", "ray", "transformer_lens"),
    ],
)
def test_packages_of_make_test_ecosystem_are_there(package: str) -> None:
    """Elsewhere, files that need them are skipped."""
    assert importlib.util.find_spec(package) is not None


# .ci/run with steps that end at once


def continuous_integration(tmp_path: Path, failing: str) -> subprocess.CompletedProcess[str]:
    """.ci/run in a folder where make only prints what pytest prints in the end, and fails for one target."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text((ROOT / ".ci" / "run").read_text())
    (tmp_path / ".ci" / "paper_recipes").write_text("true\n")
    failure, success = 'echo "== 1 failed in 3s =="; exit 2', 'echo "== 5 passed, 1 skipped in 3s =="'
    commands = {
        "make": f"case $1 in {failing}) {failure};; test*) {success}; esac",
        "chromium": "true",
        "sbatch": "true",
        "ip": "true",
        "python3": "true",
        "../.venv/bin/python": "true",
    }
    for name, body in commands.items():
        script = tmp_path / "bin" / name
        script.parent.resolve().mkdir(parents=True, exist_ok=True)
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(tmp_path / ".ci" / "run")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def without_seconds(line: str) -> str:
    """A line of the table with single spaces, and the seconds that a step took as "s"."""
    return re.sub(r" (\d+):\d\d ", r" \1:s ", " ".join(line.split()))


def test_ci_ends_with_the_minutes_of_each_step(tmp_path: Path) -> None:
    result = continuous_integration(tmp_path, "nothing")
    assert result.returncode == 0, result.stderr
    table = result.stdout.partition("minutes  result\n")[2].splitlines()
    assert [without_seconds(line) for line in table[:4]] == [
        "make lint 0:s passed",
        "make test-fast 0:s passed: 5 passed, 1 skipped in 3s",
        "make test TESTS=not unit and not ecosystem 0:s passed: 5 passed, 1 skipped in 3s",
        "make test-ecosystem 0:s passed: 5 passed, 1 skipped in 3s",
    ]
    assert len(table) == 9


def test_ci_ends_with_the_table_and_an_error_when_a_step_fails(tmp_path: Path) -> None:
    result = continuous_integration(tmp_path, "test")
    assert result.returncode == 2
    table = result.stdout.partition("minutes  result\n")[2].splitlines()
    assert without_seconds(table[-1]) == "make test TESTS=not unit and not ecosystem 0:s FAILED: 1 failed in 3s"
    assert len(table) == 3
