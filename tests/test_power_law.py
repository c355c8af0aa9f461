"""Weights of a power law: the same integers on every platform."""

import hashlib
import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.generate import seeding
from bio_facts.generate.config import Config
from bio_facts.generate.distributions import (
    PowerLaw,
)
from bio_facts.generate.power_law import power_law_weights
from bio_facts.generate.splits import individual_ids

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


@pytest.mark.parametrize("num_individuals", [1, 1_000, 256_000])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_weights_agree_with_floating_point(alpha: float, num_individuals: int) -> None:
    weights = power_law_weights(alpha, num_individuals)
    ratios = weights.astype(np.float64) / weights[0]
    expected = np.arange(1, num_individuals + 1, dtype=np.float64) ** -alpha
    assert (np.abs(ratios / expected - 1) < 1e-6).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(0, 1.5), st.integers(1, 4_000))
def test_weight_agrees_with_decimal_arithmetic(alpha: float, position: int) -> None:
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
def test_weights_never_rise_and_are_above_zero(alpha: float) -> None:
    weights = power_law_weights(alpha, 256_000)
    assert weights.dtype == np.uint64
    assert (weights[1:] <= weights[:-1]).all()
    assert weights[-1] > 0


def test_individual_has_exactly_as_many_places_as_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = weights = power_law_weights(1.0, 10).tolist()
    places = [0, first - 1, first, first + second - 1, first + second, sum(weights) - 1]
    monkeypatch.setattr(seeding, "integers", lambda *_: np.array(places))
    config = Config(num_individuals=10, distribution=PowerLaw(1.0))
    assert individual_ids(config, "train", range(6)).tolist() == [
        0,
        0,
        1,
        1,
        2,
        9,
    ]


FLOATING_POINT = [
    *((np, name) for name in ("power", "float_power", "log", "log2", "log10", "log1p", "exp", "exp2", "expm1", "sqrt")),
    *((math, name) for name in ("pow", "log", "log2", "log10", "log1p", "exp", "exp2", "expm1", "sqrt")),
]


@pytest.fixture
def no_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a platform with another pow, log and exp."""

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
def test_use_of_a_floating_point_function_would_be_noticed(weights: Callable[[], float]) -> None:
    with pytest.raises(AssertionError, match="differ between platforms"):
        weights()
