"""Random draws: integers that depend on (seed, stream, indices) only, not on earlier draws.

A stream is a name, such as "train/individual"; its 64-bit key is taken from SHA-256. Indices are absorbed one after
another by SplitMix64 (Steele, Lea, Flood 2014): with one index i, a draw is element i of the SplitMix64 sequence that
starts at the key; each further index starts a new sequence at the value before. Only exact 64-bit integer
arithmetic is used, so the numbers are the same on every platform and with every version of NumPy.
"""

import hashlib
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bio_facts.checks import check_seed

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_LOW_32_BITS = np.uint64(0xFFFFFFFF)
_PERMUTE_ROUNDS = 8  # 3 pass the uniformity tests; the others are a margin


def stream_key(seed: int, stream: str) -> np.uint64:
    """64-bit key of a stream: the first 8 bytes, little endian, of SHA-256("bio_facts/<stream>/<seed>")."""
    digest = hashlib.sha256(f"bio_facts/{stream}/{check_seed('seed', seed)}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64, a bijection of 64-bit integers."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def bits(seed: int, stream: str, *indices: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits for each element of the broadcast `indices` (integers from 0)."""
    state: NDArray[np.uint64] = np.atleast_1d(stream_key(seed, stream))
    for index in indices:
        state = _mix(state + (np.atleast_1d(index).astype(np.uint64) + np.uint64(1)) * _GOLDEN_GAMMA)
    return state


def integers(high: ArrayLike, seed: int, stream: str, *indices: ArrayLike) -> NDArray[np.int64]:
    """Uniform integers in [0, high) for each element of the broadcast `indices`; `high` is at most 2**63.

    Computes floor(bits * high / 2**64) exactly. The probabilities of two values differ by a relative high / 2**64 at most.
    """
    random_bits = bits(seed, stream, *indices)
    bound = np.asarray(high).astype(np.uint64)
    bits_high, bits_low = random_bits >> np.uint64(32), random_bits & _LOW_32_BITS
    bound_high, bound_low = bound >> np.uint64(32), bound & _LOW_32_BITS
    middle = bits_high * bound_low + ((bits_low * bound_low) >> np.uint64(32))
    product = middle >> np.uint64(32)
    if bound_high.any():  # rare, and doubles the cost
        other_middle = bits_low * bound_high + (middle & _LOW_32_BITS)
        product = product + bits_high * bound_high + (other_middle >> np.uint64(32))
    drawn: NDArray[np.int64] = product.astype(np.int64)
    return drawn


def permute(indices: ArrayLike, size: int, seed: int, stream: str, *, inverse: bool = False) -> NDArray[np.int64]:
    """Apply a fixed random permutation of range(size), or its inverse, to `indices`, without storing it; int64, same shape.

    A Feistel network in mixed radix: an index is a pair (left, right) in a grid of height x width = size, and each
    round shifts one half by a hash of the other, modulo its radix. Every round is invertible, so the result is a permutation.
    A size without two factors of at least 100 gets the smallest square grid that has room for it, and indices that leave
    range(size) are permuted again until they are back in it. `size` is from 1 to 2**32.
    """
    height = next(divisor for divisor in range(math.isqrt(size), 0, -1) if size % divisor == 0)
    if height >= 100:
        return _permute_grid(indices, height, size // height, seed, stream, inverse)
    side = math.isqrt(size - 1) + 1
    permuted = _permute_grid(indices, side, side, seed, stream, inverse)
    while (outside := permuted >= size).any():
        permuted[outside] = _permute_grid(permuted[outside], side, side, seed, stream, inverse)
    return permuted


def _permute_grid(indices: ArrayLike, height: int, width: int, seed: int, stream: str, inverse: bool) -> NDArray[np.int64]:
    left, right = np.divmod(np.asarray(indices, dtype=np.int64), width)
    sign = -1 if inverse else 1
    for round_index in range(_PERMUTE_ROUNDS)[::sign]:
        if round_index % 2 == 0:
            left = (left + sign * integers(height, seed, f"{stream}/{round_index}", right)) % height
        else:
            right = (right + sign * integers(width, seed, f"{stream}/{round_index}", left)) % width
    permuted: NDArray[np.int64] = left * width + right
    return permuted
