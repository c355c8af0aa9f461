"""Pieces: the fixed list of strings from which every biography is concatenated.

A piece is a name part, a value (a birth date has three pieces: month, day with comma, year), or template text between them.
A separating space is the first character of the piece after it; pieces that can begin a text also exist without that space.
Texts, character spans and tokens are computed by looking up the characters, the length or the tokens of each piece.
"""

import functools
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.pools import NAME_POOLS, pools
from bio_facts.generate.templates import BIOGRAPHIES, FORMATS, Template, questions, templates

EMPTY = 0  # the piece for an empty slot


class PieceTable(NamedTuple):
    """All pieces, and the position of each kind in the list.

    texts: every piece, by piece id. initial_first_names and `pools[name]`: id of a pool's item 0 (item k is k further).
    head, initial_head, cue, tail: int64 [6, 35] ids by attribute and template_id.
    """

    texts: tuple[str, ...]
    initial_first_names: int
    pools: dict[str, int]
    head: NDArray[np.int64]
    initial_head: NDArray[np.int64]
    cue: NDArray[np.int64]
    tail: NDArray[np.int64]


@functools.cache
def piece_table() -> PieceTable:
    """The pieces of all pools and templates: about 6,000, independent of the population."""
    texts: list[str] = [""]

    def add(items: list[str]) -> int:
        texts.extend(items)
        return len(texts) - len(items)

    def add_texts(items: list[str]) -> NDArray[np.int64]:
        start = add(items)
        ids = np.array([start + k if text else EMPTY for k, text in enumerate(items)])
        return ids.reshape(len(ATTRIBUTES), -1)

    def add_templates(by_attribute: Mapping[str, tuple[Template, ...]]) -> list[NDArray[np.int64]]:
        """Ids of heads, initial heads, cues and tails."""
        flat = [template for attribute in ATTRIBUTES for template in by_attribute[attribute]]
        heads = [template.head for template in flat]
        return [
            add_texts([f" {head}" if head else "" for head in heads]),
            add_texts(heads),
            add_texts([template.cue for template in flat]),
            add_texts([template.tail for template in flat]),
        ]

    initial_first_names = add(list(pools()[NAME_POOLS[0]]))
    starts = {name: add([f" {item}" for item in items]) for name, items in pools().items()}
    by_kind = zip(add_templates(templates()), add_templates(questions()), strict=True)
    head, initial_head, cue, tail = (np.concatenate(ids, axis=1) for ids in by_kind)
    return PieceTable(tuple(texts), initial_first_names, starts, head, initial_head, cue, tail)


@functools.cache
def is_initial() -> NDArray[np.bool_]:
    """Whether each piece begins a text, bool [number of pieces]: first names and template text without a leading space."""
    table = piece_table()
    initial = np.zeros(len(table.texts), dtype=bool)
    initial[table.initial_first_names : table.initial_first_names + len(pools()[NAME_POOLS[0]])] = True
    initial[table.initial_head] = True
    initial[EMPTY] = False
    return initial


def pieces_in_use(pool_sizes: Mapping[str, int], formats: Collection[str] = (BIOGRAPHIES,)) -> NDArray[np.bool_]:
    """Which pieces rows with these pools and formats can have, bool [number of pieces]: pool items in use, text of all
    templates of the formats. ValueError for an unknown format."""
    for name in [formats] if isinstance(formats, str) else formats:
        if name not in FORMATS or name is formats:
            raise ValueError(f"formats is {formats!r}; it must be a list of {', '.join(FORMATS)}, such as config.formats")
    table = piece_table()
    in_use = np.zeros(len(table.texts), dtype=bool)
    for name, start in [(NAME_POOLS[0], table.initial_first_names), *table.pools.items()]:
        in_use[start : start + pool_sizes[name]] = True
    for of_templates in (table.head, table.initial_head, table.cue, table.tail):
        for name in formats:
            in_use[of_templates[:, FORMATS[name]]] = True
    in_use[EMPTY] = True
    return in_use


@functools.cache
def piece_lengths() -> NDArray[np.int64]:
    """Length of each piece in Unicode code points, int64 [number of pieces]."""
    return np.array([len(text) for text in piece_table().texts])


@functools.cache
def leading_spaces() -> NDArray[np.int64]:
    """Number of spaces (0 or 1) at the beginning of each piece, int64 [number of pieces]."""
    return np.array([int(text.startswith(" ")) for text in piece_table().texts])


class RaggedTable(NamedTuple):
    """A run of items (bytes or tokens) for each piece; that of piece p is flat[starts[p] : starts[p] + lengths[p]]."""

    flat: NDArray[Any]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def concatenate(self, piece_ids: NDArray[np.int64]) -> NDArray[Any]:
        """The items of all `piece_ids` (any shape, in C order), concatenated."""
        lengths = self.lengths[piece_ids].ravel()
        ends = np.cumsum(lengths)
        shift = self.starts[piece_ids].ravel() - (ends - lengths)
        items: NDArray[Any] = self.flat[np.repeat(shift, lengths) + np.arange(ends[-1] if len(ends) else 0)]
        return items


def ragged_table(runs: list[NDArray[Any]]) -> RaggedTable:
    """A RaggedTable from one array of items per piece."""
    lengths = np.array([len(run) for run in runs], dtype=np.int64)
    return RaggedTable(np.concatenate(runs), np.cumsum(lengths) - lengths, lengths)
