"""Building an export: a folder of Parquet shards, a dataset card and a manifest, complete or absent.

DIR/data/<config>/<split>-*.parquet, DIR/README.md (the card), DIR/manifest.json. Until everything is written, the folder is
named DIR.partial.
"""

import contextlib
import functools
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from bio_facts.files import UNFINISHED, lock_file, locked, write_text
from bio_facts.generate.config import BaseConfig
from bio_facts.publish.batches import Digests, Task, check_no_other_files, count_rows, in_order, make_batch, progress_bar
from bio_facts.publish.card import render_card
from bio_facts.publish.manifest import (
    CARD,
    MANIFEST,
    read_manifest,
    specification,
    summary,
    without_digests,
    write_manifest,
)
from bio_facts.publish.shards import Shard, all_shards, read_shard, shard_writer
from bio_facts.publish.tables import table_of


def partial_folder(output_dir: Path) -> Path:
    """Where an export is kept until it is complete."""
    return output_dir.with_name(f"{output_dir.name}.partial")


def is_built(configs: Mapping[str, BaseConfig], output_dir: Path) -> bool:
    """Whether `output_dir` is the complete export of these configs; False if it does not exist.

    Raises:
        ValueError: if it is something else, or a file of the export is missing.
    """
    if not os.path.lexists(output_dir):
        return False
    if not output_dir.is_dir():
        raise ValueError(f"{output_dir} exists and is not a folder; choose another folder")
    manifest, expected = read_manifest(output_dir), specification(configs)
    if without_digests(manifest) != expected:
        raise ValueError(
            f"{output_dir} holds {summary(manifest)}, not {summary(expected)}; choose another folder or move it away"
        )
    for path in [*(shard.path for shard in all_shards(configs)), Path(CARD)]:
        if not (output_dir / path).is_file():
            raise ValueError(
                f"{output_dir / path} is missing from a finished export; move {output_dir} away and build it again"
            )
    return True


def open_partial(configs: Mapping[str, BaseConfig], output_dir: Path) -> Path:
    """The folder of an unfinished export of these configs, created if it does not exist.

    Raises:
        ValueError: if it belongs to an export of other configs or of another version.
    """
    folder, expected = partial_folder(output_dir), specification(configs)
    folder.mkdir(parents=True, exist_ok=True)
    is_used = any(not path.name.endswith(UNFINISHED) for path in folder.iterdir())  # before another task writes the manifest
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        if without_digests(manifest) != expected:
            raise ValueError(f"{folder} is an unfinished build of {summary(manifest)}; finish that one or remove it")
    elif is_used:
        raise ValueError(f"{folder} exists and is not an unfinished build of bio-facts; choose another folder or move it away")
    else:
        write_manifest(folder, expected)
    return folder


def build(configs: Mapping[str, BaseConfig], output_dir: Path, num_workers: int) -> int:
    """Write the export of `configs` (name -> config) to `output_dir`, or resume an interrupted build; the number of its rows.

    `num_workers` threads make rows, mostly outside the interpreter's lock; this thread hashes and compresses them in row order.
    Existing shards are read and compared. Memory depends on the number of workers alone, some 50 MB each.

    Raises:
        ValueError: if `output_dir`, or the rest of an earlier build, is something else, or an existing shard is damaged.
        OSError: if the disk is full or not writable.
    """
    folder, shards = open_partial(configs, output_dir), all_shards(configs)
    with locked(folder):
        for leftover in folder.rglob(f"*{UNFINISHED}"):
            leftover.unlink()
        digests = Digests()
        with progress_bar("build", shards) as bar:
            made = in_order(functools.partial(make_batch, folder), _tasks(shards, folder), num_workers)
            for shard, batches in itertools.groupby(made, key=lambda batch: batch.shard):
                path, schema = folder / shard.path, table_of(shard.config).schema
                with contextlib.nullcontext() if path.exists() else shard_writer(path, schema) as writer:
                    for batch in batches:
                        digests.update(batch)
                        if writer is not None:
                            writer.write_batch(batch.rows)
                        bar.update(len(batch.rows))
        check_no_other_files(folder, shards)
        manifest = digests.added_to(specification(configs))
        num_bytes = {
            name: sum((folder / shard.path).stat().st_size for shard in shards if shard.config_name == name) for name in configs
        }
        write_text(folder / CARD, render_card(manifest, num_bytes))
        write_manifest(folder, manifest)
        if os.path.lexists(output_dir):
            raise ValueError(f"{output_dir} was created during this build; move it away and run the same command again")
        folder.rename(output_dir)
    lock_file(folder).unlink(missing_ok=True)
    return count_rows(shards)


def _tasks(shards: list[Shard], folder: Path) -> Iterator[Task]:
    for shard in shards:
        if (folder / shard.path).exists():
            yield from (Task(shard, rows, batch) for rows, batch in read_shard(shard, folder))
        else:
            yield from (Task(shard, rows, None) for rows in shard.batches)
