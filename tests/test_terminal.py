"""What bio-facts does on a terminal, on a real one: a pseudoterminal of the operating system."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

import bio_facts

pty = pytest.importorskip("pty", reason="this operating system has no pseudoterminals")

COLOR = re.compile(r"\x1b\[([\d;]*)m")
CONFIG = bio_facts.CONFIGS["n1k"]


def printed(*arguments: str, **variables: str) -> str:
    """What a command prints on a terminal."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | variables
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "bio_facts.cli", *arguments]
    with subprocess.Popen(command, stdout=end, env=environment) as process:
        os.close(end)
        content = b""
        try:
            while block := os.read(terminal, 65_536):
                content += block
        except OSError:  # on Linux, the end of a terminal
            pass
    os.close(terminal)
    assert process.returncode == 0
    return content.decode().replace("\r\n", "\n")


def in_color(line: str) -> list[tuple[str, str]]:
    """(color, text) of each part of a line that is in a color."""
    return re.findall(r"\x1b\[([\d;]+)m([^\x1b]*)\x1b\[0m", line)


@pytest.mark.parametrize(("config", "split"), [("n1k", "train"), ("n1k-questions", "questions_asked")])
def test_sample_shows_names_in_one_color_and_values_in_another(config: str, split: str) -> None:
    (row,) = bio_facts.rows(bio_facts.draw(bio_facts.CONFIGS[config], split, [3]))
    text = printed("sample", config, "--split", split, "--start", "3").splitlines()[1]
    assert COLOR.sub("", text) == row["text"]
    names = [row["text"][span["start"] : span["end"]] for span in row["name_spans"]]
    by_color: dict[str, list[str]] = {}
    for color, part in in_color(text):
        by_color.setdefault(color, []).append(part)
    assert sorted(by_color.values()) == sorted([names, [entry["value"] for entry in row["attributes"]]])


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"}), (["--json"], {})],
    ids=["NO_COLOR", "TERM=dumb", "JSON"],
)
def test_sample_is_without_color(arguments: list[str], variables: dict[str, str]) -> None:
    content = printed("sample", "n1k", *arguments, **variables)
    assert bio_facts.rows(bio_facts.draw(CONFIG, "train", [0]))[0]["text"] in content
    assert "\x1b" not in content


def test_empty_no_color_does_not_count() -> None:
    """As https://no-color.org says."""
    assert COLOR.search(printed("sample", "n1k", NO_COLOR=""))
