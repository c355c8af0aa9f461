"""Attribute loss, accuracy and confidence from per-token numbers (paper App. B.3), as sums and counts until the last line.

A value is a run of tokens of one row with equal attribute id. Its loss is the SUM of its tokens' losses, in nats; it is
correct if ALL its tokens are the arg-max. NumPy alone: eval/attribute_recall, which works where bio_facts is not installed,
has a copy of this file.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_CALIBRATION_BINS = 10  # of equal width, for the expected calibration error


@dataclass(frozen=True)
class AttributeTotals:
    """Sums over the values and value tokens of A attributes. Merged by adding.

    num_values, num_tokens, num_correct, num_first_correct: int64 [A]; numbers of values, of their tokens, of values whose
    tokens are all correct, and of values whose first token is correct. loss_sum: float64 [A], nats. first_probability_sum:
    float64 [A], the sum of the probabilities of each value's first token. top_probability_sum, entropy_sum: float64 [A], sums
    over value tokens of the largest predicted probability and of the prediction's entropy (nats). calibration: float64
    [A, 10, 3], for each bin of the largest probability the number of value tokens, the sum of their largest probabilities, and
    the number of correct ones.
    """

    num_values: NDArray[np.int64]
    num_tokens: NDArray[np.int64]
    num_correct: NDArray[np.int64]
    num_first_correct: NDArray[np.int64]
    loss_sum: NDArray[np.float64]
    first_probability_sum: NDArray[np.float64]
    top_probability_sum: NDArray[np.float64]
    entropy_sum: NDArray[np.float64]
    calibration: NDArray[np.float64]
    num_detailed_tokens: NDArray[np.int64]  # [A]; value tokens whose largest probability and entropy were both given

    def __add__(self, other: "AttributeTotals") -> "AttributeTotals":
        if len(self.num_values) != len(other.num_values):
            raise ValueError(
                f"totals of {len(self.num_values)} and of {len(other.num_values)} attributes cannot be added; they must be of "
                "the same attributes"
            )
        return AttributeTotals(*(getattr(self, item.name) + getattr(other, item.name) for item in dataclasses.fields(self)))

    def __getitem__(self, attributes: slice) -> "AttributeTotals":
        return AttributeTotals(*(getattr(self, item.name)[attributes] for item in dataclasses.fields(self)))

    def summary(self, attribute_names: Sequence[str]) -> dict[str, float]:
        """Each metric overall, and per attribute as `attribute_loss/birth_place`; attributes without values are left out.

        attribute_loss (nats per value), attribute_accuracy, first_token_accuracy (shares of values),
        first_token_probability (mean over values), token_loss (nats per value token), num_values.

        Raises:
            ValueError: if there is no value at all.
        """
        return self._summary(attribute_names, detailed=False)

    def detailed_summary(self, attribute_names: Sequence[str]) -> dict[str, float]:
        """summary, and top_probability and entropy (means over value tokens; nats), overall and per attribute, and
        expected_calibration_error (over value tokens).

        Raises:
            ValueError: if there is no value at all, or some totals were made without top_probabilities or entropies.
        """
        if (self.num_detailed_tokens != self.num_tokens).any():
            raise ValueError("there is no detailed summary without top_probabilities and entropies of all value tokens")
        return self._summary(attribute_names, detailed=True) | {"expected_calibration_error": self._calibration_error()}

    def _summary(self, attribute_names: Sequence[str], detailed: bool) -> dict[str, float]:
        if not self.num_values.any():
            raise ValueError("there are no values to summarize: attribute_ids are 0 everywhere; at least one must not be")
        ratios = {
            "attribute_loss": (self.loss_sum, self.num_values),
            "attribute_accuracy": (self.num_correct, self.num_values),
            "first_token_accuracy": (self.num_first_correct, self.num_values),
            "first_token_probability": (self.first_probability_sum, self.num_values),
            "token_loss": (self.loss_sum, self.num_tokens),
        }
        if detailed:
            ratios["top_probability"] = (self.top_probability_sum, self.num_tokens)
            ratios["entropy"] = (self.entropy_sum, self.num_tokens)
        summary: dict[str, float] = {name: float(total.sum() / count.sum()) for name, (total, count) in ratios.items()}
        summary["num_values"] = int(self.num_values.sum())
        for index, attribute in enumerate(attribute_names):
            if self.num_values[index]:
                for name, (total, count) in ratios.items():
                    summary[f"{name}/{attribute}"] = float(total[index] / count[index])
                summary[f"num_values/{attribute}"] = int(self.num_values[index])
        return summary

    def _calibration_error(self) -> float:
        """Mean over value tokens of |share of correct tokens - mean largest probability| of the token's bin."""
        count, confidence, num_correct = self.calibration.sum(axis=0).T
        return float(np.abs(num_correct - confidence).sum() / count.sum())


def attribute_totals(
    *,
    nlls: NDArray[np.floating],
    correct: NDArray[np.bool_],
    attribute_ids: NDArray[np.integer],
    row_lengths: NDArray[np.integer],
    num_attributes: int,
    top_probabilities: NDArray[np.floating] | None = None,
    entropies: NDArray[np.floating] | None = None,
) -> AttributeTotals:
    """Totals of the tokens of several rows, one row after another: all arrays [n] but row_lengths [B], whose sum is n.

    nlls: negative log-likelihood of each token, nats. correct: whether it is the arg-max. attribute_ids: 0 = not a value
    token, 1..num_attributes otherwise. top_probabilities, entropies (nats): of the predictions; detailed_summary needs both.

    Raises:
        ValueError: if row_lengths do not add up to n, or an attribute id is above num_attributes.
    """
    if attribute_ids.max(initial=0) > num_attributes:
        raise ValueError(f"attribute_ids has {attribute_ids.max()}; it must be at most num_attributes, {num_attributes}")
    is_value = attribute_ids > 0
    starts = np.flatnonzero(first_tokens(attribute_ids, row_lengths)[is_value])  # among the value tokens
    ids = attribute_ids[is_value].astype(np.int64) - 1
    loss, is_correct = nlls[is_value].astype(np.float64), correct[is_value].astype(bool)
    zeros = np.zeros(len(ids))
    top = zeros if top_probabilities is None else top_probabilities[is_value].astype(np.float64)
    entropy = zeros if entropies is None else entropies[is_value].astype(np.float64)

    def by_attribute(index: NDArray[np.int64], weights: NDArray[Any] | None = None) -> NDArray[Any]:
        return np.bincount(index, weights=weights, minlength=num_attributes)

    value_ids = ids[starts]
    value_loss = np.add.reduceat(loss, starts) if len(starts) else loss
    all_correct = np.logical_and.reduceat(is_correct, starts) if len(starts) else is_correct
    bins = np.minimum((top * NUM_CALIBRATION_BINS).astype(np.int64), NUM_CALIBRATION_BINS - 1)
    cells, num_cells = ids * NUM_CALIBRATION_BINS + bins, num_attributes * NUM_CALIBRATION_BINS
    calibration = [np.bincount(cells, weights=weights, minlength=num_cells) for weights in (None, top, is_correct)]
    return AttributeTotals(
        num_values=by_attribute(value_ids),
        num_tokens=by_attribute(ids),
        num_correct=by_attribute(value_ids[all_correct]),
        num_first_correct=by_attribute(value_ids[is_correct[starts]]),
        loss_sum=by_attribute(value_ids, value_loss),
        first_probability_sum=by_attribute(value_ids, np.exp(-loss[starts])),
        top_probability_sum=by_attribute(ids, top),
        entropy_sum=by_attribute(ids, entropy),
        calibration=np.stack(calibration, axis=-1).reshape(num_attributes, NUM_CALIBRATION_BINS, 3).astype(np.float64),
        num_detailed_tokens=by_attribute(ids[:0] if top_probabilities is None or entropies is None else ids),
    )


def first_tokens(attribute_ids: NDArray[np.integer], row_lengths: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which tokens begin a value, bool [n]: value tokens whose attribute differs from that of the previous token of the row."""
    if row_lengths.sum() != len(attribute_ids):
        raise ValueError(
            f"row_lengths add up to {row_lengths.sum()}; they must add up to the number of tokens, {len(attribute_ids)}"
        )
    is_value: NDArray[np.bool_] = attribute_ids > 0
    changes = np.ones(len(is_value), dtype=bool)
    changes[1:] = attribute_ids[1:] != attribute_ids[:-1]
    row_starts = np.cumsum(row_lengths) - row_lengths
    changes[row_starts[row_lengths > 0]] = True
    begins: NDArray[np.bool_] = is_value & changes
    return begins


def auroc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Probability that a random score of `positive` is above one of `negative`, ties counting half (Mann-Whitney).

    Raises:
        ValueError: if there are no scores on one side.
    """
    if not len(positive) or not len(negative):
        raise ValueError(f"there are {len(positive)} and {len(negative)} scores; both sides must have at least one")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left").astype(np.float64)
    not_above = np.searchsorted(ordered, positive, side="right")
    return float((below + not_above).mean() / 2 / len(negative))
