"""The same rows through datatrove, whose executors spread tasks over processes, Slurm jobs or a Ray cluster.

WriteShards writes the shards of an export, each task its share; `bio-facts build` with the same configs and --out then finds
them finished, adds digests, card and manifest, and renames the folder. ReadBiographies yields Documents for pipelines that
go on from there. Needs `pip install "bio-facts[datatrove]"`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.checks import needs
from bio_facts.generate.config import BaseConfig, Config
from bio_facts.publish.export import all_shards, is_built, locked, open_partial
from bio_facts.publish.shards import ROWS_PER_BATCH, cut, write_shard
from bio_facts.publish.tables import num_rows, record_batch

with needs("datatrove", "bio_facts.publish.datatrove_steps"):
    from datatrove.data import Document, DocumentsPipeline
    from datatrove.pipeline.base import PipelineStep


class WriteShards(PipelineStep):  # type: ignore[misc]
    """Writes every `world_size`-th shard of the export `out` of `configs` (name -> config), from shard `rank` on.

    Shards that are there are left alone, so a task that was killed is simply run again. More tasks than shards are idle.

    Raises:
        ValueError: as bio_facts.publish.export.build.
    """

    name = "bio_facts shards"
    type = "writer"

    def __init__(self, configs: Mapping[str, BaseConfig], out: str | Path) -> None:
        super().__init__()
        self.configs, self.out = dict(configs), Path(out)

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> None:
        """Write the share of task `rank`."""
        if is_built(self.configs, self.out):
            return
        folder = open_partial(self.configs, self.out)
        with locked(folder, shared=True):
            for shard in all_shards(self.configs)[rank::world_size]:
                with self.track_time():
                    for count in write_shard(shard, folder):
                        self.stat_update("rows", value=count)


class ReadBiographies(PipelineStep):  # type: ignore[misc]
    """Yields a Document for each row of a split: text, id ("train/17") and the other columns as metadata.

    Task `rank` of `world_size` yields a contiguous part of the rows, in order.

    Raises:
        ValueError: if the split is none of the config's.
    """

    name = "bio_facts biographies"
    type = "reader"

    def __init__(self, config: Config, split: str = "train") -> None:
        super().__init__()
        self.config, self.split = config, split
        if split not in num_rows(config):
            raise ValueError(f"split is {split!r}; it must be one of {', '.join(num_rows(config))}")

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """What came before, and then the rows of task `rank`."""
        if data:
            yield from data
        count = num_rows(self.config)[self.split]
        start, stop = count * rank // world_size, count * (rank + 1) // world_size
        for rows in cut(range(start, stop), ROWS_PER_BATCH):
            for row in record_batch(self.config, self.split, np.asarray(rows)).to_pylist():
                document = Document(text=row.pop("text"), id=f"{self.split}/{row['biography_id']}", metadata=row)
                self.update_doc_stats(document)
                yield document
