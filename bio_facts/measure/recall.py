"""Which facts a model has stored, and which of them it recalls. Imports torch when called.

A fact is stored if the model completes it in a text that train has about its individual, and recalled if the model answers the
question about it, for individuals that train has no questions about.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.facts import Facts
from bio_facts.measure.scoring import token_scores
from bio_facts.measure.tokens import BiographyTokenizer, TokenBatch

_SELECTION = 3  # every third individual serves to choose a step; the others are scored


def is_for_selection(num_individuals: int) -> NDArray[np.bool_]:
    """Which individuals, in their order, serve to choose a step and are not scored, bool [n]."""
    is_chosen: NDArray[np.bool_] = np.arange(num_individuals) % _SELECTION == 0
    return is_chosen


class FactTokens(NamedTuple):
    """The rows of Facts as tokens: texts of n individuals; questions and exchanged questions, 6 n rows each."""

    texts: TokenBatch
    questions: TokenBatch
    exchanged: TokenBatch

    @classmethod
    def of(cls, facts: Facts, tokenizer: BiographyTokenizer) -> "FactTokens":
        """Facts with a tokenizer that has the format of questions; ValueError as by the tokenizer."""
        return cls(*map(tokenizer, facts))


def fact_counts(model: Any, tokens: FactTokens, batch_size: int) -> dict[str, Any]:
    """How many facts of each attribute a model, in evaluation mode, has stored and recalls.

    Returns:
        `facts`: [stored and recalled, stored only, recalled only, neither] for each attribute, in the order of ATTRIBUTES, over
        two thirds of the individuals; `facts_selection`: the same over the others, for choosing a step; `num_exchanged`: for
        each attribute, how many questions about the individuals of `facts` are answered with the value of another individual.
    """
    stored = _correct(model, tokens.texts, batch_size)
    recalled = _of_questions(_correct(model, tokens.questions, batch_size))
    exchanged = _of_questions(_correct(model, tokens.exchanged, batch_size))
    for_selection = is_for_selection(len(stored))
    return {
        "facts": _table(stored[~for_selection], recalled[~for_selection]),
        "facts_selection": _table(stored[for_selection], recalled[for_selection]),
        "num_exchanged": exchanged[~for_selection].sum(axis=0).tolist(),
    }


def _table(stored: NDArray[np.bool_], recalled: NDArray[np.bool_]) -> list[list[int]]:
    both = [(stored & recalled), (stored & ~recalled), (~stored & recalled), (~stored & ~recalled)]
    return np.stack([facts.sum(axis=0) for facts in both], axis=-1).tolist()  # type: ignore[no-any-return]


def _of_questions(correct: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """From rows of one question [6 n, 6] to facts [n, 6]: row 6 i + k asks about attribute k of individual i."""
    num_attributes = len(ATTRIBUTES)
    return correct.reshape(-1, num_attributes, num_attributes).diagonal(axis1=1, axis2=2)


def _correct(model: Any, tokens: TokenBatch, batch_size: int) -> NDArray[np.bool_]:
    """Whether all tokens of a value are the arg-max, bool [rows, 6]; false for attributes that a row does not have."""
    parts = [_correct_in_batch(model, batch) for batch in _batches(tokens, batch_size)]
    return np.concatenate(parts) if parts else np.zeros((0, len(ATTRIBUTES)), dtype=bool)


def _correct_in_batch(model: Any, batch: TokenBatch) -> NDArray[np.bool_]:
    attribute_ids, references = batch.attribute_ids[:, 1:], batch.input_ids[:, 1:]
    positions = attribute_ids > 0
    is_wrong = token_scores(model, batch.input_ids, positions).predictions != references[positions]
    shape = (len(references), len(ATTRIBUTES) + 1)
    num_tokens, num_wrong = np.zeros((2, *shape), dtype=np.int64)
    place = np.nonzero(positions)[0], attribute_ids[positions]
    np.add.at(num_tokens, place, 1)
    np.add.at(num_wrong, place, is_wrong)
    is_correct: NDArray[np.bool_] = (num_tokens > 0) & (num_wrong == 0)
    return is_correct[:, 1:]


def _batches(tokens: TokenBatch, size: int) -> Iterator[TokenBatch]:
    for start in range(0, len(tokens.lengths), size):
        input_ids, attribute_ids, lengths = (array[start : start + size] for array in tokens)
        yield TokenBatch(input_ids[:, : lengths.max()], attribute_ids[:, : lengths.max()], lengths)


def accuracies(counts: Sequence[Sequence[int]]) -> tuple[float, float, float]:
    """Share of facts stored; share recalled; share of the stored that is recalled (0 if none is stored), from `facts`."""
    both, stored_only, recalled_only, neither = np.sum(counts, axis=0).tolist()
    total, stored = both + stored_only + recalled_only + neither, both + stored_only
    return stored / total, (both + recalled_only) / total, both / stored if stored else 0.0
