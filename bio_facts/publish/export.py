"""Exports: a folder as the Hub wants it, with Parquet shards, a card and a manifest; whole or absent, and verifiable.

DIR/data/<config>/<split>-*.parquet, DIR/README.md (the card), DIR/manifest.json (for each split the number of rows, the
bytes of its canonical JSON and the content digest). The manifest depends on nothing but the configs and DATA_VERSION:
whoever builds the same gets the same manifest.
"""

import contextlib
import functools
import hashlib
import itertools
import json
import os
import re
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from filelock import ReadWriteLock, Timeout
from tqdm import tqdm

from bio_facts.files import UNFINISHED, unfinished_file
from bio_facts.generate.config import CONFIGS, DATA_VERSION, BaseConfig, config_from
from bio_facts.publish.card import render_card
from bio_facts.publish.shards import Shard, read_shard, shard_writer, shards
from bio_facts.publish.tables import SCHEMAS, canonical_json, joined_bytes, num_rows, record_batch

MANIFEST = "manifest.json"
CARD = "README.md"


def partial_folder(out: Path) -> Path:
    """Where an export is kept until it is whole."""
    return out.with_name(f"{out.name}.partial")


def specification(configs: Mapping[str, BaseConfig]) -> dict[str, Any]:
    """What an export of these configs (name -> config) holds: its manifest but for sizes and digests.

    Raises:
        ValueError: for no config, a name that is no name for a folder, or that of another config.
    """
    if not configs:
        raise ValueError("there are no configs; an export must hold at least one")
    return {
        "data_version": DATA_VERSION,
        "configs": {
            _checked_name(name, config): {
                "table": config.table,
                "fingerprint": config.fingerprint,
                "parameters": config.parameters,
                "splits": {split: {"num_rows": count} for split, count in num_rows(config).items()},
            }
            for name, config in sorted(configs.items())
        },
    }


def _checked_name(name: str, config: BaseConfig) -> str:
    if not isinstance(config, BaseConfig):
        raise ValueError(f"config {name!r} is {config!r}; it must be one such as CONFIGS['n64k']")
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"config name is {name!r}; it must be letters, digits, hyphens and periods, for it names a folder")
    if name in CONFIGS and CONFIGS[name].fingerprint != config.fingerprint:
        raise ValueError(
            f"config {name!r} is not the one of that name; call it otherwise, such as {name}-{config.fingerprint[:8]}"
        )
    return name


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an export.

    Raises:
        ValueError: if there is none that can be read.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _without_digests(manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{folder} is no export of bio-facts: it has no {MANIFEST}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: it is no manifest of bio-facts") from error
    return manifest  # type: ignore[no-any-return]


def _without_digests(manifest: dict[str, Any]) -> dict[str, Any]:
    configs = {
        name: entry | {"splits": {split: {"num_rows": found["num_rows"]} for split, found in entry["splits"].items()}}
        for name, entry in manifest["configs"].items()
    }
    return {"data_version": manifest["data_version"], "configs": configs}


def is_built(configs: Mapping[str, BaseConfig], out: Path) -> bool:
    """Whether `out` is the whole export of these configs.

    Raises:
        ValueError: if something else is there, or a file of it is missing.
    """
    if not os.path.lexists(out):
        return False
    if not out.is_dir():
        raise ValueError(f"{out} exists and is not a folder; choose another --out")
    manifest, wanted = read_manifest(out), specification(configs)
    if _without_digests(manifest) != wanted:
        raise ValueError(f"{out} holds {_described(manifest)}, not {_described(wanted)}; choose another --out or move it away")
    for shard in all_shards(configs):
        _check_present(out, shard.path)
    _check_present(out, Path(CARD))
    return True


def _check_present(out: Path, path: Path) -> None:
    if not (out / path).is_file():
        raise ValueError(f"{out / path} is missing from a finished export; move {out} away and build it again")


def _described(manifest: dict[str, Any]) -> str:
    names = ", ".join(f"{name} ({entry['fingerprint']})" for name, entry in manifest["configs"].items())
    return f"data {manifest['data_version']} of {names}"


def all_shards(configs: Mapping[str, BaseConfig]) -> list[Shard]:
    """The shards of an export, in order of config, split and row."""
    return [shard for name, config in sorted(configs.items()) for shard in shards(name, config)]


def open_partial(configs: Mapping[str, BaseConfig], out: Path) -> Path:
    """The folder of an unfinished export of these configs, made if it is not there.

    Raises:
        ValueError: if it belongs to an export of other configs or of another version.
    """
    folder, wanted = partial_folder(out), specification(configs)
    folder.mkdir(parents=True, exist_ok=True)
    is_used = any(not path.name.endswith(UNFINISHED) for path in folder.iterdir())  # before another task makes the manifest
    if (folder / MANIFEST).exists():
        found = read_manifest(folder)
        if _without_digests(found) != wanted:
            raise ValueError(f"{folder} is an unfinished build of {_described(found)}; finish that one or remove it")
    elif is_used:
        raise ValueError(f"{folder} exists and is no unfinished build of bio-facts; choose another --out or move it away")
    else:
        _write_json(folder / MANIFEST, wanted)
    return folder


def _write_json(path: Path, content: Any) -> None:
    _write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    with unfinished_file(path) as unfinished:
        unfinished.write_bytes(text.encode())


@contextlib.contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a folder for this process alone, or along with others that share it, on systems and disks that can lock.

    Raises:
        ValueError: if another process holds it.
    """
    lock: ReadWriteLock | None = None
    no_locks = contextlib.suppress(OSError, sqlite3.Error)  # some network file systems have none
    try:
        with no_locks:
            try:
                lock = ReadWriteLock(lock_file(folder), timeout=0, blocking=False, is_singleton=False)
                lock.acquire_read() if shared else lock.acquire_write()
            except Timeout as error:
                raise ValueError(f"{folder} is being written by another process; wait for it to end") from error
        yield
    finally:
        with no_locks:
            if lock is not None:
                lock.close()


def lock_file(folder: Path) -> Path:
    """The file beside a folder that processes lock; it goes when the folder is renamed."""
    return folder.with_name(f"{folder.name}.lock")


class _Task(NamedTuple):
    """Rows of a shard, with the batch that was found in its file, if it has one."""

    shard: Shard
    rows: range
    found: pa.RecordBatch | None


class _Made(NamedTuple):
    """A batch of a shard and the canonical JSON of its rows."""

    shard: Shard
    batch: pa.RecordBatch
    json: pa.Array


def build(configs: Mapping[str, BaseConfig], out: Path, num_workers: int) -> int:
    """Write the export of `configs` (name -> config) to `out`; the number of its rows. An interrupted build is continued.

    Workers, threads of which most time is spent outside the interpreter's lock, make rows; this thread hashes and
    compresses them in row order. Shards that are there are read and compared. Memory depends on the number of workers
    alone, some 50 MB each.

    Raises:
        ValueError: if `out`, or what is left of an earlier build, is something else, or a shard there is damaged.
        OSError: if the disk is full or not writable.
    """
    folder, parts = open_partial(configs, out), all_shards(configs)
    with locked(folder):
        for leftover in folder.rglob(f"*{UNFINISHED}"):
            leftover.unlink()
        digests = _Digests()
        with _progress("build", parts) as bar:
            made = _in_order(functools.partial(_make, folder), _to_build(parts, folder), num_workers)
            for shard, batches in itertools.groupby(made, key=lambda item: item.shard):
                path, schema = folder / shard.path, SCHEMAS[shard.config.table]
                with contextlib.nullcontext() if path.exists() else shard_writer(path, schema) as writer:
                    for item in batches:
                        digests.update(item)
                        if writer is not None:
                            writer.write_batch(item.batch)
                        bar.update(len(item.batch))
        _check_files(folder, parts)
        manifest = digests.added_to(specification(configs))
        _write_text(folder / CARD, render_card(manifest))
        _write_json(folder / MANIFEST, manifest)
        if os.path.lexists(out):
            raise ValueError(f"{out} has come to exist since this build began; move it away and run the same command again")
        folder.rename(out)
    lock_file(folder).unlink(missing_ok=True)
    return _count_rows(parts)


def verify(folder: Path, num_workers: int) -> int:
    """Make all rows of an export anew and compare; the number of its rows.

    Raises:
        ValueError: naming the first file, row and column that differ, or the file that is missing, damaged or too many.
    """
    manifest = read_manifest(folder)
    configs = configs_of(manifest, folder)
    parts = all_shards(configs)
    _check_files(folder, parts)
    if not (folder / CARD).is_file():
        raise ValueError(f"{folder / CARD} is missing")
    digests = _Digests()
    with _progress("verify", parts) as bar:
        tasks = (_Task(shard, rows, batch) for shard in parts for rows, batch in read_shard(shard, folder))
        for item in _in_order(functools.partial(_make, folder), tasks, num_workers):
            digests.update(item)
            bar.update(len(item.batch))
    if digests.added_to(specification(configs)) != manifest:
        raise ValueError(f"{folder / MANIFEST} has other content digests than the rows, which are right")
    return _count_rows(parts)


def configs_of(manifest: dict[str, Any], folder: Path) -> dict[str, BaseConfig]:
    """The configs (name -> config) of a manifest.

    Raises:
        ValueError: if it is of another data version, or of configs that this version does not make.
    """
    if manifest["data_version"] != DATA_VERSION:
        raise ValueError(
            f"{folder} holds data {manifest['data_version']}; this is bio-facts for data {DATA_VERSION}: "
            "install the release that made it"
        )
    configs = {name: config_from(entry["table"], entry["parameters"]) for name, entry in manifest["configs"].items()}
    if _without_digests(manifest) != specification(configs):
        raise ValueError(f"{folder / MANIFEST} is damaged: fingerprints or row counts are not those of its parameters")
    return configs


class _Digests:
    """Content digests of splits, whose rows come in index order, and the bytes that they digest."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Any] = {}
        self._sizes: Counter[tuple[str, str]] = Counter()

    def update(self, made: _Made) -> None:
        key = (made.shard.config_name, made.shard.split)
        text = joined_bytes(made.json)
        self._found.setdefault(key, hashlib.sha256()).update(text)
        self._sizes[key] += text.nbytes

    def added_to(self, manifest: dict[str, Any]) -> dict[str, Any]:
        for (config_name, split), digest in self._found.items():
            manifest["configs"][config_name]["splits"][split] |= {
                "num_bytes": self._sizes[config_name, split],
                "content_digest": digest.hexdigest(),
            }
        return manifest


def _to_build(parts: list[Shard], folder: Path) -> Iterator[_Task]:
    for shard in parts:
        if (folder / shard.path).exists():
            yield from (_Task(shard, rows, batch) for rows, batch in read_shard(shard, folder))
        else:
            yield from (_Task(shard, rows, None) for rows in shard.batches)


def _make(folder: Path, task: _Task) -> _Made:
    """The rows of a task and their JSON; ValueError naming the first that differs if others were found in its file."""
    batch = record_batch(task.shard.config, task.shard.split, np.asarray(task.rows))
    if task.found is not None and not task.found.equals(batch):
        for row, found_row, wanted_row in zip(task.rows, task.found.to_pylist(), batch.to_pylist(), strict=True):
            for column, value in found_row.items():
                if value != wanted_row[column]:
                    raise ValueError(
                        f"{folder / task.shard.path}, row {row - task.shard.rows.start:,} (row {row:,} of split "
                        f"{task.shard.split}): {column} is {value!r}; it must be {wanted_row[column]!r}"
                    )
    return _Made(task.shard, batch, canonical_json(batch))


def _check_files(folder: Path, parts: list[Shard]) -> None:
    expected = {shard.path.as_posix() for shard in parts} | {MANIFEST, CARD}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in expected:
            raise ValueError(f"{path} is no part of the export; remove it")


def _count_rows(parts: list[Shard]) -> int:
    return sum(len(shard.rows) for shard in parts)


def _progress(what: str, parts: list[Shard]) -> "tqdm[Any]":
    return tqdm(total=_count_rows(parts), desc=what, unit=" rows", unit_scale=True, disable=None)


def _in_order(function: Callable[[_Task], _Made], tasks: Iterable[_Task], num_workers: int) -> Iterator[_Made]:
    """function(task) for each task, in order, made by threads that run ahead a little."""
    pool = ThreadPoolExecutor(num_workers)
    pending: deque[Future[_Made]] = deque()
    try:
        for task in tasks:
            pending.append(pool.submit(function, task))
            if len(pending) > num_workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
