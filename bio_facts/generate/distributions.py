"""Distributions: which individual each training sample is about, and which individuals a config is evaluated on.

A distribution holds its own parameters only; the number of individuals belongs to the config. Each sample is an independent
draw: an integer below a total of integer weights, so that it is exact, can be computed from the sample index alone and is the
same on every platform.

A new distribution is one class: a frozen dataclass with `@register`, a subclass of Distribution, whose fields declare a Setting
each. Flags of bio-facts, fields of the `datasets` builder, the dataset card and the splits follow from it.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, ClassVar, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import check_integer
from bio_facts.generate import seeding
from bio_facts.generate.population import FIRST_FINE_TUNING_INDIVIDUAL, FIRST_UNSEEN_INDIVIDUAL, Population
from bio_facts.generate.power_law import cumulative_weights
from bio_facts.generate.settings import Setting, check_settings, settings_of

MAX_BIOGRAPHIES = 1_000_000_000_000  # of an exported train split

_MAX_WEIGHT = 1_000
_MAX_GROUPS = 64  # each has a validation split
_MAX_DENOMINATOR = 1_000_000
_MAX_POWER_LAW_INDIVIDUALS = 20_000_000  # their weights take 15 seconds and a gigabyte
# The fields of Config, whose module imports this one. A distribution's field of the same name would hide Config's in the
# parameters, and so in the fingerprint.
_CONFIG_FIELDS = frozenset(
    {
        *("num_individuals", "population_seed", "pool_sizes", "num_biographies", "seed"),
        *("num_training_templates", "num_wordings", "wordings_for", "sentence_order"),
        *("phases", "num_asked_individuals", "num_phrasings", "distribution"),
    }
)


class EvaluationSplit(NamedTuple):
    """A split of held-out templates, uniform over `individuals` (a range of ids); `stream` names its random draws."""

    stream: str
    individuals: range


class Distribution:
    """Base class of distributions, which are frozen dataclasses; their fields are parameters of the config.

    Subclasses set `name` and define individual_ids; the other methods have defaults for a distribution over the whole
    population of pre-training.
    """

    name: ClassVar[str]
    train_stream: ClassVar[str] = "train"  # names the random draws of the train split

    def __post_init__(self) -> None:
        check_settings(self)

    def resolved(self, num_individuals: int) -> Self:
        """The same distribution with derived parameters filled in; ValueError if it does not fit `num_individuals`."""
        return self

    def check_population(self, population: Population) -> None:
        """ValueError if the population has too few names for the individuals of this distribution."""

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The individual_id of each sample (int64 [n] -> int64 [n]), a pure function of (seed, stream, sample index)."""
        raise NotImplementedError

    def trained_individuals(self, num_individuals: int) -> tuple[range, ...]:
        """The ids of all individuals that the train split can be about, as ranges that do not overlap."""
        return (range(num_individuals),)

    def evaluation_splits(self, num_individuals: int) -> dict[str, EvaluationSplit]:
        """Split name -> EvaluationSplit, for every split but train and unseen, which all configs have."""
        return {"validation": EvaluationSplit("validation", range(num_individuals))}


_REGISTERED: dict[str, type[Distribution]] = {}
DISTRIBUTIONS: Mapping[str, type[Distribution]] = MappingProxyType(_REGISTERED)

_D = TypeVar("_D", bound=type[Distribution])


def register(distribution: _D) -> _D:
    """Class decorator: add a distribution to DISTRIBUTIONS under its name.

    Raises:
        ValueError: if it has no name or one that is taken, is not a frozen dataclass, or has a field without a Setting, a
            number without a maximum, or a field that Config has.
    """
    what, name = f"distribution {distribution.__name__}", getattr(distribution, "name", None)
    if not isinstance(name, str) or not name:
        raise ValueError(f"{what} has name {name!r}; it must be a string, such as 'uniform'")
    if name in _REGISTERED:
        raise ValueError(f"a distribution {name!r} is already registered")
    parameters = vars(distribution).get("__dataclass_params__")  # its own: a subclass inherits the attribute
    if parameters is None or not parameters.frozen:
        raise ValueError(f"{what} is not a frozen dataclass; put @dataclass(frozen=True) below @register")
    settings = settings_of(distribution)
    for field in dataclasses.fields(distribution):  # type: ignore[arg-type]
        if field.name not in settings:
            raise ValueError(f"field {field.name} of {what} has no Setting; declare it as Annotated[int, Setting(...)]")
        if settings[field.name].type is float and settings[field.name].maximum is None:
            raise ValueError(f"field {field.name} of {what} is a number without a maximum; its Setting must have one")
        if field.name in _CONFIG_FIELDS:
            raise ValueError(f"field {field.name} of {what} has the name of a field of Config; choose another name")
    _REGISTERED[name] = distribution
    return distribution


@register
@dataclass(frozen=True)
class Uniform(Distribution):
    """Every individual is equally likely."""

    name = "uniform"

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        return seeding.integers(num_individuals, seed, stream, sample_indices)


@register
@dataclass(frozen=True)
class PowerLaw(Distribution):
    """Individual i, counted from 0, has weight (i + 1)^-alpha (paper Fig. 4)."""

    name = "power_law"
    alpha: Annotated[float, Setting("exponent of the power law", minimum=0, maximum=3)]

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        check_integer("num_individuals (of a power law)", num_individuals, 1, _MAX_POWER_LAW_INDIVIDUALS)
        return self

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        cumulative = cumulative_weights(self.alpha, num_individuals)
        drawn = seeding.integers(cumulative[-1], seed, stream, sample_indices)
        return np.searchsorted(cumulative, drawn.astype(np.uint64), side="right").astype(np.int64)


@register
@dataclass(frozen=True)
class Celebrities(Distribution):
    """The first `num_celebrities` individuals have weight `celebrity_weight`, the others weight 1 (paper Fig. 4)."""

    name = "celebrities"
    num_celebrities: Annotated[
        int | None, Setting("number of individuals with a higher weight; default: a sixteenth of all", minimum=1)
    ] = None
    celebrity_weight: Annotated[
        int, Setting("weight of each of them, where all others have weight 1", minimum=1, maximum=_MAX_WEIGHT)
    ] = 8

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        count = max(1, num_individuals // 16) if self.num_celebrities is None else self.num_celebrities
        return type(self)(check_integer("num_celebrities", count, 1, num_individuals), self.celebrity_weight)

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        count, weight = self.resolved(num_individuals).num_celebrities, self.celebrity_weight
        assert count is not None
        drawn = seeding.integers(count * weight + num_individuals - count, seed, stream, sample_indices)
        return np.where(drawn < count * weight, drawn // weight, drawn - count * (weight - 1))


@register
@dataclass(frozen=True)
class WarmUp(Distribution):
    """Uniform over the first `num_warmup_individuals` in the first `num_warmup_biographies` samples, then uniform over all
    (paper Fig. 4, right)."""

    name = "warm_up"
    num_warmup_individuals: Annotated[
        int | None, Setting("number of individuals shown during warm-up; default: an eighth of all", minimum=1)
    ] = None
    num_warmup_biographies: Annotated[
        int | None,
        Setting(
            "number of warm-up samples; default: three times the number of individuals", minimum=0, maximum=MAX_BIOGRAPHIES
        ),
    ] = None

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        individuals = max(1, num_individuals // 8) if self.num_warmup_individuals is None else self.num_warmup_individuals
        biographies = 3 * num_individuals if self.num_warmup_biographies is None else self.num_warmup_biographies
        return type(self)(check_integer("num_warmup_individuals", individuals, 1, num_individuals), biographies)

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        resolved = self.resolved(num_individuals)
        assert resolved.num_warmup_individuals is not None and resolved.num_warmup_biographies is not None
        is_warm_up = sample_indices < resolved.num_warmup_biographies
        return seeding.integers(
            np.where(is_warm_up, resolved.num_warmup_individuals, num_individuals), seed, stream, sample_indices
        )


@register
@dataclass(frozen=True)
class FineTuning(Distribution):
    """New individuals, with ids from 400,000,000 on, uniformly; optionally mixed with those of pre-training (paper Fig. 5).

    Each individual of pre-training is `replay_weight` times as likely as a new one; 0 is fine-tuning without replay.
    """

    name = "fine_tuning"
    train_stream = "fine_tuning_train"
    num_fine_tuning_individuals: Annotated[
        int, Setting("number of new individuals", minimum=1, maximum=FIRST_UNSEEN_INDIVIDUAL - FIRST_FINE_TUNING_INDIVIDUAL)
    ]
    replay_weight: Annotated[
        float,
        Setting(
            "weight of each individual of pre-training, where each new one has weight 1; at most 6 decimal places",
            maximum=_MAX_WEIGHT,
        ),
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if Fraction(repr(self.replay_weight)).denominator > _MAX_DENOMINATOR:
            raise ValueError(f"replay_weight is {self.replay_weight!r}; it must have at most 6 decimal places")

    @property
    def _new_individuals(self) -> range:
        return range(FIRST_FINE_TUNING_INDIVIDUAL, FIRST_FINE_TUNING_INDIVIDUAL + self.num_fine_tuning_individuals)

    def check_population(self, population: Population) -> None:
        """See Distribution."""
        population.check_names("num_fine_tuning_individuals", self.num_fine_tuning_individuals, FIRST_FINE_TUNING_INDIVIDUAL)

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        replay_weight, new_weight = Fraction(repr(self.replay_weight)).as_integer_ratio()
        replay_total = replay_weight * num_individuals
        total = replay_total + new_weight * self.num_fine_tuning_individuals
        drawn = seeding.integers(total, seed, stream, sample_indices)
        new_ids = FIRST_FINE_TUNING_INDIVIDUAL + (drawn - replay_total) // new_weight
        return np.where(drawn < replay_total, drawn // max(replay_weight, 1), new_ids)

    def trained_individuals(self, num_individuals: int) -> tuple[range, ...]:
        """See Distribution."""
        return (range(num_individuals), self._new_individuals) if self.replay_weight > 0 else (self._new_individuals,)

    def evaluation_splits(self, num_individuals: int) -> dict[str, EvaluationSplit]:
        """validation is about the new individuals; pretrain_validation is the validation split of pre-training, row for row."""
        return {
            "validation": EvaluationSplit("fine_tuning_validation", self._new_individuals),
            "pretrain_validation": EvaluationSplit("validation", range(num_individuals)),
        }


@register
@dataclass(frozen=True)
class Groups(Distribution):
    """The population in `num_groups` blocks, shown one after another (paper App. F.5).

    The train split is uniform over one group for `num_group_biographies` samples, then over the next, from `first_group` to the
    last one. This sequence is a round, shown `num_rounds` times; each round begins with `first_group`. After the last round,
    the last group continues without end. Groups before `first_group` are not shown in any round.

    The groups are of equal size. With `num_group0_individuals`, group 0 has that size and the others share the remaining
    individuals: the celebrities of pre-training and everyone else, for instance.
    """

    name = "groups"
    num_groups: Annotated[
        int, Setting("number of groups, shown one after another; divides num_individuals", minimum=1, maximum=_MAX_GROUPS)
    ] = 4
    num_group_biographies: Annotated[
        int | None,
        Setting(
            "number of samples of each group; default: 16 times num_individuals / num_groups",
            minimum=1,
            maximum=MAX_BIOGRAPHIES,
        ),
    ] = None
    first_group: Annotated[int, Setting("index of the group shown first, from 0 to num_groups - 1", minimum=0)] = 0
    num_rounds: Annotated[
        int,
        Setting(
            "how often the sequence of groups from first_group to the last one is shown; default: 1",
            minimum=1,
            maximum=MAX_BIOGRAPHIES,
            omit_default=True,
        ),
    ] = 1
    num_group0_individuals: Annotated[
        int | None,
        Setting(
            "number of individuals in group 0, where the other groups share the rest equally; default: groups of equal size",
            minimum=1,
            omit_default=True,
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("first_group", self.first_group, 0, self.num_groups - 1)
        if self.num_group0_individuals is not None and self.num_groups < 2:
            raise ValueError(
                f"num_group0_individuals is {self.num_group0_individuals}, but num_groups is {self.num_groups}; "
                "there must be at least 2 groups"
            )

    def resolved(self, num_individuals: int) -> Self:
        """See Distribution."""
        num_groups = check_integer("num_groups", self.num_groups, 1, min(num_individuals, _MAX_GROUPS))
        if self.num_group0_individuals is None:
            if num_individuals % num_groups:
                raise ValueError(f"num_groups is {num_groups}; it must be a divisor of num_individuals, {num_individuals}")
        else:
            size = check_integer("num_group0_individuals", self.num_group0_individuals, 1, num_individuals - num_groups + 1)
            if (num_individuals - size) % (num_groups - 1):
                raise ValueError(
                    f"num_group0_individuals is {size}; the other {num_individuals - size} of {num_individuals} individuals "
                    f"must make {num_groups - 1} groups of equal size"
                )
        first, biographies = self.num_group0_individuals, self.num_group_biographies
        default = 16 * (num_individuals // num_groups)
        return dataclasses.replace(
            self,
            num_group_biographies=default if biographies is None else biographies,
            num_group0_individuals=None if first is not None and first * num_groups == num_individuals else first,
        )

    def _groups(self, num_individuals: int) -> list[range]:
        """The individuals of each group."""
        first = num_individuals // self.num_groups if self.num_group0_individuals is None else self.num_group0_individuals
        size = (num_individuals - first) // max(1, self.num_groups - 1)
        starts = [0, *(first + size * group for group in range(self.num_groups - 1)), num_individuals]
        return [range(start, end) for start, end in itertools.pairwise(starts)]

    def individual_ids(
        self, num_individuals: int, seed: int, stream: str, sample_indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """See Distribution."""
        num_group_biographies = self.resolved(num_individuals).num_group_biographies
        assert num_group_biographies is not None
        round_length = self.num_groups - self.first_group
        turn = np.minimum(sample_indices // num_group_biographies, self.num_rounds * round_length - 1)
        group = self.first_group + turn % round_length
        groups = self._groups(num_individuals)
        starts, sizes = (
            np.array(numbers, np.int64) for numbers in zip(*((ids.start, len(ids)) for ids in groups), strict=True)
        )
        ids: NDArray[np.int64] = starts[group] + seeding.integers(sizes[group], seed, stream, sample_indices)
        return ids

    def trained_individuals(self, num_individuals: int) -> tuple[range, ...]:
        """See Distribution."""
        return (range(self._groups(num_individuals)[self.first_group].start, num_individuals),)

    def evaluation_splits(self, num_individuals: int) -> dict[str, EvaluationSplit]:
        """validation is about everyone; validation_group0, validation_group1, ... are about one group each."""
        by_group = {
            f"validation_group{group}": EvaluationSplit(f"validation_group{group}", individuals)
            for group, individuals in enumerate(self._groups(num_individuals))
        }
        return super().evaluation_splits(num_individuals) | by_group
