"""Exports of data and the commands that build and verify them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import contents

from bio_facts.cli import main
from bio_facts.generate.config import CONFIGS, TemplatesConfig
from bio_facts.publish import batches
from bio_facts.publish.build import partial_folder

SMALL = CONFIGS["n1k"].replace(num_individuals=40, num_biographies=7_100)
PEOPLE = CONFIGS["individuals"].replace(num_individuals=40)
BUILT = {"small": SMALL, "people": PEOPLE, "templates": TemplatesConfig()}
TEMPLATES = {"templates": TemplatesConfig()}
SPLITS_OF_BUILT = [
    *(("small", split) for split in ("train", "validation", "unseen")),
    *(("people", split) for split in ("pretrain", "finetune", "unseen")),
    ("templates", "train"),
]
FEW = ("--num-individuals", "40", "--num-biographies", "60")


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Path -> content, time of the last change and inode of everything in a folder."""
    entries = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        entries[str(path.relative_to(folder))] = (
            path.read_bytes() if path.is_file() else b"",
            status.st_mtime_ns,
            status.st_ino,
        )
    return entries


def files_of(folder: Path, config: str, split: str) -> list[Path]:
    return sorted((folder / "data" / config).glob(f"{split}-*.parquet"))


def template_shard(folder: Path, index: int) -> Path:
    return folder / "data" / "templates" / f"train-{index:05d}-of-00003.parquet"


def flip_bit(path: Path, row_group: int = 0, column: str = "template") -> None:
    """Change one bit in the last data page of a column."""
    metadata = pq.read_metadata(path)
    pages = metadata.row_group(row_group).column(metadata.schema.names.index(column))
    start = pages.dictionary_page_offset or pages.data_page_offset
    data = bytearray(path.read_bytes())
    data[start + pages.total_compressed_size - 1] ^= 1
    path.write_bytes(data)


def interrupt_at_row(row: int, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of a build of templates that is interrupted, as with Ctrl-C, when it makes this row."""
    record_batch = batches.record_batch

    def interrupted(config: Any, split: str, indices: np.ndarray) -> pa.RecordBatch:
        if row in indices:
            raise KeyboardInterrupt
        return record_batch(config, split, indices)

    with monkeypatch.context() as patch:
        patch.setattr(batches, "record_batch", interrupted)
        return main(["build", "templates", "--output-dir", str(out), "--num-workers", "1"])


def start(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bio_facts.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def assert_absent_or_complete(out: Path, uninterrupted: Path) -> None:
    """`out` is absent or complete, and so is every data file of its unfinished build that has its final name."""
    complete = contents(uninterrupted)
    if out.exists():
        assert contents(out) == complete
    for path, content in contents(partial_folder(out)).items():
        if path.startswith("data/") and not path.endswith(".unfinished"):
            assert content == complete[path]
