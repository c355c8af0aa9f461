"""Canonical JSON: the one way to write a row as text, from which content digests are computed."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def canonical_json(batch: pa.RecordBatch) -> pa.Array:
    """Each row as JSON in schema order, no spaces, non-ASCII letters as themselves: a string array [n]."""
    return _concatenated(_json_parts(pa.StructArray.from_arrays(batch.columns, batch.schema.names)))


def content_digest(batches: Iterable[pa.RecordBatch]) -> str:
    """SHA-256 (hexadecimal) over the canonical JSON of rows in index order, in UTF-8."""
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(joined_bytes(canonical_json(batch)))
    return digest.hexdigest()


def joined_bytes(strings: pa.Array) -> memoryview:
    """The UTF-8 bytes of all strings, one after another, without a copy."""
    _, offsets, data = strings.buffers()
    if not len(strings):
        return memoryview(b"")
    bounds = np.frombuffer(offsets, dtype=np.int32)[[strings.offset, strings.offset + len(strings)]]
    return memoryview(data)[bounds[0] : bounds[1]]


def _json_parts(array: pa.Array) -> list[Any]:
    """Strings and string arrays whose element-wise concatenation is the JSON of `array`."""
    assert array.null_count == 0, "rows have no nulls"
    if pa.types.is_struct(array.type):
        parts: list[Any] = []
        for field, values in zip(array.type, array.flatten(), strict=True):
            parts += [f'{"," if parts else "{"}"{field.name}":', *_json_parts(values)]
        return [*parts, "}"]
    if pa.types.is_list(array.type):
        items = pa.ListArray.from_arrays(array.offsets, _concatenated(_json_parts(array.values)))
        return ["[", pc.binary_join(items, ","), "]"]
    if pa.types.is_string(array.type):
        return ['"', _escaped(array), '"']
    return [pc.cast(array, pa.string())]


def _concatenated(items: list[Any]) -> pa.Array:
    """The element-wise concatenation of strings and string arrays; neighboring strings are joined first."""
    merged: list[Any] = []
    for item in items:
        if merged and isinstance(item, str) and isinstance(merged[-1], str):
            merged[-1] += item
        else:
            merged.append(item)
    return pc.binary_join_element_wise(*merged, "")


def _escaped(strings: pa.Array) -> pa.Array:
    """Strings escaped for JSON. The rows of the package have nothing to escape, which a scan of the bytes confirms."""
    data = np.frombuffer(joined_bytes(strings), dtype=np.uint8)
    if data.size and (data.min() < ord(" ") or (data == ord('"')).any() or (data == ord("\\")).any()):
        return pa.array([json.dumps(text, ensure_ascii=False)[1:-1] for text in strings.to_pylist()], pa.string())
    return strings
