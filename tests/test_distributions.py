"""Individuals of the train split: probabilities recomputed with floats, draws recomputed with Python integers."""

import bisect
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from chi_square import p_uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.generate import seeding
from bio_facts.generate.config import Config
from bio_facts.generate.distributions import (
    Celebrities,
    Distribution,
    FineTuning,
    Groups,
    PowerLaw,
    Uniform,
    WarmUp,
)
from bio_facts.generate.power_law import power_law_weights
from bio_facts.generate.splits import individual_ids

N = 1_000
MILLION = np.arange(1_000_000)
FIRST_NEW = 400_000_000
EVERY_KIND: list[Distribution] = [
    Uniform(),
    PowerLaw(0.6),
    Celebrities(),
    WarmUp(num_warmup_biographies=300),
    FineTuning(70, replay_weight=0.5),
    Groups(num_group_biographies=100, num_rounds=2),
]
EACH_KIND = pytest.mark.parametrize("distribution", EVERY_KIND, ids=lambda kind: kind.name)


def ids_of(distribution: Distribution, samples: Any, num_individuals: int = N, seed: int = 0) -> np.ndarray:
    """Individuals of the samples; new ones follow the others: N, N + 1, ..."""
    config = Config(num_individuals=num_individuals, seed=seed, distribution=distribution)
    ids = individual_ids(config, "train", samples)
    return np.where(ids >= FIRST_NEW, ids - FIRST_NEW + num_individuals, ids)


# Frequencies


def power_law(alpha: float) -> np.ndarray:
    return np.arange(1, N + 1, dtype=np.float64) ** -alpha


def with_celebrities(count: int, weight: int) -> np.ndarray:
    return np.where(np.arange(N) < count, float(weight), 1.0)


def with_new_individuals(count: int, replay_weight: float) -> np.ndarray:
    return np.append(np.full(N, replay_weight), np.ones(count))


@pytest.mark.parametrize(
    ("distribution", "weights"),
    [
        (Uniform(), np.ones(N)),
        *((PowerLaw(alpha), power_law(alpha)) for alpha in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 3.0)),
        (Celebrities(), with_celebrities(62, 8)),
        (Celebrities(num_celebrities=1, celebrity_weight=1_000), with_celebrities(1, 1_000)),
        (Celebrities(num_celebrities=300, celebrity_weight=3), with_celebrities(300, 3)),
        (WarmUp(num_warmup_biographies=0), np.ones(N)),
        (WarmUp(num_warmup_biographies=1_000_000), np.where(np.arange(N) < 125, 1.0, 0.0)),
        (WarmUp(40, 1_000_000), np.where(np.arange(N) < 40, 1.0, 0.0)),
        (FineTuning(500), with_new_individuals(500, 0)),
        *((FineTuning(500, weight), with_new_individuals(500, weight)) for weight in (2, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125)),
        (FineTuning(30, replay_weight=0.123456), with_new_individuals(30, 0.123456)),
        (Groups(1, 5), np.ones(N)),
        (Groups(5, 1_000_000), np.where(np.arange(N) < 200, 1.0, 0.0)),
        (Groups(2, 250_000), np.where(np.arange(N) < 500, 0.25, 0.75)),
        (Groups(2, 100_000, num_rounds=4), np.where(np.arange(N) < 500, 0.4, 0.6)),
        (Groups(2, 1_000_000, 0, 1, 60), np.where(np.arange(N) < 60, 1.0, 0.0)),
        (Groups(2, 1, 1, 1, 60), np.where(np.arange(N) < 60, 0.0, 1.0)),
    ],
    ids=lambda given: None if isinstance(given, np.ndarray) else repr(given),
)
def test_frequencies_are_within_4_standard_errors_of_the_configured(distribution: Distribution, weights: np.ndarray) -> None:
    """In about 20 ranges of individuals; the first are short, because a power law has its peak there."""
    edges = np.unique([0, *np.geomspace(1, N, 14).astype(int), *np.linspace(0, len(weights), 8).astype(int)])
    expected = np.add.reduceat(weights, edges[:-1]) / weights.sum()
    counts = np.bincount(ids_of(distribution, MILLION, seed=1), minlength=len(weights))
    frequencies = np.add.reduceat(counts, edges[:-1]) / len(MILLION)
    assert len(edges) >= 18
    assert (np.abs(frequencies - expected) <= 4 * np.sqrt(expected * (1 - expected) / len(MILLION))).all()


def test_frequencies_of_a_slightly_other_alpha_would_be_noticed() -> None:
    weights, counts = power_law(0.61), np.bincount(ids_of(PowerLaw(0.6), MILLION, seed=1), minlength=N)
    expected = weights[0] / weights.sum()
    assert abs(counts[0] / len(MILLION) - expected) > 4 * math.sqrt(expected * (1 - expected) / len(MILLION))


@pytest.mark.parametrize(
    ("distribution", "equally_likely"),
    [(Celebrities(80), range(80)), (Celebrities(80), range(80, N)), (FineTuning(90, 0.5), range(N, N + 90))],
)
def test_individuals_of_equal_weight_are_equally_likely(distribution: Distribution, equally_likely: range) -> None:
    counts = np.bincount(ids_of(distribution, MILLION), minlength=equally_likely.stop)
    assert p_uniform(counts[equally_likely.start : equally_likely.stop]) > 0.001


# Draws, one by one


def drawn(weights: Sequence[int], bits: int) -> int:
    """The individual at floor(bits * total / 2**64) of a line on which each has as many places as its weight."""
    cumulative = list(itertools.accumulate(weights))
    return bisect.bisect_right(cumulative, bits * cumulative[-1] >> 64)


def integer_weights(distribution: Any, num_individuals: int, sample: int) -> list[int]:
    match distribution:
        case Celebrities():
            stars = distribution.num_celebrities
            return [distribution.celebrity_weight] * stars + [1] * (num_individuals - stars)
        case WarmUp():
            warming_up = sample < distribution.num_warmup_biographies
            return [1] * (distribution.num_warmup_individuals if warming_up else num_individuals)
        case Groups():
            first = distribution.num_group0_individuals or num_individuals // distribution.num_groups
            size = (num_individuals - first) // max(1, distribution.num_groups - 1)
            shown = list(range(distribution.first_group, distribution.num_groups)) * distribution.num_rounds
            group = shown[min(sample // distribution.num_group_biographies, len(shown) - 1)]
            start, end = (0, first) if group == 0 else (first + (group - 1) * size, first + group * size)
            return [int(start <= individual < end) for individual in range(num_individuals)]
        case FineTuning():
            replay, new = Fraction(str(distribution.replay_weight)).as_integer_ratio()
            return [replay] * num_individuals + [new] * distribution.num_fine_tuning_individuals
        case PowerLaw():
            return power_law_weights(distribution.alpha, num_individuals).tolist()
        case _:
            return [1] * num_individuals


@st.composite
def groups_of(draw: st.DrawFn, num_individuals: int) -> Groups:
    num_groups = draw(st.sampled_from([count for count in range(1, num_individuals + 1) if num_individuals % count == 0]))
    first_group, num_rounds = draw(st.integers(0, num_groups - 1)), draw(st.integers(1, 5))
    sizes = [size for size in range(1, num_individuals) if num_groups > 1 and (num_individuals - size) % (num_groups - 1) == 0]
    group0 = draw(st.sampled_from([None, *(size for size in sizes if size <= num_individuals - num_groups + 1)]))
    return Groups(num_groups, draw(st.integers(1, 100)), first_group, num_rounds, group0)


@st.composite
def populations(draw: st.DrawFn) -> tuple[int, Distribution]:
    num_individuals = draw(st.integers(1, 60))
    some = st.integers(1, num_individuals)
    weight = st.sampled_from([0, 0.03125, 0.1, 0.5, 0.999999, 1, 2, 7.3, 1000])
    distribution = draw(
        st.one_of(
            st.just(Uniform()),
            st.builds(PowerLaw, st.floats(0, 3)),
            st.builds(Celebrities, some, st.integers(1, 1_000)),
            st.builds(WarmUp, some, st.integers(0, 100)),
            groups_of(num_individuals),
            st.builds(FineTuning, st.integers(1, 60), weight),
        )
    )
    return num_individuals, distribution


@settings(max_examples=200, deadline=None, derandomize=True)
@given(populations(), st.integers(0, 2**40), st.lists(st.integers(0, 200), min_size=1, max_size=10))
def test_individual_is_drawn_from_its_bits_and_the_weights(
    population: tuple[int, Distribution], seed: int, samples: list[int]
) -> None:
    num_individuals, distribution = population
    stream = "sample/fine_tuning_train/individual" if isinstance(distribution, FineTuning) else "sample/train/individual"
    expected = [
        drawn(integer_weights(distribution, num_individuals, sample), int(seeding.bits(seed, stream, sample)[0]))
        for sample in samples
    ]
    assert ids_of(distribution, samples, num_individuals, seed).tolist() == expected


@EACH_KIND
@settings(max_examples=20, deadline=None, derandomize=True)
@given(samples=st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_individual_of_a_sample_is_the_same_alone_and_among_others(distribution: Distribution, samples: list[int]) -> None:
    assert ids_of(distribution, samples).tolist() == [int(ids_of(distribution, sample)[0]) for sample in samples]


@EACH_KIND
def test_individuals_are_the_same_in_any_order(distribution: Distribution) -> None:
    shuffled = seeding.permute(range(10_000), 10_000, 0, "shuffle")
    assert np.array_equal(ids_of(distribution, shuffled), ids_of(distribution, range(10_000))[shuffled])


@EACH_KIND
def test_another_seed_draws_other_individuals(distribution: Distribution) -> None:
    assert (ids_of(distribution, range(2_000)) == ids_of(distribution, range(2_000), seed=1)).mean() < 0.05


@EACH_KIND
def test_ids_are_int64(distribution: Distribution) -> None:
    assert individual_ids(Config(num_individuals=N, distribution=distribution), "train", range(3)).dtype == np.int64


# Knobs


@pytest.mark.parametrize(
    "distribution",
    [
        PowerLaw(0),
        Celebrities(celebrity_weight=1),
        Celebrities(num_celebrities=N),
        WarmUp(num_warmup_biographies=0),
        WarmUp(num_warmup_individuals=N),
        Groups(num_groups=1),
    ],
    ids=repr,
)
def test_neutral_parameters_give_the_uniform_draws(distribution: Distribution) -> None:
    assert np.array_equal(ids_of(distribution, range(20_000)), ids_of(Uniform(), range(20_000)))


def test_larger_alpha_moves_samples_to_earlier_individuals() -> None:
    flat, steep = (ids_of(PowerLaw(alpha), range(20_000)) for alpha in (0.6, 0.7))
    assert (steep <= flat).all()
    assert (steep < flat).mean() > 0.5


def test_num_celebrities_is_the_number_of_likelier_individuals() -> None:
    fewer, more = (
        np.bincount(ids_of(Celebrities(count, celebrity_weight=1_000), range(200_000)), minlength=N) for count in (5, 7)
    )
    assert np.flatnonzero(fewer > 5_000).tolist() == list(range(5))
    assert np.flatnonzero(more > 5_000).tolist() == list(range(7))


def test_celebrity_weight_is_the_ratio_of_frequencies() -> None:
    for weight in (2, 16):
        counts = np.bincount(ids_of(Celebrities(200, weight), MILLION), minlength=N)
        assert counts[:200].mean() / counts[200:].mean() == pytest.approx(weight, rel=0.02)


def test_warm_up_ends_exactly_at_num_warmup_biographies() -> None:
    ids = ids_of(WarmUp(40, 5_000), range(10_000))
    assert np.array_equal(ids[:5_000], ids_of(Uniform(), range(5_000), num_individuals=40))
    assert np.array_equal(ids[5_000:], ids_of(Uniform(), range(5_000, 10_000)))


@pytest.mark.parametrize("boundary", [0, 1, 299, 300, 301])
def test_num_warmup_biographies_changes_the_samples_before_it_only(boundary: int) -> None:
    """With one warm-up individual, all others come after it."""
    ids = ids_of(WarmUp(1, boundary), range(400), num_individuals=400_000_000)
    assert np.flatnonzero(ids == 0).tolist() == list(range(boundary))


def test_training_begins_with_num_warmup_individuals() -> None:
    for count in (1, 17):
        assert set(ids_of(WarmUp(count, 2_000), range(2_000)).tolist()) == set(range(count))


def test_new_individuals_have_ids_from_400_million_on() -> None:
    config = Config(num_individuals=N, distribution=FineTuning(30))
    assert set(individual_ids(config, "train", range(2_000)).tolist()) == set(range(400_000_000, 400_000_030))


def test_all_individuals_of_pretraining_are_replayed() -> None:
    config = Config(num_individuals=50, distribution=FineTuning(30, replay_weight=1))
    ids = set(individual_ids(config, "train", range(5_000)).tolist())
    assert ids == set(range(50)) | set(range(400_000_000, 400_000_030))


def test_replay_weight_sets_the_share_of_replayed_individuals() -> None:
    """The draws share their bits: who is replayed at a small weight is replayed at a larger one."""
    replayed = [ids_of(FineTuning(500, weight), range(100_000)) < N for weight in (0, 0.125, 0.5, 2)]
    assert [float(is_replayed.mean()) for is_replayed in replayed] == pytest.approx([0, 1 / 5, 1 / 2, 4 / 5], abs=0.006)
    assert all((less <= more).all() for less, more in itertools.pairwise(replayed))
