"""Effectivity, retention and decay of exposures (Chang et al.), on curves whose answers are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.measure.retention import decay, effectivity, is_outlier, retention

STEPS = np.arange(0, 2_001)


def forgotten(start: float, gain: float, loss: float, peak: int, exposure: int = 10) -> np.ndarray:
    """l0 until the exposure, l0 + e at the peak, then l0 + e - c log10(t) after t steps."""
    values = np.full(len(STEPS), start)
    rising = (exposure < STEPS) & (peak > STEPS)
    values[rising] = start + gain / 2
    after = peak <= STEPS
    values[after] = start + gain - loss * np.log10(np.maximum(STEPS[after] - peak, 1))
    return values


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(-20, -1), st.floats(0.5, 8), st.floats(0.1, 2), st.integers(12, 60))
def test_known_answers(start: float, gain: float, loss: float, peak: int) -> None:
    curve = forgotten(start, gain, loss, peak)[None]
    assert effectivity(curve, STEPS, [10])[0, 0] == pytest.approx(gain, abs=1e-6)
    kept = retention(curve, STEPS, [10])
    line = decay(kept.elapsed, kept.values)
    assert line.slope == pytest.approx(loss / gain, abs=1e-6)
    assert line.x_intercept == pytest.approx(10 ** (gain / loss), rel=1e-6)
    assert (kept.elapsed[0], kept.elapsed[-1], kept.num_dropped) == (1, 2_000 - peak, 0)


def test_each_exposure_has_its_own_gain() -> None:
    curve = np.zeros((1, 300))
    curve[0, 21:] = 1.0
    curve[0, 100:] = 0.5
    curve[0, 130:] = 2.5
    assert effectivity(curve, np.arange(300), [20, 120]).tolist() == [[1.0, 2.0]]


def test_gain_of_all_exposures_counts_for_retention() -> None:
    curve = np.zeros((1, 200))
    curve[0, 11:] = 1.0  # first exposure at step 10
    curve[0, 90:101] = 0.5
    curve[0, 101] = 2.0  # second at step 100
    curve[0, 102:] = 1.0
    assert retention(curve, np.arange(200), [10, 100]).values[0].tolist() == [0.5] * 98


def test_probes_without_gain_are_dropped_and_counted() -> None:
    curves = np.stack([forgotten(-5, 2, 0.5, 30), np.full(len(STEPS), -5.0), -5 - STEPS / 1e4])
    kept = retention(curves, STEPS, [10])
    assert kept.num_dropped == 2
    assert len(kept.values) == 1


def test_elapsed_steps_are_those_that_all_probes_have() -> None:
    steps = np.append(np.arange(0, 61), [160, 260])
    curves = np.zeros((2, len(steps)))
    curves[0, 20], curves[1, 40] = 1.0, 1.0
    kept = retention(curves, steps, [0])
    assert kept.elapsed.tolist() == [step for step in range(1, 21)]  # 140 and 240 after the first, 120 and 220 after the second


def test_nothing_lost_has_no_end() -> None:
    assert decay([1, 10, 100], [1.0, 1.0, 1.0]).x_intercept == np.inf
    assert decay([1, 10, 100], [[1.0, 0.75, 0.5], [1.0, 0.25, -0.5]]).slope == pytest.approx(0.5)


def test_outliers_lie_outside_the_interquartile_range() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0]  # quartiles 2.25 and 4.75
    assert is_outlier(values).tolist() == [False] * 5 + [True]
    assert not is_outlier(values, factor=2.0).any()


@pytest.mark.parametrize(
    ("steps", "exposures", "message"),
    [
        (np.arange(0, 200, 2), [10], "steps lacks 11, within 50 steps of exposure 10"),
        (np.arange(100), [10, 80], "steps lacks 100, within 50 steps of exposure 80"),
        (np.arange(100), [10, 40], "at least 50 steps between them"),
        (np.arange(100), [40, 10], "exposures is .*; expected integers in ascending order"),
        (np.arange(100), [1.5], "exposures is .*; expected integers in ascending order"),
        (np.arange(100)[::-1], [10], "steps is .*; expected integers in ascending order"),
        (np.arange(101), [10], r"log_probabilities has shape \(1, 100\) and steps \(101,\)"),
    ],
)
def test_grids_that_are_too_coarse_or_wrong_are_refused(steps: np.ndarray, exposures: list[float], message: str) -> None:
    values = np.zeros((1, 100 if len(steps) == 101 else len(steps)))
    with pytest.raises(ValueError, match=message):
        effectivity(values, steps, exposures)


def test_values_that_are_not_finite_and_lines_through_one_point_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN or an infinite number"):
        effectivity([[np.nan] * 100], np.arange(100), [10])
    with pytest.raises(ValueError, match="at least 2 steps"):
        decay([1], [1.0])
    with pytest.raises(ValueError, match="elapsed has 0; expected steps above 0"):
        decay([0, 1], [1.0, 1.0])
