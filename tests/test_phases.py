"""Ends of the phases and the width of the plateau, on curves whose crossings are known."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper import three_phases_curve

from bio_facts.runs.phases import (
    first_crossing,
    grid_error,
    last_crossing,
    median_over_log_steps,
    onset,
    phase1_end,
    plateau_end,
    plateau_halves,
    plateau_level,
    plateau_width,
)

STEPS = [0, 10, 20, 40, 80]
BASELINE = 100.0


def between(before: int, after: int, share: float) -> float:
    """The step at a share of the way from one evaluation to the next, in the logarithm."""
    return before ** (1 - share) * after**share


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([400, 200, 105, 101, 50], 20),
        ([400, 200, 110, 100, 50], between(20, 40, 0.5)),
        ([100, 100, 100, 100, 100], 0),
        ([205, 5, 120, 120, 101], 5),  # linear after step 0
        ([400, 115, 95, 120, 120], between(10, 20, 0.5)),
        ([400, 300, 200, 150, 106], None),
        ([float("nan")] * 5, None),
    ],
    ids=["at an evaluation", "between", "from the start", "after step 0", "first of two", "never", "NaN"],
)
def test_phase_1_ends_at_the_first_crossing_of_105_percent(losses: list[float], expected: float | None) -> None:
    assert phase1_end(STEPS, losses, BASELINE) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([400, 101, 100, 98, 50], between(20, 40, 0.5)),
        ([400, 101, 98, 100, 98], between(40, 80, 0.5)),
        ([98, 98, 98, 98, 98], 0),
        ([400, 101, 100, 99.5, 99], None),
        ([400, 101, 50, 10, 100], None),
    ],
    ids=["crossing", "dip that comes back", "always below", "99 % is not below", "comes back at the end"],
)
def test_plateau_ends_where_the_loss_stays_below_99_percent(losses: list[float], expected: float | None) -> None:
    assert plateau_end(STEPS, losses, BASELINE) == (None if expected is None else pytest.approx(expected))


def test_width_of_a_flat_plateau_is_that_of_its_steps() -> None:
    steps = [1, 10, 11, 99, 100, 1000]
    losses = [200.0, 200.0, 100.0, 100.0, 100.0, 50.0]
    arrival = between(10, 11, 97 / 100)  # 103
    departure = between(100, 1000, 3 / 50)  # 97
    assert plateau_level(steps, losses, BASELINE) == pytest.approx(100, abs=0.1)
    assert plateau_width(steps, losses, BASELINE) == pytest.approx(departure / arrival, rel=0.02)


@given(factor=st.floats(0.01, 100), stretch=st.integers(2, 9))
def test_width_has_no_unit(factor: float, stretch: int) -> None:
    steps, losses, baseline = three_phases_curve()
    width = plateau_width(steps, losses, baseline)
    assert plateau_width(
        [step * stretch for step in steps], [loss * factor for loss in losses], baseline * factor
    ) == pytest.approx(width)


@pytest.mark.parametrize(
    "losses", [[400, 300, 200, 150, 106], [400, 80, 50, 10, 5], [400, 101, 100, 100, 100]], ids=["never", "no stay", "no end"]
)
def test_no_plateau_no_width(losses: list[float]) -> None:
    width = plateau_width(STEPS, losses, BASELINE)
    assert width is None or width < 1.2


@pytest.mark.parametrize("end", [phase1_end, plateau_end, plateau_width])
def test_no_evaluation_no_end(end: Callable[..., float | None]) -> None:
    assert end([], [], BASELINE) is None


@pytest.mark.parametrize("crossing", [first_crossing, last_crossing])
def test_steps_and_values_must_match(crossing: Callable[..., float | None]) -> None:
    with pytest.raises(ValueError, match="there are 2 steps and 3 values"):
        crossing([0, 10], [400.0, 200.0, 50.0], BASELINE)


def test_grid_error_is_that_of_a_uniform_distribution_between_evaluations() -> None:
    assert grid_error(STEPS, 25.0) == pytest.approx(math.log(2) / math.sqrt(12))
    assert grid_error(STEPS, None) == 0.0


def test_halves_of_the_plateau_are_equal_in_the_logarithm_of_the_step() -> None:
    steps, losses = [0, 90, 110, 1580, 1620, 2000], [500.0, 106.0, 104.0, 100.0, 98.0, 10.0]
    halves = plateau_halves(steps, losses, BASELINE)
    assert halves is not None
    (start, middle), (again, end) = halves
    assert (start, end) == (phase1_end(steps, losses, BASELINE), plateau_end(steps, losses, BASELINE))
    assert middle == again
    assert middle / start == pytest.approx(end / middle)
    assert plateau_halves(steps, [500.0] * 6, BASELINE) is None


def test_median_over_log_steps_counts_steps_by_their_ratio() -> None:
    """Half of the steps from 10 to 1,000, by their ratio, are those up to 100, where the curve rises to 1."""
    assert median_over_log_steps([0, 10, 100, 1000], [9.0, 0.0, 1.0, 3.0], 10, 1000) == pytest.approx(1, abs=0.01)
    assert median_over_log_steps([0, 10, 20, 1000], [9.0, 9.0, 1.0, 1.0], 10, 1000) == 1


@pytest.mark.parametrize(
    ("losses", "departure", "expected"),
    [
        ([100.0, 100.0, 98.0, 90.0], -2.0, 400),
        ([100.0, 100.0, 102.0, 110.0], 2.0, 400),
        ([100.0, 103.0, 100.0, 104.0], 2.0, 400 * 2**0.5),  # it stays away only after it has come back
        ([100.0, 100.0, 100.0, 101.0], 2.0, None),
        ([100.0, 90.0, 95.0, 99.0], -2.0, None),
    ],
)
def test_onset_is_where_a_loss_leaves_its_level_for_good(losses: list[float], departure: float, expected: float | None) -> None:
    step = onset([100, 200, 400, 800], losses, 100.0, departure)
    assert step == (None if expected is None else pytest.approx(expected, rel=1e-9))
