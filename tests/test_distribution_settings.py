"""Parameters of distributions: defaults, and what is refused."""

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bio_facts.generate.config import Config
from bio_facts.generate.distributions import (
    DISTRIBUTIONS,
    Celebrities,
    Distribution,
    FineTuning,
    Groups,
    PowerLaw,
    Uniform,
    WarmUp,
)
from bio_facts.generate.splits import individual_ids

N = 1_000


# Defaults that follow from the number of individuals


@pytest.mark.parametrize(
    ("num_individuals", "derived", "explicit"),
    [
        (1_000, Celebrities(), Celebrities(62, 8)),
        (64_000, Celebrities(), Celebrities(4_000, 8)),
        (15, Celebrities(), Celebrities(1, 8)),
        (1_000, WarmUp(), WarmUp(125, 3_000)),
        (64_000, WarmUp(), WarmUp(8_000, 192_000)),
        (1_000, WarmUp(num_warmup_individuals=7), WarmUp(7, 3_000)),
        (1_000, Groups(), Groups(4, 4_000, 0)),
        (64_000, Groups(num_groups=2, first_group=1), Groups(2, 512_000, 1)),
        (64_000, Groups(num_groups=2, num_rounds=3), Groups(2, 512_000, 0, 3)),
        (1_000, Groups(num_groups=2, num_group0_individuals=100), Groups(2, 8_000, 0, 1, 100)),
        (1_000, Groups(num_groups=2), Groups(2, num_group0_individuals=500)),
        (7, WarmUp(), WarmUp(1, 21)),
        (1_000, FineTuning(10), FineTuning(10, 0)),
    ],
)
def test_derived_default_is_the_same_as_its_value(num_individuals: int, derived: Distribution, explicit: Distribution) -> None:
    config, other = (Config(num_individuals=num_individuals, distribution=kind) for kind in (derived, explicit))
    assert config.parameters == other.parameters
    assert config.fingerprint == other.fingerprint
    assert np.array_equal(individual_ids(config, "train", range(5_000)), individual_ids(other, "train", range(5_000)))


def test_derived_default_follows_the_number_of_individuals() -> None:
    config = Config(num_individuals=N, distribution=Celebrities()).replace(num_individuals=320)
    assert config.parameters["num_celebrities"] == 20


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PowerLaw(-0.1), "alpha is -0.1; it must be a number from 0 to 3"),
        (lambda: PowerLaw(3.1), "alpha is 3.1; it must be a number from 0 to 3"),
        (lambda: PowerLaw(math.nan), "alpha is nan; it must be a number from 0 to 3"),
        (lambda: PowerLaw(math.inf), "alpha is inf; it must be a number from 0 to 3"),
        (lambda: PowerLaw("0.6"), "alpha is '0.6'; it must be a number from 0 to 3"),  # type: ignore[arg-type]
        (lambda: PowerLaw(True), "alpha is True; it must be a number from 0 to 3"),
        (lambda: PowerLaw(None), "alpha is None; it must be a number from 0 to 3"),  # type: ignore[arg-type]
        (lambda: Celebrities(0), "num_celebrities is 0; it must be an integer of at least 1"),
        (lambda: Celebrities(2.0), "num_celebrities is 2.0; it must be an integer of at least 1"),  # type: ignore[arg-type]
        (lambda: Celebrities(True), "num_celebrities is True; it must be an integer of at least 1"),
        (lambda: Celebrities(5, 0), "celebrity_weight is 0; it must be an integer from 1 to 1,000"),
        (lambda: Celebrities(5, 1_001), "celebrity_weight is 1001; it must be an integer from 1 to 1,000"),
        (lambda: Celebrities(5, 1.5), "celebrity_weight is 1.5; it must be an integer from 1 to 1,000"),  # type: ignore[arg-type]
        (lambda: WarmUp(0), "num_warmup_individuals is 0; it must be an integer of at least 1"),
        (lambda: Celebrities(celebrity_weight=-1), "celebrity_weight is -1; it must be an integer from 1 to 1,000"),
        (lambda: Celebrities(celebrity_weight=True), "celebrity_weight is True; it must be an integer from 1 to 1,000"),
        (lambda: Celebrities(celebrity_weight=None), "celebrity_weight is None; it must be an integer from 1 to 1,000"),  # type: ignore[arg-type]
        (lambda: Celebrities(Fraction(5)), "num_celebrities is Fraction(5, 1); it must be an integer of at least 1"),  # type: ignore[arg-type]
        (lambda: WarmUp(True), "num_warmup_individuals is True; it must be an integer of at least 1"),
        (lambda: WarmUp(5, False), "num_warmup_biographies is False; it must be an integer from 0 to 1,000,000,000,000"),
        (lambda: WarmUp(5, -1), "num_warmup_biographies is -1; it must be an integer from 0 to 1,000,000,000,000"),
        (lambda: WarmUp(5, 1.5), "num_warmup_biographies is 1.5; it must be an integer from 0 to 1,000,000,000,000"),  # type: ignore[arg-type]
        (lambda: Groups(0), "num_groups is 0; it must be an integer from 1 to 64"),
        (lambda: Groups(None), "num_groups is None; it must be an integer from 1 to 64"),  # type: ignore[arg-type]
        (lambda: Groups(True), "num_groups is True; it must be an integer from 1 to 64"),
        (lambda: Groups(2.0), "num_groups is 2.0; it must be an integer from 1 to 64"),  # type: ignore[arg-type]
        (lambda: Groups(4, 5, -1), "first_group is -1; it must be an integer of at least 0"),
        (lambda: Groups(4, 2.5), "num_group_biographies is 2.5; it must be an integer from 1 to 1,000,000,000,000"),  # type: ignore[arg-type]
        (lambda: Groups(65), "num_groups is 65; it must be an integer from 1 to 64"),
        (lambda: Groups(4, 0), "num_group_biographies is 0; it must be an integer from 1 to 1,000,000,000,000"),
        (lambda: Groups(4, 5, 4), "first_group is 4; it must be an integer from 0 to 3"),
        (lambda: Groups(4, 5, True), "first_group is True; it must be an integer of at least 0"),
        (lambda: Groups(num_rounds=0), "num_rounds is 0; it must be an integer from 1 to 1,000,000,000,000"),
        (lambda: Groups(num_rounds=-2), "num_rounds is -2; it must be an integer from 1 to 1,000,000,000,000"),
        (lambda: Groups(num_rounds=2.0), "num_rounds is 2.0; it must be an integer from 1 to 1,000,000,000,000"),  # type: ignore[arg-type]
        (lambda: Groups(num_rounds=True), "num_rounds is True; it must be an integer from 1 to 1,000,000,000,000"),
        (lambda: Groups(num_rounds=None), "num_rounds is None; it must be an integer from 1 to 1,000,000,000,000"),  # type: ignore[arg-type]
        (lambda: Groups(num_group0_individuals=0), "num_group0_individuals is 0; it must be an integer of at least 1"),
        (
            lambda: Groups(1, num_group0_individuals=5),
            "num_group0_individuals is 5, but num_groups is 1; there must be at least 2 groups",
        ),
        (
            lambda: Groups(num_rounds=10**12 + 1),
            "num_rounds is 1000000000001; it must be an integer from 1 to 1,000,000,000,000",
        ),
        (lambda: FineTuning(0), "num_fine_tuning_individuals is 0; it must be an integer from 1 to 200,000,000"),
        (
            lambda: FineTuning(200_000_001),
            "num_fine_tuning_individuals is 200000001; it must be an integer from 1 to 200,000,000",
        ),
        (lambda: FineTuning(5, -1), "replay_weight is -1; it must be a number from 0 to 1,000"),
        (lambda: FineTuning(5, 1_000.5), "replay_weight is 1000.5; it must be a number from 0 to 1,000"),
        (lambda: FineTuning(5, math.nan), "replay_weight is nan; it must be a number from 0 to 1,000"),
        (lambda: FineTuning(5, True), "replay_weight is True; it must be a number from 0 to 1,000"),
        (lambda: FineTuning(5, 0.1234567), "replay_weight is 0.1234567; it must have at most 6 decimal places"),
        (lambda: FineTuning(5, 1e-9), "replay_weight is 1e-09; it must have at most 6 decimal places"),
    ],
)
def test_bad_distribution_is_refused_at_construction(make: Callable[[], Distribution], message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (Celebrities(1_001), "num_celebrities is 1001; it must be an integer from 1 to 1,000"),
        (WarmUp(1_001), "num_warmup_individuals is 1001; it must be an integer from 1 to 1,000"),
        (Groups(3), "num_groups is 3; it must be a divisor of num_individuals, 1000"),
    ],
    ids=repr,
)
def test_distribution_that_does_not_fit_the_individuals_is_refused_by_the_config(
    distribution: Distribution, message: str
) -> None:
    with pytest.raises(ValueError) as error:
        Config(num_individuals=N, distribution=distribution)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "make",
    [
        lambda integer: Celebrities(integer(5), integer(3)),
        lambda integer: WarmUp(integer(5), integer(3)),
        lambda integer: FineTuning(integer(5)),
        lambda integer: Groups(integer(5), integer(3), integer(1), integer(2)),
    ],
)
def test_integers_of_numpy_become_those_of_python(make: Callable[[type], Distribution]) -> None:
    """So that equal distributions are equal, and can be written as JSON, before a config sees them."""
    assert repr(make(np.int64)) == repr(make(int))


@pytest.mark.parametrize("given", ["uniform", Uniform, None, 0.6], ids=repr)
def test_something_other_than_a_distribution_is_refused(given: object) -> None:
    with pytest.raises(ValueError) as error:
        Config(num_individuals=N, distribution=given)  # type: ignore[arg-type]
    kinds = "Uniform(...), PowerLaw(...), Celebrities(...), WarmUp(...), FineTuning(...), Groups(...)"
    assert str(error.value) == f"distribution is {given!r}; it must be one of {kinds}"


@pytest.mark.parametrize("kind", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_misspelled_parameter_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="alhpa"):
        kind(alhpa=1)


@pytest.mark.parametrize(
    "distribution",
    [Uniform(), PowerLaw(0.6), Celebrities(), WarmUp(), FineTuning(70), Groups()],
    ids=lambda distribution: distribution.name,
)
def test_distribution_cannot_be_changed(distribution: Any) -> None:
    for item in dataclasses.fields(distribution):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(distribution, item.name, 1)


def test_distributions_are_found_by_their_names() -> None:
    assert {name: kind.name for name, kind in DISTRIBUTIONS.items()} == {
        name: name for name in ("uniform", "power_law", "celebrities", "warm_up", "fine_tuning", "groups")
    }
    with pytest.raises(TypeError):
        DISTRIBUTIONS["zipf"] = PowerLaw  # type: ignore[index]


@pytest.mark.parametrize("number", [1, np.float64(1), np.int64(1)])
def test_number_of_any_kind_has_the_fingerprint_of_the_float(number: Any) -> None:
    config, expected = (Config(num_individuals=N, distribution=PowerLaw(alpha)) for alpha in (number, 1.0))
    assert config.fingerprint == expected.fingerprint
