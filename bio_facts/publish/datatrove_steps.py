"""The same rows through datatrove, whose executors spread tasks over processes, Slurm jobs or a Ray cluster.

WriteShards writes the shards of an export, each task its share; `bio-facts build` with the same configs and --output-dir then
finds them finished, adds digests, card and manifest, and renames the folder. ReadBiographies yields Documents for pipelines
that filter or tokenize them. Needs `pip install "bio-facts[datatrove]"`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.checks import needs
from bio_facts.files import locked
from bio_facts.generate.config import BaseConfig, Config
from bio_facts.generate.splits import get_split
from bio_facts.publish.build import is_built, open_partial
from bio_facts.publish.shards import ROWS_PER_BATCH, all_shards, chunks, write_shard
from bio_facts.publish.tables import record_batch

with needs("datatrove", "bio_facts.publish.datatrove_steps"):
    from datatrove.data import Document, DocumentsPipeline
    from datatrove.pipeline.base import PipelineStep


class WriteShards(PipelineStep):  # type: ignore[misc]
    """Writes every `world_size`-th shard of the export `output_dir` of `configs` (name -> config), from shard `rank` on.

    Existing shards are left alone, so a task that was killed can be run again. Tasks beyond the number of shards do nothing.

    Raises:
        ValueError: as bio_facts.publish.build.build.
    """

    name = "bio_facts shards"
    type = "writer"

    def __init__(self, configs: Mapping[str, BaseConfig], output_dir: str | Path) -> None:
        super().__init__()
        self.configs, self.output_dir = dict(configs), Path(output_dir)

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> None:
        """Write the share of task `rank`."""
        if is_built(self.configs, self.output_dir):
            return
        folder = open_partial(self.configs, self.output_dir)
        with locked(folder, shared=True):
            for shard in all_shards(self.configs)[rank::world_size]:
                with self.track_time():
                    self.stat_update("rows", value=write_shard(shard, folder))


class ReadBiographies(PipelineStep):  # type: ignore[misc]
    """Yields a Document for each row of a split: text, id ("train/17") and the other columns as metadata.

    Task `rank` of `world_size` yields a contiguous range of the rows, in order.

    Raises:
        ValueError: if the config has no biographies, or no such split.
    """

    name = "bio_facts biographies"
    type = "reader"

    def __init__(self, config: Config, split: str = "train") -> None:
        super().__init__()
        self.config, self.split, self.num_rows = config, split, get_split(config, split).num_rows

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """The documents of the step before, and then the rows of task `rank`."""
        if data:
            yield from data
        start, stop = self.num_rows * rank // world_size, self.num_rows * (rank + 1) // world_size
        for rows in chunks(range(start, stop), ROWS_PER_BATCH):
            for row in record_batch(self.config, self.split, np.asarray(rows)).to_pylist():
                document = Document(text=row.pop("text"), id=f"{self.split}/{row['biography_id']}", metadata=row)
                self.update_doc_stats(document)
                yield document
