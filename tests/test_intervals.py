"""Intervals and words, against numbers from tables and against simulated experiments."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from intervals import Values, half_width, holm, ours_over_paper, outcome

from bio_facts.runs.registration import Measure

SEEDS = range(20, 25)


def effect(**fields: Any) -> Measure:
    return Measure(**({"name": "m", "description": "", "figure": "1", "carrying": True, "none": 0, "threshold": 1} | fields))


def no_change(low: float, high: float, **fields: Any) -> Measure:
    given = {"name": "m", "description": "", "figure": "1", "carrying": True, "inside": (low, high), "paper": 0} | fields
    return Measure(**given)


def values(*numbers: float | None, floor: float = 0.0) -> Values:
    return Values(dict(zip(SEEDS, numbers, strict=False)), floor)


def around(mean: float, spread: float = 0.1) -> Values:
    """Five values whose standard error is `spread`: the interval is mean +- 2.776 spread."""
    unit = np.array([-2, -1, 0, 1, 2]) / math.sqrt(2.5)
    return values(*(mean + spread * math.sqrt(5) * unit).tolist())


def test_interval_is_that_of_students_t_with_four_degrees_of_freedom() -> None:
    result = outcome(effect(), around(3.0))
    assert (result.mean, result.low, result.high) == pytest.approx((3.0, 3 - 0.27764, 3 + 0.27764), abs=1e-4)
    secondary = outcome(effect(carrying=False), around(3.0))
    assert secondary.high == pytest.approx(3 + 0.46041, abs=1e-4)


@pytest.mark.parametrize(
    ("mean", "word"),
    [
        (1.4, "shown"),
        (1.1, "direction"),
        (0.4, "direction"),
        (0.2, "contradicted"),
        (-0.1, "contradicted"),
        (-1, "contradicted"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_word_depends_on_where_the_interval_lies(mean: float, word: str, sign: int) -> None:
    assert outcome(effect(threshold=sign), around(sign * mean)).word == word


def test_wide_interval_is_undecided() -> None:
    assert outcome(effect(), around(0.5, spread=0.3)).word == "undecided"


def test_one_seed_with_another_sign_is_not_shown() -> None:
    mixed = values(5.0, 5.0, 5.0, 5.0, 5.0)
    assert outcome(effect(), mixed).word == "shown"
    assert outcome(effect(), values(-0.01, 9.0, 9.0, 9.0, 9.0)).word == "undecided"


def test_without_a_number_of_the_paper_the_word_is_at_most_direction() -> None:
    assert outcome(effect(threshold=None, sign=1), around(100.0)).word == "direction"
    assert outcome(effect(threshold=None, sign=-1), around(100.0)).word == "contradicted"
    assert outcome(effect(threshold=None, sign=1), around(0.0)).word == "undecided"
    assert outcome(no_change(-0.5, 0.5, paper=None), around(0.0)).word == "direction"


@pytest.mark.parametrize(("mean", "word"), [(0.0, "shown"), (0.3, "undecided"), (0.9, "contradicted"), (-0.9, "contradicted")])
def test_measure_of_no_change_is_judged_by_its_margins(mean: float, word: str) -> None:
    assert outcome(no_change(-0.5, 0.5), around(mean)).word == word


def test_on_a_logarithmic_scale_the_interval_is_that_of_the_logarithm() -> None:
    logs = around(math.log(4.0))
    result = outcome(effect(scale="log", none=1, threshold=3), Values({s: math.exp(v) for s, v in logs.by_seed.items()}))  # type: ignore[arg-type]
    assert (result.mean, result.low, result.high) == pytest.approx(
        (4.0, 4 * math.exp(-0.27764), 4 * math.exp(0.27764)), rel=1e-4
    )
    assert result.word == "shown"
    assert outcome(effect(scale="log", none=1, threshold=3), values(0.0, 1.0, 2.0, 3.0, 4.0)).word == "undecided"


def test_floor_is_the_least_standard_error() -> None:
    assert outcome(effect(), values(*[3.0] * 5, floor=0.1)).low == pytest.approx(3 - 0.27764, abs=1e-4)


def test_missing_values_and_single_seeds() -> None:
    assert outcome(effect(), values(3.0, 3.1, None, 3.0, 3.0)).word == "undecided"
    assert outcome(effect(), values(3.0)).word == ""
    assert outcome(effect(), values(3.0)).mean == 3.0
    assert outcome(effect(), values(None)).mean is None


@given(numbers=st.lists(st.floats(-5, 5), min_size=5, max_size=5))
def test_an_arm_against_itself_is_never_shown(numbers: list[float]) -> None:
    same = values(*(number - number for number in numbers), floor=0.01)
    assert outcome(effect(), same).word == "contradicted"
    assert outcome(effect(threshold=None, sign=1), same).word == "undecided"


@pytest.mark.parametrize("fields", [{}, {"scale": "log", "none": 1, "threshold": 1.5}], ids=["linear", "log"])
def test_at_most_5_percent_of_experiments_without_an_effect_show_one(fields: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(0, 1, (2_000, 5))
    words = []
    for row in np.exp(draws) if fields else draws:
        words.append(outcome(effect(**fields), values(*row.tolist())).word)
    assert sum(word in ("shown", "direction") for word in words) / len(words) <= 0.05


def test_interval_covers_the_mean_in_95_percent_of_experiments() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for row in generator.normal(3, 1, (2_000, 5)):
        result = outcome(effect(), values(*row.tolist()))
        covered += result.low <= 3 <= result.high  # type: ignore[operator]
    assert covered / 2_000 == pytest.approx(0.95, abs=0.015)


def test_p_of_no_effect_is_that_of_a_t_test() -> None:
    from scipy import stats

    numbers = [0.4, 1.1, 0.7, 0.2, 0.9]
    expected = stats.ttest_1samp(numbers, 0.0).pvalue
    assert outcome(effect(), values(*numbers)).p == pytest.approx(expected)


def test_p_of_a_change_is_the_larger_of_two_one_sided_tests() -> None:
    from scipy import stats

    numbers = [0.04, 0.11, 0.07, -0.02, 0.09]
    below = stats.ttest_1samp(numbers, -0.2, alternative="greater").pvalue
    above = stats.ttest_1samp(numbers, 0.2, alternative="less").pvalue
    assert outcome(no_change(-0.2, 0.2), values(*numbers)).p == pytest.approx(max(below, above))


def test_holm_multiplies_by_the_number_of_hypotheses_that_are_left() -> None:
    adjusted = holm({"a": 0.001, "b": 0.02, "c": 0.004, "d": 0.5}, family=10)
    assert adjusted == pytest.approx({"a": 0.01, "c": 0.036, "b": 0.16, "d": 1.0})
    assert holm({"a": 0.01, "b": 0.0105}, family=2) == pytest.approx({"a": 0.02, "b": 0.02})  # never decreasing


def test_expected_half_width_is_that_of_an_interval_with_the_pilots_deviation() -> None:
    pilot = np.std([0.4, 1.1, 0.7, 0.2, 0.9], ddof=1)
    result = outcome(effect(), values(0.4, 1.1, 0.7, 0.2, 0.9))
    assert half_width(effect(pilot_sd=float(pilot)), 5) == pytest.approx(result.high - result.mean)  # type: ignore[operator]
    assert half_width(effect(), 5) is None


def test_ratio_to_the_paper_is_that_of_the_distances_from_no_effect() -> None:
    assert ours_over_paper(effect(none=1, threshold=3.5, paper=6.0), [2.0, 5.0]) == pytest.approx(0.5)
    assert ours_over_paper(effect(), [2.0]) is None
