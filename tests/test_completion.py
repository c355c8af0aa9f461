"""bio-facts --print-completion: what a real shell completes with it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMANDS, ROOT, refused

from bio_facts.cli import build_parser, main
from bio_facts.generate.config import CONFIGS


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["--print-completion", shell])
    captured = capsys.readouterr()
    assert (exit_.value.code, captured.err) == (0, "")
    return captured.out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bio-facts ", set(COMMANDS)),
        ("bio-facts sample n64k-g", {name for name in CONFIGS if name.startswith("n64k-g")}),
        ("bio-facts sample n1k --spl", {"--split"}),
        ("bio-facts score model --dataset templ", {"templates"}),
        ("bio-facts verify exp", {"export"}),
        ("bio-facts plot runs/fi", {"runs/first"}),
    ],
)
def test_bash_completes(line: str, expected: set[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "runs" / "first").mkdir(parents=True)
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}\n"
    ask += "$(complete -p bio-facts | sed 's/.*-F \\([^ ]*\\).*/\\1/') bio-facts\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    result = subprocess.run(
        ["bash", "--norc", "-c", script("bash", capsys) + ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert {word.strip() for word in result.stdout.split("\n")} - {""} == expected, result.stderr


def test_zsh_gets_a_script_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    content = script("zsh", capsys)
    assert content.startswith("#compdef bio-facts\n")
    assert all(command in content for command in COMMANDS)
    if zsh := shutil.which("zsh"):
        subprocess.run([zsh, "-n"], input=content, text=True, check=True)


def test_other_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "argument --print-completion: invalid choice: 'fish'" in refused(capsys, "--print-completion", "fish")


def test_names_of_configs_are_still_checked_by_the_commands_themselves() -> None:
    """Patterns such as n64k* are no names."""
    assert build_parser().parse_args(["build", "n64k*", "--output-dir", "x"]).config == ["n64k*"]


def test_reader_that_stops_early_leaves_no_traceback() -> None:
    command = f"set -o pipefail; {sys.executable} -m bio_facts.cli --print-completion bash | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
