"""The data set for users of `datasets`: a builder that makes rows on the spot, and load_dataset for any config.

The only module of the package that imports datasets. Caches are kept under the data version and the fingerprint of the
config, so that no other data can be taken for it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bio_facts.checks import needs
from bio_facts.generate.config import CONFIGS, DATA_VERSION, BaseConfig, get_config
from bio_facts.generate.distributions import Distribution
from bio_facts.publish.shards import ROWS_PER_BATCH, cut
from bio_facts.publish.tables import SCHEMAS, num_rows, record_batch

with needs("hub", "bio_facts.load_dataset"):
    import datasets

_MAX_PARTS = 4_096
_ROWS_PER_TABLE = 4_000  # small, so that streams begin at once


@dataclass
class BioFactsConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """A config of bio_facts by name; fields that are not None take the place of its parameters."""

    num_individuals: int | None = None
    num_biographies: int | None = None
    seed: int | None = None
    population_seed: int | None = None
    pool_sizes: dict[str, int] | None = None
    distribution: Distribution | None = None
    alpha: float | None = None
    num_celebrities: int | None = None
    celebrity_weight: int | None = None
    num_warmup_individuals: int | None = None
    num_warmup_biographies: int | None = None
    num_fine_tuning_individuals: int | None = None
    replay_weight: float | None = None
    num_groups: int | None = None
    num_group_biographies: int | None = None
    first_group: int | None = None

    @property
    def described(self) -> BaseConfig:
        """The config of bio_facts; ValueError as get_config and its replace raise it."""
        inherited = {item.name for item in dataclasses.fields(datasets.BuilderConfig)}
        own = [item.name for item in dataclasses.fields(self) if item.name not in inherited]
        given = {name: getattr(self, name) for name in own if getattr(self, name) is not None}
        config: BaseConfig = get_config(self.name).replace(**given)
        return config

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """The part of the cache key that stands for the config."""
        return f"{self.name}-{self.described.fingerprint}"


def _parts(count: int) -> list[range]:
    """The rows in parts for processes and workers: as many as shards would have batches, but not endlessly many."""
    return cut(range(count), max(ROWS_PER_BATCH, -(-count // _MAX_PARTS)))


class BioFacts(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Builder of every config; rows are those of the exported Parquet files."""

    VERSION = datasets.Version(DATA_VERSION)
    BUILDER_CONFIG_CLASS = BioFactsConfig
    BUILDER_CONFIGS = [BioFactsConfig(name=name, version=DATA_VERSION) for name in CONFIGS]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="Fictional biographies for studying how language models learn facts",
            features=datasets.Features.from_arrow_schema(SCHEMAS[self.config.described.table]),
            license="cc-by-4.0",
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"split": split, "parts": _parts(count)})
            for split, count in num_rows(self.config.described).items()
        ]

    def _generate_tables(self, split: str, parts: list[range]) -> Iterator[tuple[Any, pa.Table]]:
        config = self.config.described
        for part in parts:
            for rows in cut(part, _ROWS_PER_TABLE):
                yield rows.start, pa.Table.from_batches([record_batch(config, split, np.asarray(rows))])


def load_dataset(
    name: str,
    *,
    split: Any = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
    **parameters: Any,
) -> Any:
    """A config as a Dataset of `datasets` (DatasetDict without `split`, IterableDataset with `streaming`), made on the spot.

    The same rows as the published files, of any size: `load_dataset("n64k-alpha0.6", split="train", alpha=0.7,
    num_individuals=500, num_biographies=10_000, seed=1)`. What has been made is kept in the cache of `datasets`.

    Args:
        name: a named config (`bio-facts configs`).
        split: one split, as in `datasets`: also a slice ("train[:1%]") or a list of them, unless streaming.
        streaming: rows are made while they are read, nothing is written.
        num_proc: processes that make rows.
        cache_dir: in place of the cache of `datasets`.
        parameters: in place of the config's (Config, and the distribution's fields).

    Raises:
        ValueError: for an unknown config, parameter or split, or a value that is not right.
    """
    config = get_config(name).replace(**parameters)
    first_split = str(split).partition("[")[0].partition("+")[0]
    if split is not None and not isinstance(split, list) and first_split not in num_rows(config):
        raise ValueError(f"split is {split!r}; config {name} has {', '.join(num_rows(config))}")
    builder = BioFacts(
        cache_dir=None if cache_dir is None else str(cache_dir), dataset_name="bio_facts", config_name=name, **parameters
    )
    if streaming:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset(split=split)
