"""The row schemas, in one place: rows of every config as Arrow record batches, and their canonical JSON."""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from bio_facts.checks import check_indices
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import NAME, NUM_SLOTS, VALUE, Biographies
from bio_facts.generate.config import BaseConfig, Config, IndividualsConfig, TemplatesConfig
from bio_facts.generate.pieces import piece_table
from bio_facts.generate.pools import NAME_POOLS, pools
from bio_facts.generate.population import (
    FIRST_FINE_TUNING_INDIVIDUAL,
    FIRST_UNSEEN_INDIVIDUAL,
    NUM_FINE_TUNING_INDIVIDUALS,
    NUM_UNSEEN_INDIVIDUALS,
    template_orders,
)
from bio_facts.generate.splits import draw, splits
from bio_facts.generate.templates import NUM_TEMPLATES, NUM_TRAINING_TEMPLATES, templates

_INT, _TEXT = pa.int64(), pa.string()


def _struct(fields: Mapping[str, pa.DataType]) -> pa.DataType:
    return pa.struct(list(fields.items()))


_TEMPLATE_IDS = _struct(dict.fromkeys(ATTRIBUTES, pa.list_(_INT)))

# Table (BaseConfig.table) -> columns of its rows.
SCHEMAS: Mapping[str, pa.Schema] = MappingProxyType(
    {
        table: pa.schema(list(columns.items()))
        for table, columns in {
            Config.table: {
                "biography_id": _INT,
                "individual_id": _INT,
                "text": _TEXT,
                "name_spans": pa.list_(_struct({"start": _INT, "end": _INT})),
                "attributes": pa.list_(
                    _struct({"attribute": _TEXT, "value": _TEXT, "start": _INT, "end": _INT, "template_id": _INT})
                ),
            },
            IndividualsConfig.table: {
                "individual_id": _INT,
                **dict.fromkeys(("first_name", "middle_name", "last_name", "name", *ATTRIBUTES), _TEXT),
                "training_template_ids": _TEMPLATE_IDS,
                "evaluation_template_ids": _TEMPLATE_IDS,
            },
            TemplatesConfig.table: {"attribute": _TEXT, "template_id": _INT, "template": _TEXT},
        }.items()
    }
)


def num_rows(config: BaseConfig) -> dict[str, int]:
    """Split name -> number of exported rows, of any config."""
    if isinstance(config, Config):
        return {name: split.num_rows for name, split in splits(config).items()}
    if isinstance(config, IndividualsConfig):
        return {name: len(ids) for name, ids in _individual_ids(config).items()}
    if isinstance(config, TemplatesConfig):
        return {"train": len(ATTRIBUTES) * NUM_TEMPLATES}
    raise ValueError(f"config is {config!r}; it must be one such as CONFIGS['n64k']")


def record_batch(config: BaseConfig, split: str, indices: ArrayLike) -> pa.RecordBatch:
    """Rows `indices` (int [n]) of a split of any config, columns as in SCHEMAS[config.table].

    Raises:
        ValueError: for an unknown split, or an index outside it.
    """
    if isinstance(config, Config):
        return _biographies_batch(draw(config, split, indices))
    known = num_rows(config)
    if not isinstance(split, str) or split not in known:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(known)}")
    checked = check_indices(f"row index of split {split}", indices, known[split])
    if isinstance(config, IndividualsConfig):
        return _individuals_batch(config, _individual_ids(config)[split].start + checked)
    return _templates_batch().take(pa.array(checked))


def rows(biographies: Biographies) -> list[dict[str, Any]]:
    """One dict per biography, in schema order.

    {"biography_id", "individual_id", "text", "name_spans": [{"start", "end"}], "attributes": [{"attribute", "value",
    "start", "end", "template_id"}]}; text[start:end] is the full name or the value, in Unicode code points; sentences in
    order of appearance.
    """
    found: list[dict[str, Any]] = _biographies_batch(biographies).to_pylist()
    return found


# Biographies


@functools.cache
def _piece_texts() -> pa.Array:
    """All pieces, and after them all pieces without the space that they may begin with."""
    texts = piece_table().texts
    return pa.array([*texts, *(text.removeprefix(" ") for text in texts)], _TEXT)


@functools.cache
def _piece_characters() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each piece, its length in Unicode code points and the number of spaces (0 or 1) that it begins with."""
    texts = piece_table().texts
    return np.array([len(text) for text in texts]), np.array([int(text.startswith(" ")) for text in texts])


def _joined(piece_ids: NDArray[np.int64]) -> pa.Array:
    """[n, p] ids into _piece_texts() -> n strings."""
    return pc.binary_join(_lists(_piece_texts().take(pa.array(piece_ids.ravel())), piece_ids.shape[1]), "")


def _lists(values: pa.Array, length: int) -> pa.Array:
    """Lists of `length` values each."""
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, length, dtype=np.int32)), values)


def _structs(columns: Mapping[str, Any]) -> pa.Array:
    arrays = [column if isinstance(column, pa.Array) else pa.array(column.ravel()) for column in columns.values()]
    return pa.StructArray.from_arrays(arrays, list(columns))


def _biographies_batch(biographies: Biographies) -> pa.RecordBatch:
    pieces, num_attributes = biographies.piece_id, len(ATTRIBUTES)
    characters, leading_spaces = _piece_characters()
    lengths = characters[pieces]
    flat = (len(pieces), num_attributes * NUM_SLOTS)
    ends = np.cumsum(lengths.reshape(flat), axis=1).reshape(pieces.shape)
    starts = ends - lengths
    starts[:, :, [NAME.start, VALUE.start]] += leading_spaces[pieces[:, :, [NAME.start, VALUE.start]]]
    values = pieces[:, :, VALUE].reshape(-1, VALUE.stop - VALUE.start).copy()
    values[:, 0] += len(characters)
    spans = {"start": starts[:, :, NAME.start], "end": ends[:, :, NAME.stop - 1]}
    attributes = {
        "attribute": pa.array(list(ATTRIBUTES)).take(pa.array(biographies.attribute_id.ravel() - 1)),
        "value": _joined(values),
        "start": starts[:, :, VALUE.start],
        "end": ends[:, :, VALUE.stop - 1],
        "template_id": biographies.template_id,
    }
    return pa.RecordBatch.from_arrays(
        [
            pa.array(biographies.biography_id),
            pa.array(biographies.individual_id),
            _joined(pieces.reshape(flat)),
            _lists(_structs(spans), num_attributes),
            _lists(_structs(attributes), num_attributes),
        ],
        schema=SCHEMAS[Config.table],
    )


# Individuals and templates


def _individual_ids(config: IndividualsConfig) -> dict[str, range]:
    """Split -> ids: everyone in pre-training, and all those whom the named configs fine-tune on or never show."""
    fine_tuning, unseen = FIRST_FINE_TUNING_INDIVIDUAL, FIRST_UNSEEN_INDIVIDUAL
    return {
        "pretrain": range(config.num_individuals),
        "finetune": range(fine_tuning, fine_tuning + NUM_FINE_TUNING_INDIVIDUALS),
        "unseen": range(unseen, unseen + NUM_UNSEEN_INDIVIDUALS),
    }


def _individuals_batch(config: IndividualsConfig, ids: NDArray[np.int64]) -> pa.RecordBatch:
    population = config.population
    name_parts, value_parts = population.name_parts(ids), population.value_parts(ids)
    names = [pa.array(pools()[pool]).take(pa.array(name_parts[:, k])) for k, pool in enumerate(NAME_POOLS)]
    items = iter(value_parts.T)
    values = [
        pc.binary_join_element_wise(*(pa.array(pools()[pool]).take(pa.array(next(items))) for pool in attribute.pools), " ")
        for attribute in ATTRIBUTES.values()
    ]
    orders = template_orders()[population.template_ranks(ids)].astype(np.int64)
    template_ids = [
        _structs({name: _lists(pa.array(part[:, k].ravel()), part.shape[2]) for k, name in enumerate(ATTRIBUTES)})
        for part in np.split(orders, [NUM_TRAINING_TEMPLATES], axis=2)
    ]
    full_names = pc.binary_join_element_wise(*names, " ")
    return pa.RecordBatch.from_arrays(
        [pa.array(ids), *names, full_names, *values, *template_ids], schema=SCHEMAS[IndividualsConfig.table]
    )


def _templates_batch() -> pa.RecordBatch:
    found = [
        {"attribute": attribute, "template_id": template_id, "template": template.fill("{name}", "{value}")}
        for attribute in ATTRIBUTES
        for template_id, template in enumerate(templates()[attribute])
    ]
    return pa.RecordBatch.from_pylist(found, schema=SCHEMAS[TemplatesConfig.table])


# Canonical JSON


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
    """Strings and string arrays that, put together element by element, are the JSON of `array`."""
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
    return [pc.cast(array, _TEXT)]


def _concatenated(parts: list[Any]) -> pa.Array:
    merged: list[Any] = []
    for part in parts:
        if merged and isinstance(part, str) and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return pc.binary_join_element_wise(*merged, "")


def _escaped(strings: pa.Array) -> pa.Array:
    """As in a JSON string. Our text has nothing to escape, which is quick to see."""
    data = np.frombuffer(joined_bytes(strings), dtype=np.uint8)
    if data.size and (data.min() < ord(" ") or (data == ord('"')).any() or (data == ord("\\")).any()):
        return pa.array([json.dumps(text, ensure_ascii=False)[1:-1] for text in strings.to_pylist()], _TEXT)
    return strings
