import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SCRIPT_ENVIRONMENT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_blocks_run(block: str) -> None:
    result = subprocess.run([sys.executable, "-c", block], env=SCRIPT_ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize("command", [line for block in blocks("bash") for line in block.splitlines()])
def test_commands_run(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)
    program = [str(Path(sys.executable).parent / words[0]), *(word.replace("runs/", f"{tmp_path}/") for word in words[1:])]
    result = subprocess.run(program, env=SCRIPT_ENVIRONMENT, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_blocks_are_found() -> None:
    assert len(blocks("python")) == 2
    assert len(blocks("bash")) == 2


def test_documented_make_targets_exist() -> None:
    for target in re.findall(r"\bmake ([a-z]+)", README):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_linked_files_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
