"""Scores of a model on the first rows of splits, shared among the processes of distributed training.

Imports torch and accelerate when it is called.
"""

import functools
import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import check_integer
from bio_facts.generate import biography
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import Config
from bio_facts.generate.splits import draw, get_split
from bio_facts.measure.causality import check_causal
from bio_facts.measure.forward import forget, prove
from bio_facts.measure.metrics import AttributeTotals, auroc
from bio_facts.measure.modules import context_length, vocabulary_size
from bio_facts.measure.scoring import check_tokens, score_values, tokenized
from bio_facts.measure.tokens import BiographyTokenizer, TokenBatch

# Split of individuals that are never trained on -> the split of others whose confidence is compared with theirs.
_SEEN_OF_UNSEEN = {"unseen": "validation", "questions_unseen": "questions_not_asked"}
_NO_TOKENS = np.zeros((0, 1), dtype=np.int64)
_NO_ROWS = TokenBatch(_NO_TOKENS, _NO_TOKENS, np.zeros(0, dtype=np.int64))


class SplitScorer:
    """Scores a model on the first `num_biographies` rows of each split; the tokens are kept for the next evaluation.

    Each process scores its share of the rows, so every process must make the same calls.

    Args:
        tokenizer: a fast tokenizer of transformers, which is given whole texts; or a BiographyTokenizer.
        batch_size: rows at a time in each process.

    Raises:
        ValueError: for another tokenizer, an unknown split, or a number out of range.
    """

    def __init__(self, tokenizer: Any, data: Config, splits: Sequence[str], *, num_biographies: int, batch_size: int) -> None:
        if isinstance(splits, str):
            raise ValueError(f"splits is {splits!r}; it must be a list of names, [{splits!r}]")
        if not getattr(tokenizer, "is_fast", isinstance(tokenizer, BiographyTokenizer)):
            raise ValueError(
                f"tokenizer is a {type(tokenizer).__name__}; it must be a fast tokenizer of transformers, with offsets"
            )
        for split in splits:
            rows = get_split(data, split).num_rows
            check_integer(f"num_biographies (of split {split})", num_biographies, minimum=1, maximum=rows)
        check_integer("batch_size", batch_size, minimum=1)
        self.tokenizer, self.data, self.splits = tokenizer, data, tuple(splits)
        self.num_biographies, self.batch_size = num_biographies, batch_size
        self._batches: dict[str, list[TokenBatch]] = {}
        self._checked_model: Callable[[], Any] = lambda: None

    def check_model(self, model: Any) -> None:
        """Check that the model is causal, unless it is the one that was checked last."""
        if self._checked_model() is not model:
            check_causal(model)
            self._checked_model, self._batches = weakref.ref(model), {}

    def summaries(self, model: Any) -> dict[str, dict[str, float]]:
        """Split -> AttributeTotals.detailed_summary over its rows, for a model in evaluation mode.

        If validation is among the splits, unseen also has confidence_auroc: the probability that a value of validation is
        predicted with more confidence than one of unseen. So has questions_unseen, with questions_not_asked in place of
        validation. Confidence is the largest probability at a value's first token.

        Raises:
            ValueError: in every process, if the rows or the model of any process cannot be scored.
        """
        self.check_model(model)
        if not self._batches:
            self._batches = self._prepared(model)
        forget(model)
        prove(model, _longest([batch for batches in self._batches.values() for batch in batches]))
        scored = {split: self._scored(split, model) for split in self.splits}
        summaries = {split: totals.detailed_summary(tuple(ATTRIBUTES)) for split, (totals, _) in scored.items()}
        for unseen, seen in _SEEN_OF_UNSEEN.items():
            if unseen in scored and seen in scored:
                summaries[unseen]["confidence_auroc"] = auroc(scored[seen][1], scored[unseen][1])
        return summaries

    def _prepared(self, model: Any) -> dict[str, list[TokenBatch]]:
        """The tokens of this process's rows of each split, in batches; all processes raise the error of any."""
        from accelerate import PartialState

        processes = PartialState()
        rows = np.arange(self.num_biographies)[processes.process_index :: processes.num_processes]
        prepared: dict[str, list[TokenBatch]] = {}
        error: Exception | None = None
        try:
            for split in self.splits:
                prepared[split] = self._tokens(split, rows, model)
                for batch in prepared[split]:
                    check_tokens(batch.input_ids, vocabulary_size(model))
        except Exception as caught:  # of any type that the tokenizer raises; the other processes wait for this one
            error = caught
        _raise_together(error)
        return prepared

    def _tokens(self, split: str, rows: NDArray[np.int64], model: Any) -> list[TokenBatch]:
        """Batches of tokens, the shortest rows first: as the generator makes them, or of whole texts with other tokenizers."""
        if not len(rows):
            return []
        biographies = draw(self.data, split, rows)
        if isinstance(self.tokenizer, BiographyTokenizer):
            tokens = self.tokenizer(biographies)
        else:
            tokens = tokenized(self.tokenizer, biography.rows(biographies), max_length=context_length(model))
        return _by_length(tokens, self.batch_size)

    def _scored(self, split: str, model: Any) -> tuple[AttributeTotals, NDArray[np.float64]]:
        """Totals of a split, and the confidence of each value, over all processes, which all run the same number of forwards.

        A sharded model needs every process in each forward. So a process that has fewer rows runs forwards without any, and
        one whose scores are an error continues to the last batch; then all processes raise the error.
        """
        from accelerate import PartialState
        from accelerate.utils import gather_object

        most_rows = -(-self.num_biographies // PartialState().num_processes)
        scored: list[tuple[AttributeTotals, NDArray[np.float64]]] = []
        error: Exception | None = None
        batches = self._batches[split]
        for index in range(-(-most_rows // self.batch_size)):
            try:
                scored.append(score_values(model, batches[index] if index < len(batches) else _NO_ROWS))
            except ValueError as caught:
                error = error or caught
        _raise_together(error)
        totals, confidences = zip(*gather_object(scored), strict=True)
        return functools.reduce(operator.add, totals), np.concatenate(confidences)


def _by_length(tokens: TokenBatch, size: int) -> list[TokenBatch]:
    """The rows in order of their length, in batches of `size` rows, so that few tokens are padding."""
    input_ids, attribute_ids, lengths = tokens
    order = np.argsort(lengths, kind="stable")
    return [
        TokenBatch(input_ids[rows, : lengths[rows[-1]]], attribute_ids[rows, : lengths[rows[-1]]], lengths[rows])
        for rows in (order[start : start + size] for start in range(0, len(order), size))
    ]


def _longest(batches: list[TokenBatch]) -> Any:
    """Token ids [2, L] of the longest rows, as the model is given them; without rows, those that it is given instead."""
    import torch

    batch = max(batches, key=lambda batch: batch.input_ids.shape[1], default=_NO_ROWS)
    ids = batch.input_ids[np.argsort(-batch.lengths, kind="stable")[:2], :-1]
    return torch.from_numpy(ids) if ids.size else torch.zeros((1, 2), dtype=torch.int64)


def _raise_together(error: Exception | None) -> None:
    """Raise the error of any process in all of them, so that none waits for another."""
    from accelerate.utils import gather_object

    errors = gather_object([] if error is None else [(isinstance(error, ValueError), f"{type(error).__name__}: {error}")])
    if error is not None:
        raise error
    for is_value_error, message in errors:
        raise (ValueError if is_value_error else RuntimeError)(f"another process: {message}")
