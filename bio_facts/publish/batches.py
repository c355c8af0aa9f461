"""Rows of an export as batches: made by several threads in row order, compared with existing files and digested."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from bio_facts.publish.canonical_json import canonical_json, joined_bytes
from bio_facts.publish.manifest import CARD, MANIFEST
from bio_facts.publish.shards import Shard
from bio_facts.publish.tables import record_batch


class Task(NamedTuple):
    """Rows of a shard to make, and the batch that its file holds for them, if it exists."""

    shard: Shard
    rows: range
    existing: pa.RecordBatch | None


class Batch(NamedTuple):
    """Rows of a shard and their canonical JSON."""

    shard: Shard
    rows: pa.RecordBatch
    json: pa.Array


def make_batch(folder: Path, task: Task) -> Batch:
    """The rows of a task; ValueError naming the first value in which an existing batch differs from them."""
    batch = record_batch(task.shard.config, task.shard.split, np.asarray(task.rows))
    if task.existing is not None and not task.existing.equals(batch):
        for row, existing, expected in zip(task.rows, task.existing.to_pylist(), batch.to_pylist(), strict=True):
            for column, value in existing.items():
                if value != expected[column]:
                    raise ValueError(
                        f"{folder / task.shard.path}, row {row - task.shard.rows.start:,} (row {row:,} of split "
                        f"{task.shard.split}): {column} is {value!r}; it must be {expected[column]!r}"
                    )
    return Batch(task.shard, batch, canonical_json(batch))


def in_order(function: Callable[[Task], Batch], tasks: Iterable[Task], num_workers: int) -> Iterator[Batch]:
    """function(task) for each task, in order, computed by `num_workers` threads that run a little ahead."""
    pool = ThreadPoolExecutor(num_workers)
    pending: deque[Future[Batch]] = deque()
    try:
        for task in tasks:
            pending.append(pool.submit(function, task))
            if len(pending) > num_workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class Digests:
    """Content digests and sizes of splits, from batches that come in row order."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, str], Any] = {}
        self._sizes: Counter[tuple[str, str]] = Counter()

    def update(self, batch: Batch) -> None:
        """Add the next batch of a split."""
        key = (batch.shard.config_name, batch.shard.split)
        text = joined_bytes(batch.json)
        self._digests.setdefault(key, hashlib.sha256()).update(text)
        self._sizes[key] += text.nbytes

    def added_to(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The manifest with num_bytes (of canonical JSON) and content_digest of each split filled in."""
        for (config_name, split), digest in self._digests.items():
            manifest["configs"][config_name]["splits"][split] |= {
                "num_bytes": self._sizes[config_name, split],
                "content_digest": digest.hexdigest(),
            }
        return manifest


def check_no_other_files(folder: Path, shards: list[Shard]) -> None:
    """ValueError naming the first file in the folder that does not belong to an export with these shards."""
    expected = {shard.path.as_posix() for shard in shards} | {MANIFEST, CARD}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in expected:
            raise ValueError(f"{path} does not belong to the export; remove it")


def count_rows(shards: list[Shard]) -> int:
    """The number of rows of all shards."""
    return sum(len(shard.rows) for shard in shards)


def progress_bar(description: str, shards: list[Shard]) -> "tqdm[Any]":
    """A progress bar over the rows of all shards, shown on terminals only."""
    return tqdm(total=count_rows(shards), desc=description, unit=" rows", unit_scale=True, disable=None)
