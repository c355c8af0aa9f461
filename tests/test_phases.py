import pytest

from bio_facts.runs.phases import phase1_end, plateau_end

STEPS = [0, 10, 20, 30, 40, 50]
BASELINE = 100.0


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([400, 200, 105, 101, 50, 10], 20),
        ([400, 200, 105.1, 101, 50, 10], 30),
        ([100, 100, 100, 100, 100, 100], 0),
        ([400, 101, 120, 120, 120, 101], 10),
        ([400, 300, 200, 150, 120, 106], None),
        ([float("nan")] * 6, None),
    ],
)
def test_phase_1_ends_at_the_first_loss_within_5_percent(losses: list[float], expected: int | None) -> None:
    assert phase1_end(STEPS, losses, BASELINE) == expected


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([400, 101, 100, 98.9, 50, 10], 30),
        ([400, 101, 100, 99, 98.9, 10], 40),
        ([400, 101, 98, 100, 99.5, 10], 50),
        ([98, 98, 98, 98, 98, 98], 0),
        ([400, 101, 100, 99.5, 99.2, 99], None),
        ([400, 101, 50, 10, 5, 100], None),
        ([400, 101, 100, 100, 50, 99], None),
    ],
    ids=["crossing", "99 % is not below", "dip that comes back", "always below", "never", "comes back at the end", "at 99 %"],
)
def test_plateau_ends_where_the_loss_stays_below_99_percent(losses: list[float], expected: int | None) -> None:
    assert plateau_end(STEPS, losses, BASELINE) == expected


@pytest.mark.parametrize("end", [phase1_end, plateau_end])
def test_no_evaluation_no_end(end: object) -> None:
    assert end([], [], BASELINE) is None  # type: ignore[operator]


@pytest.mark.parametrize("end", [phase1_end, plateau_end])
def test_steps_and_losses_must_match(end: object) -> None:
    with pytest.raises(ValueError, match=r"longer|shorter"):
        end([0, 10], [400.0], BASELINE)  # type: ignore[operator]
