"""Arrow arrays from NumPy arrays: texts of pieces, values, items of pools, lists and structs."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bio_facts.generate.biography import VALUE, Biographies
from bio_facts.generate.pieces import piece_table
from bio_facts.generate.pools import pools


@functools.cache
def piece_texts() -> pa.Array:
    """All pieces, and after them all pieces without the space that they may begin with."""
    texts = piece_table().texts
    return pa.array([*texts, *(text.removeprefix(" ") for text in texts)], pa.string())


def joined(piece_ids: NDArray[np.int64]) -> pa.Array:
    """[n, p] ids into piece_texts() -> n strings."""
    return pc.binary_join(lists(piece_texts().take(pa.array(piece_ids.ravel())), piece_ids.shape[1]), "")


def beginnings(piece_ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> pa.Array:
    """Of [n, p] ids into piece_texts() the first `lengths` of each row, int64 [n] -> n strings."""
    is_first = np.arange(piece_ids.shape[1]) < lengths[:, None]
    offsets = pa.array(np.append(0, np.cumsum(lengths)).astype(np.int32))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, piece_texts().take(pa.array(piece_ids[is_first]))), "")


def values(biographies: Biographies) -> pa.Array:
    """The value of each sentence, a string array [n * q]."""
    value_pieces = biographies.piece_id[:, :, VALUE].reshape(-1, VALUE.stop - VALUE.start).copy()
    value_pieces[:, 0] += len(piece_table().texts)
    return joined(value_pieces)


def items(pool: str, items: NDArray[np.int64]) -> pa.Array:
    """The texts of items of a pool."""
    return pa.array(pools()[pool]).take(pa.array(items))


def lists(values: pa.Array, length: int) -> pa.Array:
    """Lists of `length` values each."""
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, length, dtype=np.int32)), values)


def structs(columns: Mapping[str, Any]) -> pa.Array:
    """Structs of these fields (name -> array of n values, of any shape, in C order)."""
    arrays = [column if isinstance(column, pa.Array) else pa.array(column.ravel()) for column in columns.values()]
    return pa.StructArray.from_arrays(arrays, list(columns))
