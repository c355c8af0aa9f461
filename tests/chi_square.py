"""Pearson's test that counts are uniform, without SciPy."""

import math

import numpy as np
from numpy.typing import ArrayLike


def p_value(statistic: float, degrees: int) -> float:
    """Chance of a chi-square above `statistic`, by the approximation of Wilson and Hilferty (1931)."""
    spread = 2 / (9 * degrees)
    return 0.5 * math.erfc(((statistic / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(2 * spread))


def p_uniform(counts: ArrayLike) -> float:
    """Chance that uniform draws give counts at least as uneven as these."""
    flat = np.ravel(counts).astype(np.float64)
    return p_value(float(((flat - flat.mean()) ** 2 / flat.mean()).sum()), len(flat) - 1)
