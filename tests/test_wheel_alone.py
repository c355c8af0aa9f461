"""The wheel in an environment without the clone: data, scores, callback, harnesses and TransformerLens in a few lines.

The environment has the packages of the one that runs the tests, but not its bio_facts.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SCRIPT_ENVIRONMENT

import bio_facts

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
LIMIT = 12  # values, those of two biographies
COMMAND = """#!{python}
import sys
from importlib.metadata import entry_points

(found,) = entry_points(group="console_scripts", name={name!r})
sys.exit(found.load()())
"""
INSTALLED = """
import sys
from importlib.metadata import distribution, entry_points
import bio_facts

print(bio_facts.__file__)
print(distribution("bio-facts").locate_file(""))
for group, name in (("console_scripts", "bio-facts"), ("inspect_ai", "bio_facts")):
    (found,) = entry_points(group=group, name=name)
    print(found.dist.locate_file(""))
"""
DATASET = """
import bio_facts
data = bio_facts.load_dataset("n1k", split="train", num_biographies=1_000)
print(data[7]["text"])
"""
ROWS = """
import bio_facts
rows = bio_facts.rows(bio_facts.draw(bio_facts.CONFIGS["n1k"], "train", range(1_000)))
print(rows[7]["text"])
"""
OWN_MODEL = """
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

model, tokenizer = (kind.from_pretrained("MODEL") for kind in (AutoModelForCausalLM, AutoTokenizer))
texts = [{"input_ids": ids, "labels": ids} for ids in [list(range(20))] * 16]
options = {"per_device_train_batch_size": 4, "report_to": "none", "use_cpu": True, "disable_tqdm": True}
trainer = Trainer(model, TrainingArguments("trained", max_steps=2, **options), train_dataset=texts)
"""
SCORE = """
import bio_facts
rows = bio_facts.rows(bio_facts.draw(bio_facts.CONFIGS["n1k"], "validation", range(4)))
print(bio_facts.score(model, tokenizer, rows).summary()["attribute_loss"])
"""
CALLBACK = """
from bio_facts.measure.callbacks import AttributeEvaluation
recall = AttributeEvaluation(tokenizer, "n1k", num_biographies=4, steps=[0, 2]).attach(trainer)
trainer.train()
"""


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment. A .pth file can name a folder; the .pth files in that, such as an editable install has, are not read."""
    folder = tmp_path_factory.mktemp("alone") / "venv"
    venv.create(folder)
    python = folder / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *options, wheel], check=True)
    (packages,) = folder.glob("lib/*/site-packages")
    shared = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "shared.pth").write_text("".join(f"{path}\n" for path in shared))
    for name in ("lm_eval", "inspect"):  # as pip writes them
        command = folder / "bin" / name
        command.write_text(COMMAND.format(python=python, name=name))
        command.chmod(0o755)
    return folder


@pytest.fixture
def run(alone: Path, tmp_path: Path) -> Callable[[str], str]:
    """What a line of bash prints in the environment, in an empty folder."""
    kept = {name: value for name, value in SCRIPT_ENVIRONMENT.items() if not name.startswith("PYTHON")}
    path = f"{alone / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = kept | OFFLINE | {"PATH": path, "HF_HOME": str(tmp_path / "home"), "PYTHONNOUSERSITE": "1"}

    def run(line: str) -> str:
        result = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.fixture
def run_python(run: Callable[[str], str], tmp_path: Path) -> Callable[[str], str]:
    def run_python(program: str) -> str:
        (tmp_path / "program.py").write_text(program)
        return run("python program.py")

    return run_python


@pytest.fixture(scope="module")
def checkpoint(smoke_run: Path) -> Path:
    return smoke_run / "models" / "step-30"


def lines(program: str) -> int:
    return len([line for line in program.splitlines() if line])


def documented(page: str, beginning: str) -> str:
    """The one command in the code of a page that begins so."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if re.match(beginning, line)]
    assert len(found) == 1, found
    return found[0]


def test_environment_has_the_wheel_and_not_the_clone(alone: Path, run_python: Callable[[str], str]) -> None:
    printed = run_python(INSTALLED).splitlines()
    assert len(printed) == 4
    assert [line for line in printed if not Path(line).is_relative_to(alone)] == []
    assert str(ROOT) not in run_python("import sys; print(sys.path)").replace("'", " ").replace(",", " ").split()


def test_rows_take_three_lines(run_python: Callable[[str], str]) -> None:
    assert lines(ROWS) == 3
    assert run_python(ROWS) == bio_facts.rows(bio_facts.draw(bio_facts.CONFIGS["n1k"], "train", [7]))[0]["text"] + "\n"


@pytest.mark.ecosystem
def test_a_dataset_takes_three_lines(run_python: Callable[[str], str]) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed here: make test-ecosystem")
    assert lines(DATASET) == 3
    printed = run_python(DATASET).splitlines()[-1]
    assert printed == bio_facts.rows(bio_facts.draw(bio_facts.CONFIGS["n1k"], "train", [7]))[0]["text"]


def expected_loss(model: Any, tokenizer: Any, num_rows: int) -> float:
    rows = bio_facts.rows(bio_facts.draw(bio_facts.CONFIGS["n1k"], "validation", range(num_rows)))
    return float(bio_facts.score(model, tokenizer, rows).summary()["attribute_loss"])


def test_scores_of_your_model_take_three_lines(
    run_python: Callable[[str], str], checkpoint: Path, model: Any, tokenizer: Any
) -> None:
    assert lines(SCORE) == 3
    printed = run_python(OWN_MODEL.replace("MODEL", str(checkpoint)) + SCORE).splitlines()[-1]
    assert float(printed) == pytest.approx(expected_loss(model, tokenizer, 4), rel=1e-5)


def test_measuring_in_your_trainer_takes_three_lines(
    run_python: Callable[[str], str], checkpoint: Path, model: Any, tokenizer: Any
) -> None:
    assert lines(CALLBACK) == 3
    shown = "\nprint([[line['step'], line['split'], line['attribute_loss']] for line in recall.history])"
    program = OWN_MODEL.replace("MODEL", str(checkpoint)) + CALLBACK + shown
    history = json.loads(run_python(program).splitlines()[-1].replace("'", '"'))
    assert {(step, split) for step, split, _ in history} == {
        (step, split) for step in (0, 2) for split in ("validation", "unseen")
    }
    (first,) = (loss for step, split, loss in history if (step, split) == (0, "validation"))
    assert first == pytest.approx(expected_loss(model, tokenizer, 4), rel=1e-4)


@pytest.mark.ecosystem
def test_lm_eval_takes_one_command(
    run: Callable[[str], str], alone: Path, checkpoint: Path, tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    pytest.importorskip("lm_eval", reason="lm_eval is not installed here: make test-ecosystem")
    assert Path(run("bio-facts lm-eval-path").strip()).is_relative_to(alone)
    command = documented("harnesses.md", "lm_eval run .*bio_facts_cloze").replace("MODEL", str(checkpoint))
    run(f"{command} --device cpu --limit {LIMIT} --output_path out")
    (file,) = tmp_path.glob("out/*/results_*.json")
    results = json.loads(file.read_text())["results"]
    assert results["bio_facts_cloze_validation"]["attribute_loss,none"] == pytest.approx(
        expected_loss(model, tokenizer, LIMIT // 6), rel=1e-4
    )
    assert results["bio_facts_cloze_unseen"]["attribute_loss,none"] > 0


@pytest.mark.ecosystem
def test_inspect_takes_one_command(
    run: Callable[[str], str], checkpoint: Path, tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    pytest.importorskip("inspect_ai", reason="inspect_ai is not installed here: make test-ecosystem")
    command = documented("harnesses.md", "inspect eval bio_facts/cloze ").replace("MODEL", str(checkpoint))
    run(f"{command} -M device=cpu --limit {LIMIT} --log-dir logs --log-format json --display none")
    (file,) = tmp_path.glob("logs/*.json")
    log = json.loads(file.read_text())
    assert log["status"] == "success"
    losses = [score["metrics"]["mean"]["value"] for score in log["results"]["scores"] if score["name"] == "attribute_loss"]
    assert losses == [pytest.approx(expected_loss(model, tokenizer, LIMIT // 6), rel=1e-4)]


@pytest.mark.ecosystem
def test_transformer_lens_takes_two_lines(
    run_python: Callable[[str], str], smoke_run: Path, tmp_path: Path, model: Any
) -> None:
    """Those of docs/interpretability.md."""
    pytest.importorskip("transformer_lens", reason="transformer_lens is not installed here: make test-ecosystem")
    page = (ROOT / "docs" / "interpretability.md").read_text(encoding="utf-8")
    block = next(
        block for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if block.startswith("from transf")
    )
    *two_lines, shown = filter(None, block.splitlines())
    assert len(two_lines) == 2
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(smoke_run)
    printed = run_python("\n".join([*two_lines, shown]).replace("step-6000", "step-30")).splitlines()[-1]
    assert printed == f"{model.config.num_hidden_layers} {model.config.num_attention_heads}"
