import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import ecosystem
from exports import SMALL, SPLITS_OF_BUILT, files_of

pytestmark = ecosystem("datasets", "pandas", "polars", "duckdb")

import duckdb  # noqa: E402
import pandas as pd  # noqa: E402
import polars as pl  # noqa: E402
from datasets import load_dataset  # noqa: E402


def plain(value: Any) -> Any:
    """A cell of pandas as plain Python."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | list):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def with_datasets(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = load_dataset(str(folder), config, split=split, cache_dir=str(cache)).to_list()
    return content


def with_streaming(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    return list(load_dataset(str(folder), config, split=split, cache_dir=str(cache), streaming=True))


def with_pandas(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    frame = pd.concat([pd.read_parquet(path) for path in files_of(folder, config, split)])
    return [plain(row) for row in frame.to_dict("records")]


def with_polars(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(folder / "data" / config / f"{split}-*.parquet").to_dicts()


def with_duckdb(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        result = connection.execute("select * from read_parquet(?)", [f"{folder}/data/{config}/{split}-*.parquet"])
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.mark.parametrize("read", [with_datasets, with_streaming, with_pandas, with_polars, with_duckdb])
@pytest.mark.parametrize(("config", "split"), [("small", "train"), ("people", "pretrain"), ("templates", "train")])
def test_every_reader_gives_the_same_rows(read: Callable, config: str, split: str, built: Path, tmp_path: Path) -> None:
    wanted = [row for path in files_of(built, config, split) for row in pq.read_table(path).to_pylist()]
    assert read(built, config, split, tmp_path) == wanted


@pytest.mark.parametrize(("config", "split"), SPLITS_OF_BUILT)
def test_load_dataset_finds_every_split_in_full(config: str, split: str, built: Path, tmp_path: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    data = load_dataset(str(built), config, split=split, cache_dir=str(tmp_path))
    assert data.num_rows == manifest["configs"][config]["splits"][split]["num_rows"]


def test_load_dataset_without_a_config_takes_the_biographies(built: Path, tmp_path: Path) -> None:
    assert load_dataset(str(built), split="train", cache_dir=str(tmp_path)).num_rows == SMALL.num_biographies
