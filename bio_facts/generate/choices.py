"""Choices: a value and other values of its attribute, for tasks that ask which of them is the true one."""

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import check_integer
from bio_facts.generate import seeding
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.pools import pools

_SEED = 0  # of the choices; another seed is another task, with a new version


def draw_choices(
    attribute: str,
    values: Sequence[str],
    biography_ids: NDArray[np.int64],
    split: str,
    num_choices: int,
    pool_sizes: Mapping[str, int],
) -> tuple[list[list[str]], NDArray[np.int64]]:
    """For each of n true values num_choices distinct values in random order, and the index of the true one, int64 [n].

    The others are drawn uniformly, without replacement, from all values that the attribute can have (for a birth date: from
    all dates). They depend only on split, attribute, biography_id, pool_sizes and num_choices.

    Raises:
        ValueError: if the attribute has fewer values than num_choices, or a value is not one of them.
    """
    sizes = [pool_sizes[pool] for pool in ATTRIBUTES[attribute].pools]
    num_values = math.prod(sizes)
    check_integer(f"num_choices of {attribute}", num_choices, minimum=2, maximum=num_values)
    taken = _indices(attribute, values, sizes)[:, None]
    stream = f"lm_eval/choice/{split}/{attribute}"
    for count in range(1, num_choices):
        drawn = seeding.integers(num_values - count, _SEED, stream, biography_ids, count)
        for smaller in np.sort(taken, axis=1).T:  # from a rank among the values not yet taken to an index among all
            drawn = drawn + (drawn >= smaller)
        taken = np.column_stack([taken, drawn])
    answers = seeding.integers(num_choices, _SEED, f"{stream}/answer", biography_ids)
    columns = np.arange(num_choices)
    # Column 0 of `taken`, the true value, moves to index `answer`, and columns 1 to `answer` move one to the left.
    order = np.where(columns == answers[:, None], 0, columns + (columns < answers[:, None]))
    return _texts(attribute, np.take_along_axis(taken, order, axis=1), sizes), answers


def _indices(attribute: str, values: Sequence[str], sizes: Sequence[int]) -> NDArray[np.int64]:
    """The index of each value among all values that the attribute can have."""
    names = ATTRIBUTES[attribute].pools
    positions = [{item: k for k, item in enumerate(pools()[pool][:size])} for pool, size in zip(names, sizes, strict=True)]
    pool_indices = []
    for value in values:
        items = value.split(" ") if len(names) > 1 else [value]
        try:
            pool_indices.append([position[item] for position, item in zip(positions, items, strict=True)])
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{attribute} is {value!r}, which is none of the {math.prod(sizes):,} values of its pool"
            ) from error
    return np.asarray(np.ravel_multi_index(tuple(zip(*pool_indices, strict=True)), tuple(sizes)), dtype=np.int64)


def _texts(attribute: str, indices: NDArray[np.int64], sizes: Sequence[int]) -> list[list[str]]:
    """The values at `indices`, the inverse of _indices."""
    items = [
        np.array(pools()[pool], dtype=object)[positions]
        for pool, positions in zip(ATTRIBUTES[attribute].pools, np.unravel_index(indices, tuple(sizes)), strict=True)
    ]
    texts: list[list[str]] = functools.reduce(lambda left, right: left + " " + right, items).tolist()
    return texts
