"""The order of a training run: which biography stood in which batch, and the how-many-th it was of its individual.

From the config alone, so that studies of provenance, forgetting and spacing need no logging: runs of train/pretrain.py, and
of anyone who feeds the train split in index order, see biography k in step k // batch_size + 1.
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
from bio_facts.generate.config import Config
from bio_facts.generate.population import FIRST_FINE_TUNING_INDIVIDUAL
from bio_facts.generate.splits import individual_ids

COLUMNS = ("step", "slot", "biography_id", "individual_id", "exposure")
SCHEMA = pa.schema([(name, pa.int64()) for name in COLUMNS])
_SAMPLES_AT_A_TIME = 262_144


def order(config: Config, batch_size: int) -> Iterator[pa.RecordBatch]:
    """The order of the train split (num_biographies rows), part by part.

    step: the optimiser step, from 1 on, that trains on the biography; an evaluation at step s comes after it if s >= step.
    slot: position in the batch, from 0 on. exposure: 1 for the first biography of that individual, 2 for the second, ...

    Raises:
        ValueError: if batch_size is not an integer of at least 1, or the config is not one of biographies.
    """
    check_integer("batch_size", batch_size, minimum=1)
    individual_ids(config, "train", 0)
    return _parts(config, batch_size)


def _parts(config: Config, batch_size: int) -> Iterator[pa.RecordBatch]:
    num_exposures = np.zeros(config.num_individuals, dtype=np.int64)  # by individual, so far; new people after the others
    for start in range(0, config.num_biographies, _SAMPLES_AT_A_TIME):
        biographies = np.arange(start, min(start + _SAMPLES_AT_A_TIME, config.num_biographies))
        people = individual_ids(config, "train", biographies)
        new = people >= FIRST_FINE_TUNING_INDIVIDUAL
        positions = np.where(new, people - FIRST_FINE_TUNING_INDIVIDUAL + config.num_individuals, people)
        num_exposures = np.pad(num_exposures, (0, max(0, positions.max() + 1 - len(num_exposures))))
        steps, slots = np.divmod(biographies, batch_size)
        columns = [steps + 1, slots, biographies, people, _count(positions, num_exposures)]
        yield pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=SCHEMA)


def _count(positions: NDArray[np.int64], so_far: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each entry of `positions`, the how-many-th it is, counting those `so_far`, which are updated."""
    by_position = np.argsort(positions, kind="stable")
    groups, first, sizes = np.unique(positions[by_position], return_index=True, return_counts=True)
    counted = np.empty_like(positions)
    counted[by_position] = np.arange(len(positions)) - np.repeat(first, sizes) + 1
    counted += so_far[positions]
    so_far[groups] += sizes
    return counted


def write_order(config: Config, batch_size: int, file: Path) -> Iterator[int]:
    """Write order() to a .parquet or .csv file; yields the number of rows of each part written.

    Raises:
        ValueError: if the file exists, has another suffix, or the order is not defined.
        OSError: if it cannot be written; nothing is left of it then.
    """
    writers = {".parquet": pq.ParquetWriter, ".csv": csv.CSVWriter}
    if file.suffix not in writers:
        raise ValueError(f"file is {str(file)!r}; its name must end in {' or '.join(writers)}")
    if file.exists():
        raise ValueError(f"file is {str(file)!r}, which exists; remove it first or choose another name")
    parts = order(config, batch_size)
    return _write(parts, writers[file.suffix], file)


def _write(parts: Iterator[pa.RecordBatch], writer: type, file: Path) -> Iterator[int]:
    with unfinished_file(file) as unfinished, writer(unfinished, SCHEMA) as opened:
        for part in parts:
            opened.write_batch(part)
            yield len(part)
