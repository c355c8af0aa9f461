"""A recurrent model in place of attention (claim C10): it trains, resumes, is scored and loads as any other."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, load_recipe, run_script
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import bio_facts
from bio_facts.measure.causality import check_causal

RECIPE = ROOT / "train" / "recipes" / "robustness" / "smoke.yaml"


def train(folder: Path) -> list[dict[str, Any]]:
    """Train or resume the recurrent arm; its metrics without seconds."""
    done = run_script("train/pretrain.py", "--config", RECIPE, "--arm", "recurrent", "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("recurrent") / "run"
    return folder, train(folder)


def test_training_lowers_the_loss(run: tuple[Path, list[dict[str, Any]]]) -> None:
    losses = [line["attribute_loss"] for line in run[1] if line["split"] == "validation"]
    assert losses[-1] < losses[0] - 1


def test_resumed_run_is_the_unbroken_one(run: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    folder, metrics = run
    interrupted = shutil.copytree(folder, tmp_path / "interrupted")
    shutil.rmtree(interrupted / "checkpoint-30")
    assert train(interrupted) == metrics
    weights = [load_file(place / "checkpoint-30" / "model.safetensors") for place in (folder, interrupted)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_checkpoint_loads_with_the_auto_classes_and_gives_the_logged_scores(run: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, metrics = run
    model = AutoModelForCausalLM.from_pretrained(folder / "checkpoint-30")
    tokenizer = AutoTokenizer.from_pretrained(folder / "checkpoint-30")
    assert model.config.layers_block_type == ["linear_attention"]
    check_causal(model)
    biographies = bio_facts.draw(load_recipe(RECIPE, {}, "recurrent").data, "unseen", range(20))
    scores = bio_facts.score(model, tokenizer, bio_facts.rows(biographies))
    summary = scores.totals().summary(scores.attribute_names)
    assert summary["attribute_loss"] == pytest.approx(metrics[-1]["attribute_loss"], rel=1e-5)


def test_stored_logits_are_capped_as_in_training(run: tuple[Path, list[dict[str, Any]]]) -> None:
    model = AutoModelForCausalLM.from_pretrained(run[0] / "checkpoint-30")
    ids = torch.arange(40)[None]
    assert model.config.logits_soft_cap == 30
    outputs = model(input_ids=ids, labels=ids, output_hidden_states=True)
    uncapped = model.lm_head(outputs.hidden_states[-1])
    torch.testing.assert_close(outputs.logits, 30 * torch.tanh(uncapped / 30), rtol=1e-4, atol=1e-4)
