"""The columns of cloze tasks: for values of biographies, the text before the value, the value, and choices."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import NUM_SLOTS, VALUE, Biographies
from bio_facts.generate.choices import draw_choices
from bio_facts.publish import arrays

_INT, _TEXT = pa.int64(), pa.string()
SCHEMA = pa.schema(
    {
        "prompt": _TEXT,
        "target": _TEXT,
        "choices": pa.list_(_TEXT),
        "target_index": _INT,
        "attribute": _TEXT,
        "biography_id": _INT,
        "individual_id": _INT,
        "template_id": _INT,
    }
)


def cloze_batch(
    biographies: Biographies, sentence: NDArray[np.int64], split: str, num_choices: int, pool_sizes: Mapping[str, int]
) -> pa.RecordBatch:
    """A row for one sentence of each of n biographies, given by its position in the order of appearance, int64 [n].

    The text is prompt, a space, target, and what follows the value.
    """
    rows = np.arange(len(biographies))
    attribute_id = biographies.attribute_id[rows, sentence]
    targets = arrays.values(biographies).take(pa.array(rows * biographies.attribute_id.shape[1] + sentence))
    choices, target_index = _choices(attribute_id, targets, biographies.biography_id, split, num_choices, pool_sizes)
    columns = [
        arrays.beginnings(biographies.pieces_in_order(), sentence * NUM_SLOTS + VALUE.start),
        targets,
        choices,
        pa.array(target_index),
        pa.array(list(ATTRIBUTES)).take(pa.array(attribute_id - 1)),
        pa.array(biographies.biography_id),
        pa.array(biographies.individual_id),
        pa.array(biographies.template_id[rows, sentence]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _choices(
    attribute_id: NDArray[np.int64],
    targets: pa.Array,
    biography_ids: NDArray[np.int64],
    split: str,
    num_choices: int,
    pool_sizes: Mapping[str, int],
) -> tuple[pa.Array, NDArray[np.int64]]:
    """The choices of each row, and the index of its target among them, int64 [n]."""
    values, choices = targets.to_numpy(zero_copy_only=False), np.empty((len(targets), num_choices), dtype=object)
    target_index = np.zeros(len(targets), dtype=np.int64)
    for attribute in ATTRIBUTES.values():
        chosen = attribute_id == attribute.attribute_id
        if chosen.any():
            choices[chosen], target_index[chosen] = draw_choices(
                attribute.name, values[chosen].tolist(), biography_ids[chosen], split, num_choices, pool_sizes
            )
    return arrays.lists(pa.array(choices.ravel(), _TEXT), num_choices), target_index
