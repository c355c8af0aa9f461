"""Verifying an export: every row is made again and compared."""

import functools
from pathlib import Path

from bio_facts.publish.batches import Digests, Task, check_no_other_files, count_rows, in_order, make_batch, progress_bar
from bio_facts.publish.manifest import CARD, MANIFEST, configs_of, read_manifest, specification
from bio_facts.publish.shards import all_shards, read_shard


def verify(folder: Path, num_workers: int) -> int:
    """Make all rows of the export in `folder` again and compare; the number of its rows. The card is not compared.

    Raises:
        ValueError: naming the first file, row and column that differ, or a file that is missing, damaged or does not belong.
    """
    manifest = read_manifest(folder)
    configs = configs_of(manifest, folder)
    shards = all_shards(configs)
    check_no_other_files(folder, shards)
    if not (folder / CARD).is_file():
        raise ValueError(f"{folder / CARD} is missing")
    digests = Digests()
    with progress_bar("verify", shards) as bar:
        tasks = (Task(shard, rows, batch) for shard in shards for rows, batch in read_shard(shard, folder))
        for batch in in_order(functools.partial(make_batch, folder), tasks, num_workers):
            digests.update(batch)
            bar.update(len(batch.rows))
    if digests.added_to(specification(configs)) != manifest:
        raise ValueError(f"{folder / MANIFEST} has other content digests than the rows, which are correct")
    return count_rows(shards)
