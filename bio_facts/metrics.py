"""Attribute loss and attribute accuracy as sums and counts, from per-token numbers (paper App. B.3).

A value is a run of tokens of one row with equal attribute id. Its loss is the SUM of its tokens' losses, in nats; it is
correct if ALL its tokens are the arg-max. Sums are kept per attribute and divided only in `summary`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bio_facts.attributes import ATTRIBUTES


@dataclass(frozen=True)
class AttributeTotals:
    """Sums over values, by attribute in the order of ATTRIBUTES, and over value tokens. Merged by adding.

    loss_sum: float64 [6], nats. num_correct, num_values: int64 [6], values. top_probability_sum: sum over value tokens
    of the largest predicted probability; entropy_sum: of the predictions' entropy, nats; num_tokens: value tokens.
    """

    loss_sum: NDArray[np.float64]
    num_correct: NDArray[np.int64]
    num_values: NDArray[np.int64]
    top_probability_sum: float
    entropy_sum: float
    num_tokens: int

    def __add__(self, other: "AttributeTotals") -> "AttributeTotals":
        return AttributeTotals(*(getattr(self, field) + getattr(other, field) for field in self.__dataclass_fields__))

    def summary(self) -> dict[str, float]:
        """attribute_loss (nats per value), attribute_accuracy (share of values), both overall and per attribute as
        `attribute_loss/<attribute>`, top_probability and entropy (means over value tokens; nats).

        Raises:
            ValueError: if there is no value at all. An attribute without values is left out.
        """
        if not self.num_tokens:
            raise ValueError("there are no value tokens to summarise (num_tokens is 0); score at least one biography")
        overall = {
            "attribute_loss": float(self.loss_sum.sum() / self.num_values.sum()),
            "attribute_accuracy": float(self.num_correct.sum() / self.num_values.sum()),
        }
        present = [(name, k) for k, name in enumerate(ATTRIBUTES) if self.num_values[k]]
        return (
            overall
            | {f"attribute_loss/{name}": float(self.loss_sum[k] / self.num_values[k]) for name, k in present}
            | {f"attribute_accuracy/{name}": float(self.num_correct[k] / self.num_values[k]) for name, k in present}
            | {
                "top_probability": self.top_probability_sum / self.num_tokens,
                "entropy": self.entropy_sum / self.num_tokens,
            }
        )


def attribute_totals(
    nlls: NDArray[np.floating],
    correct: NDArray[np.bool_],
    attribute_ids: NDArray[np.int64],
    top_probabilities: NDArray[np.floating],
    entropies: NDArray[np.floating],
) -> AttributeTotals:
    """Totals of a batch; all arrays [B, L], only tokens with attribute_ids > 0 count.

    nlls: negative log-likelihood of each token, nats. correct: whether it is the arg-max.
    attribute_ids: 0 = not a value token, 1..6 as in ATTRIBUTES.
    """
    is_value = attribute_ids > 0
    starts = is_value.copy()
    starts[:, 1:] &= attribute_ids[:, 1:] != attribute_ids[:, :-1]
    first = np.flatnonzero(starts[is_value])  # positions of first tokens among the value tokens
    value_attribute = attribute_ids[starts] - 1
    size = len(ATTRIBUTES)
    if not len(first):
        zeros = np.zeros(size, dtype=np.int64)
        return AttributeTotals(zeros.astype(np.float64), zeros, zeros, 0.0, 0.0, 0)
    value_loss = np.add.reduceat(nlls[is_value].astype(np.float64), first)
    value_correct = np.logical_and.reduceat(correct[is_value], first)
    return AttributeTotals(
        loss_sum=np.bincount(value_attribute, weights=value_loss, minlength=size).astype(np.float64),
        num_correct=np.bincount(value_attribute[value_correct], minlength=size),
        num_values=np.bincount(value_attribute, minlength=size),
        top_probability_sum=float(top_probabilities[is_value].sum(dtype=np.float64)),
        entropy_sum=float(entropies[is_value].sum(dtype=np.float64)),
        num_tokens=int(is_value.sum()),
    )
