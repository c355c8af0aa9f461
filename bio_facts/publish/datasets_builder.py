"""The dataset for users of `datasets`: a builder that generates rows when they are needed, and load_dataset for any config.

The only module of the package that imports datasets. The cache key contains the data version and the fingerprint of the
config, so that different data never share a cache.
"""

import dataclasses
import importlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bio_facts.checks import did_you_mean, needs
from bio_facts.generate.config import CONFIGS, DATA_VERSION, BaseConfig, all_settings, check_biographies, get_config
from bio_facts.publish.shards import ROWS_PER_BATCH, chunks
from bio_facts.publish.tables import num_rows, record_batch, table_of

with needs("hub", "bio_facts.load_dataset"):
    import datasets

_MAX_RANGES = 4_096
_ROWS_PER_TABLE = 4_000  # small, so that streams begin at once


class _NamedConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """A config of bio_facts by name; fields of the subclass that are not None replace its parameters."""

    @property
    def dataset_config(self) -> BaseConfig:
        """The config of bio_facts; ValueError as raised by get_config and its replace."""
        inherited = {item.name for item in dataclasses.fields(datasets.BuilderConfig)}
        names = [item.name for item in dataclasses.fields(self) if item.name not in inherited]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        config: BaseConfig = get_config(self.name).replace(**given)
        return config

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """The name of the config in the cache."""
        return f"{self.name}-{self.dataset_config.fingerprint}"


def builder_config_class() -> Any:
    """A subclass of datasets.BuilderConfig with a field, by default None, for each parameter of a config or distribution."""
    fields = [(name, setting.type | None, dataclasses.field(default=None)) for name, setting in all_settings().items()]
    return dataclasses.make_dataclass(
        "BioFactsConfig", fields, bases=(_NamedConfig,), namespace={"__module__": __name__, "__doc__": _NamedConfig.__doc__}
    )


BioFactsConfig = builder_config_class()


def _ranges(num_rows: int) -> list[range]:
    """The rows in ranges for processes and workers: one for each batch of a shard, but not more than _MAX_RANGES."""
    return chunks(range(num_rows), max(ROWS_PER_BATCH, -(-num_rows // _MAX_RANGES)))


class BioFacts(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Builder of every config; rows are those of the exported Parquet files."""

    VERSION = datasets.Version(DATA_VERSION)
    BUILDER_CONFIG_CLASS = BioFactsConfig
    BUILDER_CONFIGS = [BioFactsConfig(name=name, version=DATA_VERSION) for name in CONFIGS]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="Fictional biographies for studying how language models learn facts",
            features=datasets.Features.from_arrow_schema(table_of(self.config.dataset_config).schema),
            license="cc-by-4.0",
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"split": split, "ranges": _ranges(count)})
            for split, count in num_rows(self.config.dataset_config).items()
        ]

    def _generate_tables(self, split: str, ranges: list[range]) -> Iterator[tuple[Any, pa.Table]]:
        config = self.config.dataset_config
        for rows_of_process in ranges:
            for rows in chunks(rows_of_process, _ROWS_PER_TABLE):
                yield rows.start, pa.Table.from_batches([record_batch(config, split, np.asarray(rows))])


def load_dataset(
    name: str,
    *,
    split: Any = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
    tokenizer: Any = None,
    **parameters: Any,
) -> Any:
    """A config as a Dataset of `datasets` (a DatasetDict without `split`, an IterableDataset with `streaming`).

    Generates the rows of the published files, at any size: `load_dataset("n64k-alpha0.6", split="train", alpha=0.7,
    num_individuals=500, num_biographies=10_000, seed=1)`. Generated rows are kept in the cache of `datasets`.

    Args:
        name: a named config (`bio-facts configs`).
        split: one split, as in `datasets`: also a slice ("train[:1%]") or a list of them, unless streaming.
        streaming: generate rows while they are read, without writing a cache.
        num_proc: number of processes that generate rows.
        cache_dir: folder to use instead of the cache of `datasets`.
        tokenizer: a fast tokenizer of transformers; rows also have `input_ids`, `attribute_ids` (0: not in a value) and `roles`
            (positions in ROLES of bio_facts.measure.tokens) of its tokens, made when they are read.
        parameters: replace those of the config (fields of Config and of its distribution).

    Raises:
        ValueError: for an unknown config, parameter or split, or an invalid value.
    """
    config = get_config(name).replace(**parameters)
    if tokenizer is not None:
        check_biographies(config, "name", name)
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(f"tokenizer is a {type(tokenizer).__name__}; it must be a fast tokenizer of transformers")
    first_split = str(split).partition("[")[0].partition("+")[0]
    if split is not None and not isinstance(split, list) and first_split not in num_rows(config):
        known = num_rows(config)
        raise ValueError(f"split is {split!r}; config {name} has {', '.join(known)}{did_you_mean(split, known)}")
    builder = BioFacts(
        cache_dir=None if cache_dir is None else str(cache_dir), dataset_name="bio_facts", config_name=name, **parameters
    )
    if streaming:
        stream = builder.as_streaming_dataset(split=split)
        return stream if tokenizer is None else stream.map(partial(_with_tokens, tokenizer), batched=True)
    builder.download_and_prepare(num_proc=num_proc)
    dataset = builder.as_dataset(split=split)
    if tokenizer is None:
        return dataset
    if isinstance(dataset, list):
        return [part.with_transform(partial(_with_tokens, tokenizer)) for part in dataset]
    return dataset.with_transform(partial(_with_tokens, tokenizer))


def _with_tokens(tokenizer: Any, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """A batch of columns, and those of the tokens of its texts."""
    alignment = importlib.import_module("bio_facts.measure.alignment")  # needs what the tokenizer has: not in the extra `hub`
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    aligned, roles = alignment.align(tokenizer, rows, 0), alignment.token_roles(tokenizer, rows)
    columns = {"input_ids": aligned.input_ids, "attribute_ids": aligned.attribute_ids, "roles": roles}
    return batch | {name: [array.tolist() for array in column] for name, column in columns.items()}
