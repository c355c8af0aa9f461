"""eval/score_model.py, on a model that the smoke recipe trained."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import assert_refused, run_script
from transformers import AutoModelForCausalLM, AutoTokenizer

import bio_facts
from bio_facts.attributes import ATTRIBUTES
from bio_facts.baseline import no_knowledge_loss, pool_no_knowledge_loss
from bio_facts.config import CONFIGS

POOLS = {"cities": 4, "universities": 4, "majors": 4, "companies": 4, "years": 4}
CONFIG = CONFIGS["n1k"].replace(num_individuals=20, pool_sizes=POOLS)
FLAGS = ["--num-individuals", 20, "--pool-sizes", ",".join(f"{pool}={size}" for pool, size in POOLS.items())]


@pytest.fixture(scope="module")
def checkpoint(smoke_run: Path) -> Path:
    return smoke_run / "checkpoint-30"


@pytest.fixture(scope="module")
def scored(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What is printed, and what is in the file."""
    file = tmp_path_factory.mktemp("scores") / "scores.json"
    result = run_script(
        "eval/score_model.py",
        checkpoint,
        "--dataset",
        "n1k",
        *FLAGS,
        "--num-rows",
        30,
        "--batch-size",
        7,
        "--output-file",
        file,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads(file.read_text())


def test_file_has_what_the_scorer_finds(scored: tuple[str, dict[str, Any]], checkpoint: Path) -> None:
    found = scored[1]
    assert found["fingerprint"] == CONFIG.fingerprint
    assert list(found["splits"]) == ["validation", "unseen"]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
    for split, numbers in found["splits"].items():
        scores = bio_facts.score(model, tokenizer, bio_facts.rows(bio_facts.draw(CONFIG, split, range(30))))
        expected = scores.totals().detailed_summary(tuple(ATTRIBUTES))
        assert {name: numbers[name] for name in expected} == pytest.approx(expected, rel=1e-5)
        assert (numbers["num_rows"], numbers["num_rows_apart"], numbers["num_straddling_tokens"]) == (30, 0, 0)
    assert found["no_knowledge_loss"]["all"] == pytest.approx(no_knowledge_loss(CONFIG.population))
    assert found["pool_no_knowledge_loss"]["all"] == pytest.approx(pool_no_knowledge_loss(CONFIG.pool_sizes))


def test_table_has_the_numbers_of_the_file(scored: tuple[str, dict[str, Any]]) -> None:
    printed, found = scored
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines()[1:8]}
    assert list(lines) == [*ATTRIBUTES, "all"]
    for name, cells in lines.items():
        suffix = "" if name == "all" else f"/{name}"
        expected = [found["pool_no_knowledge_loss"][name], found["no_knowledge_loss"][name]]
        for split in ("validation", "unseen"):
            expected += [found["splits"][split][f"{metric}{suffix}"] for metric in ("attribute_loss", "attribute_accuracy")]
        assert cells == [f"{number:.3f}" for number in expected]


def test_tokenizer_may_be_another(checkpoint: Path) -> None:
    result = run_script(
        "eval/score_model.py", checkpoint, "--tokenizer", checkpoint, "--dataset", "n1k", "--splits", "unseen", "--num-rows", 2
    )
    assert result.returncode == 0, result.stderr
    assert "unseen: 2 biographies, 12 values; tokenized otherwise than by pieces: 0 biographies" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["no/such_model", "--tokenizer", "MODEL"], ["model is 'no/such_model'", "cannot be loaded"]),
        (["MODEL", "--tokenizer", "no/such"], ["tokenizer is 'no/such'", "cannot be loaded"]),
        (["MODEL", "--dataset", "n3k"], ["config is 'n3k'", "bio-facts configs"]),
        (["MODEL", "--dataset", "templates"], ["dataset is 'templates'", "has no biographies"]),
        (["MODEL", "--splits", "test"], ["'test'", "validation"]),
        (["MODEL", "--num-rows", "16001"], ["num_rows is 16,001", "has 16,000"]),
        (["MODEL", "--num-rows", "0"], ["--num-rows", "'0'", "at least 1"]),
        (["MODEL", "--batch-size", "x"], ["--batch-size", "'x'", "an integer"]),
        (["MODEL", "--device", "gpu"], ["device is 'gpu'", "cpu or cuda"]),
        (["MODEL", "--output-file", __file__], ["output_file is", "exists"]),
        (["MODEL", "--output-file", "/no/such/folder/scores.json"], ["output_file is", "no folder /no/such/folder"]),
        (["MODEL", "--alpha", "0.5"], ["alpha"]),
    ],
    ids=lambda value: " ".join(value[1:]) if value and value[0] == "MODEL" else "",
)
def test_bad_arguments_are_refused(checkpoint: Path, arguments: list[str], fragments: list[str]) -> None:
    given = [checkpoint if word == "MODEL" else word for word in arguments]
    assert_refused(run_script("eval/score_model.py", *given), *fragments)
