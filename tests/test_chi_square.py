import numpy as np
import pytest
from chi_square import p_uniform, p_value


# Critical values from tables of the chi-square distribution.
@pytest.mark.parametrize(
    ("statistic", "degrees", "expected"),
    [(18.307, 10, 0.05), (31.264, 11, 0.001), (124.342, 100, 0.05), (149.449, 100, 0.001)],
)
def test_p_value_agrees_with_tables(statistic: float, degrees: int, expected: float) -> None:
    assert p_value(statistic, degrees) == pytest.approx(expected, rel=0.1)


def test_uniform_draws_pass() -> None:
    assert p_uniform(np.bincount(np.random.default_rng(0).integers(100, size=100_000))) > 0.001


def test_one_value_three_tenths_too_frequent_is_noticed() -> None:
    counts = np.bincount(np.random.default_rng(0).integers(100, size=100_000))
    counts[7] += 300
    assert p_uniform(counts) < 0.001
