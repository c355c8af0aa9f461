"""The key-value memory: one pre-training a seed, fine-tuning from it, replay. On the smoke recipes."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_memory
from conftest import ROOT, assert_refused, run_script

from bio_facts.runs.memory_recipe import MemoryRecipe

RECIPES = ROOT / "train" / "recipes" / "associative_memory"
SMALL: dict[str, Any] = {"num_pairs": 64, "num_values": 5, "dimension": 8, "num_units": 16, "batch_size": 32, "seed": 3}


def pretraining(**changes: Any) -> MemoryRecipe:
    return MemoryRecipe(**(SMALL | {"num_steps": 40, "eval_every": [[10, 40]]} | changes))


def fine_tuning(source: Path, **changes: Any) -> MemoryRecipe:
    settings = {"num_new_pairs": 8, "num_steps": 10, "learning_rate": 0.01, "lr_schedule": "constant", "eval_every": [[5, 10]]}
    return MemoryRecipe(**(SMALL | settings | {"source": str(source)} | changes))


def trained(folder: Path, recipe: MemoryRecipe) -> Path:
    """A run as the command leaves it, of a recipe of pre-training."""
    model = train_memory.build_model(recipe)
    lines = train_memory.train(recipe, model)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(recipe.as_config()))
    train_memory.save_model(model, folder)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("memory") / "run", pretraining())


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_pretraining_is_repeatable_and_evaluated_on_its_pairs_alone() -> None:
    runs = [train_memory.train(pretraining(), train_memory.build_model(pretraining())) for _ in range(2)]
    assert without_seconds(runs[0]) == without_seconds(runs[1])
    assert [(line["step"], line["split"]) for line in runs[0]] == [(step, "pretrain") for step in (0, 10, 20, 30, 40)]
    assert runs[0][-1]["loss"] < runs[0][0]["loss"]
    assert runs[0][0]["loss"] == pytest.approx(math.log(5), rel=0.2)


def test_fine_tuning_starts_from_the_last_model_of_its_source(source: Path) -> None:
    last = json.loads((source / "metrics.jsonl").read_text().splitlines()[-1])
    for recipe in (fine_tuning(source), fine_tuning(source, replay_weight=0.5), fine_tuning(source, num_new_pairs=2)):
        lines = train_memory.train(recipe, train_memory.build_model(recipe))
        assert lines[0]["split"] == "pretrain"
        assert (lines[0]["loss"], lines[0]["accuracy"]) == pytest.approx((last["loss"], last["accuracy"]), rel=1e-6)
        assert [(line["step"], line["split"]) for line in lines[:4]] == [
            (step, split) for step in (0, 5) for split in ("pretrain", "new")
        ]


def test_constant_rate_stays_and_cosine_falls_to_0(source: Path) -> None:
    """The last steps of a cosine change nothing; a constant rate goes on."""
    changes = {}
    for schedule in ("constant", "cosine"):
        recipe = fine_tuning(source, lr_schedule=schedule, num_steps=50, eval_every=[[1, 50]])
        losses = [
            line["loss"] for line in train_memory.train(recipe, train_memory.build_model(recipe)) if line["split"] == "new"
        ]
        changes[schedule] = abs(losses[-1] - losses[-2]) / (losses[0] - losses[-1])
    assert changes["cosine"] < changes["constant"] / 10


@pytest.mark.parametrize("weight", [0, 0.125, 1, 2])
def test_old_pairs_are_drawn_by_their_weight(source: Path, weight: float) -> None:
    recipe = fine_tuning(source, replay_weight=weight)
    drawn = np.concatenate([train_memory.drawn_pairs(recipe, step) for step in range(500)])
    assert (drawn.min() >= 0, drawn.max()) == (True, 71)
    assert np.mean(drawn < 64) == pytest.approx(64 * weight / (64 * weight + 8), abs=0.01)


def test_samples_of_pretraining_are_the_old_pairs() -> None:
    drawn = np.concatenate([train_memory.drawn_pairs(pretraining(), step) for step in range(50)])
    assert set(drawn.tolist()) == set(range(64))


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"seed": 4}, "has seed 3 and this run 4; they must be equal"),
        ({"num_pairs": 65}, "has num_pairs 64 and this run 65"),
        ({"num_values": 6}, "has num_values 5 and this run 6"),
        ({"dimension": 9}, "has dimension 8 and this run 9"),
        ({"num_units": 17}, "has num_units 16 and this run 17"),
    ],
)
def test_source_of_other_pairs_or_sizes_is_refused(source: Path, changes: dict[str, Any], fragment: str) -> None:
    with pytest.raises(ValueError, match=fragment):
        train_memory.build_model(fine_tuning(source, **changes))


@pytest.mark.parametrize(
    ("damage", "fragment"),
    [
        ("config.json", "which is no pre-trained memory"),
        ("model.safetensors", "which is no pre-trained memory"),
        ("metrics.jsonl", "which is not finished; it must be a finished pre-training"),
    ],
)
def test_source_that_is_not_finished_is_refused(source: Path, tmp_path: Path, damage: str, fragment: str) -> None:
    damaged = shutil.copytree(source, tmp_path / "source")
    (damaged / damage).unlink()
    with pytest.raises(ValueError, match=fragment):
        train_memory.build_model(fine_tuning(damaged))


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"num_new_pairs": 8}, "source is None; it must be the folder of a finished pre-training: --source DIR"),
        ({"num_new_pairs": 8, "source": "pretraining-mini.yaml"}, "source is 'pretraining-mini.yaml'; it must be the folder"),
        ({"source": "runs/memory"}, "source is 'runs/memory', but num_new_pairs is 0; it must be at least 1"),
        ({"replay_weight": 0.5}, "replay_weight is 0.5, but num_new_pairs is 0"),
        ({"num_new_pairs": 8, "source": "x", "replay_weight": -1}, "replay_weight is -1; it must be a number from 0"),
        ({"num_new_pairs": -8}, "num_new_pairs is -8; it must be an integer of at least 0"),
        ({"lr_schedule": "linear"}, "lr_schedule is 'linear'; it must be one of cosine, constant"),
        ({"eval_every": 10}, "eval_every is 10; it must be a list"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], fragment: str) -> None:
    with pytest.raises(ValueError) as refused:
        MemoryRecipe(**changes)
    assert fragment in str(refused.value)


def test_settings_are_the_same_after_json(source: Path) -> None:
    for recipe in (pretraining(), fine_tuning(source, replay_weight=0.125)):
        assert MemoryRecipe(**json.loads(json.dumps(recipe.as_dict()))).as_dict() == json.loads(json.dumps(recipe.as_dict()))


def test_commands_pretrain_fine_tune_and_do_nothing_when_complete(tmp_path: Path) -> None:
    arguments = ("--config", RECIPES / "pretraining-smoke.yaml", "--output-dir", tmp_path / "memory")
    done = run_script("train/train_memory.py", *arguments)
    assert done.returncode == 0, done.stderr
    tune = ("--config", RECIPES / "smoke.yaml", "--arm", "w0.125", "--output-dir", tmp_path / "tuned")
    assert_refused(run_script("train/train_memory.py", *tune), "source is 'pretraining-smoke.yaml'", "--source DIR")
    done = run_script("train/train_memory.py", *tune, "--source", tmp_path / "memory")
    assert done.returncode == 0, done.stderr
    written = {path: path.read_bytes() for path in (tmp_path / "tuned").iterdir() if path.suffix.startswith(".json")}
    assert {path.name for path in written} == {"config.json", "metrics.jsonl"}
    again = run_script("train/train_memory.py", *tune, "--source", tmp_path / "memory")
    assert again.stdout == f"{tmp_path / 'tuned'} is complete\n"
    assert {path: path.read_bytes() for path in written} == written
