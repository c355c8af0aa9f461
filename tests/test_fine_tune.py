"""Runs that start from another run: fine-tuning, and attention patching. On the smoke recipes."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, assert_refused, run_script
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from bio_facts.measure.tokens import load_tokenizer

RECIPES = ROOT / "train" / "recipes"


def run(claim: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    recipe = RECIPES / claim / "smoke.yaml"
    same = ("--dataset_parameters.num_individuals", 20)  # those of smoke_run; some arms of attention_patching have fewer
    return run_script("train/pretrain.py", "--config", recipe, "--output-dir", folder, *same, *arguments)


def losses(folder: Path, split: str) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["attribute_loss"] for line in lines if line["split"] == split}


@pytest.fixture(scope="module")
def tuned(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained("fine_tuning", "16th", smoke_run, tmp_path_factory)


@pytest.fixture(scope="module")
def patched(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained("attention_patching", "frozen-plateau-end", smoke_run, tmp_path_factory)


def _trained(claim: str, arm: str, source: Path, factory: pytest.TempPathFactory) -> Path:
    folder = factory.mktemp(arm) / "run"
    done = run(claim, folder, "--arm", arm, "--source", source)
    assert done.returncode == 0, done.stderr
    return folder


def test_fine_tuning_starts_from_the_last_model_of_its_source(smoke_run: Path, tuned: Path) -> None:
    at_end = losses(smoke_run, "validation")[30]
    assert losses(tuned, "pretrain_validation")[0] == pytest.approx(at_end, rel=1e-5)
    assert losses(tuned, "unseen")[0] == pytest.approx(losses(smoke_run, "unseen")[30], rel=1e-5)


def test_fine_tuning_records_attention_on_the_old_individuals_and_on_the_new(smoke_run: Path, tuned: Path) -> None:
    lines = [json.loads(line) for line in (tuned / "metrics.jsonl").read_text().splitlines()]
    with_attention = {line["split"] for line in lines if "attention_value_to_name" in line}
    assert with_attention == {"validation", "pretrain_validation"}
    before = [json.loads(line) for line in (smoke_run / "metrics.jsonl").read_text().splitlines()]
    (last,) = (line for line in before if (line["step"], line["split"]) == (30, "validation"))
    (first,) = (line for line in lines if (line["step"], line["split"]) == (0, "pretrain_validation"))
    for name in ("value_to_name", "value_to_text", "name_to_name", "entropy"):
        assert first[f"attention_{name}"] == pytest.approx(last[f"attention_{name}"], abs=2e-5), name


def test_fine_tuning_begins_with_a_fresh_optimizer(tuned: Path) -> None:
    state = torch.load(tuned / "checkpoint-30" / "optimizer.pt", weights_only=True)["state"]
    assert {int(item["step"]) for item in state.values()} == {30}


def test_every_checkpoint_and_kept_model_loads_with_its_tokenizer(
    smoke_run: Path, tuned: Path, patched: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "run"
    done = run("fine_tuning", kept, "--arm", "16th", "--source", smoke_run, "--keep_models_at", "[0, 10]")
    assert done.returncode == 0, done.stderr
    text = "Grace Wendy Wallace works for Blue Acorn Hotels."
    expected = load_tokenizer("bio_facts")(text)["input_ids"]
    runs = (smoke_run, tuned, patched, kept)
    folders = [
        folder
        for run_folder in runs
        for kind in ("models/step-*", "checkpoint-*", "start-*")
        for folder in run_folder.glob(kind)
    ]
    kept_steps = [[folder.name for folder in folders if folder.parent == run_folder / "models"] for run_folder in runs]
    assert [len(names) for names in kept_steps] == [5, 0, 0, 2]
    assert {patched / "start-10", *(run_folder / "checkpoint-30" for run_folder in runs)} <= set(folders)
    for folder in folders:
        assert AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == expected, folder
        AutoModelForCausalLM.from_pretrained(folder)


def test_constant_learning_rate_stays(tuned: Path) -> None:
    state = torch.load(tuned / "checkpoint-30" / "scheduler.pt", weights_only=True)
    assert set(state["_last_lr"]) == {2e-3}


def test_interrupted_fine_tuning_ends_with_the_same_weights_and_losses(smoke_run: Path, tuned: Path, tmp_path: Path) -> None:
    interrupted = shutil.copytree(tuned, tmp_path / "run")
    shutil.rmtree(interrupted / "checkpoint-30")
    done = run("fine_tuning", interrupted, "--arm", "16th", "--source", smoke_run)
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_file(folder / "checkpoint-30" / "model.safetensors") for folder in (interrupted, tuned))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert losses(interrupted, "validation") == losses(tuned, "validation")


def test_patched_run_starts_at_its_step_with_the_model_of_that_step(smoke_run: Path, patched: Path) -> None:
    assert list(losses(patched, "validation")) == [10, 15, 20, 25, 30]
    kept = losses(smoke_run, "validation")[10]  # the patterns that it is given are those it has
    assert losses(patched, "validation")[10] == pytest.approx(kept, rel=1e-5)


def test_patched_run_has_a_fresh_optimizer_and_the_schedule_of_its_step(patched: Path) -> None:
    state = torch.load(patched / "checkpoint-30" / "optimizer.pt", weights_only=True)["state"]
    assert {int(item["step"]) for item in state.values()} == {20}
    assert torch.load(patched / "checkpoint-30" / "scheduler.pt", weights_only=True)["last_epoch"] == 30


def test_patched_run_saves_as_often_as_its_recipe_says_and_resumes_as_if_unbroken(
    smoke_run: Path, patched: Path, tmp_path: Path
) -> None:
    assert sorted(folder.name for folder in patched.glob("checkpoint-*")) == ["checkpoint-20", "checkpoint-30"]
    interrupted = shutil.copytree(patched, tmp_path / "run")
    shutil.rmtree(interrupted / "checkpoint-30")
    done = run("attention_patching", interrupted, "--arm", "frozen-plateau-end", "--source", smoke_run)
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_file(folder / "checkpoint-30" / "model.safetensors") for folder in (interrupted, patched))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert losses(interrupted, "validation") == losses(patched, "validation")


def test_queries_and_keys_of_a_patched_run_stay_but_for_weight_decay(smoke_run: Path, patched: Path) -> None:
    name = "gpt_neox.layers.0.attention.query_key_value.weight"
    before, after = (
        load_file(smoke_run / "models/step-10/model.safetensors")[name],
        load_file(patched / "checkpoint-30/model.safetensors")[name],
    )
    heads = 2
    ratio = (after / before).view(heads, 3, -1)  # by head: queries, keys, values
    assert ratio[:, :2].std() < 1e-3 * ratio[:, 2].std()


def test_patched_run_sees_the_samples_of_the_steps_it_takes(
    smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pretrain

    from bio_facts.runs import training

    seen: list[int] = []
    draw_rows = training.BiographyDataset.__getitems__

    def noted(self: Any, indices: list[int]) -> Any:
        seen.extend(indices)
        return draw_rows(self, indices)

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(training.BiographyDataset, "__getitems__", noted)
    arguments = ["--config", RECIPES / "attention_patching/smoke.yaml", "--arm", "frozen-plateau-end", "--source", smoke_run]
    monkeypatch.setattr("sys.argv", ["pretrain.py", *map(str, arguments), "--output-dir", str(tmp_path / "run")])
    pretrain.main()
    assert sorted(set(seen)) == list(range(10 * 4, 30 * 4))


def test_source_that_is_not_finished_is_refused_and_left_as_it_is(smoke_run: Path, tmp_path: Path) -> None:
    source = shutil.copytree(smoke_run, tmp_path / "source")
    (source / "checkpoint-30" / "trainer_state.json").unlink()  # as while it is written
    result = run("fine_tuning", tmp_path / "run", "--arm", "16th", "--source", source)
    assert_refused(result, "is at step 20 of 30", "a finished run")
    assert (source / "checkpoint-30").exists()


def drop_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if ".layers.0." not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("claim", "arm", "damaged"),
    [
        ("fine_tuning", "16th", "checkpoint-30"),
        ("attention_patching", "frozen-plateau-end", "models/step-10"),
    ],
)
def test_source_whose_model_lacks_a_layer_is_refused(
    smoke_run: Path, tmp_path: Path, claim: str, arm: str, damaged: str
) -> None:
    source = shutil.copytree(smoke_run, tmp_path / "source")
    drop_layer(source / damaged)
    result = run(claim, tmp_path / "run", "--arm", arm, "--source", source)
    assert_refused(result, f"{source / damaged}'", "lacks weights of a GPTNeoXForCausalLM", "gpt_neox.layers.0.")


def test_attention_reference_that_lacks_a_layer_is_refused(smoke_run: Path, tmp_path: Path) -> None:
    source = shutil.copytree(smoke_run, tmp_path / "source")
    drop_layer(source / "models" / "step-30")
    result = run(
        "attention_patching", tmp_path / "run", "--arm", "frozen-plateau-end", "--source", source,
        "--attention.reference_step", 30,
    )  # fmt: skip
    assert_refused(result, "models/step-30'", "lacks weights of a GPTNeoXForCausalLM")


def test_checkpoint_that_lacks_a_layer_is_not_resumed(smoke_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(smoke_run, tmp_path / "run")
    shutil.rmtree(folder / "checkpoint-30")
    drop_layer(folder / "checkpoint-20")
    result = run("three_phases", folder)
    assert_refused(result, "checkpoint-20 lacks gpt_neox.layers.0.", "use the recipe it was made with")


def test_model_that_was_not_kept_is_refused_and_those_kept_are_named(smoke_run: Path, tmp_path: Path) -> None:
    result = run(
        "attention_patching", tmp_path, "--arm", "after", "--source", smoke_run,
        "--attention.reference_step", 7,
    )  # fmt: skip
    assert_refused(result, "keeps no model of step 7", "0, 5, 10, 20, 30", "keep_models_at")


@pytest.mark.parametrize(("claim", "arm"), [("fine_tuning", "16th"), ("attention_patching", "frozen-plateau-end")])
def test_source_of_another_seed_is_refused(smoke_run: Path, tmp_path: Path, claim: str, arm: str) -> None:
    result = run(claim, tmp_path / "run", "--arm", arm, "--seed", 11, "--source", smoke_run)
    assert_refused(result, "has seed", "this run seed 11")


def test_source_of_another_seed_must_have_the_source_seed(smoke_run: Path, tmp_path: Path) -> None:
    arguments = ["--arm", "after-next", "--seed", 11, "--source", smoke_run]
    assert_refused(run("attention_patching", tmp_path / "run", *arguments), "source_seed is 'next'", "--source-seed SEED")
    result = run("attention_patching", tmp_path / "run", *arguments, "--source-seed", 12)
    assert_refused(result, f"source {smoke_run} has seed 0; expected source_seed, 12")


def test_run_with_a_source_of_another_seed_has_its_weights_and_its_own_individuals(smoke_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ["--arm", "after-next", "--seed", 11, "--source-seed", 0, "--num-steps", 10, "--keep-models-at", "[0]"]
    done = run("attention_patching", folder, *arguments, "--source", smoke_run)
    assert done.returncode == 0, done.stderr
    started, of_source = (load_file(path / "models" / "step-0" / "model.safetensors") for path in (folder, smoke_run))
    assert all(torch.equal(weight, of_source[name]) for name, weight in started.items())
    own, other = (json.loads((path / "config.json").read_text())["dataset_parameters"] for path in (folder, smoke_run))
    assert (own["population_seed"], other["population_seed"]) == (11, 0)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--arm", "16th"], ["source is '../three_phases/smoke.yaml'", "--source DIR"]),
        (["--arm", "16th", "--source", "nowhere"], ["source is 'nowhere'", "which is no run"]),
        (["--arm", "new7", "--source", "x"], ["arm is 'new7'", "64th, 16th, quarter"]),
        (["--source", "x"], ["several arms", "64th, 16th, quarter"]),
    ],
)
def test_bad_sources_and_arms_are_refused(tmp_path: Path, arguments: list[str], fragments: list[str]) -> None:
    assert_refused(run("fine_tuning", tmp_path / "run", *arguments), *fragments)
    assert not (tmp_path / "run").exists()
