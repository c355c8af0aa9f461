"""Power-law weights as exact integers, the same on every platform."""

import functools
import math

import numpy as np
from numpy.typing import NDArray

_BITS = 30  # of the fractions


@functools.lru_cache(maxsize=8)
def cumulative_weights(alpha: float, num_individuals: int) -> NDArray[np.uint64]:
    """Cumulative sums of power_law_weights, uint64 [num_individuals]."""
    return np.cumsum(power_law_weights(alpha, num_individuals))


def power_law_weights(alpha: float, num_individuals: int) -> NDArray[np.uint64]:
    """Integer weights in proportion to (i + 1)^-alpha, uint64 [num_individuals], their sum below 2**62.

    2^(-alpha log2(i + 1)) in fixed-point arithmetic on 64-bit integers: floating-point pow and log differ in their last bit
    between platforms and builds of NumPy, which would change single draws. The error of a weight is at most about 1e-8 of it
    and one unit, which is less than 1e-6 of any weight of the named configs.
    """
    logarithm = _log2(np.arange(1, num_individuals + 1, dtype=np.uint64))
    factor, fraction = np.uint64(round(alpha * 2**_BITS)), np.uint64(2**_BITS - 1)
    exponent = (logarithm >> np.uint64(_BITS)) * factor + (((logarithm & fraction) * factor) >> np.uint64(_BITS))
    mantissa = _exp2_negative(exponent & fraction)
    halvings = np.minimum(exponent >> np.uint64(_BITS), np.uint64(63))
    shift = np.uint64(62 - int((mantissa >> halvings).sum() + num_individuals).bit_length())
    weights: NDArray[np.uint64] = (mantissa << shift) >> halvings
    return weights


def _log2(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """log2 of integers from 1 to 2**31 - 1, in units of 2**-30: squaring y in [1, 2) doubles its logarithm, bit by bit."""
    whole = (np.frexp(numbers.astype(np.float64))[1] - 1).astype(np.uint64)
    y = numbers << (np.uint64(_BITS) - whole)
    result = whole << np.uint64(_BITS)
    for bit in range(_BITS - 1, -1, -1):
        y = (y * y) >> np.uint64(_BITS)
        above = (y >> np.uint64(_BITS + 1)).astype(np.uint64)  # 1 where y is 2 or more
        y >>= above
        result |= above << np.uint64(bit)
    return result


def _exp2_negative(fraction: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """2**-f for f in [0, 1) given in units of 2**-30; the result is in units of 2**-31."""
    result = np.full(fraction.shape, 2**31, dtype=np.uint64)
    root = 1 << 127  # 2**-1 in units of 2**-128; its square roots are 2**-(1/2), 2**-(1/4), ...
    for bit in range(_BITS - 1, -1, -1):
        root = math.isqrt(root << 128)
        multiplied = (result * np.uint64(root >> 96)) >> np.uint64(32)
        result = np.where((fraction >> np.uint64(bit)) & np.uint64(1), multiplied, result)
    return result
