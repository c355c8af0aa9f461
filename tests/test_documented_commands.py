"""Every command in docstrings, recipes and READMEs does what its text says, or is read and planned where that takes long.

test_readme.py runs the blocks of README.md and of the data set card.
"""

import argparse
import ast
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SMOKE, run_script
from written_runs import BASELINE, curve, write_run

from bio_facts.cli import build_parser
from bio_facts.generate.config import get_config
from bio_facts.runs.memory_recipe import MemoryRecipe

BEGINNING = re.compile(r"(?:[A-Z_]+=\S+ )*(?:python|accelerate|torchrun|bio-facts|lm_eval|inspect|make) ")
MODULES = [
    file
    for folder in (
        *("bio_facts", "train", "eval", "eval/analysis", "eval/attribute_recall", "eval/lm_eval"),
        *("benchmarks", "docs/examples"),
    )
    for file in sorted((ROOT / folder).glob("*.py"))
]
RECIPES = ROOT / "train" / "recipes"
READMES = [
    *(ROOT / "README.md", ROOT / "dataset_card.md"),
    *sorted((ROOT / "eval").glob("*/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
TRAINING = ("pretrain.py", "train_memory.py")


def commands_in(text: str) -> Iterator[str]:
    """Lines that are commands, without the comment behind them; a line that ends in a backslash goes on in the next one."""
    for line in re.sub(r"\s*\\\n[ #]*", " ", text).splitlines():
        stripped = re.split(r"\s+#", line.strip())[0]
        if BEGINNING.match(stripped):
            yield stripped


def sources() -> Iterator[tuple[Path, str]]:
    """(file, the text of it that has commands)."""
    for file in MODULES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        yield file, ast.get_docstring(tree) or ""
    for file in sorted(RECIPES.glob("*/README.md")):
        yield file, "\n".join(re.findall(r"^    (?=\S).*(?:\n .*)*", file.read_text(encoding="utf-8"), flags=re.MULTILINE))
    for file in sorted(RECIPES.glob("*/*.yaml")):
        yield file, "\n".join(re.findall(r"^#(.*)", file.read_text(encoding="utf-8"), flags=re.MULTILINE))
    for file in READMES:
        text = file.read_text(encoding="utf-8")
        yield file, "\n".join(re.findall(r"^```(?:bash)?\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE))
    helps = [command.epilog or "" for command in build_parser()._subparsers._group_actions[0].choices.values()]  # type: ignore
    yield ROOT / "bio_facts" / "cli.py", "\n".join(helps)


COMMANDS = sorted({(str(file.relative_to(ROOT)), command) for file, text in sources() for command in commands_in(text)})


def of_script(pattern: str) -> pytest.MarkDecorator:
    """For the commands of the scripts whose path matches."""
    chosen = [(source, command) for source, command in COMMANDS if re.fullmatch(pattern, script_of(source, command))]
    assert chosen, pattern
    return pytest.mark.parametrize(("source", "command"), chosen, ids=[f"{source}: {command}" for source, command in chosen])


def script_of(source: str, command: str) -> str:
    """The Python file that a command runs, relative to the repository; "" if it runs none; it may stand beside the source."""
    scripts = [word for word in shlex.split(command) if word.endswith(".py")]
    if not scripts:
        return ""
    beside = (ROOT / source).parent / scripts[0]
    return str(beside.relative_to(ROOT)) if "/" not in scripts[0] and beside.is_file() else scripts[0]


def arguments_of(command: str) -> list[str]:
    words = shlex.split(command.replace("<you>", "you"))
    script = next(place for place, word in enumerate(words) if word.endswith(".py"))
    return words[script + 1 :]


# Which commands are tested


def test_every_kind_of_source_has_commands() -> None:
    """At least one source of each kind has commands; otherwise a search that misses them would pass."""
    sources = {source for source, _ in COMMANDS}
    assert {str(file.relative_to(ROOT)) for file in RECIPES.glob("*/README.md")} <= sources
    assert {"eval/report.py", "eval/publish_results.py", *(f"eval/analysis/{name}.py" for name in claims())} <= sources
    assert {"train/run_all.py", "train/pretrain.py", "train/train_tokenizer.py", "benchmarks/build.py"} <= sources
    assert {"train/recipes/three_phases/paper.yaml", "eval/lm_eval/README.md", "bio_facts/cli.py", "README.md"} <= sources
    assert len(COMMANDS) > 80


def test_command_that_goes_on_in_the_next_line_is_one() -> None:
    text = "Text.\n\n  python a.py x \\\n      --y z    # why\n  FEW=1 python b.py\n  made of python\n"
    assert list(commands_in(text)) == ["python a.py x --y z", "FEW=1 python b.py"]


def test_script_of_every_command_exists() -> None:
    scripts = {(source, command): script_of(source, command) for source, command in COMMANDS}
    assert [where for where, script in scripts.items() if script and not (ROOT / script).is_file()] == []
    others = {" ".join(command.split()[:2]) for (_, command), script in scripts.items() if not script}
    programs = {"bio-facts", "lm_eval", "inspect", "make", "GRADIO_SERVER_PORT=8000"}
    assert {other for other in others if other.split()[0] not in programs} <= {"python -c"}


# Training


def claims() -> tuple[str, ...]:
    import run_all

    return tuple(run_all.claims_of("mini"))


@of_script(rf"train/({'|'.join(TRAINING)})")
def test_training_command_is_read_and_its_recipe_is_for_that_script(
    source: str, command: str, tmp_path: Path, smoke_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import train_memory

    from bio_facts.runs.arguments import parse_arguments
    from bio_facts.runs.recipe_files import read_recipe_file

    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").symlink_to(ROOT / "train")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(smoke_run)  # whose config.json is repeated
    script = Path(script_of(source, command)).name
    argv = [str(SMOKE) if word == "RECIPE.yaml" else word for word in arguments_of(command)]
    is_memory = script == "train_memory.py"
    output_dir = train_memory.parse_arguments(argv)[1] if is_memory else parse_arguments("", argv).output_dir
    assert str(output_dir).startswith("runs/")
    file = read_recipe_file(Path(argv[argv.index("--config") + 1]))
    assert is_memory or ("--source" in argv) == any(file.source_of(arm) is not None for arm in file.arms)


@of_script(r"train/run_all\.py")
def test_command_of_run_all_is_planned(
    source: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import run_all

    arguments = arguments_of(re.split(r" [|>] ", command)[0])
    is_printed = "--commands" in arguments
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_all, "check_committed", lambda *_: None)  # --commands prints none of changed recipes
    monkeypatch.setattr(sys, "argv", ["run_all.py", *arguments, *([] if is_printed else ["--plan"])])
    assert run_all.main() == 0
    line = r"^\S+ \S+/pretrain\.py --config" if is_printed else r"^\d+ runs; \d+ to do"
    assert re.search(line, capsys.readouterr().out, flags=re.MULTILINE)


OPTIONS = sorted(
    (file.parent.name, " ".join(code.split()))
    for file in RECIPES.glob("*/README.md")
    for code in re.findall(r"`(--[^`]+)`", file.read_text(encoding="utf-8"))
    if " " in code.strip()
)


@pytest.mark.parametrize(("claim", "options"), OPTIONS)
def test_options_in_the_text_of_a_recipe_are_its_keys(claim: str, options: str, tmp_path: Path) -> None:
    from bio_facts.runs.arguments import parse_arguments

    given = ["--config", str(RECIPES / claim / "mini.yaml"), "--output-dir", str(tmp_path), *shlex.split(options)]
    assert parse_arguments("", given).output_dir == tmp_path


# Analyses, on runs that are written under the names that run_all.py gives


def curves_of(recipe: Any) -> dict[str, list[dict[str, Any]]]:
    """Curves on which every claim can be judged: statistics, a plateau that is longer with more individuals, knowledge."""
    if isinstance(recipe, MemoryRecipe):
        lines = [{"step": step, "loss": 0.1 + step, "accuracy": 1 - step / 10_000} for step in (0, 100, recipe.num_steps)]
        return {"pretrain": lines, "new": lines}
    end = round(1_200 * (recipe.data.num_individuals / 1_600) ** 0.8)
    steps = sorted(recipe.eval_steps)
    losses = [14.0 if step < end // 5 else BASELINE if step < end else 1.0 for step in steps]
    known = {split: [0.0 if step < end else 0.9 for step in steps] for split in recipe.evaluated_splits}
    curves = {split: curve(losses, accuracies, steps=steps) for split, accuracies in known.items()}
    with_attention = ("validation", "pretrain_validation") if recipe.num_attention_biographies else ()
    for line in [line for split in with_attention for line in curves.get(split, [])]:
        layers = [0.3 if line["step"] < end else 0.6] * 4
        line |= {f"attention_{name}": layers for name in ("value_to_name", "value_to_text", "name_to_name", "entropy")}
    if recipe.num_fact_individuals:
        for line in curves["questions_not_asked"]:
            counts = {"facts": [[190, 5, 3, 2]] * 6, "facts_selection": [[95, 3, 1, 1]] * 6, "num_exchanged": [5] * 6}
            probes = {
                f"probe_{place}{control}": [0.03] * 3 for place in ("in_text", "at_name") for control in ("", "_shuffled")
            }
            num_questions = recipe.data.phases.num_questions(line["step"] * recipe.batch_size)
            num_biographies = line["step"] * recipe.batch_size - num_questions
            line |= counts | probes | {"num_questions": num_questions, "num_biographies": num_biographies}
    return curves


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as after `make paper` and `make demo`, with written runs of all claims, beside the scripts."""
    from run_all import plan_claims

    folder = tmp_path_factory.mktemp("laid_out")
    for path in ("train", "bio_facts", "eval"):
        (folder / path).symlink_to(ROOT / path)
    for job in plan_claims(claims(), "mini", Path("runs/paper-mini")).jobs:
        run = folder / "runs" / "paper-mini" / job.name
        data = None if isinstance(job.recipe, MemoryRecipe) else job.recipe.data.parameters
        write_run(run, curves_of(job.recipe), data, **job.recipe.as_dict())
        config = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps(config | {"registration": job.registration, "precision": "float32"}))
    for name in ("demo", "three_phases-0"):
        (folder / "runs" / name).symlink_to(folder / "runs" / "paper-mini" / "three_phases-s20")
    return folder


def run_in(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a command, with this Python."""
    print_words = ["bash", "-c", f"printf '%s\\n' {command}"]
    python, script, *arguments = subprocess.run(
        print_words, cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert python == "python"
    return run_script(script, *arguments, cwd=folder)


@of_script(rf"eval/analysis/({'|'.join(claims())})\.py")
def test_command_of_an_analysis_judges_the_runs_of_its_claim(source: str, command: str, laid_out: Path) -> None:
    results = laid_out / "results"
    result = run_in(laid_out, command.replace("--results eval/results/", "--results results/"))
    assert result.returncode == 0, result.stderr
    assert "\nverdict: " in result.stdout
    assert "\npicture: " in result.stdout
    if "--results" in command:
        claim = Path(script_of(source, command)).stem
        assert f"--results eval/results/{claim}/mini.json" in command
        assert json.loads((results / claim / "mini.json").read_text())["claim"] == claim


@of_script(r"eval/report\.py")
def test_command_of_the_report_writes_a_page(source: str, command: str, laid_out: Path) -> None:
    result = run_in(laid_out, command)
    assert result.returncode == 0, result.stderr
    page = laid_out / shlex.split(command)[-1]
    assert "<h2>The figures of the paper</h2>" in page.read_text(encoding="utf-8")
    page.unlink()


@pytest.mark.parametrize("claim", claims())
def test_every_claim_has_a_command_for_its_committed_results(claim: str) -> None:
    commands = [command for source, command in COMMANDS if source == f"eval/analysis/{claim}.py"]
    assert any(command.endswith(f"--results eval/results/{claim}/mini.json") for command in commands)


# The others


@of_script(r"train/train_tokenizer\.py")
def test_command_of_the_tokenizer_makes_the_one_that_is_shipped(source: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "train").symlink_to(ROOT / "train")
    result = run_in(tmp_path, command)
    assert result.returncode == 0, result.stderr
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (ROOT / "bio_facts/data/tokenizer" / name).read_bytes()


class Parsed(Exception):
    """The command line of a script was read."""


@of_script(r"(benchmarks/.*|eval/(score_model|make_example)|eval/lm_eval/tokens_apart)\.py")
def test_command_is_one_that_the_script_reads(source: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the script's own parser; the script stops after it."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *arguments: Any) -> None:
        raise Parsed(vars(parse(parser, *arguments)))

    script = ROOT / script_of(source, command)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [script.name, *arguments_of(command)])
    monkeypatch.syspath_prepend(str(script.parent))
    with pytest.raises(Parsed) as parsed:
        runpy.run_path(str(script), run_name="__main__")
    given = parsed.value.args[0]
    for name in ("dataset", "config"):
        if given.get(name) is not None:
            get_config(given[name])


@pytest.mark.parametrize(("source", "command"), [one for one in COMMANDS if one[1].startswith("bio-facts ")])
def test_command_of_bio_facts_is_one_that_it_reads(source: str, command: str) -> None:
    arguments = build_parser().parse_args(shlex.split(command.replace("<you>", "you"))[1:])
    configs = getattr(arguments, "config", getattr(arguments, "dataset", None)) or []
    for name in [configs] if isinstance(configs, str) else configs:
        assert "*" in name or get_config(name)


@pytest.mark.parametrize(("source", "command"), [one for one in COMMANDS if one[1].startswith("make ")])
def test_target_of_make_exists(source: str, command: str) -> None:
    subprocess.run(["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, check=True, capture_output=True)
