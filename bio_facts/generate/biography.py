"""Biographies as arrays of piece ids: sentences of nine pieces each, from which texts, spans and tokens are derived."""

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.generate.attributes import ATTRIBUTES, VALUE_PARTS
from bio_facts.generate.pieces import EMPTY, leading_spaces, piece_lengths, piece_table
from bio_facts.generate.pools import NAME_POOLS
from bio_facts.generate.population import Population

# The pieces of a sentence, in order: text before the name, three name parts, cue, up to three value parts, tail.
HEAD, NAME, CUE, VALUE, TAIL = slice(0, 1), slice(1, 4), slice(4, 5), slice(5, 8), slice(8, 9)
NUM_SLOTS = 9


@functools.cache
def attribute_orders() -> NDArray[np.int64]:
    """All orders of the six sentences, int64 [720, 6], entries are 0-based positions in ATTRIBUTES; row 0 is 0, 1, ..., 5."""
    return np.array(list(itertools.permutations(range(len(ATTRIBUTES)))))


@functools.cache
def _value_columns() -> NDArray[np.int64]:
    """The columns of VALUE_PARTS in the value slots of each attribute, int64 [6, 3]; one past the last column if empty."""
    num_slots = VALUE.stop - VALUE.start
    columns = np.full((len(ATTRIBUTES), num_slots), len(VALUE_PARTS))
    for row, attribute in enumerate(ATTRIBUTES):
        attribute_columns = [column for column, (name, _) in enumerate(VALUE_PARTS) if name == attribute]
        columns[row, : len(attribute_columns)] = attribute_columns
    return columns


@functools.cache
def _piece_texts() -> NDArray[np.object_]:
    """The text of each piece, as an array that can be indexed with piece ids."""
    return np.array(piece_table().texts, dtype=object)


@dataclass(frozen=True)
class Biographies:
    """A batch of n biographies of q sentences each. Sentences (the second axis) are in order of appearance.

    A sentence is one of a biography, or a question with its answer (template_id 25 and higher); q is 6, or 1 in rows that score
    the recall of one fact.

    biography_id, individual_id: int64 [n]. attribute_id (1..6), template_id (0..34): int64 [n, q].
    piece_id: int64 [n, q, 9], into piece_table().texts.
    """

    biography_id: NDArray[np.int64]
    individual_id: NDArray[np.int64]
    attribute_id: NDArray[np.int64]
    template_id: NDArray[np.int64]
    piece_id: NDArray[np.int64]

    @classmethod
    def assemble(
        cls,
        biography_id: NDArray[np.int64],
        individual_id: NDArray[np.int64],
        population: Population,
        order: NDArray[np.int64],
        template_id: NDArray[np.int64],
    ) -> "Biographies":
        """Biographies of individuals, [n]; `order` [n, q] holds attribute positions, `template_id` [n, 6] is by attribute."""
        table = piece_table()
        template_id = np.take_along_axis(template_id, order, axis=1)
        initial = np.zeros(order.shape, dtype=bool)
        initial[:, 0] = True

        pieces = np.empty((*order.shape, NUM_SLOTS), dtype=np.int64)
        head = np.where(initial, table.initial_head[order, template_id], table.head[order, template_id])
        pieces[:, :, HEAD] = head[:, :, None]
        pieces[:, :, CUE] = table.cue[order, template_id][:, :, None]
        pieces[:, :, TAIL] = table.tail[order, template_id][:, :, None]

        names = population.name_parts(individual_id)
        pieces[:, :, NAME] = (names + [table.pools[pool] for pool in NAME_POOLS])[:, None, :]
        begins_text = initial & (head == EMPTY)
        pieces[begins_text, NAME.start] = (table.initial_first_names + names[:, 0])[begins_text.any(axis=1)]

        values = population.value_parts(individual_id) + [table.pools[pool] for _, pool in VALUE_PARTS]
        with_empty = np.append(values, np.full((len(values), 1), EMPTY), axis=1)
        pieces[:, :, VALUE] = with_empty[np.arange(len(values))[:, None, None], _value_columns()[order]]
        return cls(biography_id, individual_id, order + 1, template_id, pieces)

    def __len__(self) -> int:
        return len(self.biography_id)

    def pieces_in_order(self) -> NDArray[np.int64]:
        """The pieces of each biography, one after another, int64 [n, q * 9]."""
        return self.piece_id.reshape(len(self), self.piece_id.shape[1] * NUM_SLOTS)

    def texts(self) -> list[str]:
        """The text of each biography: its pieces one after another."""
        pieces = _piece_texts()[self.pieces_in_order()]
        return ["".join(row) for row in pieces.tolist()]

    def name_spans(self) -> NDArray[np.int64]:
        """Start and end of the full name in each sentence, int64 [n, q, 2]; positions in the text, in Unicode code points."""
        return self._spans(NAME)

    def value_spans(self) -> NDArray[np.int64]:
        """Start and end of the value in each sentence, int64 [n, q, 2]; positions in the text, in Unicode code points."""
        return self._spans(VALUE)

    def _spans(self, slots: slice) -> NDArray[np.int64]:
        """Spans from the first slot, without its piece's leading space, to the last slot, whose piece may be empty."""
        first = self.piece_id[:, :, slots.start]
        starts = self._piece_ends[:, :, slots.start] - (piece_lengths() - leading_spaces())[first]
        return np.stack([starts, self._piece_ends[:, :, slots.stop - 1]], axis=-1)

    @functools.cached_property
    def _piece_ends(self) -> NDArray[np.int64]:
        """Where each piece ends in the text, int64 [n, q, 9]."""
        return np.cumsum(piece_lengths()[self.pieces_in_order()], axis=1).reshape(self.piece_id.shape)


def rows(biographies: Biographies) -> list[dict[str, Any]]:
    """One dict for each biography, with the columns of the dataset as plain Python values.

    {"biography_id", "individual_id", "text", "name_spans": [{"start", "end"}], "attributes": [{"attribute", "value", "start",
    "end", "template_id"}]}, the sentences in order of appearance. text[start:end] is the full name or the value.
    """
    num_sentences, texts = biographies.attribute_id.shape[1], biographies.texts()
    (name_starts, name_ends), (starts, ends) = (
        spans.reshape(-1, 2).T.tolist() for spans in (biographies.name_spans(), biographies.value_spans())
    )
    attributes = np.array(list(ATTRIBUTES), dtype=object)[biographies.attribute_id.ravel() - 1].tolist()
    values = [
        text[start:end]
        for text, start, end in zip((text for text in texts for _ in range(num_sentences)), starts, ends, strict=True)
    ]
    name_entries = [{"start": start, "end": end} for start, end in zip(name_starts, name_ends, strict=True)]
    attribute_entries = [
        {"attribute": attribute, "value": value, "start": start, "end": end, "template_id": template_id}
        for attribute, value, start, end, template_id in zip(
            attributes, values, starts, ends, biographies.template_id.ravel().tolist(), strict=True
        )
    ]
    return [
        {
            "biography_id": biography_id,
            "individual_id": individual_id,
            "text": text,
            "name_spans": name_entries[first : first + num_sentences],
            "attributes": attribute_entries[first : first + num_sentences],
        }
        for biography_id, individual_id, text, first in zip(
            biographies.biography_id.tolist(),
            biographies.individual_id.tolist(),
            texts,
            range(0, num_sentences * len(texts), num_sentences),
            strict=True,
        )
    ]
