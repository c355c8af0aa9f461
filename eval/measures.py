"""Arithmetic that measures of several claims share. Losses in units of b: divided by the no-knowledge loss of their split."""

import bisect
import math
from collections.abc import Mapping, Sequence

from arms import Arms

from bio_facts.runs.curves import Run
from bio_facts.runs.phases import grid_error

PAPER_TAU = 5.2  # the paper's 16k steps with 64k individuals, in units of plateau_end


def runs_of(arms: Arms, name: str) -> Mapping[int, Run]:
    """Seed -> run of an arm; ValueError if it is not among the runs."""
    if name not in arms:
        given = ", ".join(repr(arm) for arm in arms)
        raise ValueError(
            f"there are runs of {given or 'no arm'}; this claim compares several arms, expected {name!r} among them"
        )
    return arms[name]


def common_seeds(*arms: Mapping[int, object]) -> list[int]:
    """The seeds that all of these have."""
    return sorted(set.intersection(*(set(arm) for arm in arms)))


def differences(a: Mapping[int, float | None], b: Mapping[int, float | None]) -> dict[int, float | None]:
    """a - b of each seed that both have; None where one of them is None."""
    pairs = {seed: (a[seed], b[seed]) for seed in common_seeds(a, b)}
    return {seed: None if x is None or y is None else x - y for seed, (x, y) in pairs.items()}


def ratios(a: Mapping[int, float | None], b: Mapping[int, float | None]) -> dict[int, float | None]:
    """a / b of each seed that both have; None where one of them is None or 0."""
    pairs = {seed: (a[seed], b[seed]) for seed in common_seeds(a, b)}
    return {seed: x / y if x and y else None for seed, (x, y) in pairs.items()}


def value_at(steps: Sequence[int], values: Sequence[float], step: float | None) -> float | None:
    """The value of a curve at a step, None if the curve does not reach it.

    Between two evaluations it is interpolated linearly in the logarithm of the step, after step 0 in the step.
    """
    if step is None or not steps[0] <= step <= steps[-1]:
        return None
    after = bisect.bisect_left(steps, step)
    if steps[after] == step:
        return values[after]
    start, end = steps[after - 1], steps[after]
    share = step / end if start == 0 else math.log(step / start) / math.log(end / start)
    return values[after - 1] + share * (values[after] - values[after - 1])


def losses_in_b(run: Run, split: str = "validation") -> tuple[list[int], list[float]]:
    """Steps and attribute losses of a split, in units of its no-knowledge loss."""
    steps, losses, baseline = run.loss_curve(split)
    return steps, [loss / baseline for loss in losses]


def final_losses(runs: Mapping[int, Run], split: str = "validation") -> dict[int, float | None]:
    """Seed -> last attribute loss of a split, in units of b."""
    return {seed: losses_in_b(run, split)[1][-1] for seed, run in runs.items()}


def largest_grid_error(curves: Mapping[int, Sequence[int]], crossings: Mapping[int, float | None]) -> float:
    """The largest grid_error of crossings, in the logarithm of the step. curves: seed -> evaluated steps."""
    return max((grid_error(curves[seed], crossing) for seed, crossing in crossings.items()), default=0.0)


def losses_at(runs: Mapping[int, Run], steps: Mapping[int, float | None]) -> dict[int, float | None]:
    """Seed -> attribute loss, in units of b, at the step given for this seed; None without a step, or beyond the last one."""
    return {seed: value_at(*losses_in_b(run), steps[seed]) for seed, run in runs.items() if seed in steps}


def losses_at_paper_tau(runs: Mapping[int, Run], uniform: Mapping[int, Run]) -> dict[int, float | None]:
    """Seed -> attribute loss, in units of b, at PAPER_TAU x plateau_end of the uniform run of this seed."""
    return losses_at(runs, {seed: end and PAPER_TAU * end for seed, end in plateau_ends(uniform).items()})


def plateau_ends(runs: Mapping[int, Run]) -> dict[int, float | None]:
    """Seed -> plateau_end (steps), None without one: P, the unit of tau, if these are the uniform runs."""
    return {seed: run.phase_ends[1] for seed, run in runs.items()}
