"""The order of a training run: the step and slot of each biography, and its exposure (first, second, ... of its individual).

Rows of questions, in a config that has them, are counted apart from biographies.

It follows from the config alone, so that studies of provenance, forgetting and spacing need no logging: train/pretrain.py, like
any training that reads the train split in index order, uses biography k in step k // batch_size + 1.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv
from pyarrow import parquet as pq

from bio_facts.checks import check_integer
from bio_facts.files import unfinished_file
from bio_facts.generate.config import Config, check_biographies
from bio_facts.generate.splits import formats, get_split, individual_ids
from bio_facts.generate.templates import BIOGRAPHIES

COLUMNS = ("step", "slot", "biography_id", "individual_id", "exposure")
SCHEMA = pa.schema([(name, pa.int64()) for name in COLUMNS])
SCHEMA_WITH_FORMAT = SCHEMA.append(pa.field("format", pa.string()))  # of configs with phases
_BIOGRAPHIES_PER_BATCH = 262_144


def schema(config: Config) -> pa.Schema:
    """The columns of the order of a config."""
    return SCHEMA if config.phases is None else SCHEMA_WITH_FORMAT


def order(config: Config, batch_size: int) -> Iterator[pa.RecordBatch]:
    """The order of the train split (num_biographies rows), in batches with the columns of schema(config).

    step: the optimizer step that trains on the biography, from 1; an evaluation at step s comes after it if s >= step.
    slot: position in the batch, from 0. exposure: 1 for the first biography of that individual, 2 for the second, ...
    format, with phases: biographies or questions; then exposure counts the rows of that format.

    Raises:
        ValueError: if batch_size is not an integer >= 1, or the config has no biographies.
    """
    check_integer("batch_size", batch_size, minimum=1)
    check_biographies(config)
    return _batches(config, batch_size)


def _batches(config: Config, batch_size: int) -> Iterator[pa.RecordBatch]:
    ranges = get_split(config, "train").individuals  # their individuals have consecutive positions in num_exposures
    first_ids = np.array([ids.start for ids in ranges])
    first_positions = np.cumsum([0, *(len(ids) for ids in ranges)])
    num_exposures = {name: np.zeros(first_positions[-1], dtype=np.int64) for name in config.formats}  # of each one, so far
    for start in range(0, config.num_biographies, _BIOGRAPHIES_PER_BATCH):
        biographies = np.arange(start, min(start + _BIOGRAPHIES_PER_BATCH, config.num_biographies))
        ids = individual_ids(config, "train", biographies)
        range_index = np.searchsorted(first_ids, ids, side="right") - 1
        positions = ids - first_ids[range_index] + first_positions[range_index]
        steps, slots = np.divmod(biographies, batch_size)
        columns = [steps + 1, slots, biographies, ids]
        if config.phases is None:
            columns.append(_count(positions, num_exposures[BIOGRAPHIES]))
        else:
            of_format, exposures = formats(config, "train", biographies), np.empty_like(ids)
            for name, so_far in num_exposures.items():
                chosen = of_format == name
                exposures[chosen] = _count(positions[chosen], so_far)
            columns += [exposures, of_format]
        yield pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=schema(config))


def _count(positions: NDArray[np.int64], so_far: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each entry of `positions`, its number of occurrences up to and including it; `so_far` (earlier ones) is updated."""
    by_position = np.argsort(positions, kind="stable")
    groups, first, sizes = np.unique(positions[by_position], return_index=True, return_counts=True)
    counted = np.empty_like(positions)
    counted[by_position] = np.arange(len(positions)) - np.repeat(first, sizes) + 1
    counted += so_far[positions]
    so_far[groups] += sizes
    return counted


def write_order(config: Config, batch_size: int, file: Path) -> Iterator[int]:
    """Write order() to a .parquet or .csv file; yields the number of rows of each batch written.

    Raises:
        ValueError: if the file exists, its suffix is another one, or as in order().
        OSError: if it cannot be written; no file is left in that case.
    """
    writers = {".parquet": pq.ParquetWriter, ".csv": csv.CSVWriter}
    if file.suffix not in writers:
        raise ValueError(f"file is {str(file)!r}; its name must end in {' or '.join(writers)}")
    if file.exists():
        raise ValueError(f"file is {str(file)!r}, which exists; remove it first or choose another name")
    return _write(order(config, batch_size), schema(config), writers[file.suffix], file)


def _write(batches: Iterator[pa.RecordBatch], columns: pa.Schema, writer: type, file: Path) -> Iterator[int]:
    with unfinished_file(file) as unfinished, writer(unfinished, columns) as table:
        for batch in batches:
            table.write_batch(batch)
            yield len(batch)
