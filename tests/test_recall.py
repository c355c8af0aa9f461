"""Counts of stored and recalled facts: by a model that knows chosen facts, and in a run's metrics.jsonl."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, load_recipe, run_script

from bio_facts import CONFIGS
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import Config
from bio_facts.generate.facts import facts
from bio_facts.generate.splits import formats
from bio_facts.measure.recall import FactTokens, accuracies, fact_counts
from bio_facts.measure.tokens import BiographyTokenizer
from bio_facts.measure.word_tokenizer import word_tokenizer

CONFIG: Config = CONFIGS["n1k-questions"].replace(num_individuals=40, num_asked_individuals=31)
SMOKE = ROOT / "train" / "recipes" / "recall" / "smoke.yaml"


class Continues(torch.nn.Module):
    """A causal model that predicts the next token of the texts that it knows, and token 0 otherwise."""

    def __init__(self, known: list[list[int]], num_tokens: int) -> None:
        super().__init__()
        self.following = {tuple(ids[:end]): ids[end] for ids in known for end in range(1, len(ids))}
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(vocab_size=num_tokens, is_encoder_decoder=False)
        self.num_tokens = num_tokens

    def forward(self, input_ids: torch.Tensor, **kwargs: Any) -> Any:
        logits = torch.zeros((*input_ids.shape, self.num_tokens))
        for row, ids in enumerate(input_ids.tolist()):
            for end in range(1, len(ids) + 1):
                logits[row, end - 1, self.following.get(tuple(ids[:end]), 0)] = 1.0
        return SimpleNamespace(logits=logits)


@pytest.fixture(scope="module")
def tokens() -> FactTokens:
    return FactTokens.of(facts(CONFIG, range(9)), tokenize())


def tokenize() -> BiographyTokenizer:
    return BiographyTokenizer(word_tokenizer(CONFIG.pool_sizes, CONFIG.formats), formats=CONFIG.formats)


def model_that_knows(tokens: FactTokens, texts: list[int], questions: list[int], exchanged: list[int]) -> Continues:
    """A model that knows these rows of texts, questions and exchanged questions by heart."""
    known = [
        ids[:length].tolist()
        for batch, chosen in zip(tokens, (texts, questions, exchanged), strict=True)
        for ids, length in zip(batch.input_ids[chosen], batch.lengths[chosen], strict=True)
    ]
    return Continues(known, len(word_tokenizer(CONFIG.pool_sizes, CONFIG.formats)))


def test_facts_are_counted_by_what_the_model_knows(tokens: FactTokens) -> None:
    # Individuals 0, 3 and 6 are for the choice of a step. Of the others, 1 and 2 are stored; questions 6 and 7 (individual 1,
    # first two attributes) and 24 (individual 4, first attribute) are answered; question 0 is of individual 0.
    model = model_that_knows(tokens, texts=[0, 1, 2], questions=[0, 6, 7, 24], exchanged=[31])
    counts = fact_counts(model, tokens, batch_size=5)
    assert counts["facts"] == [[1, 1, 1, 3], [1, 1, 0, 4], *[[0, 2, 0, 4]] * 4]
    assert counts["facts_selection"] == [[1, 0, 0, 2], *[[0, 1, 0, 2]] * 5]
    assert counts["num_exchanged"] == [0, 1, 0, 0, 0, 0]  # exchanged question 31: individual 5, second attribute


def test_counts_do_not_depend_on_the_batch_size(tokens: FactTokens) -> None:
    model = model_that_knows(tokens, texts=[4], questions=list(range(24, 40)), exchanged=[])
    assert fact_counts(model, tokens, batch_size=1) == fact_counts(model, tokens, batch_size=1_000)


def test_accuracies_are_shares_of_all_facts_and_of_the_stored_ones() -> None:
    assert accuracies([[3, 1, 2, 4], [1, 0, 0, 9]]) == (5 / 20, 6 / 20, 4 / 5)
    assert accuracies([[0, 0, 5, 5]]) == (0, 0.5, 0)


def test_metrics_of_a_run_count_facts_and_rows_of_each_format(tmp_path: Path) -> None:
    done = run_script("train/pretrain.py", "--config", SMOKE, "--arm", "one-fixed-third", "--output-dir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    data = CONFIGS["n1k-questions"].replace(**{k: v for k, v in config["dataset_parameters"].items() if k != "distribution"})
    for line in lines:
        trained = formats(data, "train", np.arange(4 * line["step"]))
        assert line["num_questions"] == (trained == "questions").sum()
        assert line["num_biographies"] == (trained == "biographies").sum()
        assert ("facts" in line) == (line["split"] == "questions_not_asked")
        if "facts" in line:
            assert np.sum(line["facts"], axis=1).tolist() == [6] * len(ATTRIBUTES)
            assert np.sum(line["facts_selection"], axis=1).tolist() == [4] * len(ATTRIBUTES)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_fact_individuals": 11}, "num_fact_individuals is 11; it must be an integer from 1 to 10"),
        ({"learning_rate_factor": [8]}, r"learning_rate_factor is \[8\]; it must be \[step, factor\], such as \[1000, 0.3\]"),
        ({"learning_rate_factor": [0, 0.3]}, "step of learning_rate_factor is 0; it must be an integer from 1 to 24"),
        ({"learning_rate_factor": [8, 0]}, "factor of learning_rate_factor is 0; it must be a number above 0"),
    ],
)
def test_wrong_settings_are_named(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_recipe(SMOKE, overrides, "one-fixed-third")
