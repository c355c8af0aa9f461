"""The row schema, in one place: biographies -> rows with text and character spans, and their canonical JSON."""

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bio_facts.attributes import ATTRIBUTES
from bio_facts.biography import NAME, VALUE, Biographies
from bio_facts.pieces import RaggedTable, piece_table, ragged_table


@functools.cache
def _piece_bytes() -> RaggedTable:
    return ragged_table([np.frombuffer(text.encode(), dtype=np.uint8) for text in piece_table().texts])


@functools.cache
def _piece_characters() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each piece, its length in Unicode code points and the number of spaces (0 or 1) that it begins with."""
    texts = piece_table().texts
    return np.array([len(text) for text in texts]), np.array([int(text.startswith(" ")) for text in texts])


class Texts(NamedTuple):
    """The texts of n biographies and where names and values stand in them, in Unicode code points, end exclusive.

    utf8: bytes of all texts, one after another; byte_offsets: int64 [n + 1], text k is utf8[offset k : offset k + 1].
    name_start, name_end, value_start, value_end: int64 [n, 6], sentences in order of appearance.
    """

    utf8: NDArray[np.uint8]
    byte_offsets: NDArray[np.int64]
    name_start: NDArray[np.int64]
    name_end: NDArray[np.int64]
    value_start: NDArray[np.int64]
    value_end: NDArray[np.int64]

    def strings(self) -> list[str]:
        """The texts."""
        joined, offsets = self.utf8.tobytes(), self.byte_offsets.tolist()
        return [joined[start:end].decode() for start, end in itertools.pairwise(offsets)]


def texts(biographies: Biographies) -> Texts:
    """Texts and spans of a batch of biographies."""
    pieces, num_rows = biographies.piece_id, len(biographies)
    table = _piece_bytes()
    row_bytes = table.lengths[pieces].sum(axis=(1, 2))
    characters, leading_spaces = _piece_characters()
    row_shape = (num_rows, pieces.shape[1] * pieces.shape[2])
    ends = np.cumsum(characters[pieces].reshape(row_shape), axis=1).reshape(pieces.shape)
    starts = ends - characters[pieces] + leading_spaces[pieces]
    return Texts(
        utf8=table.concatenate(pieces),
        byte_offsets=np.concatenate([[0], np.cumsum(row_bytes)]),
        name_start=starts[:, :, NAME.start],
        name_end=ends[:, :, NAME.stop - 1],
        value_start=starts[:, :, VALUE.start],
        value_end=ends[:, :, VALUE.stop - 1],
    )


def rows(biographies: Biographies) -> list[dict[str, Any]]:
    """One dict per biography, in schema order.

    {"biography_id", "individual_id", "text", "name_spans": [{"start", "end"}], "attributes": [{"attribute", "value",
    "start", "end", "template_id"}]}; text[start:end] is the full name or the value; sentences in order of appearance.
    """
    made, names = texts(biographies), tuple(ATTRIBUTES)
    return [
        {
            "biography_id": biography_id,
            "individual_id": individual_id,
            "text": text,
            "name_spans": [{"start": start, "end": end} for start, end in zip(*name_spans, strict=True)],
            "attributes": [
                {
                    "attribute": names[attribute_id - 1],
                    "value": text[start:end],
                    "start": start,
                    "end": end,
                    "template_id": template_id,
                }
                for attribute_id, template_id, start, end in zip(*attributes, strict=True)
            ],
        }
        for biography_id, individual_id, text, name_spans, attributes in zip(
            biographies.biography_id.tolist(),
            biographies.individual_id.tolist(),
            made.strings(),
            np.stack([made.name_start, made.name_end], axis=1).tolist(),
            np.stack([biographies.attribute_id, biographies.template_id, made.value_start, made.value_end], 1).tolist(),
            strict=True,
        )
    ]


def canonical_json(row: dict[str, Any]) -> str:
    """A row as JSON in schema order, no spaces, non-ASCII letters as themselves."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def content_digest(all_rows: Iterable[dict[str, Any]]) -> str:
    """SHA-256 (hexadecimal) over the canonical JSON of rows in index order, in UTF-8."""
    digest = hashlib.sha256()
    for row in all_rows:
        digest.update(canonical_json(row).encode())
    return digest.hexdigest()
