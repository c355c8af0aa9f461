"""The closed list of strings that every biography is a concatenation of.

A piece is a name part, a value (a birth date has three: month, day with comma, year), or the template text between
them. A separating space begins the piece after it; a piece that can begin a text exists without that space too. Texts,
character spans and tokens are all made by looking up, per piece, its bytes, its length or its tokens.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.pools import NAME_POOLS, pools
from bio_facts.generate.templates import NUM_TEMPLATES, templates

EMPTY = 0  # the piece for an absent part


class PieceTable(NamedTuple):
    """All pieces, and where each kind begins in the list.

    texts: every piece, by piece id. initial_first_names and `pools[name]`: id of a pool's item 0 (item k is k further).
    head, initial_head, cue, tail: int64 [6, 25] ids by attribute and template.
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
    """The pieces of all pools and templates; 6,000 or so, whatever the population."""
    texts: list[str] = [""]

    def add(items: list[str]) -> int:
        texts.extend(items)
        return len(texts) - len(items)

    def add_templates(parts: list[str]) -> NDArray[np.int64]:
        start = add(parts)
        ids = np.array([start + k if part else EMPTY for k, part in enumerate(parts)])
        return ids.reshape(len(ATTRIBUTES), NUM_TEMPLATES)

    flat = [template for attribute in ATTRIBUTES for template in templates()[attribute]]
    return PieceTable(
        initial_first_names=add(list(pools()[NAME_POOLS[0]])),
        pools={name: add([f" {item}" for item in items]) for name, items in pools().items()},
        head=add_templates([f" {template.head}" if template.head else "" for template in flat]),
        initial_head=add_templates([template.head for template in flat]),
        cue=add_templates([template.cue for template in flat]),
        tail=add_templates([template.tail for template in flat]),
        texts=tuple(texts),
    )


@functools.cache
def is_initial() -> NDArray[np.bool_]:
    """Which pieces begin a text: first names and template text in their form without a space before them."""
    table = piece_table()
    initial = np.zeros(len(table.texts), dtype=bool)
    initial[table.initial_first_names : table.initial_first_names + len(pools()[NAME_POOLS[0]])] = True
    initial[table.initial_head] = True
    initial[EMPTY] = False
    return initial


@functools.cache
def piece_lengths() -> NDArray[np.int64]:
    """Length of each piece in Unicode code points, int64 [number of pieces]."""
    return np.array([len(text) for text in piece_table().texts])


@functools.cache
def leading_spaces() -> NDArray[np.int64]:
    """Number of spaces (0 or 1) at the beginning of each piece, int64 [number of pieces]."""
    return np.array([int(text.startswith(" ")) for text in piece_table().texts])


class RaggedTable(NamedTuple):
    """For each piece a run of items (bytes of its text, or tokens): piece p owns flat[starts[p] : starts[p] + lengths[p]]."""

    flat: NDArray[Any]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def concatenate(self, piece_ids: NDArray[np.int64]) -> NDArray[Any]:
        """The items of all `piece_ids` (any shape, in C order) one after another."""
        lengths = self.lengths[piece_ids].ravel()
        ends = np.cumsum(lengths)
        shift = self.starts[piece_ids].ravel() - (ends - lengths)
        taken: NDArray[Any] = self.flat[np.repeat(shift, lengths) + np.arange(ends[-1] if len(ends) else 0)]
        return taken


def ragged_table(runs: list[NDArray[Any]]) -> RaggedTable:
    """A RaggedTable from one array of items per piece."""
    lengths = np.array([len(run) for run in runs], dtype=np.int64)
    return RaggedTable(np.concatenate(runs), np.cumsum(lengths) - lengths, lengths)
