"""The tasks for Inspect: the numbers of bio_facts.score, from the installed package and from eval.yaml on the Hub."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, SMOKE, ecosystem, run_script
from hub_server import HubServer

import bio_facts
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.splits import draw
from bio_facts.publish.build import build

pytestmark = ecosystem("inspect_ai", "datasets")
SIZES = {"cities": 4, "universities": 4, "majors": 4, "companies": 4, "years": 4}  # those of the smoke recipe
CONFIG = CONFIGS["n1k"].replace(num_individuals=20, num_biographies=20, pool_sizes=SIZES)
PARAMETERS = ["-T", "num_individuals=20", "-T", f"pool_sizes={SIZES}"]
LIMIT = 60  # values: those of 10 biographies
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
# Plain text, greedily. Inspect reads the value of -M as YAML.
CONTINUES = ["-M", "do_sample=false", "-M", 'chat_template="{{ messages[0].content }}"']


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained by the smoke recipe, longer."""
    folder = tmp_path_factory.mktemp("model") / "run"
    changed = ["--num_steps", "300", "--save_every", "300", "--eval_every", "[[300, 300]]", "--keep_models_at", "[]"]
    result = run_script("train/pretrain.py", "--config", SMOKE, "--output_dir", folder, *changed)
    assert result.returncode == 0, result.stderr
    return folder / "checkpoint-300"


def run_inspect(
    folder: Path, task: str, *arguments: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`inspect eval`; its log is a file in `folder`."""
    options = ["--log-dir", folder, "--log-format", "json", "--display", "none", "--limit", LIMIT, *arguments]
    environment = os.environ | OFFLINE if environment is None else environment
    return subprocess.run(
        [str(Path(sys.executable).with_name("inspect")), "eval", task, *map(str, options)],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def logged(folder: Path, result: subprocess.CompletedProcess[str]) -> Any:
    from inspect_ai.log import read_eval_log

    assert result.returncode == 0, result.stdout + result.stderr
    (file,) = folder.glob("*.json")
    log = read_eval_log(str(file))
    assert log.status == "success", log.error
    return log


def of_model(checkpoint: Path) -> list[object]:
    return ["--model", "hf/local", "-M", f"model_path={checkpoint}", "-M", "device=cpu"]


@pytest.fixture(scope="module")
def log(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cloze")
    return logged(folder, run_inspect(folder, "bio_facts/cloze", *of_model(checkpoint), *PARAMETERS))


@pytest.fixture(scope="module")
def scores(model: Any, tokenizer: Any) -> bio_facts.Scores:
    """Those of the whole biographies."""
    return bio_facts.score(model, tokenizer, rows(draw(CONFIG, "validation", range(LIMIT // 6))))


def values_of(scores: bio_facts.Scores) -> list[tuple[float, bool]]:
    """Loss and whether all tokens are the arg-max, for each value in order of appearance."""
    values = []
    for nlls, predictions, references, ids in zip(
        scores.nlls, scores.predictions, scores.references, scores.attribute_ids, strict=True
    ):
        for attribute in dict.fromkeys(ids[ids > 0].tolist()):
            tokens = ids == attribute
            values.append((float(nlls[tokens].sum()), bool((predictions == references)[tokens].all())))
    return values


def test_each_value_has_the_numbers_of_the_scorer(log: Any, scores: bio_facts.Scores) -> None:
    expected = values_of(scores)
    measured = [sample.scores["likelihood_scorer"].value for sample in sorted(log.samples, key=lambda sample: sample.id)]
    assert [value["attribute_loss"] for value in measured] == pytest.approx([loss for loss, _ in expected], rel=1e-5, abs=1e-5)
    assert [bool(value["attribute_accuracy"]) for value in measured] == [is_greedy for _, is_greedy in expected]
    assert {is_greedy for _, is_greedy in expected} == {True, False}


def test_metrics_are_those_of_the_scorer(log: Any, scores: bio_facts.Scores) -> None:
    reported = {score.name: score.metrics["mean"].value for score in log.results.scores}
    summary = scores.summary()
    for name in ("attribute_loss", "attribute_accuracy"):
        assert reported[name] == pytest.approx(summary[name], rel=1e-5)


def log_likelihood(model: Any, tokenizer: Any, prompt: str, choice: str) -> float:
    ids, start = tokenizer(f"{prompt} {choice}").input_ids, len(tokenizer(prompt).input_ids)
    with torch.no_grad():
        log_probabilities = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(log_probabilities[place - 1, ids[place]].item() for place in range(start, len(ids)))


def test_choice_is_the_value_of_highest_likelihood(log: Any, model: Any, tokenizer: Any) -> None:
    right = []
    for sample in log.samples:
        best = max(sample.choices, key=lambda choice: log_likelihood(model, tokenizer, sample.input, choice))
        assert sample.scores["likelihood_scorer"].answer == best
        right.append(best == sample.target)
        assert sample.scores["likelihood_scorer"].value["choice_accuracy"] == right[-1]
    (reported,) = [score.metrics["mean"].value for score in log.results.scores if score.name == "choice_accuracy"]
    assert reported == pytest.approx(sum(right) / LIMIT)


def test_continuations_begin_with_the_value_where_all_its_tokens_are_the_arg_max(
    checkpoint: Path, tmp_path: Path, scores: bio_facts.Scores
) -> None:
    result = run_inspect(tmp_path, "bio_facts/cloze_generate", *of_model(checkpoint), *CONTINUES, *PARAMETERS)
    samples = sorted(logged(tmp_path, result).samples, key=lambda sample: sample.id)
    assert [sample.scores["match"].value == "C" for sample in samples] == [is_greedy for _, is_greedy in values_of(scores)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-T", "split=train"], "split is 'train'; it must be one of validation, unseen"),
        (["-T", "num_choices=1"], "num_choices is 1; it must be an integer of at least 2"),
        (["-T", "individuals=5"], "unknown parameter 'individuals' of a config of cloze"),
    ],
)
def test_invalid_argument_is_named(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = run_inspect(tmp_path, "bio_facts/cloze", "--model", "mockllm/model", *arguments)
    assert result.returncode != 0
    assert message in " ".join((result.stdout + result.stderr).split())


# The Hub


def test_hub_runs_the_tasks_of_eval_yaml(checkpoint: Path, tmp_path: Path, scores: bio_facts.Scores) -> None:
    from inspect_ai._eval.task.hf import HFTask

    cloze = CONFIGS["cloze"].replace(num_individuals=20, pool_sizes=SIZES)
    build({"cloze-small": cloze}, tmp_path / "export", num_workers=2)
    (tmp_path / "logs").mkdir()
    with HubServer(tmp_path / "hub") as hub:
        environment = hub.environment(tmp_path / "home")
        command = [sys.executable, "-m", "bio_facts.cli", "push", "me/bio_facts", "--from", str(tmp_path / "export")]
        pushed = subprocess.run(command, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert pushed.returncode == 0, pushed.stderr
        content = yaml.safe_load(hub.files("me/bio_facts")["eval.yaml"])
        assert [HFTask.model_validate(task).id for task in content["tasks"]] == ["cloze-small", "cloze-small_choice"]
        name = "hf/me/bio_facts/cloze-small"
        result = run_inspect(tmp_path / "logs", name, *of_model(checkpoint), *CONTINUES, environment=environment)
    samples = sorted(logged(tmp_path / "logs", result).samples, key=lambda sample: sample.id)
    expected = [is_greedy for _, is_greedy in values_of(scores)]
    assert [sample.scores["match"].value == "C" for sample in samples] == expected
