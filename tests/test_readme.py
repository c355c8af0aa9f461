import ast
import functools
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SCRIPT_ENVIRONMENT, SMOKE, load_recipe
from hub_server import HubServer

from bio_facts.cli import build_parser, main
from bio_facts.commands import data
from bio_facts.generate.config import CONFIGS, DATA_VERSION
from bio_facts.publish.build import build

DOCUMENTS = {name: (ROOT / name).read_text() for name in ("README.md", "dataset_card.md")}
BIN = Path(sys.executable).parent


def blocks(document: str, language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", DOCUMENTS[document], flags=re.DOTALL | re.MULTILINE)
    return [content for block_language, content in fenced if block_language == language]


HUB_MODEL = "EleutherAI/pythia-70m"  # in place of which the tests load a small one of their own
PYTHON_BLOCKS = [
    pytest.param(block, id=f"{document}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(blocks(document, "python"))
    if HUB_MODEL not in block
]


def documented(pattern: str) -> list[str]:
    """What matches in lines of unlabelled blocks and in `code` within the text, of all documents."""
    commands = []
    for document, text in DOCUMENTS.items():
        unlabelled = [re.sub(r"\\\n\s*", "", block) for block in blocks(document, "")]  # one line for each command
        commands += [line.split("   #")[0].rstrip() for block in unlabelled for line in block.splitlines()]
        without_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        commands += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", without_blocks)]
        commands += [
            line.split("then: ")[1] for block in blocks(document, "python") for line in re.findall(r"# .*then: .*", block)
        ]
    return sorted({code for code in commands if re.match(pattern, code)})


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub that has n1k as me/bio_facts, pushed by the documented command."""
    folder = tmp_path_factory.mktemp("hub")
    build({"n1k": CONFIGS["n1k"]}, folder / "export", num_workers=2)
    (push,) = (command for command in documented("bio-facts push ") if "--from" in command)
    with HubServer(folder / "hub") as server:
        words = shlex.split(push.replace("<you>", "me"))
        subprocess.run([BIN / words[0], *words[1:]], cwd=folder, env=server.environment(folder / "home"), check=True)
        yield server


@pytest.mark.ecosystem
@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_python_blocks_run(block: str, hub: HubServer, tmp_path: Path) -> None:
    home = {"HF_HOME": str(tmp_path / "home")}
    environment = hub.environment(tmp_path / "home") if "<you>" in block else SCRIPT_ENVIRONMENT | home
    (tmp_path / "block.py").write_text(block.replace("<you>", "me"))
    (tmp_path / "eval").symlink_to(ROOT / "eval")
    result = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_first_example_of_the_metric_takes_any_model_and_texts(tmp_path: Path) -> None:
    """And does so in six lines."""
    from kinds import model_of, tokenizer_of

    section = DOCUMENTS["README.md"].partition("\n## Measure\n")[2]
    block = section.partition("```python\n")[2].partition("```\n")[0]
    assert len([line for line in block.splitlines() if line]) == 6
    tokenizer = tokenizer_of("bio_facts")
    for saved in (model_of("llama", tokenizer), tokenizer):
        saved.save_pretrained(tmp_path / "model")
    assert HUB_MODEL in block
    (tmp_path / "block.py").write_text(block.replace(HUB_MODEL, "model"))
    result = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, env=SCRIPT_ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    metrics = ast.literal_eval(result.stdout)
    assert metrics["num_values"] == metrics["num_values/country"] == 1
    assert metrics["attribute_loss"] > 0


def test_bash_blocks_run_one_after_another(tmp_path: Path) -> None:
    for path in ("train", "eval", "loading_script"):
        (tmp_path / path).symlink_to(ROOT / path)
    environment = SCRIPT_ENVIRONMENT | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HF_HOME": str(tmp_path / "home")}
    for block in dict.fromkeys(block for document in DOCUMENTS for block in blocks(document, "bash")):  # each once
        for command in block.replace("\\\n", "").splitlines():
            result = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
            )
            assert result.returncode == 0, f"{command}\n{result.stderr}"
            assert result.stdout, command
    assert (tmp_path / "export" / "README.md").is_file()


def test_blocks_are_found() -> None:
    counted = {document: [len(blocks(document, language)) for language in ("python", "bash", "")] for document in DOCUMENTS}
    assert counted == {"README.md": [13, 5, 9], "dataset_card.md": [2, 1, 0]}


def test_commands_are_found() -> None:
    assert {command.split()[1] for command in documented("bio-facts ")} >= {"build", "push", "verify"}
    assert "bio-facts build n1k --output-dir export-n1k" in documented("bio-facts ")
    assert documented("python ") and documented("make ")


@pytest.mark.parametrize("command", [command for command in documented("bio-facts ") if " --" in command])
def test_documented_commands_are_parsed(command: str) -> None:
    if command.endswith(" --help") or " --print-completion " in command:
        with pytest.raises(SystemExit, match="0"):
            build_parser().parse_args(shlex.split(command)[1:])
        return
    assert build_parser().parse_args(shlex.split(command.replace("<you>", "me"))[1:]).command == command.split()[1]


@pytest.mark.parametrize("command", [command for command in documented("bio-facts ") if " --" not in command])
def test_commands_that_are_named_without_flags_exist(command: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        build_parser().parse_args([command.split()[1], "--help"])


@pytest.mark.parametrize("command", documented(r"python |accelerate launch "))
def test_documented_scripts_exist(command: str) -> None:
    scripts = [word for word in shlex.split(command) if word.endswith(".py")]
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)


@pytest.mark.parametrize("options", [code for code in documented("--") if len(code.split()) > 1])
def test_documented_recipe_options_are_recipe_keys(options: str, tmp_path: Path) -> None:
    from bio_facts.runs.arguments import parse_arguments

    given = shlex.split(options)
    settings = load_recipe(SMOKE, {}).as_dict()
    changed = parse_arguments("", ["--config", str(SMOKE), "--output_dir", str(tmp_path), *given]).recipe.as_dict()
    for option, value in zip(given[::2], given[1::2], strict=True):
        *folders, key = option.removeprefix("--").replace("-", "_").split(".")
        before, after = (functools.reduce(dict.__getitem__, folders, recipe) for recipe in (settings, changed))
        assert key in before
        assert after[key] == float(value)


def cluster_block() -> str:
    (block,) = (block for block in blocks("README.md", "") if "SlurmPipelineExecutor" in block)
    return block


def local_block() -> str:
    (block,) = (block for block in blocks("README.md", "python") if "LocalPipelineExecutor" in block)
    return block


@pytest.mark.ecosystem
def test_cluster_example_fits_the_executors_and_the_command_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from datatrove import executor

    started = []

    class NotStarted:
        def __init__(self, kind: type, *given: Any, **named: Any) -> None:
            self.arguments = inspect.signature(kind).bind(*given, **named).arguments

        def run(self) -> None:
            started.append(self.arguments)

    for name in ("SlurmPipelineExecutor", "RayPipelineExecutor"):
        kind = getattr(executor, name)
        monkeypatch.setattr(executor, name, lambda *given, kind=kind, **named: NotStarted(kind, *given, **named))
    exec(compile(local_block() + cluster_block(), "README.md", "exec"), {"__name__": "not main"})
    assert len(started) == 2
    (step,) = started[0]["pipeline"]

    built = []
    monkeypatch.setattr(data, "is_built", lambda configs, out: False)
    monkeypatch.setattr(data, "build", lambda configs, out, num_workers: built.append((configs, out)) or 0)
    (command,) = (command for command in documented("bio-facts build") if str(step.output_dir) in command)
    assert main(shlex.split(command)[1:]) == 0
    assert built == [(step.configs, step.output_dir)]


@pytest.mark.ecosystem
def test_loading_script_is_refused_by_this_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    (call,) = documented(r"load_dataset\(\"loading_script/")
    assert "With `datasets` 3" in DOCUMENTS["README.md"]
    monkeypatch.chdir(ROOT)
    with pytest.raises(RuntimeError, match="scripts are no longer supported"):
        eval(call, {"load_dataset": datasets.load_dataset})


@pytest.mark.parametrize("command", documented("make "))
def test_documented_make_targets_exist(command: str) -> None:
    subprocess.run(["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, check=True, capture_output=True)


def test_map_of_files_has_every_module_once() -> None:
    (content,) = blocks("README.md", "text")
    listed, folder = [], ""
    for line in filter(None, content.splitlines()):
        if not line.startswith(" "):
            folder = line.split()[0]
            continue
        names, _ = re.split(r" {2,}", line.strip(), maxsplit=1)  # each with what it is for
        listed += [folder + name for name in names.split(", ")]
    command = ["git", "ls-files", "bio_facts/*.py", "train/*.py", "eval/*.py"]
    tracked = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert set(listed) == set(tracked)
    assert len(listed) == len(tracked)


def test_linked_files_exist() -> None:
    links = {
        document: [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith(("http", "#"))]
        for document, text in DOCUMENTS.items()
    }
    assert links["README.md"]
    assert [link for link in links["README.md"] if not (ROOT / link).exists()] == []
    assert links["dataset_card.md"] == []  # on the Hub there is nothing to link to


MARKDOWN = [
    *ROOT.glob("*.md"),
    *(
        path
        for folder in ("benchmarks", "bio_facts", "docs", "eval", "loading_script", "tests", "train")
        for path in (ROOT / folder).rglob("*.md")
    ),
]


def test_no_line_of_markdown_is_longer_than_120_characters() -> None:
    lines = [
        (str(path.relative_to(ROOT)), number)
        for path in MARKDOWN
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 120 and not line.startswith("|")  # rows of tables cannot be divided
    ]
    assert lines == []
    assert {str(path.relative_to(ROOT)) for path in MARKDOWN} >= {"CHANGELOG.md", "train/recipes/replay/README.md", *DOCUMENTS}


def test_all_documents_cite_the_paper_alike_and_readme_and_card_this_dataset() -> None:
    card = (ROOT / "eval" / "attribute_recall" / "README.md").read_text(encoding="utf-8")
    entries = {name: blocks(name, "bibtex") for name in DOCUMENTS}
    assert entries["README.md"] == entries["dataset_card.md"]
    paper, dataset = entries["README.md"][0].split("\n\n")
    assert paper in card
    assert f"Data version {DATA_VERSION}" in dataset


def test_tag_of_the_examples_is_that_of_the_data_version() -> None:
    tags = [tag for text in DOCUMENTS.values() for tag in re.findall(r'revision="([^"]+)"', text)]
    assert set(tags) == {f"v{DATA_VERSION}"}
