"""Recipe keys that change how a run computes: precision, gradient_accumulation_steps, and the tokenizer of its words."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, SMOKE, assert_refused, load_recipe, run_script
from transformers import AutoModelForCausalLM, AutoTokenizer

from bio_facts.generate.biography import rows
from bio_facts.generate.splits import draw
from bio_facts.measure.scoring import score
from bio_facts.runs.precision import has_bf16_instructions

FINE_TUNING = ROOT / "train" / "recipes" / "fine_tuning" / "smoke.yaml"


def train(folder: Path, *overrides: object, recipe: Path = SMOKE) -> subprocess.CompletedProcess[str]:
    return run_script("train/pretrain.py", "--config", recipe, "--output-dir", folder, *overrides)


def trained(folder: Path, *overrides: object) -> Path:
    done = train(folder, *overrides)
    assert done.returncode == 0, done.stderr
    return folder


def metrics(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def losses(folder: Path) -> list[float]:
    return [line["attribute_loss"] for line in metrics(folder)]


def assert_scored_as_logged(run: Path, step: int, tolerance: float) -> None:
    """bio_facts.score, in float32, of a kept model gives the attribute loss of its line, to so many nats per value."""
    recipe, folder = load_recipe(SMOKE, {}), run / "models" / f"step-{step}"
    texts = rows(draw(recipe.data, "validation", range(recipe.num_eval_biographies)))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    totals = score(model, tokenizer, texts).totals()
    (logged,) = (line["attribute_loss"] for line in metrics(run) if (line["step"], line["split"]) == (step, "validation"))
    assert totals.loss_sum.sum() / totals.num_values.sum() == pytest.approx(logged, abs=tolerance)


@pytest.fixture(scope="module")
def words_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("words") / "run", "--tokenizer", "words")


@pytest.fixture(scope="module")
def bf16_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("bf16") / "run", "--tokenizer", "words", "--precision", "bf16")


def test_words_are_saved_with_every_model_and_score_it_as_logged(words_run: Path) -> None:
    folders = [words_run / "checkpoint-30", *(words_run / "models").iterdir()]
    sizes = {len(AutoTokenizer.from_pretrained(folder)) for folder in folders}
    assert len(folders) == 6
    assert sizes == {AutoModelForCausalLM.from_pretrained(folders[0]).config.vocab_size}
    assert_scored_as_logged(words_run, 20, 1e-5)


def test_source_gives_its_words(words_run: Path, tmp_path: Path) -> None:
    done = train(tmp_path / "run", "--arm", "16th", "--source", words_run, "--tokenizer", "words", recipe=FINE_TUNING)
    assert done.returncode == 0, done.stderr
    vocabularies = [
        AutoTokenizer.from_pretrained(folder / "checkpoint-30").get_vocab() for folder in (words_run, tmp_path / "run")
    ]
    assert vocabularies[0] == vocabularies[1]


def test_source_that_lacks_words_names_the_first(words_run: Path, tmp_path: Path) -> None:
    more = ("--tokenizer", "words", "--dataset_parameters.pool_sizes.cities", 5)
    done = train(tmp_path / "run", "--arm", "16th", "--source", words_run, *more, recipe=FINE_TUNING)
    city = (ROOT / "bio_facts" / "data" / "cities.txt").read_text(encoding="utf-8").splitlines()[4]
    assert_refused(done, f"cannot represent ' {city}'")
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("checkpoint-*"))


def test_source_with_another_tokenizer_is_refused(words_run: Path, tmp_path: Path) -> None:
    done = train(tmp_path / "run", "--arm", "16th", "--source", words_run, recipe=FINE_TUNING)
    assert_refused(done, "tokenizer is 'bio_facts'", "has tokenizer 'words'")


def test_bf16_resumes_as_if_it_had_never_stopped(bf16_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(bf16_run, run)
    shutil.rmtree(run / "checkpoint-30")
    trained(run, "--tokenizer", "words", "--precision", "bf16")
    assert metrics(run) == metrics(bf16_run)
    saved = [(folder / "checkpoint-30" / "model.safetensors").read_bytes() for folder in (run, bf16_run)]
    assert saved[0] == saved[1]


def test_bf16_is_near_float32_and_is_scored_as_logged(bf16_run: Path, words_run: Path) -> None:
    assert losses(bf16_run) != losses(words_run)
    assert losses(bf16_run) == pytest.approx(losses(words_run), abs=2e-2)
    assert_scored_as_logged(bf16_run, 30, 1e-3)


def test_precision_is_recorded_and_another_one_is_refused_or_noted(words_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = train(run, "--precision", "auto", "--num_steps", 10, "--eval_every", "[[5, 10]]", "--save_every", 5)
    here, other = ("bf16", "float32") if has_bf16_instructions("cpu") else ("float32", "bf16")
    assert (done.returncode, f"precision: {here}\n" in done.stderr) == (0, True), done.stderr
    config = json.loads((run / "config.json").read_text())
    assert (config["recipe"]["precision"], config["precision"]) == ("auto", here)
    (run / "config.json").write_text(json.dumps(config | {"precision": other}))
    shutil.rmtree(run / "checkpoint-10")
    resume = ("--precision", "auto", "--num_steps", 10, "--eval_every", "[[5, 10]]", "--save_every", 5)
    assert_refused(train(run, *resume), f"precision {other!r}, here {here!r}", "--allow-other-machine")
    trained(run, *resume, "--allow-other-machine")
    (resumed,) = json.loads((run / "config.json").read_text())["resumed_on"]
    assert (resumed["step"], resumed["precision"]) == (5, here)


@pytest.mark.parametrize("num_forwards", [2, 4])
def test_gradient_accumulation_gives_the_same_numbers(num_forwards: int, words_run: Path, tmp_path: Path) -> None:
    trained(tmp_path / "run", "--tokenizer", "words", "--gradient_accumulation_steps", num_forwards)
    assert losses(tmp_path / "run") == pytest.approx(losses(words_run), rel=1e-5)


def test_gradient_accumulation_that_does_not_divide_the_batch_is_refused(tmp_path: Path) -> None:
    done = train(tmp_path / "run", "--gradient_accumulation_steps", 3)
    assert_refused(done, "batch_size is 4", "gradient_accumulation_steps, 3")
    done = train(tmp_path / "run", "--gradient_accumulation_steps", 0)
    assert_refused(done, "gradient_accumulation_steps is 0")
