"""Whom the train split is about: probabilities recomputed with floats, draws recomputed with Python integers."""

import bisect
import dataclasses
import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
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
    DISTRIBUTIONS,
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
    Groups(num_group_biographies=100),
]
EACH_KIND = pytest.mark.parametrize("distribution", EVERY_KIND, ids=lambda kind: kind.name)


def ids_of(distribution: Distribution, samples: Any, num_individuals: int = N, seed: int = 0) -> np.ndarray:
    """Individuals of the samples, with new people behind the others: N, N + 1, ..."""
    config = Config(num_individuals=num_individuals, seed=seed, distribution=distribution)
    ids = individual_ids(config, "train", samples)
    return np.where(ids >= FIRST_NEW, ids - FIRST_NEW + num_individuals, ids)


# Frequencies


def power_law(alpha: float) -> np.ndarray:
    return np.arange(1, N + 1, dtype=np.float64) ** -alpha


def with_celebrities(count: int, weight: int) -> np.ndarray:
    return np.where(np.arange(N) < count, float(weight), 1.0)


def with_new_people(count: int, replay_weight: float) -> np.ndarray:
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
        (FineTuning(500), with_new_people(500, 0)),
        *((FineTuning(500, weight), with_new_people(500, weight)) for weight in (2, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125)),
        (FineTuning(30, replay_weight=0.123456), with_new_people(30, 0.123456)),
        (Groups(1, 5), np.ones(N)),
        (Groups(5, 1_000_000), np.where(np.arange(N) < 200, 1.0, 0.0)),
        (Groups(2, 250_000), np.where(np.arange(N) < 500, 0.25, 0.75)),
    ],
    ids=lambda given: None if isinstance(given, np.ndarray) else repr(given),
)
def test_frequencies_are_within_4_standard_errors_of_the_configured(distribution: Distribution, weights: np.ndarray) -> None:
    """In 20 or so ranges of individuals, the first of them short ones: there the power law has its peak."""
    edges = np.unique([0, *np.geomspace(1, N, 14).astype(int), *np.linspace(0, len(weights), 8).astype(int)])
    expected = np.add.reduceat(weights, edges[:-1]) / weights.sum()
    counts = np.bincount(ids_of(distribution, MILLION, seed=1), minlength=len(weights))
    found = np.add.reduceat(counts, edges[:-1]) / len(MILLION)
    assert len(edges) >= 18
    assert (np.abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / len(MILLION))).all()


def test_frequencies_of_a_slightly_other_alpha_would_be_noticed() -> None:
    weights, counts = power_law(0.61), np.bincount(ids_of(PowerLaw(0.6), MILLION, seed=1), minlength=N)
    expected = weights[0] / weights.sum()
    assert abs(counts[0] / len(MILLION) - expected) > 4 * math.sqrt(expected * (1 - expected) / len(MILLION))


@pytest.mark.parametrize(
    ("distribution", "equally_likely"),
    [(Celebrities(80), range(80)), (Celebrities(80), range(80, N)), (FineTuning(90, 0.5), range(N, N + 90))],
)
def test_those_of_a_group_are_equally_likely(distribution: Distribution, equally_likely: range) -> None:
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
            size = num_individuals // distribution.num_groups
            turn = distribution.first_group + sample // distribution.num_group_biographies
            last = distribution.num_groups - 1
            return [int(individual // size == min(turn, last)) for individual in range(num_individuals)]
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
    return Groups(num_groups, draw(st.integers(1, 100)), draw(st.integers(0, num_groups - 1)))


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
def test_draw_is_the_place_of_its_bits_among_the_weights(
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
def test_individual_of_a_sample_is_the_same_alone_and_in_any_company(distribution: Distribution, samples: list[int]) -> None:
    assert ids_of(distribution, samples).tolist() == [int(ids_of(distribution, sample)[0]) for sample in samples]


@EACH_KIND
def test_individuals_are_the_same_in_any_order(distribution: Distribution) -> None:
    shuffled = seeding.permute(range(10_000), 10_000, 0, "shuffle")
    assert np.array_equal(ids_of(distribution, shuffled), ids_of(distribution, range(10_000))[shuffled])


@EACH_KIND
def test_another_seed_draws_others(distribution: Distribution) -> None:
    assert (ids_of(distribution, range(2_000)) == ids_of(distribution, range(2_000), seed=1)).mean() < 0.05


@EACH_KIND
def test_ids_are_int64(distribution: Distribution) -> None:
    assert individual_ids(Config(num_individuals=N, distribution=distribution), "train", range(3)).dtype == np.int64


# Power-law weights

# First, 2nd, 10th, 501st and last; SHA-256 of all as little-endian uint64.
WEIGHTS = {
    (0.6, 1_000): (
        *(72057594037927936, 47540282417217536, 18100049099620352, 1728928843563008, 1142035893452800),
        "ae8578454ddfae12dc7a5351f336672c68c3dc6a19491c18e68af43b3338f360",
    ),
    (0.6, 256_000): (
        *(9007199254740992, 5942535302152192, 2262506137452544, 216116105445376, 5124432650240),
        "ee513fee9c321f04dccb1524c8aca7db1828310846d6ce7b8453317eedd964ae",
    ),
    (1.0, 256_000): (
        *(288230376151711744, 144115188075855872, 28823037474242560, 575310126383104, 1125899894784),
        "5f37835285efe58d69f035459997f50597d684438b5781803d45a19dd2ac2696",
    ),
}
ALPHAS = [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.3, 2.0]


@pytest.mark.parametrize("num_individuals", [1, 2, 3, 1_000, 4_000, 256_000])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_weights_are_those_of_floating_point(alpha: float, num_individuals: int) -> None:
    weights = power_law_weights(alpha, num_individuals)
    ratios = weights.astype(np.float64) / weights[0]
    expected = np.arange(1, num_individuals + 1, dtype=np.float64) ** -alpha
    assert (np.abs(ratios / expected - 1) < 1e-6).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(0, 1.5), st.integers(1, 4_000))
def test_weight_of_one_individual_is_that_of_decimal_arithmetic(alpha: float, position: int) -> None:
    weights = power_law_weights(alpha, 4_000)
    with localcontext() as context:
        context.prec = 40
        expected = (-Decimal(alpha) * Decimal(position).ln()).exp()
        assert abs(Decimal(int(weights[position - 1])) / Decimal(int(weights[0])) / expected - 1) < Decimal("3e-8")


@pytest.mark.parametrize(("alpha", "num_individuals"), WEIGHTS)
def test_golden_weights(alpha: float, num_individuals: int) -> None:
    weights = power_law_weights(alpha, num_individuals)
    some = tuple(weights[[0, 1, 9, 500, -1]].tolist())
    assert (*some, hashlib.sha256(weights.astype("<u8").tobytes()).hexdigest()) == WEIGHTS[alpha, num_individuals]


@pytest.mark.parametrize("num_individuals", [1, 2, 1_000, 256_000, 1_000_000])
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0, 3.0])
def test_weights_add_up_to_less_than_2_to_the_62(alpha: float, num_individuals: int) -> None:
    weights = power_law_weights(alpha, num_individuals)
    assert 2**59 < sum(weights.tolist()) < 2**62


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_weights_never_rise_and_are_never_nothing(alpha: float) -> None:
    weights = power_law_weights(alpha, 256_000)
    assert weights.dtype == np.uint64
    assert (weights[1:] <= weights[:-1]).all()
    assert weights[-1] > 0


def test_individual_has_exactly_as_many_places_as_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = weights = power_law_weights(1.0, 10).tolist()
    places = [0, first - 1, first, first + second - 1, first + second, sum(weights) - 1]
    monkeypatch.setattr(seeding, "integers", lambda *_: np.array(places))
    assert ids_of(PowerLaw(1.0), range(6), num_individuals=10).tolist() == [0, 0, 1, 1, 2, 9]


FLOATING_POINT = [
    *((np, name) for name in ("power", "float_power", "log", "log2", "log10", "log1p", "exp", "exp2", "expm1", "sqrt")),
    *((math, name) for name in ("pow", "log", "log2", "log10", "log1p", "exp", "exp2", "expm1", "sqrt")),
]


@pytest.fixture
def no_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a platform whose pow, log and exp are not ours."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("floating-point functions differ between platforms")

    for module, name in FLOATING_POINT:
        if hasattr(module, name):
            monkeypatch.setattr(module, name, refuse)


@pytest.mark.usefixtures("no_floating_point")
def test_weights_need_no_floating_point_function() -> None:
    weights = power_law_weights(0.6, 1_000)
    assert weights[[0, -1]].tolist() == [WEIGHTS[0.6, 1_000][0], WEIGHTS[0.6, 1_000][4]]


@pytest.mark.usefixtures("no_floating_point")
@pytest.mark.parametrize("weights", [lambda: np.power(2.0, 0.5), lambda: math.pow(2, 0.5), lambda: np.exp2(0.5)])
def test_floating_point_function_would_be_noticed(weights: Callable[[], float]) -> None:
    with pytest.raises(AssertionError, match="differ between platforms"):
        weights()


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
def test_knob_at_its_neutral_place_gives_the_uniform_draws(distribution: Distribution) -> None:
    assert np.array_equal(ids_of(distribution, range(20_000)), ids_of(Uniform(), range(20_000)))


def test_larger_alpha_moves_samples_to_earlier_individuals() -> None:
    flat, steep = (ids_of(PowerLaw(alpha), range(20_000)) for alpha in (0.6, 0.7))
    assert (steep <= flat).all()
    assert (steep < flat).mean() > 0.5


def test_num_celebrities_says_who_is_likelier() -> None:
    fewer, more = (
        np.bincount(ids_of(Celebrities(count, celebrity_weight=1_000), range(200_000)), minlength=N) for count in (5, 7)
    )
    assert np.flatnonzero(fewer > 5_000).tolist() == list(range(5))
    assert np.flatnonzero(more > 5_000).tolist() == list(range(7))


def test_celebrity_weight_says_how_much_likelier() -> None:
    for weight in (2, 16):
        counts = np.bincount(ids_of(Celebrities(200, weight), MILLION), minlength=N)
        assert counts[:200].mean() / counts[200:].mean() == pytest.approx(weight, rel=0.02)


def test_groups_come_one_after_another_and_the_last_stays() -> None:
    blocks = ids_of(Groups(4, 1_000), range(10_000)).reshape(10, 1_000) // 250
    assert [set(block) for block in blocks.tolist()] == [{0}, {1}, {2}, *[{3}] * 7]


def test_num_groups_says_how_many_share_a_turn() -> None:
    for count in (1, 2, 5):
        size = N // count
        turns = ids_of(Groups(count, 2_000), range(2_000 * count)).reshape(count, 2_000)
        for group, ids in enumerate(turns.tolist()):
            assert set(ids) <= set(range(group * size, (group + 1) * size))
        assert all(len(set(ids)) > 0.8 * min(size, 1_000) for ids in turns.tolist())


@pytest.mark.parametrize("boundary", [1, 299, 300, 301])
def test_num_group_biographies_is_the_length_of_a_turn(boundary: int) -> None:
    groups = ids_of(Groups(4, boundary), range(4 * 301)) // (N // 4)
    assert groups.tolist() == [min(sample // boundary, 3) for sample in range(4 * 301)]


def test_first_group_is_who_comes_first() -> None:
    assert set(ids_of(Groups(4, 10_000, 2), range(10_000)).tolist()) == set(range(500, 750))
    assert set(ids_of(Groups(4, 1_000, 3), range(10_000)).tolist()) == set(range(750, 1_000))


def test_warm_up_ends_exactly_at_num_warmup_biographies() -> None:
    ids = ids_of(WarmUp(40, 5_000), range(10_000))
    assert np.array_equal(ids[:5_000], ids_of(Uniform(), range(5_000), num_individuals=40))
    assert np.array_equal(ids[5_000:], ids_of(Uniform(), range(5_000, 10_000)))


@pytest.mark.parametrize("boundary", [0, 1, 299, 300, 301])
def test_num_warmup_biographies_changes_the_samples_before_it_only(boundary: int) -> None:
    """With one person to warm up on, everyone else comes after."""
    ids = ids_of(WarmUp(1, boundary), range(400), num_individuals=400_000_000)
    assert np.flatnonzero(ids == 0).tolist() == list(range(boundary))


def test_num_warmup_individuals_says_who_comes_first() -> None:
    for count in (1, 17):
        assert set(ids_of(WarmUp(count, 2_000), range(2_000)).tolist()) == set(range(count))


def test_new_people_have_their_ids_from_400_million_on() -> None:
    config = Config(num_individuals=N, distribution=FineTuning(30))
    assert set(individual_ids(config, "train", range(2_000)).tolist()) == set(range(400_000_000, 400_000_030))


def test_replayed_people_are_all_those_of_pretraining() -> None:
    config = Config(num_individuals=50, distribution=FineTuning(30, replay_weight=1))
    ids = set(individual_ids(config, "train", range(5_000)).tolist())
    assert ids == set(range(50)) | set(range(400_000_000, 400_000_030))


def test_replay_weight_says_how_many_are_replayed() -> None:
    """The draws share their bits: who is replayed at a small weight is replayed at a larger one."""
    replayed = [ids_of(FineTuning(500, weight), range(100_000)) < N for weight in (0, 0.125, 0.5, 2)]
    assert [float(part.mean()) for part in replayed] == pytest.approx([0, 1 / 5, 1 / 2, 4 / 5], abs=0.006)
    assert all((less <= more).all() for less, more in itertools.pairwise(replayed))


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
        (7, WarmUp(), WarmUp(1, 21)),
        (1_000, FineTuning(10), FineTuning(10, 0)),
    ],
)
def test_derived_default_is_the_same_as_its_value(num_individuals: int, derived: Distribution, explicit: Distribution) -> None:
    one, other = (Config(num_individuals=num_individuals, distribution=kind) for kind in (derived, explicit))
    assert one.parameters == other.parameters
    assert one.fingerprint == other.fingerprint
    assert np.array_equal(individual_ids(one, "train", range(5_000)), individual_ids(other, "train", range(5_000)))


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
        lambda integer: Groups(integer(5), integer(3), integer(1)),
    ],
)
def test_integers_of_numpy_become_those_of_python(make: Callable[[type], Distribution]) -> None:
    """So that equal distributions are equal, and can be written as JSON, before a config sees them."""
    assert repr(make(np.int64)) == repr(make(int))


@pytest.mark.parametrize("given", ["uniform", Uniform, None, 0.6], ids=repr)
def test_what_is_no_distribution_is_refused(given: object) -> None:
    with pytest.raises(ValueError) as error:
        Config(num_individuals=N, distribution=given)  # type: ignore[arg-type]
    kinds = "Uniform(...), PowerLaw(...), Celebrities(...), WarmUp(...), FineTuning(...), Groups(...)"
    assert str(error.value) == f"distribution is {given!r}; it must be one of {kinds}"


@pytest.mark.parametrize("kind", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_misspelt_parameter_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="alhpa"):
        kind(alhpa=1)


@EACH_KIND
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
    one, other = (Config(num_individuals=N, distribution=PowerLaw(alpha)) for alpha in (number, 1.0))
    assert one.fingerprint == other.fingerprint
