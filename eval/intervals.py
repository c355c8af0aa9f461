"""From the values of a measure, one for each seed, to an interval and a word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bio_facts.checks import needs
from bio_facts.runs.registration import Measure

with needs("train", "the analyses"):
    from scipy import stats

CONFIDENCE = {True: 0.95, False: 0.99}  # of carrying measures, of all others
# Letter of the labels of claims -> carrying measures in all: the family of Holm's adjustment.
NUM_CARRYING = {"C": 10, "R": 3}
WORDS = ("shown", "direction", "undecided", "contradicted")


@dataclass(frozen=True)
class Values:
    """The values of a measure by seed; None where one cannot be measured. floor: the least standard error of their mean, on the
    scale of the measure, such as the distance of evaluations divided by the square root of 12."""

    by_seed: Mapping[int, float | None]
    floor: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What the seeds say about a measure: mean, interval, two-sided p of no effect (or of a change), and the word.

    mean, low, high and p are None where a value is missing or there is only one seed; then the word is "undecided", or "" for a
    single seed.
    """

    word: str
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def outcome(measure: Measure, values: Values) -> Outcome:
    """The outcome of a measure: Student's t over seeds, on the measure's scale.

    A measure of an effect is "shown" if the interval lies beyond the threshold, half of the paper's effect; "direction" if it
    lies beyond no effect, but not beyond the threshold; both need the same sign in all seeds. It is "contradicted" if the
    interval is on the other side of no effect, or contains no effect and does not reach the threshold; otherwise "undecided".
    A measure of no change is "shown" if the interval lies inside the margins, "contradicted" if outside. Without a number of
    the paper, the word is at most "direction".
    """
    numbers = [value for value in values.by_seed.values() if value is not None]
    if len(numbers) < 2:
        mean = numbers[0] if numbers else None
        return Outcome("" if len(values.by_seed) < 2 else "undecided", mean)
    if len(numbers) < len(values.by_seed):
        return Outcome("undecided")
    if measure.scale == "log" and min(numbers) <= 0:
        return Outcome("undecided")
    on_scale = np.log if measure.scale == "log" else np.asarray
    x = np.asarray(on_scale(numbers), dtype=np.float64)
    mean = float(x.mean())
    error = max(float(x.std(ddof=1)) / len(x) ** 0.5, values.floor)
    half_width = float(stats.t.ppf((1 + CONFIDENCE[measure.carrying]) / 2, len(x) - 1)) * error
    low, high = mean - half_width, mean + half_width
    back = np.exp if measure.scale == "log" else float
    word, p = _word(measure, x, (low, high), error)
    return Outcome(word, float(back(mean)), float(back(low)), float(back(high)), p)


def _word(measure: Measure, x: np.ndarray, interval: tuple[float, float], error: float) -> tuple[str, float]:
    on_scale = np.log if measure.scale == "log" else float
    degrees, mean = len(x) - 1, float(x.mean())
    low, high = interval
    if measure.inside is not None:
        bottom, top = (float(on_scale(margin)) for margin in measure.inside)
        best = "direction" if measure.paper is None else "shown"
        word = best if bottom <= low and high <= top else "contradicted" if high < bottom or low > top else "undecided"
        return word, max(_upper_tail(mean - bottom, error, degrees), _upper_tail(top - mean, error, degrees))
    assert measure.none is not None
    sign, none = measure.direction, float(on_scale(measure.none))
    effects = sign * (x - none)
    least, most = sorted((sign * (low - none), sign * (high - none)))
    half = None if measure.threshold is None else sign * (float(on_scale(measure.threshold)) - none)
    p = 2 * _upper_tail(abs(mean - none), error, degrees)
    if least > 0:
        if (effects <= 0).any():
            return "undecided", p
        return ("shown" if half is not None and least >= half else "direction"), p
    if most < 0 or (half is not None and most < half):
        return "contradicted", p
    return "undecided", p


def _upper_tail(distance: float, error: float, degrees: int) -> float:
    """Probability of a mean beyond `distance` by chance."""
    return float(stats.t.sf(distance / error, degrees)) if error > 0 else float(distance <= 0)


def holm(p_values: Mapping[str, float], family: int) -> dict[str, float]:
    """Holm's adjustment of the p values of the carrying measures; those that are not there yet count as the largest."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (family - rank) * p))
        adjusted[name] = largest
    return adjusted


def half_width(measure: Measure, num_seeds: int) -> float | None:
    """The expected half-width of the interval of a measure, on its scale, from the pilot's standard deviation."""
    if measure.pilot_sd is None or num_seeds < 2:
        return None
    quantile = float(stats.t.ppf((1 + CONFIDENCE[measure.carrying]) / 2, num_seeds - 1))
    return float(quantile * measure.pilot_sd / num_seeds**0.5)


def ours_over_paper(measure: Measure, values: Sequence[float]) -> float | None:
    """Our effect divided by the paper's, both as distances from no effect; None if there is no number of the paper."""
    if measure.paper is None or not values:
        return None
    mean = float(np.exp(np.mean(np.log(values)))) if measure.scale == "log" and min(values) > 0 else float(np.mean(values))
    none = 0.0 if measure.none is None else measure.none
    return None if measure.paper == none else (mean - none) / (measure.paper - none)
