"""How much a model gains from an exposure to a fact, and how fast it loses the gain (Chang et al. 2024, arXiv 2406.11813).

A probe is a fact whose value's log-probability is recorded while training goes on. All functions are pure:

    log_probabilities: float64 [P, T], nats; of the value of each of P probes, before the update of each step
    steps: int64 [T], ascending
    exposures: int64 [K], ascending; the steps whose batch contains the fact

The local maximum of an exposure is the largest log-probability within `window` steps after it, where steps must be 1 apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bio_facts.checks import check_integer

WINDOW = 50  # steps after an exposure in which its local maximum is sought


@dataclass(frozen=True)
class Retention:
    """What is left of the gain after the last exposure.

    elapsed: int64 [m], steps since the local maximum of the last exposure, from 1. values: float64 [P', m], 1 at the maximum, 0
    once all is lost; of the probes that gained anything. num_dropped: how many probes did not, for which it is undefined.
    """

    elapsed: NDArray[np.int64]
    values: NDArray[np.float64]
    num_dropped: int


@dataclass(frozen=True)
class Decay:
    """A line through retention over the decadic logarithm of elapsed steps.

    slope: what is lost for each factor of ten. x_intercept: steps until all is lost; infinite if nothing is.
    """

    slope: float
    x_intercept: float


def effectivity(
    log_probabilities: ArrayLike, steps: ArrayLike, exposures: ArrayLike, window: int = WINDOW
) -> NDArray[np.float64]:
    """The gain from each exposure: log-probability at its local maximum minus that before its update, nats, [P, K].

    Raises:
        ValueError: if shapes do not fit, steps or exposures do not ascend, steps are missing in a window, or two exposures are
            less than a window apart.
    """
    values, _, before, maxima = _checked(log_probabilities, steps, exposures, window)
    rows = np.arange(len(values))[:, None]
    gains: NDArray[np.float64] = values[rows, maxima] - values[:, before]
    return gains


def retention(log_probabilities: ArrayLike, steps: ArrayLike, exposures: ArrayLike, window: int = WINDOW) -> Retention:
    """The share of the gain over all exposures that is left after the last one's local maximum; raises as effectivity.

    Elapsed steps are those that every probe has: probes reach their maximum at different steps.
    """
    values, all_steps, before, maxima = _checked(log_probabilities, steps, exposures, window)
    last = maxima[:, -1]
    rows = np.arange(len(values))
    start, peak = values[:, before[0]], values[rows, last]
    gained = peak > start
    since = all_steps[None, :] - all_steps[last][:, None]  # [P, T]
    elapsed = since[0][since[0] > 0]
    for row in rows[1:]:
        elapsed = np.intersect1d(elapsed, since[row][since[row] > 0])
    kept = rows[gained]
    left = np.empty((len(kept), len(elapsed)))
    for index, row in enumerate(kept):
        at = np.searchsorted(since[row], elapsed)
        left[index] = (values[row, at] - start[row]) / (peak[row] - start[row])
    return Retention(elapsed, left, int((~gained).sum()))


def decay(elapsed: ArrayLike, retained: ArrayLike) -> Decay:
    """The least-squares line through the mean retention over probes; elapsed: [m], retained: [P, m] or [m].

    Raises:
        ValueError: if there are fewer than two elapsed steps, or one is not above 0.
    """
    x, y = np.asarray(elapsed, dtype=np.float64), np.atleast_2d(np.asarray(retained, dtype=np.float64))
    if x.ndim != 1 or len(x) < 2 or y.shape[1:] != x.shape or not len(y):
        raise ValueError(f"elapsed has shape {x.shape} and retained {y.shape}; expected [m] and [P, m] with at least 2 steps")
    if not (x > 0).all():
        raise ValueError(f"elapsed has {x.min():g}; expected steps above 0")
    slope, intercept = np.polyfit(np.log10(x), y.mean(axis=0), 1)
    return Decay(float(-slope), float(10 ** (intercept / -slope)) if slope < 0 else float("inf"))


def is_outlier(values: ArrayLike, factor: float = 1.5) -> NDArray[np.bool_]:
    """Which values lie more than factor x the interquartile range outside the quartiles (1.5 in the paper, 2.0 in its code)."""
    given = np.asarray(values, dtype=np.float64)
    low, high = np.quantile(given, [0.25, 0.75])
    outside: NDArray[np.bool_] = (given < low - factor * (high - low)) | (given > high + factor * (high - low))
    return outside


def _checked(log_probabilities: Any, steps: Any, exposures: Any, window: int) -> tuple[NDArray[np.float64], Any, Any, Any]:
    """Log-probabilities, steps, and columns: of each exposure, [K], and of each probe's local maxima, [P, K]."""
    values = np.asarray(log_probabilities, dtype=np.float64)
    given_steps, given_exposures = np.asarray(steps), np.asarray(exposures)
    check_integer("window", window, minimum=1)
    if values.ndim != 2 or given_steps.shape != values.shape[1:] or not len(values):
        raise ValueError(
            f"log_probabilities has shape {values.shape} and steps {given_steps.shape}; expected [P, T] and [T], P above 0"
        )
    if not np.isfinite(values).all():
        raise ValueError("log_probabilities has NaN or an infinite number; expected finite ones")
    for name, ascending in (("steps", given_steps), ("exposures", given_exposures)):
        if ascending.ndim != 1 or not len(ascending) or ascending.dtype.kind not in "iu" or (np.diff(ascending) <= 0).any():
            raise ValueError(f"{name} is {ascending.tolist()!r}; expected integers in ascending order")
    if (np.diff(given_exposures) < window).any():
        raise ValueError(f"exposures is {given_exposures.tolist()}; expected at least {window} steps between them")
    position = {int(step): column for column, step in enumerate(given_steps)}
    columns = []
    for exposure in given_exposures.tolist():
        missing = next((step for step in range(exposure, exposure + window + 1) if step not in position), None)
        if missing is not None:
            raise ValueError(
                f"steps lacks {missing}, within {window} steps of exposure {exposure}; expected steps 1 apart from an exposure "
                "to the end of its window"
            )
        columns.append(position[exposure])
    before = np.array(columns)
    maxima = np.stack([column + 1 + values[:, column + 1 : column + window + 1].argmax(axis=1) for column in columns], axis=-1)
    return values, given_steps, before, maxima
