"""Where the phases of learning end, from a loss curve. The paper does not state its rule; these are ours.

Times are steps at which a curve crosses a level, interpolated between two evaluations: linearly in the logarithm of the step,
and after step 0 linearly in the step.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

PHASE1_FACTOR = 1.05  # statistics are learned once the loss is this close to the no-knowledge loss
PLATEAU_FACTOR = 0.99  # knowledge has begun once the loss stays below this share of it
LEVEL_BAND = 0.03  # the loss is on its plateau within this share of the plateau's own level


def first_crossing(steps: Sequence[int], values: Sequence[float], level: float) -> float | None:
    """Step at which a falling curve first reaches `level`, interpolated; None if it does not."""
    for index, value in enumerate(values):
        if value <= level:
            return _interpolated(steps, values, index, level)
    return None


def last_crossing(steps: Sequence[int], values: Sequence[float], level: float) -> float | None:
    """Step from which a falling curve stays below `level`, interpolated; None if its last value is not below."""
    index = _first_of_last(steps, [value < level for value in values])
    return None if index is None else _interpolated(steps, values, index, level)


def phase1_end(
    steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float, factor: float = PHASE1_FACTOR
) -> float | None:
    """Step at which the loss first reaches 1.05 x no_knowledge_loss; None if it does not. Losses in nats per value."""
    return first_crossing(steps, losses, factor * no_knowledge_loss)


def plateau_end(steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float) -> float | None:
    """Step from which the loss stays below 0.99 x no_knowledge_loss; None if the last loss is not below."""
    return last_crossing(steps, losses, PLATEAU_FACTOR * no_knowledge_loss)


def plateau_level(steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float) -> float | None:
    """The loss of the plateau (nats per value): its median over the logarithm of the step, from phase1_end to plateau_end.

    None if one of the two does not exist, or the loss is nowhere between them.
    """
    bounds = _plateau(steps, losses, no_knowledge_loss)
    return None if bounds is None else median_over_log_steps(steps, losses, *bounds)


def plateau_halves(
    steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """First and last step of the two halves of the plateau, in the logarithm of the step; None without a plateau."""
    bounds = _plateau(steps, losses, no_knowledge_loss)
    if bounds is None:
        return None
    middle = math.sqrt(bounds[0] * bounds[1])
    return (bounds[0], middle), (middle, bounds[1])


def _plateau(steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float) -> tuple[float, float] | None:
    start = phase1_end(steps, losses, no_knowledge_loss)
    end = plateau_end(steps, losses, no_knowledge_loss)
    return None if start is None or end is None or not 0 < start < end else (start, end)


def median_over_log_steps(steps: Sequence[int], values: Sequence[float], start: float, end: float) -> float:
    """Median of a curve from one step above 0 to another, over the logarithm of the step."""
    logs = np.log(np.maximum(steps, 1))
    return float(np.median(np.interp(np.linspace(math.log(start), math.log(end), 1001), logs, values)))


def onset(steps: Sequence[int], losses: Sequence[float], level: float, departure: float) -> float | None:
    """Step from which a loss stays away from its level on the plateau; None if it does not at the end.

    departure: how far, in nats per value; below 0 for a loss that falls.
    """
    sign = -1 if departure > 0 else 1  # of a curve that falls
    return last_crossing(steps, [sign * loss for loss in losses], sign * (level + departure))


def plateau_width(steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float) -> float | None:
    """How long the loss stays on its own plateau, as a ratio of steps; None without a plateau.

    The step from which the loss stays more than 3 % below the level of the plateau, divided by the step at which it first comes
    within 3 % of it. The paper's default run has 6.1 (Fig. 2, middle).
    """
    level = plateau_level(steps, losses, no_knowledge_loss)
    if level is None:
        return None
    arrival = first_crossing(steps, losses, (1 + LEVEL_BAND) * level)
    departure = last_crossing(steps, losses, (1 - LEVEL_BAND) * level)
    return departure / arrival if arrival and departure else None


def grid_error(steps: Sequence[int], step: float | None) -> float:
    """Standard error that the grid of evaluations gives to a crossing at `step`, in the logarithm of the step; 0 for None.

    It is that of a uniform distribution over the interval between the evaluations before and after it.
    """
    if step is None:
        return 0.0
    before = max((s for s in steps if s <= step), default=steps[0])
    after = min((s for s in steps if s > step), default=before)
    return math.log(max(after, 1) / max(before, 1)) / math.sqrt(12)


def _first_of_last(steps: Sequence[int], holds: Sequence[bool]) -> int | None:
    """Index of the first of the evaluations at the end at which something holds; None if it does not at the last."""
    if len(steps) != len(holds):
        raise ValueError(f"there are {len(steps)} steps and {len(holds)} values; there must be as many")
    count = sum(1 for _ in itertools.takewhile(bool, reversed(holds)))
    return len(holds) - count if count else None


def _interpolated(steps: Sequence[int], values: Sequence[float], index: int, level: float) -> float:
    """Where the curve crosses `level` between the evaluations index - 1 and index."""
    if len(steps) != len(values):
        raise ValueError(f"there are {len(steps)} steps and {len(values)} values; there must be as many")
    if index == 0 or values[index - 1] <= values[index]:
        return float(steps[index])
    before, after = steps[index - 1], steps[index]
    share = (values[index - 1] - level) / (values[index - 1] - values[index])
    if before == 0:
        return after * share
    return math.exp(math.log(before) + share * math.log(after / before))
