import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bio_facts.files import unfinished_file
from bio_facts.generate.config import CONFIGS, TemplatesConfig
from bio_facts.publish import shards as shards_module
from bio_facts.publish.shards import (
    ROWS_PER_BATCH,
    ROWS_PER_SHARD,
    Shard,
    all_shards,
    chunks,
    read_shard,
    shard_writer,
    shards,
    write_shard,
)
from bio_facts.publish.tables import TABLES, num_rows, record_batch

CONFIG = CONFIGS["n1k"].replace(num_individuals=30, num_biographies=90)
SCHEMA = pa.schema({"n": pa.int64()})


def train_shard(name: str = "small") -> Shard:
    return shards(name, CONFIG)[0]


def batch(size: int, start: int = 0) -> pa.RecordBatch:
    return record_batch(CONFIG, "validation", np.arange(start, start + size))


def written(folder: Path, shard: Shard) -> Path:
    assert write_shard(shard, folder) == len(shard.rows)
    return folder / shard.path


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "ROWS_PER_BATCH", 40)


# Rows in shards and batches


@pytest.mark.parametrize(
    ("rows", "size", "expected"),
    [
        (range(10), 4, [range(4), range(4, 8), range(8, 10)]),
        (range(8), 4, [range(4), range(4, 8)]),
        (range(3, 5), 4, [range(3, 5)]),
        (range(6, 6), 4, []),
    ],
)
def test_chunks_have_the_given_size_except_for_the_last(rows: range, size: int, expected: list[range]) -> None:
    assert chunks(rows, size) == expected


def test_shards_cover_every_row_of_every_split_once_and_in_order() -> None:
    for name, config in CONFIGS.items():
        rows = {split: 0 for split in num_rows(config)}
        for shard in shards(name, config):
            assert shard.rows.start == rows[shard.split]
            rows[shard.split] = shard.rows.stop
        assert rows == num_rows(config)


def test_batches_cover_the_rows_of_a_shard(monkeypatch: pytest.MonkeyPatch, small_batches: None) -> None:
    monkeypatch.setattr(shards_module, "ROWS_PER_SHARD", 50)
    assert [shard.batches for shard in shards("c", CONFIG) if shard.split == "train"] == [
        [range(40), range(40, 50)],
        [range(50, 90)],
    ]


def test_shards_of_an_export_are_in_the_order_of_the_manifest() -> None:
    configs = {"b": CONFIG, "a": TemplatesConfig(), "c": CONFIGS["individuals"]}
    assert [(shard.config_name, shard.split) for shard in all_shards(configs) if "-00000-of" in shard.path.name] == [
        ("a", "train"),
        *(("b", split) for split in ("train", "validation", "unseen")),
        *(("c", split) for split in ("pretrain", "finetune", "unseen")),
    ]


def test_files_are_named_as_the_hub_expects() -> None:
    paths = [str(shard.path) for shard in shards("n4k", CONFIGS["n4k"])]
    assert paths == [
        *(f"data/n4k/train-0000{index}-of-00004.parquet" for index in range(4)),
        "data/n4k/validation-00000-of-00001.parquet",
        "data/n4k/unseen-00000-of-00001.parquet",
    ]


def test_all_file_names_of_all_configs_are_different() -> None:
    paths = [str(shard.path) for name, config in CONFIGS.items() for shard in shards(name, config)]
    assert len(set(paths)) == len(paths)
    assert all(re.fullmatch(r"data/[\w.-]+/[a-z_]+\d*-\d{5}-of-\d{5}\.parquet", path) for path in paths)


@pytest.mark.parametrize("name", ["n256k", "individuals"])
def test_a_full_shard_is_far_below_500_megabytes(name: str, tmp_path: Path) -> None:
    config, split = CONFIGS[name], next(iter(num_rows(CONFIGS[name])))
    with shard_writer(tmp_path / "batch", TABLES[config.table].schema) as writer:
        writer.write_batch(record_batch(config, split, np.arange(ROWS_PER_BATCH)))
    assert (tmp_path / "batch").stat().st_size / ROWS_PER_BATCH * ROWS_PER_SHARD < 250e6


# A file is complete or absent


def test_unfinished_file_has_another_name_until_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with unfinished_file(path) as unfinished:
        unfinished.write_text("whole")
        assert not path.exists()
        assert unfinished.parent == path.parent
        assert unfinished.name.endswith(".unfinished")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_unfinished_file_is_removed_on_any_error(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)), unfinished_file(tmp_path / "file") as unfinished:
        unfinished.write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_unfinished_file_leaves_the_earlier_file_on_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("earlier")
    with pytest.raises(ValueError), unfinished_file(tmp_path / "file") as unfinished:
        unfinished.write_text("half")
        raise ValueError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


def test_two_writers_of_one_file_use_different_temporary_files(tmp_path: Path) -> None:
    with unfinished_file(tmp_path / "file") as first, unfinished_file(tmp_path / "file") as second:
        first.write_text("same")
        second.write_text("same")
        assert first != second
    assert [path.read_text() for path in tmp_path.iterdir()] == ["same"]


def test_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, events = tmp_path / "file", []
    monkeypatch.setattr("bio_facts.files.os.fsync", lambda _: events.append(path.exists()))
    with unfinished_file(path) as unfinished:
        unfinished.write_text("whole")
    assert events == [False, True]  # the content before the renaming, the folder after it


def test_shard_writer_leaves_nothing_on_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), shard_writer(tmp_path / "file", SCHEMA) as writer:
        writer.write_batch(pa.record_batch({"n": [1]}, schema=SCHEMA))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_interrupted_write_shard_leaves_nothing(tmp_path: Path, small_batches: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(config: Any, split: str, rows: np.ndarray) -> pa.RecordBatch:
        if rows[0] == 40:
            raise KeyboardInterrupt
        return record_batch(config, split, rows)

    monkeypatch.setattr(shards_module, "record_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_shard(train_shard(), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_write_shard_leaves_an_existing_shard_alone(tmp_path: Path) -> None:
    path = tmp_path / train_shard().path
    path.parent.mkdir(parents=True)
    path.write_text("something")
    assert write_shard(train_shard(), tmp_path) == 0
    assert path.read_text() == "something"


def test_write_shard_gives_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = (written(tmp_path / name, train_shard()) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


# Row groups and pages


def test_row_groups_are_the_batches(tmp_path: Path, small_batches: None) -> None:
    metadata = pq.read_metadata(written(tmp_path, train_shard()))
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [40, 40, 10]


@pytest.mark.parametrize("config", [CONFIG, CONFIGS["individuals"].replace(num_individuals=9), TemplatesConfig()])
def test_every_column_has_a_page_index(config: object, tmp_path: Path) -> None:
    group = pq.read_metadata(written(tmp_path, shards("c", config)[0])).row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    assert columns
    assert all(column.has_offset_index and column.has_column_index for column in columns)


def shared_fraction(first: bytes, second: bytes) -> float:
    """Fraction of 200 pieces of `first` that occur in `second`."""
    starts = np.linspace(0, len(first) - 64, 200).astype(int)
    return float(np.mean([first[start : start + 64] in second for start in starts]))


def test_files_with_common_rows_have_common_bytes(tmp_path: Path) -> None:
    for name, start in (("whole", 0), ("later", 10)):
        made = batch(ROWS_PER_BATCH - start, start).select(["text"])
        with shard_writer(tmp_path / name, made.schema) as writer:
            writer.write_batch(made)
        pq.write_table(pa.Table.from_batches([made]), tmp_path / f"{name}_by_size", compression="zstd")
    assert shared_fraction((tmp_path / "later").read_bytes(), (tmp_path / "whole").read_bytes()) > 0.5
    assert shared_fraction((tmp_path / "later_by_size").read_bytes(), (tmp_path / "whole_by_size").read_bytes()) < 0.1


# Reading it back


def test_read_shard_gives_rows_with_their_indices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_batches: None) -> None:
    monkeypatch.setattr(shards_module, "ROWS_PER_SHARD", 50)
    last = [shard for shard in shards("c", CONFIG) if shard.split == "train"][-1]
    written(tmp_path, last)
    [(rows, content)] = read_shard(last, tmp_path)
    assert rows == range(50, 90)
    assert content.column("biography_id").to_pylist() == list(range(50, 90))


@pytest.mark.parametrize("row_group_size", [7, 64, 90])
def test_read_shard_accepts_other_row_groups(row_group_size: int, tmp_path: Path, small_batches: None) -> None:
    path = written(tmp_path, train_shard())
    pq.write_table(pq.read_table(path), path, row_group_size=row_group_size)
    assert [(rows, len(content)) for rows, content in read_shard(train_shard(), tmp_path)] == [
        (range(40), 40),
        (range(40, 80), 40),
        (range(80, 90), 10),
    ]


def refused(folder: Path) -> str:
    with pytest.raises(ValueError) as raised:
        list(read_shard(train_shard(), folder))
    assert str(folder / train_shard().path) in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_missing_shard_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path).endswith("is missing")


def test_shard_with_too_few_rows_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, train_shard())
    pq.write_table(pq.read_table(path).slice(1), path)
    assert "has 89 rows; it must have 90" in refused(tmp_path)


def test_shard_with_other_columns_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, train_shard())
    pq.write_table(pq.read_table(path, columns=["biography_id", "text"]), path)
    assert "has columns ['biography_id', 'text']" in refused(tmp_path)


def test_shard_with_other_types_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, train_shard())
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "biography_id", table["biography_id"].cast(pa.int32())), path)
    assert "types, that differ" in refused(tmp_path)


@pytest.mark.parametrize("size", [0, 3, 5_000])
def test_truncated_shard_is_named(size: int, tmp_path: Path) -> None:
    path = written(tmp_path, train_shard())
    path.write_bytes(path.read_bytes()[:size])
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("column", range(10))
def test_a_changed_byte_in_any_column_is_found_with_the_rows_it_is_among(
    column: int, tmp_path: Path, small_batches: None
) -> None:
    path = written(tmp_path, train_shard())
    pages = pq.read_metadata(path).row_group(1).column(column)
    data = bytearray(path.read_bytes())
    data[(pages.dictionary_page_offset or pages.data_page_offset) + pages.total_compressed_size - 1] ^= 1
    path.write_bytes(data)
    assert "in one of rows 40 to 79" in refused(tmp_path)


def test_whatever_byte_of_the_footer_is_changed_the_file_is_named_or_the_rows_are_right(tmp_path: Path) -> None:
    shard = shards("t", TemplatesConfig())[0]
    path = written(tmp_path, shard)
    good, wanted = path.read_bytes(), pq.read_table(path)
    footer = len(good) - int.from_bytes(good[-8:-4], "little") - 8
    for position in range(footer, len(good), 3):
        data = bytearray(good)
        data[position] ^= 0x10
        path.write_bytes(data)
        try:
            read = pa.Table.from_batches([content for _, content in read_shard(shard, tmp_path)])
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert read.equals(wanted)
