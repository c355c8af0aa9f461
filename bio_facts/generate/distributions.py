"""Distributions: which individual a training sample is about. Sample index -> individual, by an independent draw each.

A distribution holds its own parameters only; the number of individuals is the config's. Every draw is an integer below
a total of integer weights, so that it is exact, index-addressable and the same on every platform.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import check_integer, check_number
from bio_facts.generate import seeding
from bio_facts.generate.population import FIRST_FINE_TUNING_INDIVIDUAL, FIRST_UNSEEN_INDIVIDUAL

_MAX_ALPHA = 3.0
_MAX_WEIGHT = 1_000
_MAX_GROUPS = 64  # each has a validation split
_MAX_DENOMINATOR = 1_000_000
_MAX_POWER_LAW_INDIVIDUALS = 20_000_000  # their table of weights takes a quarter of a minute and a gigabyte
_BITS = 30  # of the fractions in power-law weights


class Distribution(Protocol):
    """What a config asks of a distribution; implementations are frozen dataclasses, their fields parameters of the config."""

    name: ClassVar[str]

    def resolved(self, num_individuals: int) -> Self:
        """This distribution for so many individuals, with derived parameters filled in; ValueError if they do not fit."""
        ...

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The individual of each sample (int64 [n] -> int64 [n]), a pure function of (seed, stream, sample index)."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Every individual with equal probability, with replacement."""

    name: ClassVar[str] = "uniform"

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        return self

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        return seeding.integers(num_individuals, seed, stream, sample_indices)


@dataclass(frozen=True)
class PowerLaw:
    """Individual i, counted from 0, has weight (i + 1)^-alpha (paper Fig. 4); alpha is from 0 to 3."""

    name: ClassVar[str] = "power_law"
    alpha: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_number("alpha", self.alpha, 0, _MAX_ALPHA))

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        check_integer("num_individuals (of a power law)", num_individuals, 1, _MAX_POWER_LAW_INDIVIDUALS)
        return self

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        cumulative = _cumulative_weights(self.alpha, num_individuals)
        drawn = seeding.integers(cumulative[-1], seed, stream, sample_indices)
        return np.searchsorted(cumulative, drawn.astype(np.uint64), side="right").astype(np.int64)


@dataclass(frozen=True)
class Celebrities:
    """The first `num_celebrities` individuals (None: a sixteenth) are `celebrity_weight` times likelier (paper Fig. 4)."""

    name: ClassVar[str] = "celebrities"
    num_celebrities: int | None = None
    celebrity_weight: int = 8

    def __post_init__(self) -> None:
        _check_integers(self, num_celebrities=(1, None), celebrity_weight=(1, _MAX_WEIGHT))

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        given = max(1, num_individuals // 16) if self.num_celebrities is None else self.num_celebrities
        return type(self)(check_integer("num_celebrities", given, 1, num_individuals), self.celebrity_weight)

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        known = self.resolved(num_individuals)
        assert known.num_celebrities is not None
        celebrities, weight = known.num_celebrities, known.celebrity_weight
        drawn = seeding.integers(celebrities * weight + num_individuals - celebrities, seed, stream, sample_indices)
        return np.where(drawn < celebrities * weight, drawn // weight, drawn - celebrities * (weight - 1))


@dataclass(frozen=True)
class WarmUp:
    """Uniform over the first `num_warmup_individuals` (None: an eighth) in the first `num_warmup_biographies` samples
    (None: three for each individual of the population), then uniform over everyone (paper Fig. 4 right)."""

    name: ClassVar[str] = "warm_up"
    num_warmup_individuals: int | None = None
    num_warmup_biographies: int | None = None

    def __post_init__(self) -> None:
        _check_integers(self, num_warmup_individuals=(1, None), num_warmup_biographies=(0, None))

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        individuals = max(1, num_individuals // 8) if self.num_warmup_individuals is None else self.num_warmup_individuals
        biographies = 3 * num_individuals if self.num_warmup_biographies is None else self.num_warmup_biographies
        return type(self)(check_integer("num_warmup_individuals", individuals, 1, num_individuals), biographies)

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        known = self.resolved(num_individuals)
        assert known.num_warmup_individuals is not None and known.num_warmup_biographies is not None
        warming_up = sample_indices < known.num_warmup_biographies
        return seeding.integers(
            np.where(warming_up, known.num_warmup_individuals, num_individuals), seed, stream, sample_indices
        )


@dataclass(frozen=True)
class FineTuning:
    """New individuals, uniformly; each pre-training individual is `replay_weight` times as likely as a new one (paper Fig. 5).

    New individuals have ids from 400,000,000 on. A replay_weight of 0 is fine-tuning without replay.
    """

    name: ClassVar[str] = "fine_tuning"
    num_fine_tuning_individuals: int
    replay_weight: float = 0.0

    def __post_init__(self) -> None:
        maximum = FIRST_UNSEEN_INDIVIDUAL - FIRST_FINE_TUNING_INDIVIDUAL
        _check_integers(self, num_fine_tuning_individuals=(1, maximum))
        weight = check_number("replay_weight", self.replay_weight, 0, _MAX_WEIGHT)
        if Fraction(repr(weight)).denominator > _MAX_DENOMINATOR:
            raise ValueError(f"replay_weight is {weight!r}; it must have at most 6 decimal places")
        object.__setattr__(self, "replay_weight", weight)

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        return self

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        replay, new = Fraction(repr(self.replay_weight)).as_integer_ratio()
        replayed = replay * num_individuals
        drawn = seeding.integers(replayed + new * self.num_fine_tuning_individuals, seed, stream, sample_indices)
        new_ids = FIRST_FINE_TUNING_INDIVIDUAL + (drawn - replayed) // new
        return np.where(drawn < replayed, drawn // max(replay, 1), new_ids)


@dataclass(frozen=True)
class Groups:
    """The population in `num_groups` blocks of equal size, shown one after another (paper App. F.5).

    Each is uniform over its people for `num_group_biographies` samples (None: 16 for each of its people), the last one from
    then on for ever. Samples begin with group `first_group`; what comes before it is not shown.
    """

    name: ClassVar[str] = "groups"
    num_groups: int = 4
    num_group_biographies: int | None = None
    first_group: int = 0

    def __post_init__(self) -> None:
        _check_integers(self, num_groups=(1, _MAX_GROUPS), num_group_biographies=(1, None))
        _check_integers(self, first_group=(0, self.num_groups - 1))

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        num_groups = check_integer("num_groups", self.num_groups, 1, min(num_individuals, _MAX_GROUPS))
        if num_individuals % num_groups:
            raise ValueError(
                f"num_groups is {num_groups}, by which num_individuals, {num_individuals}, cannot be divided; it must "
                "be a divisor"
            )
        size, biographies = num_individuals // num_groups, self.num_group_biographies
        return type(self)(num_groups, 16 * size if biographies is None else biographies, self.first_group)

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        known = self.resolved(num_individuals)
        assert known.num_group_biographies is not None
        size = num_individuals // known.num_groups
        group = np.minimum(known.first_group + sample_indices // known.num_group_biographies, known.num_groups - 1)
        return group * size + seeding.integers(size, seed, stream, sample_indices)


DISTRIBUTIONS: Mapping[str, type[Distribution]] = MappingProxyType(
    {kind.name: kind for kind in (Uniform, PowerLaw, Celebrities, WarmUp, FineTuning, Groups)}
)


@functools.lru_cache(maxsize=8)
def _cumulative_weights(alpha: float, num_individuals: int) -> NDArray[np.uint64]:
    return np.cumsum(power_law_weights(alpha, num_individuals))


def power_law_weights(alpha: float, num_individuals: int) -> NDArray[np.uint64]:
    """Integer weights in proportion to (i + 1)^-alpha, uint64 [num_individuals], their sum below 2**62.

    2^(-alpha log2(i + 1)) in fixed-point arithmetic on 64-bit integers: floating-point pow and log differ in their last bit
    between platforms and builds of NumPy, which would move single draws. True to some 1e-8 of each weight and one unit,
    which is below 1e-6 of any weight of the named configs.
    """
    logarithm = _log2(np.arange(1, num_individuals + 1, dtype=np.uint64))
    factor, fraction = np.uint64(round(alpha * 2**_BITS)), np.uint64(2**_BITS - 1)
    exponent = (logarithm >> np.uint64(_BITS)) * factor + (((logarithm & fraction) * factor) >> np.uint64(_BITS))
    mantissa = _exp2_negative(exponent & fraction)
    halvings = np.minimum(exponent >> np.uint64(_BITS), np.uint64(63))
    shift = np.uint64(62 - int((mantissa >> halvings).sum() + num_individuals).bit_length())
    weights: NDArray[np.uint64] = (mantissa << shift) >> halvings
    return weights


def _log2(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """log2 of integers from 1 to 2**31 - 1, in units of 2**-30: squaring y in [1, 2) doubles its logarithm, bit by bit."""
    whole = (np.frexp(numbers.astype(np.float64))[1] - 1).astype(np.uint64)
    y = numbers << (np.uint64(_BITS) - whole)
    result = whole << np.uint64(_BITS)
    for bit in range(_BITS - 1, -1, -1):
        y = (y * y) >> np.uint64(_BITS)
        above = (y >> np.uint64(_BITS + 1)).astype(np.uint64)  # 1 where y is 2 or more
        y >>= above
        result |= above << np.uint64(bit)
    return result


def _exp2_negative(fraction: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """2**-f for f in [0, 1) given in units of 2**-30; the result is in units of 2**-31."""
    result = np.full(fraction.shape, 2**31, dtype=np.uint64)
    root = 1 << 127  # 2**-1 in units of 2**-128; its square roots are 2**-(1/2), 2**-(1/4), ...
    for bit in range(_BITS - 1, -1, -1):
        root = math.isqrt(root << 128)
        multiplied = (result * np.uint64(root >> 96)) >> np.uint64(32)
        result = np.where((fraction >> np.uint64(bit)) & np.uint64(1), multiplied, result)
    return result


def _check_integers(distribution: object, **ranges: tuple[int, int | None]) -> None:
    """Check fields of a frozen distribution, and make them plain integers; a field whose default is None may be None.

    ranges: field -> (minimum, maximum); None is no maximum. What depends on the number of individuals, `resolved` checks.
    """
    for name, (minimum, maximum) in ranges.items():
        value = getattr(distribution, name)
        if value is not None or getattr(type(distribution), name, 0) is not None:
            object.__setattr__(distribution, name, check_integer(name, value, minimum, maximum))
