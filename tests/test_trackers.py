"""--report-to: which trackers are refused, and what the others receive. Of these only TensorBoard is installed."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SMOKE, assert_refused, load_recipe, run_script
from transformers.integrations import get_reporting_integration_callbacks
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from bio_facts.runs.trackers import run_name, usable_trackers

MEMORY = ROOT / "train" / "recipes" / "associative_memory" / "pretraining-smoke.yaml"


def test_tensorboard_can_be_used() -> None:
    assert usable_trackers(["tensorboard"]) == ["tensorboard"]
    assert usable_trackers([]) == usable_trackers(["none"]) == []
    assert "tensorboard" in usable_trackers(["all"])


@pytest.mark.parametrize("name", sorted(INTEGRATION_TO_CALLBACK))
def test_every_tracker_of_transformers_can_be_used_or_is_refused_by_name(name: str) -> None:
    """As transformers itself does when it makes the tracker's callback, but for those that it makes in any case."""
    try:
        usable = usable_trackers([name]) == [name]
    except ValueError as error:
        assert str(error).startswith(f"report_to is {name!r}, wh")
        usable = False
    (callback,) = get_reporting_integration_callbacks([name])
    if usable:
        callback()


@pytest.mark.parametrize("names", [["telepathy"], ["none", "tensorboard"], ["tensorboard", "all"]])
def test_unknown_trackers_are_refused_with_the_known_ones(names: list[str]) -> None:
    with pytest.raises(
        ValueError, match=r"^report_to is '(telepathy|none|all)'; it must be none, all, or .*tensorboard, .*wandb"
    ):
        usable_trackers(names)


def test_folder_of_the_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (spec := importlib.util.find_spec("wandb")) is not None and spec.origin is not None:
        pytest.skip("wandb is installed")
    (tmp_path / "wandb" / "run-1").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.util.find_spec("wandb") is not None  # a namespace package; else the test shows nothing
    with pytest.raises(ValueError, match=r"^report_to is 'wandb', whose package is not installed: pip install wandb$"):
        usable_trackers(["wandb"])


def test_refused_tracker_leaves_no_folder(tmp_path: Path) -> None:
    arguments = ("--config", SMOKE, "--output-dir", tmp_path / "run", "--report-to", "tensorboard", "telepathy")
    assert_refused(run_script("train/pretrain.py", *arguments), "report_to is 'telepathy'")
    assert not (tmp_path / "run").exists()


def trainer_of(folder: Path, report_to: list[str]) -> Any:
    from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer
    from bio_facts.runs.trainer import build_trainer
    from bio_facts.runs.training import build_dataset, build_model

    recipe, tokenizer = load_recipe(SMOKE, {}), load_tokenizer("bio_facts")
    biographies = BiographyTokenizer(tokenizer)
    model = build_model(recipe, tokenizer, biographies.max_length)
    return build_trainer(recipe, folder, model, tokenizer, build_dataset(recipe, biographies), report_to)


def test_project_and_name_are_ours_unless_the_user_names_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_PROJECT", "WANDB_NAME", "COMET_PROJECT_NAME"):
        monkeypatch.setenv(name, "set, so that it is restored")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    trainer = trainer_of(tmp_path, ["tensorboard"])
    assert (trainer.args.run_name, trainer.args.project) == (tmp_path.name, "bio_facts")
    assert [os.environ[name] for name in ("WANDB_PROJECT", "COMET_PROJECT_NAME", "MLFLOW_EXPERIMENT_NAME")] == [
        "bio_facts",
        "bio_facts",
        "theirs",
    ]
    monkeypatch.setenv("WANDB_NAME", "first try")
    assert run_name(["wandb"], "run") == "first try"
    assert run_name(["tensorboard"], "run") == "run"


@pytest.mark.parametrize("flag", [["--report-to", "tensorboard"], ["--allow-other-machine"]])
def test_memory_refuses_flags_that_would_have_no_effect(tmp_path: Path, flag: list[str]) -> None:
    arguments = ("--config", MEMORY, "--output-dir", tmp_path / "run", *flag)
    assert_refused(run_script("train/train_memory.py", *arguments), f"unrecognized arguments: {flag[0]}")
