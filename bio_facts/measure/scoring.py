"""Scores of rows for any causal language model and tokenizer: the arrays that the metric takes. Imports torch when called."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import check_integer, needs
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.measure.alignment import AlignedRows, align
from bio_facts.measure.causality import check_causal
from bio_facts.measure.forward import forget, logits_at
from bio_facts.measure.metrics import AttributeTotals, attribute_totals, first_tokens
from bio_facts.measure.modules import context_length, evaluation_mode, vocabulary_size
from bio_facts.measure.tokens import TokenBatch, unknown_id

NOT_SCORED = -1  # prediction of a token that was not scored
# Tables iterate over columns. A method that identifies tables of pandas, polars or pyarrow -> the call that gives their rows.
_TABLES = {"iterrows": '.to_dict("records")', "iter_rows": ".to_dicts()", "to_pylist": ".to_pylist()"}


@dataclass(frozen=True, repr=False)
class Scores:
    """Per-token numbers of n rows, each a list of n arrays [tokens], and the counts of their AlignedRows.

    predictions: arg-max token ids, NOT_SCORED for tokens that were not scored. references: token ids of the rows.
    nlls: nats, 0 where not scored. attribute_ids: 0 = not a value token, k = the k-th of the attribute names.
    top_probabilities, entropies (nats): of the model's distribution for the token, 0 where not scored.
    num_straddling_tokens, num_truncated_values, num_rows_apart: see bio_facts.measure.alignment.AlignedRows.
    """

    predictions: list[NDArray[np.int64]] = field(default_factory=list)
    references: list[NDArray[np.int64]] = field(default_factory=list)
    nlls: list[NDArray[np.float64]] = field(default_factory=list)
    attribute_ids: list[NDArray[np.int64]] = field(default_factory=list)
    top_probabilities: list[NDArray[np.float64]] = field(default_factory=list)
    entropies: list[NDArray[np.float64]] = field(default_factory=list)
    num_straddling_tokens: int = 0
    num_truncated_values: int = 0
    num_rows_apart: int = 0
    attribute_names: tuple[str, ...] = tuple(ATTRIBUTES)

    def inputs(self, *, details: bool = False) -> dict[str, list[Any]]:
        """The inputs of attribute_recall: `recall.compute(**scores.inputs())`; with `details`, it also needs `groups`."""
        names = ["predictions", "references", "nlls", "attribute_ids"] + ["top_probabilities", "entropies"] * details
        return {name: getattr(self, name) for name in names}

    def totals(self) -> AttributeTotals:
        """Sums over all values, which can be added to those of other scores."""
        flat = {name: np.concatenate([np.zeros(0), *values]) for name, values in self.inputs(details=True).items()}
        return attribute_totals(
            nlls=flat["nlls"],
            correct=flat["predictions"] == flat["references"],
            attribute_ids=flat["attribute_ids"].astype(np.int64),
            row_lengths=np.array([len(row) for row in self.references], dtype=np.int64),
            num_attributes=len(self.attribute_names),
            top_probabilities=flat["top_probabilities"],
            entropies=flat["entropies"],
        )

    def summary(self) -> dict[str, float]:
        """All metrics, overall and by attribute: what AttributeTotals.detailed_summary gives.

        Raises:
            ValueError: if there is no value at all.
        """
        return self.totals().detailed_summary(self.attribute_names)

    def __repr__(self) -> str:
        num_rows = len(self.references)
        if not self.totals().num_values.any():
            return f"Scores({num_rows:,} rows, no values)"
        metrics = self.summary()
        return (
            f"Scores({num_rows:,} rows, {metrics['num_values']:,} values: attribute_loss {metrics['attribute_loss']:.3f} nats "
            f"per value, attribute_accuracy {metrics['attribute_accuracy']:.3f})"
        )


def score(
    model: Any,
    tokenizer: Any,
    rows: Iterable[Mapping[str, Any]],
    *,
    batch_size: int = 64,
    attribute_names: Sequence[str] = tuple(ATTRIBUTES),
    max_length: int | None = None,
    allow_truncation: bool = False,
    all_tokens: bool = False,
) -> Scores:
    """Teacher-forced scores of a causal language model of transformers, on the device that the model is on.

    Rows have `text` and `attributes` with attribute, start, end (Unicode code points), like those of bio_facts. The tokenizer
    adds its special tokens. Only value tokens are scored, or `all_tokens`, with logits in float32.

    Args:
        attribute_names: the names that rows use, in the order of the ids.
        max_length: rows are truncated to this number of tokens; by default to the model's context length.
        allow_truncation: leave out values that this truncates, and count them; otherwise they are an error.

    Raises:
        ValueError: for a tokenizer without offsets, a model that is not causal, a row whose spans do not fit its text, a
            truncated value, tokens that the model does not have, or NaN logits.
        ImportError: without torch; it names the extra to install.
    """
    with needs("train", "bio_facts.score"):
        import torch  # noqa: F401 - what scores a model needs it
    check_integer("batch_size", batch_size, minimum=1)
    if max_length is not None:
        check_integer("max_length", max_length, minimum=1)
    if isinstance(attribute_names, str) or len(set(attribute_names)) < len(attribute_names):
        raise ValueError(f"attribute_names is {attribute_names!r}; it must be a list of different names")
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"tokenizer is a {type(tokenizer).__name__}; it must be a fast tokenizer of transformers, with character offsets"
        )
    if isinstance(rows, Mapping):
        raise ValueError(f"rows is a mapping with {', '.join(map(str, rows))}; it must be a list of rows, [row]")
    for attribute, call in _TABLES.items():
        if hasattr(rows, attribute):
            raise ValueError(f"rows is a {type(rows).__name__}; it must be a list of rows, which its {call} gives")
    check_causal(model)
    forget(model)  # its weights may have changed
    limit = context_length(model)
    if max_length is not None and limit is not None:
        check_integer("max_length (of this model)", max_length, minimum=1, maximum=limit)
    limit = limit if max_length is None else max_length
    scores = Scores(attribute_names=tuple(attribute_names))
    with evaluation_mode(model):
        for first_row, batch in _batches(rows, batch_size):
            aligned, tokens = _tokenized(tokenizer, batch, first_row, attribute_names, limit, allow_truncation)
            _add_batch(scores, model, aligned, tokens, first_row, all_tokens)
            scores = replace(
                scores,
                num_straddling_tokens=scores.num_straddling_tokens + aligned.num_straddling_tokens,
                num_truncated_values=scores.num_truncated_values + aligned.num_truncated_values,
                num_rows_apart=scores.num_rows_apart + aligned.num_rows_apart,
            )
    return scores


def tokenized(tokenizer: Any, rows: Sequence[Mapping[str, Any]], *, max_length: int | None = None) -> TokenBatch:
    """Rows of biographies as score gives them to a model: whole texts with the tokenizer's special tokens, padded on the right.

    Raises:
        ValueError: as in score, for a row whose spans do not fit its text, or a value that max_length truncates.
    """
    return _tokenized(tokenizer, rows, 0, tuple(ATTRIBUTES), max_length, allow_truncation=False)[1]


def _tokenized(
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    first_row: int,
    attribute_names: Sequence[str],
    max_length: int | None,
    allow_truncation: bool,
) -> tuple[AlignedRows, TokenBatch]:
    """The tokens of rows, and the same as one batch."""
    aligned = align(
        tokenizer, rows, first_row, attribute_names=attribute_names, max_length=max_length, allow_truncation=allow_truncation
    )
    check_known(tokenizer, aligned, first_row, attribute_names)
    lengths = np.array([len(ids) for ids in aligned.input_ids], dtype=np.int64)
    is_token = np.arange(lengths.max(initial=1)) < lengths[:, None]
    input_ids, attribute_ids = np.zeros((2, *is_token.shape), dtype=np.int64)
    input_ids[is_token], attribute_ids[is_token] = np.concatenate(aligned.input_ids), np.concatenate(aligned.attribute_ids)
    if (attribute_ids[:, 0] > 0).any():
        row = int(np.flatnonzero(attribute_ids[:, 0] > 0)[0])
        raise ValueError(
            f"row {first_row + row} begins with a value, which nothing predicts; texts must begin otherwise, or the "
            "tokenizer must add a token at the beginning"
        )
    return aligned, TokenBatch(input_ids, attribute_ids, lengths)


def check_known(tokenizer: Any, aligned: AlignedRows, first_row: int, attribute_names: Sequence[str]) -> None:
    """ValueError for the first text that contains the tokenizer's unknown token.

    Where that token also begins or ends texts, as in GPT-2's tokenizer, only values are checked.
    """
    unknown = unknown_id(tokenizer)
    if unknown is None:
        return
    has_other_use = unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    for row, (ids, attributes) in enumerate(zip(aligned.input_ids, aligned.attribute_ids, strict=True), start=first_row):
        unknown_attributes = attributes[ids == unknown]
        if has_other_use:
            unknown_attributes = unknown_attributes[unknown_attributes > 0]
        if len(unknown_attributes):
            attribute = int(unknown_attributes.max())
            what = f"the value of {attribute_names[attribute - 1]}" if attribute else "the text"
            raise ValueError(f"row {row}: {what} has characters unknown to the tokenizer")


def _batches(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    iterator, first_row = iter(rows), 0
    while batch := list(islice(iterator, size)):
        yield first_row, batch
        first_row += len(batch)


def _add_batch(scores: Scores, model: Any, aligned: AlignedRows, batch: TokenBatch, first_row: int, all_tokens: bool) -> None:
    """Score one batch and add its rows to `scores`. Padding is on the right, where no token of a causal model attends to it."""
    is_token = np.arange(batch.input_ids.shape[1]) < batch.lengths[:, None]
    positions = is_token[:, 1:] if all_tokens else batch.attribute_ids[:, 1:] > 0
    scored = token_scores(model, batch.input_ids, positions, first_row)
    scores.references.extend(aligned.input_ids)
    scores.attribute_ids.extend(aligned.attribute_ids)
    for name, fill in (("predictions", NOT_SCORED), ("nlls", 0.0), ("top_probabilities", 0.0), ("entropies", 0.0)):
        values = getattr(scored, name)
        padded = np.full(is_token.shape, fill, dtype=values.dtype)
        padded[:, 1:][positions] = values
        getattr(scores, name).extend(row[:length] for row, length in zip(padded, batch.lengths, strict=True))


@dataclass(frozen=True)
class TokenScores:
    """Of n tokens: arg-max ids, negative log-likelihoods (nats), largest probabilities, entropies (nats); arrays [n]."""

    predictions: NDArray[np.int64]
    nlls: NDArray[np.float64]
    top_probabilities: NDArray[np.float64]
    entropies: NDArray[np.float64]


def token_scores(model: Any, input_ids: NDArray[np.int64], positions: NDArray[np.bool_], first_row: int = 0) -> TokenScores:
    """Scores of the tokens input_ids[:, 1:][positions]; input_ids [B, L], padded on the right, positions [B, L - 1].

    No attention mask is needed. Only the logits that predict these tokens are kept, in float32.

    Raises:
        ValueError: naming the row, counted from first_row, if the model does not have a token, or logits are NaN.
    """
    import torch

    check_tokens(input_ids, vocabulary_size(model), first_row)
    ids, chosen = torch.from_numpy(input_ids), torch.from_numpy(positions)
    if not positions.any():  # a forward all the same: processes that share a model must run the same number
        ids, chosen = torch.zeros((1, 3), dtype=torch.int64), torch.zeros((1, 2), dtype=torch.bool)
    with torch.no_grad():  # not inference_mode: a model may cache tensors in its first forward and train with them later
        logits = logits_at(model, ids[:, :-1], chosen).float()
        if positions.any():
            check_tokens(np.pad(input_ids[:, 1:] * positions, ((0, 0), (1, 0))), logits.shape[-1], first_row)
        log_probabilities = torch.log_softmax(logits, dim=-1)
        targets = ids[:, 1:][chosen].to(logits.device)
        top_log_probabilities, predictions = log_probabilities.max(dim=-1)
        nlls = -log_probabilities.gather(-1, targets[:, None])[:, 0]
        entropies = -(log_probabilities.exp() * log_probabilities).nansum(dim=-1)
        wrong = nlls.isnan().cpu().numpy()  # a NaN among a token's logits makes all its log-probabilities NaN
    if wrong.any():
        row = first_row + int(np.nonzero(positions)[0][wrong][0])
        raise ValueError(f"row {row}: the model's logits have NaN (or infinity); its weights must be finite")
    return TokenScores(
        predictions.cpu().numpy(),  # first to the CPU: not every device has float64
        *(x.clamp(min=0).cpu().double().numpy() for x in (nlls, top_log_probabilities.exp(), entropies)),
    )


def check_tokens(input_ids: NDArray[np.int64], size: int | None, first_row: int = 0) -> None:
    """ValueError naming the first token id that is not below `size`, the number of a model's tokens; None: not known."""
    if size is not None and input_ids.max(initial=0) >= size:
        row, token = (int(indices[0]) for indices in np.nonzero(input_ids >= size))
        raise ValueError(
            f"row {first_row + row}: token {token} is {input_ids[row, token]}, and the model has {size:,} tokens; "
            "tokenizer and model must fit"
        )


def score_tokens(model: Any, batch: TokenBatch) -> AttributeTotals:
    """Attribute totals of a causal language model on one batch of biographies, teacher-forced."""
    return score_values(model, batch)[0]


def score_values(model: Any, batch: TokenBatch) -> tuple[AttributeTotals, NDArray[np.float64]]:
    """score_tokens, and the confidence of each value: the largest predicted probability at its first token, [values]."""
    attribute_ids = batch.attribute_ids[:, 1:]
    positions = attribute_ids > 0
    scored = token_scores(model, batch.input_ids, positions)
    ids, row_lengths = attribute_ids[positions], positions.sum(axis=1)  # a row has each attribute once: values stay separate
    totals = attribute_totals(
        nlls=scored.nlls,
        correct=scored.predictions == batch.input_ids[:, 1:][positions],
        attribute_ids=ids,
        row_lengths=row_lengths,
        num_attributes=len(ATTRIBUTES),
        top_probabilities=scored.top_probabilities,
        entropies=scored.entropies,
    )
    return totals, scored.top_probabilities[first_tokens(ids, row_lengths)]
