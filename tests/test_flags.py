"""Flags are accepted with dashes and with underscores, however the command declares them; and how an error ends a command."""

import subprocess
import sys

import pytest

from bio_facts.checks import Parser


def parser() -> Parser:
    made = Parser(prog="command")
    made.add_argument("--output-file")
    made.add_argument("--num_rows", type=int)
    sample = made.add_subparsers(dest="name").add_parser("sample")
    sample.add_argument_group("data").add_argument("--pool-sizes", action="append")
    sample.add_argument("rest", nargs="*")
    return made


@pytest.mark.parametrize("flag", ["--output-file", "--output_file"])
def test_a_flag_declared_with_dashes(flag):
    assert parser().parse_args([flag, "a_b"]).output_file == parser().parse_args([f"{flag}=a_b"]).output_file == "a_b"


@pytest.mark.parametrize("flag", ["--num-rows", "--num_rows"])
def test_a_flag_declared_with_underscores(flag):
    assert parser().parse_args([flag, "3"]).num_rows == 3


def test_flags_of_a_subcommand_and_values_that_are_left_alone():
    parsed = parser().parse_args(["sample", "--pool_sizes", "a_b=c_d", "--pool-sizes=e_f", "--", "--pool_sizes"])
    assert parsed.pool_sizes == ["a_b=c_d", "e_f"]
    assert parsed.rest == ["--pool_sizes"]


def test_the_command_line_of_the_process(monkeypatch):
    monkeypatch.setattr("sys.argv", ["command", "--output_file", "x"])
    assert parser().parse_args().output_file == "x"


def test_an_unknown_flag_is_named_as_it_was_given(capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--no_such_flag"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "command: error: unrecognized arguments: --no_such_flag\n"


@pytest.mark.parametrize(("options", "has_traceback"), [([], False), (["-X", "dev"], True)])
def test_an_error_is_one_line_and_has_its_traceback_in_development_mode(options, has_traceback):
    program = """
from bio_facts.checks import exit_with_error
try:
    [].index(3)
except ValueError as error:
    exit_with_error(error)
"""
    ended = subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True)
    *before, last = ended.stderr.splitlines()
    assert (ended.returncode, last) == (2, "-c: error: 3 is not in list")
    assert ("Traceback (most recent call last):" in before) is has_traceback
    assert bool(before) is has_traceback


def test_an_error_without_an_exception_has_no_traceback():
    program = "from bio_facts.checks import exit_with_error; exit_with_error('no', code=1)"
    ended = subprocess.run([sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "-c: error: no\n")
