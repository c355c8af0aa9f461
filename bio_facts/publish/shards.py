"""Shards: how the rows of a split are divided into Parquet files, and how one such file is written and read."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bio_facts.files import unfinished_file
from bio_facts.generate.config import BaseConfig
from bio_facts.publish.tables import num_rows, record_batch, table_of

ROWS_PER_BATCH = 16_000  # a row group, some 15 MB in memory
ROWS_PER_SHARD = 512_000  # some 70 MB, far below the Hub's 500 MB

# Values rarely repeat, so that a dictionary would not pay.
_PLAIN_COLUMNS = ("biography_id", "individual_id", "text", "question", "prompt")


@dataclass(frozen=True)
class Shard:
    """Rows `rows` of a split of the config that an export calls `config_name`."""

    config_name: str
    config: BaseConfig
    split: str
    rows: range
    index: int
    num_shards: int

    @property
    def path(self) -> Path:
        """Path within the export: data/<config>/<split>-00000-of-00004.parquet, as the Hub expects."""
        return Path("data") / self.config_name / f"{self.split}-{self.index:05d}-of-{self.num_shards:05d}.parquet"

    @property
    def batches(self) -> list[range]:
        """The rows, ROWS_PER_BATCH at a time."""
        return chunks(self.rows, ROWS_PER_BATCH)


def chunks(rows: range, size: int) -> list[range]:
    """`rows` in consecutive ranges of `size`; the last one may be shorter."""
    return [range(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]


def shards(config_name: str, config: BaseConfig) -> list[Shard]:
    """All shards of a config, split by split, in row order."""
    return [
        Shard(config_name, config, split, rows, index, len(of_split))
        for split, count in num_rows(config).items()
        for of_split in [chunks(range(count), ROWS_PER_SHARD)]
        for index, rows in enumerate(of_split)
    ]


def all_shards(configs: Mapping[str, BaseConfig]) -> list[Shard]:
    """The shards of an export of `configs` (name -> config), in order of config, split and row."""
    return [shard for name, config in sorted(configs.items()) for shard in shards(name, config)]


@contextlib.contextmanager
def shard_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Writes a shard, one row group for each batch; the file exists once the context is left without an error.

    Raises:
        OSError: if the disk is full or not writable.
    """
    ids = [name for name in schema.names if name in _PLAIN_COLUMNS and pa.types.is_integer(schema.field(name).type)]
    with (
        unfinished_file(path) as unfinished,
        pq.ParquetWriter(
            unfinished,
            schema,
            compression="zstd",
            use_dictionary=[leaf for leaf in _leaves(schema) if leaf not in _PLAIN_COLUMNS],
            column_encoding=dict.fromkeys(ids, "DELTA_BINARY_PACKED") or None,
            write_page_index=True,
            write_page_checksum=True,
            use_content_defined_chunking=True,
        ) as writer,
    ):
        yield writer


def _leaves(schema: pa.Schema) -> list[str]:
    """Paths of all Parquet columns, such as attributes.list.element.value."""
    buffer = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), buffer)
    columns = pq.ParquetFile(buffer.getvalue()).schema
    return [columns.column(index).path for index in range(len(columns))]


def write_shard(shard: Shard, folder: Path) -> int:
    """Write one shard of an export in `folder`, unless it exists; the number of rows written."""
    if (folder / shard.path).exists():
        return 0
    with shard_writer(folder / shard.path, table_of(shard.config).schema) as writer:
        for rows in shard.batches:
            writer.write_batch(record_batch(shard.config, shard.split, np.asarray(rows)))
    return len(shard.rows)


def read_shard(shard: Shard, folder: Path) -> Iterator[tuple[range, pa.RecordBatch]]:
    """Yields (rows, batch) for each batch in the file of a shard, with checksums verified.

    Raises:
        ValueError: if the file is missing, cannot be read, or holds other columns or another number of rows.
    """
    path, schema = folder / shard.path, table_of(shard.config).schema
    row = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(schema):
                raise ValueError(f"{path} has columns {file.schema_arrow.names}, or types, that differ from {schema.names}")
            if file.metadata.num_rows != len(shard.rows):
                raise ValueError(f"{path} has {file.metadata.num_rows:,} rows; it must have {len(shard.rows):,}")
            for rows, batch in itertools.zip_longest(shard.batches, file.iter_batches(ROWS_PER_BATCH), fillvalue=range(0)):
                if len(batch) != len(rows):
                    raise pa.ArrowInvalid("the number of rows differs from that in the footer")
                yield rows, batch
                row += len(rows)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} cannot be read, in one of rows {row:,} to {min(row + ROWS_PER_BATCH, len(shard.rows)) - 1:,}: {reason}"
        ) from error
