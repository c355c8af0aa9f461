"""Distributions: which individual a sample is about. Sample index -> individual id, by an independent draw each."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bio_facts import seeding


class Distribution(Protocol):
    """What a split asks of a distribution."""

    def individual_ids(self, seed: int, stream: str, sample_indices: ArrayLike) -> NDArray[np.int64]:
        """The individual of each sample, int64, a pure function of (seed, stream, sample index)."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Every one of `num_individuals` people, from id `first_individual` on, with equal probability, with replacement."""

    num_individuals: int
    first_individual: int = 0

    def individual_ids(self, seed: int, stream: str, sample_indices: ArrayLike) -> NDArray[np.int64]:
        """See Distribution."""
        return self.first_individual + seeding.integers(self.num_individuals, seed, stream, sample_indices)
