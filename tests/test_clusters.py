"""A build and a sweep on real clusters of this machine: a Slurm node and a local Ray, both on the loopback interface alone.

Skipped where a cluster cannot be set up. Slurm: apt-get install slurmctld slurmd slurm-client munge.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_build import CONFIGS
from conftest import ROOT, SCRIPT_ENVIRONMENT, contents, ecosystem

from bio_facts.publish.build import build

pytestmark = ecosystem("datatrove")

NODE = str(ROOT / ".ci" / "slurm_node")
COMMAND = [sys.executable, str(ROOT / "tests" / "cluster_build.py")]
PATHS = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
ENVIRONMENT = {name: text for name, text in SCRIPT_ENVIRONMENT.items() if not name.startswith("SLURM_")} | PATHS


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `bio-facts build` makes by itself. Read only."""
    folder = tmp_path_factory.mktemp("built") / "export"
    build(CONFIGS, folder, 2)
    return folder


def processes_that_write(tmp_path: Path, is_running: Callable[[], bool]) -> list[int]:
    """The ids of the process that is writing the train shard, after that of its parent."""
    alive_until = 0.0
    while not list(tmp_path.glob("export.partial/data/small/train-*.unfinished")):
        if time.monotonic() > alive_until:
            assert is_running(), "it ended before it could be killed"
            alive_until = time.monotonic() + 1
        time.sleep(0.001)
    return [int(number) for number in (tmp_path / "logs-processes" / "0").read_text().split()]


# Slurm


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find a cluster of one node."""
    folder = tmp_path_factory.mktemp("slurm") / "node"
    started = subprocess.run([NODE, "start", folder], capture_output=True, text=True)
    if started.returncode != 0:
        pytest.skip(started.stderr.strip().splitlines()[-1])
    yield ENVIRONMENT | {"SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run([NODE, "stop", folder], check=True)


def has_jobs(slurm: dict[str, str]) -> bool:
    """Whether Slurm has a job that has not ended."""
    return subprocess.run(["squeue", "--noheader"], env=slurm, check=True, capture_output=True).stdout != b""


def wait_for_jobs(slurm: dict[str, str]) -> None:
    """Until all jobs have ended. Each has a time limit."""
    while has_jobs(slurm):
        time.sleep(0.2)


def test_export_by_slurm_with_a_killed_task_is_that_of_build(slurm: dict[str, str], built: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "slurm", str(tmp_path / "export"), str(tmp_path / "logs")]
    completed = tmp_path / "logs" / "completions"
    subprocess.run(command, env=slurm, check=True, cwd=tmp_path)
    _, task = processes_that_write(tmp_path, lambda: has_jobs(slurm))
    os.kill(task, signal.SIGKILL)
    wait_for_jobs(slurm)
    assert sorted(path.name for path in completed.iterdir()) == ["00001", "00002"]

    subprocess.run(command, env=slurm, check=True, cwd=tmp_path)
    wait_for_jobs(slurm)
    assert sorted(path.name for path in completed.iterdir()) == ["00000", "00001", "00002"]
    build(CONFIGS, tmp_path / "export", 2)
    assert contents(tmp_path / "export") == contents(built)


def test_sweep_by_slurm_arrays_is_judged_at_its_end(slurm: dict[str, str], tmp_path: Path) -> None:
    """By the commands of the README, with the smoke recipes."""
    (block,) = re.findall(r"^```\n([^`]*sbatch[^`]*)^```$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    script = block.replace("--scale mini", "--scale smoke --claims fine_tuning --output-dir out")
    assert script.count("--scale smoke") == 2
    for name in ("train", "eval"):
        (tmp_path / name).symlink_to(ROOT / name)
    subprocess.run(["bash", "-euc", script], env=slurm, check=True, cwd=tmp_path)
    wait_for_jobs(slurm)
    outputs = {path.name: path.read_text() for path in tmp_path.glob("slurm-*.out")}
    runs = {path.parent.name for path in (tmp_path / "out").glob("*/metrics.jsonl")}
    assert runs == {"three_phases-s20", *(f"fine_tuning-{arm}-s20" for arm in ("64th", "16th", "quarter"))}, outputs
    assert len(outputs) == len(runs) + 1  # a task for each run, and the job that judges
    assert json.loads((tmp_path / "out" / "fine_tuning" / "smoke.json").read_text())["seeds"] == [20]
    assert list((tmp_path / "out" / "logs").iterdir()) == []  # run_all.py has started no run by itself


# Ray


def loopback(*command: str) -> list[str]:
    """A command in a network that has the loopback interface alone."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *user, "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]


def test_export_by_ray_with_a_killed_worker_is_that_of_build(built: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed here: make test-ecosystem")
    try:
        subprocess.run(loopback("true"), check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a network with the loopback interface alone cannot be made here: {getattr(error, 'stderr', error)}")
    command = loopback(*COMMAND, "ray", str(tmp_path / "export"), str(tmp_path / "logs"))
    environment = ENVIRONMENT | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    with (tmp_path / "output").open("w+") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, text=True)
        for number in processes_that_write(tmp_path, lambda: process.poll() is None):
            os.kill(number, signal.SIGKILL)
        assert process.wait(timeout=600) == 0
    assert "actor died" in (tmp_path / "output").read_text()
    assert len(list((tmp_path / "logs" / "completions").iterdir())) == 3  # Ray has run the task of the worker again
    build(CONFIGS, tmp_path / "export", 2)
    assert contents(tmp_path / "export") == contents(built)
