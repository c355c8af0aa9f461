import errno
import hashlib
import json
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import other_process_holding
from filelock import ReadWriteLock

from bio_facts.cli import main
from bio_facts.files import locked
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS, DATA_VERSION, TemplatesConfig
from bio_facts.generate.splits import draw
from bio_facts.publish import batches, shards
from bio_facts.publish import build as build_module
from bio_facts.publish.build import build, open_partial, partial_folder
from bio_facts.publish.shards import all_shards
from bio_facts.publish.verify import verify

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


def succeeds(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith(("bio-facts: error: ", f"bio-facts {arguments[0]}: error: "))
    assert len(captured.err.splitlines()) == 1, captured.err
    return captured.err


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Path -> content, time of the last change and inode of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (
            path.read_bytes() if path.is_file() else b"",
            status.st_mtime_ns,
            status.st_ino,
        )
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def files_of(folder: Path, config: str, split: str) -> list[Path]:
    return sorted((folder / "data" / config).glob(f"{split}-*.parquet"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three configs in shards of 7,000 rows. Read only."""
    folder = tmp_path_factory.mktemp("built") / "export"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROWS_PER_SHARD", 7_000)
        patch.setattr(shards, "ROWS_PER_BATCH", 3_000)
        build(BUILT, folder, 2)
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 150 rows of templates in shards of 60, 60 and 30."""
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 60)
    monkeypatch.setattr(shards, "ROWS_PER_BATCH", 40)


@pytest.fixture
def out(tmp_path: Path, small_shards: None) -> Path:
    """A whole export of templates in three shards."""
    folder = tmp_path / "export"
    build(TEMPLATES, folder, 2)
    return folder


def template_shard(folder: Path, index: int) -> Path:
    return folder / "data" / "templates" / f"train-{index:05d}-of-00003.parquet"


# What is written


def test_export_is_a_folder_of_shards_with_card_and_manifest(built: Path) -> None:
    assert list(contents(built)) == [
        "README.md",
        "data/people/finetune-00000-of-00003.parquet",
        "data/people/finetune-00001-of-00003.parquet",
        "data/people/finetune-00002-of-00003.parquet",
        "data/people/pretrain-00000-of-00001.parquet",
        "data/people/unseen-00000-of-00003.parquet",
        "data/people/unseen-00001-of-00003.parquet",
        "data/people/unseen-00002-of-00003.parquet",
        "data/small/train-00000-of-00002.parquet",
        "data/small/train-00001-of-00002.parquet",
        "data/small/unseen-00000-of-00003.parquet",
        "data/small/unseen-00001-of-00003.parquet",
        "data/small/unseen-00002-of-00003.parquet",
        "data/small/validation-00000-of-00003.parquet",
        "data/small/validation-00001-of-00003.parquet",
        "data/small/validation-00002-of-00003.parquet",
        "data/templates/train-00000-of-00001.parquet",
        "manifest.json",
    ]
    assert not partial_folder(built).exists()


def test_manifest_says_what_the_configs_are(built: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["data_version"] == DATA_VERSION
    assert {
        name: (entry["table"], entry["fingerprint"], entry["parameters"]) for name, entry in manifest["configs"].items()
    } == {
        "people": ("individuals", PEOPLE.fingerprint, PEOPLE.parameters),
        "small": ("biographies", SMALL.fingerprint, SMALL.parameters),
        "templates": ("templates", TemplatesConfig().fingerprint, {}),
    }


@pytest.mark.parametrize(("config", "split"), SPLITS_OF_BUILT)
def test_manifest_has_number_and_digest_of_the_rows(config: str, split: str, built: Path) -> None:
    entry = json.loads((built / "manifest.json").read_text(encoding="utf-8"))["configs"][config]["splits"][split]
    rows_of_files = [row for path in files_of(built, config, split) for row in pq.read_table(path).to_pylist()]
    text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows_of_files).encode()
    digest = hashlib.sha256(text).hexdigest()
    assert entry == {"num_rows": len(rows_of_files), "num_bytes": len(text), "content_digest": digest}


@pytest.mark.parametrize("split", ["train", "validation", "unseen"])
def test_rows_are_those_that_are_drawn(split: str, built: Path) -> None:
    found = [row for path in files_of(built, "small", split) for row in pq.read_table(path).to_pylist()]
    assert found == rows(draw(SMALL, split, range(len(found))))


@pytest.mark.parametrize("split", ["train", "validation", "unseen"])
def test_rows_are_those_that_sample_prints(split: str, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last, following = (pq.read_table(path).to_pylist() for path in files_of(built, "small", split)[:2])
    small = ("--num-individuals", "40", "--num-biographies", "7100")
    printed = succeeds(capsys, "sample", "n1k", *small, "--split", split, "--start", "6980", "--num", "30", "--json")
    assert [json.loads(line) for line in printed.splitlines()] == last[-20:] + following[:10]


def test_templates_are_those_that_sample_prints(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = succeeds(capsys, "sample", "templates", "--num", "150", "--json")
    assert [json.loads(line) for line in printed.splitlines()] == pq.read_table(
        *files_of(built, "templates", "train")
    ).to_pylist()


# All readers


def plain(value: Any) -> Any:
    """A cell of pandas as plain Python."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | list):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def with_datasets(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    from datasets import load_dataset

    found: list[dict[str, Any]] = load_dataset(str(folder), config, split=split, cache_dir=str(cache)).to_list()
    return found


def with_streaming(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    from datasets import load_dataset

    return list(load_dataset(str(folder), config, split=split, cache_dir=str(cache), streaming=True))


def with_pandas(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    import pandas as pd

    frame = pd.concat([pd.read_parquet(path) for path in files_of(folder, config, split)])
    return [plain(row) for row in frame.to_dict("records")]


def with_polars(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    import polars as pl

    return pl.read_parquet(folder / "data" / config / f"{split}-*.parquet").to_dicts()


def with_duckdb(folder: Path, config: str, split: str, cache: Path) -> list[dict[str, Any]]:
    import duckdb

    with duckdb.connect() as connection:
        found = connection.execute("select * from read_parquet(?)", [f"{folder}/data/{config}/{split}-*.parquet"])
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@pytest.mark.ecosystem
@pytest.mark.parametrize("read", [with_datasets, with_streaming, with_pandas, with_polars, with_duckdb])
@pytest.mark.parametrize(("config", "split"), [("small", "train"), ("people", "pretrain"), ("templates", "train")])
def test_every_reader_gives_the_same_rows(read: Callable, config: str, split: str, built: Path, tmp_path: Path) -> None:
    wanted = [row for path in files_of(built, config, split) for row in pq.read_table(path).to_pylist()]
    assert read(built, config, split, tmp_path) == wanted


@pytest.mark.ecosystem
@pytest.mark.parametrize(("config", "split"), SPLITS_OF_BUILT)
def test_load_dataset_finds_every_split_in_full(config: str, split: str, built: Path, tmp_path: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    from datasets import load_dataset

    data = load_dataset(str(built), config, split=split, cache_dir=str(tmp_path))
    assert data.num_rows == manifest["configs"][config]["splits"][split]["num_rows"]


@pytest.mark.ecosystem
def test_load_dataset_without_a_config_takes_the_biographies(built: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    assert load_dataset(str(built), split="train", cache_dir=str(tmp_path)).num_rows == SMALL.num_biographies


# The same whoever builds it


def test_all_bytes_are_the_same_with_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_BATCH", 2_000)
    for workers in (1, 4):
        succeeds(capsys, "build", "n1k-finetune1k", *FEW, "--output-dir", tmp_path / str(workers), "--num-workers", workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "4")


@pytest.mark.parametrize(("rows_per_shard", "rows_per_batch"), [(150, 150), (60, 40), (7, 3), (1, 1)])
def test_manifest_is_the_same_however_rows_are_cut(
    rows_per_shard: int, rows_per_batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(TEMPLATES, tmp_path / "usual", 2)
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", rows_per_shard)
    monkeypatch.setattr(shards, "ROWS_PER_BATCH", rows_per_batch)
    build(TEMPLATES, tmp_path / "cut", 2)
    assert len(list((tmp_path / "cut").rglob("*.parquet"))) == -(-150 // rows_per_shard)
    assert (tmp_path / "cut/manifest.json").read_bytes() == (tmp_path / "usual/manifest.json").read_bytes()


def test_order_of_configs_does_not_matter(tmp_path: Path) -> None:
    build({"people": PEOPLE} | TEMPLATES, tmp_path / "a", 2)
    build(TEMPLATES | {"people": PEOPLE}, tmp_path / "b", 2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


# The command


def test_build_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = succeeds(capsys, "build", "templates", "--output-dir", tmp_path / "deep" / "export")
    assert printed.startswith(f"{tmp_path / 'deep' / 'export'}: templates; 150 rows in ")


def test_reparameterised_config_has_the_fingerprint_in_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "export"
    succeeds(capsys, "build", "n1k", *FEW, "--seed", "5", "--output-dir", folder)
    described = {
        "table": "biographies",
        "data_version": DATA_VERSION,
        **CONFIGS["n1k"].parameters,
        "num_individuals": 40,
        "num_biographies": 60,
        "seed": 5,
    }
    fingerprint = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    assert [path.name for path in (folder / "data").iterdir()] == [f"n1k-{fingerprint[:8]}"]
    assert list(json.loads((folder / "manifest.json").read_text())["configs"]) == [f"n1k-{fingerprint[:8]}"]


def test_parameters_equal_to_those_of_the_config_leave_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(
        capsys,
        "build",
        "individuals",
        "--num-individuals",
        "256000",
        "--population-seed",
        "0",
        "--output-dir",
        tmp_path / "export",
    )
    assert [path.name for path in (tmp_path / "export" / "data").iterdir()] == ["individuals"]


def test_parameters_go_to_the_configs_that_have_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--num-individuals", "20", "--num-biographies", "10", "--output-dir", tmp_path / "export"]
    succeeds(capsys, "build", "n1k", "individuals", "templates", *arguments)
    kept = json.loads((tmp_path / "export" / "manifest.json").read_text(encoding="utf-8"))["configs"]
    assert [entry["parameters"].get("num_individuals") for entry in kept.values()] == [20, 20, None]


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ({}, "there are no configs"),
        ({"../out": SMALL}, "config name is '../out'"),
        ({"": SMALL}, "config name is ''"),
        ({"n1k": SMALL}, "config 'n1k' differs from the named config n1k"),
        ({"x": 5}, "config 'x' is 5"),
    ],
)
def test_configs_that_cannot_be_exported_are_refused(configs: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build(configs, tmp_path / "export", 1)
    assert list(tmp_path.iterdir()) == []


def test_missing_card_of_a_finished_export_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(capsys, "build", "templates", "--output-dir", tmp_path / "export")
    (tmp_path / "export" / "README.md").unlink()
    assert "README.md is missing" in refused(capsys, "build", "templates", "--output-dir", tmp_path / "export")


def test_star_stands_for_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(capsys, "build", "templ*", "--output-dir", tmp_path / "export")
    assert [path.name for path in (tmp_path / "export" / "data").iterdir()] == ["templates"]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["build", "n2k"], "config is 'n2k'"),
        (["build", "templates", "--seed", "1"], "unknown parameter 'seed'"),
        (["build", "templates", "--num-workers", "0"], "num-workers"),
    ],
)
def test_build_refuses_what_it_cannot_make(
    arguments: list[str], fragment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fragment in refused(capsys, *arguments, "--output-dir", tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


# A folder that is there already


def test_whole_export_is_left_alone(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(out.parent)
    assert succeeds(capsys, "build", "templates", "--output-dir", out) == f"{out}: already built\n"
    assert snapshot(out.parent) == before


def set_in_manifest(folder: Path, key: str, value: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def plain_folder(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("dear to me")


def other_configs(out: Path) -> None:
    build({"people": PEOPLE}, out, 2)


def more_configs(out: Path) -> None:
    build(TEMPLATES | {"people": PEOPLE}, out, 2)


def other_version(out: Path) -> None:
    build(TEMPLATES, out, 1)
    set_in_manifest(out, "data_version", "0.9.0")


def damaged_manifest(out: Path) -> None:
    build(TEMPLATES, out, 1)
    (out / "manifest.json").write_bytes((out / "manifest.json").read_bytes()[:200])


def manifest_of_something_else(out: Path) -> None:
    out.mkdir()
    (out / "manifest.json").write_text('["a", "list"]')


def binary_manifest(out: Path) -> None:
    out.mkdir()
    (out / "manifest.json").write_bytes(b"\xff\xfe\x00")


def missing_shard(out: Path) -> None:
    build(TEMPLATES, out, 1)
    next(out.rglob("*.parquet")).unlink()


def assert_build_is_refused_untouched(capsys: pytest.CaptureFixture[str], folder: Path, *fragments: str) -> None:
    before = snapshot(folder)
    message = refused(capsys, "build", "templates", "--output-dir", folder / "export")
    for fragment in fragments:
        assert fragment in message
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (Path.mkdir, "it has no manifest.json"),
        (plain_folder, "it has no manifest.json"),
        (Path.touch, "is not a folder"),
        (lambda out: out.symlink_to("nowhere"), "is not a folder"),
        (other_configs, f"of people ({PEOPLE.fingerprint}), not data"),
        (more_configs, "of people"),
        (other_version, "holds data 0.9.0 of templates"),
        (damaged_manifest, "manifest.json is damaged"),
        (manifest_of_something_else, "manifest.json is damaged"),
        (binary_manifest, "manifest.json is damaged"),
        (missing_shard, "train-00000-of-00001.parquet is missing from a finished export"),
    ],
)
def test_build_does_not_touch_what_is_something_else(
    make: Callable[[Path], None], fragment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "export")
    assert_build_is_refused_untouched(capsys, tmp_path, fragment, str(tmp_path / "export"))


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (plain_folder, "is not an unfinished build of bio-facts"),
        (Path.touch, "File exists"),
        (other_configs, f"is an unfinished build of data {DATA_VERSION} of people"),
        (other_version, "is an unfinished build of data 0.9.0"),
        (damaged_manifest, "manifest.json is damaged"),
    ],
)
def test_build_does_not_touch_an_unfinished_build_of_something_else(
    make: Callable[[Path], None], fragment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "export.partial")
    assert_build_is_refused_untouched(capsys, tmp_path, fragment, str(tmp_path / "export.partial"))


def test_strange_file_in_an_unfinished_build_is_named_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_at_row(60, tmp_path / "export", monkeypatch)
    capsys.readouterr()
    strange = tmp_path / "export.partial" / "data" / "thesis.txt"
    strange.parent.mkdir(parents=True, exist_ok=True)
    strange.write_text("dear to me")
    assert f"{strange} does not belong to the export" in refused(
        capsys, "build", "templates", "--output-dir", tmp_path / "export"
    )
    assert strange.read_text() == "dear to me"
    assert not (tmp_path / "export").exists()


def test_build_beside_another_process_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partial = open_partial(TEMPLATES, tmp_path / "export")
    with other_process_holding(partial):
        before = snapshot(tmp_path)
        message = refused(capsys, "build", "templates", "--output-dir", tmp_path / "export")
        assert "export.partial is being written by another process" in message
        assert snapshot(tmp_path) == before
    succeeds(capsys, "build", "templates", "--output-dir", tmp_path / "export")


@pytest.mark.parametrize("method", ["__init__", "acquire_write", "close"])
@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), sqlite3.OperationalError("disk I/O error")])
def test_disk_without_locks_is_built_on_all_the_same(
    method: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for such a disk: it refuses what the disk refuses."""

    def no_locks(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(ReadWriteLock, method, no_locks)
    assert build(TEMPLATES, tmp_path / "export", 1) == 150


def test_error_of_what_is_done_under_the_lock_is_not_lost(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), locked(tmp_path / "export"):
        raise OSError("disk full")


def test_exports_without_fcntl(tmp_path: Path) -> None:
    """A stand-in for Windows, which has no such module."""
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from pathlib import Path; from bio_facts.files import locked\n"
        "from bio_facts.publish.build import build; from bio_facts.generate.config import CONFIGS\n"
        "with locked(Path('other')): print(build({'templates': CONFIGS['templates']}, Path('export'), 1))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout == "150\n", done.stderr
    assert verify(tmp_path / "export", 1) == 150


def test_folder_that_comes_to_exist_during_the_build_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(build_module, "render_card", lambda manifest: plain_folder(tmp_path / "export") or "card")
        assert "was created during this build" in refused(capsys, "build", "templates", "--output-dir", tmp_path / "export")
    assert list(contents(tmp_path / "export")) == ["thesis.txt"]
    shutil.rmtree(tmp_path / "export")
    succeeds(capsys, "build", "templates", "--output-dir", tmp_path / "export")
    assert verify(tmp_path / "export", 1) == 150


# Interrupted and continued


def interrupt_at_row(row: int, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of a build of templates that is interrupted, as with Ctrl-C, when this row is due."""
    made = batches.record_batch

    def interrupted(config: Any, split: str, indices: np.ndarray) -> pa.RecordBatch:
        if row in indices:
            raise KeyboardInterrupt
        return made(config, split, indices)

    with monkeypatch.context() as patch:
        patch.setattr(batches, "record_batch", interrupted)
        return main(["build", "templates", "--output-dir", str(out), "--num-workers", "1"])


def test_interrupted_build_leaves_finished_shards_and_no_export(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interrupt_at_row(119, tmp_path / "export", monkeypatch) == 130
    assert capsys.readouterr().err == "bio-facts: interrupted; run the same command to resume\n"
    assert not (tmp_path / "export").exists()
    assert list(contents(tmp_path / "export.partial")) == ["data/templates/train-00000-of-00003.parquet", "manifest.json"]


def test_continued_build_leaves_finished_shards_and_removes_the_unfinished(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    interrupt_at_row(119, again, monkeypatch)
    capsys.readouterr()
    before = template_shard(partial_folder(again), 0).stat()
    half = template_shard(partial_folder(again), 1).with_name("train-00001-of-00003.parquet.0123abcd.unfinished")
    half.write_bytes(b"half")
    succeeds(capsys, "build", "templates", "--output-dir", again)
    after = template_shard(again, 0).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert contents(again) == contents(out)
    assert not partial_folder(again).exists()


def test_build_that_lacked_only_its_name_is_finished(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = contents(out)
    out.rename(partial_folder(out))
    succeeds(capsys, "build", "templates", "--output-dir", out)
    assert contents(out) == whole


def test_manifest_that_was_being_written_does_not_hinder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "export.partial").mkdir()
    (tmp_path / "export.partial" / "manifest.json.0123abcd.unfinished").write_text("{")
    succeeds(capsys, "build", "templates", "--output-dir", tmp_path / "export")
    assert verify(tmp_path / "export", 1) == 150


def flip_in_page(path: Path, row_group: int = 0, column: str = "template") -> None:
    """Change one bit in the last data page of a column."""
    metadata = pq.read_metadata(path)
    pages = metadata.row_group(row_group).column(metadata.schema.names.index(column))
    start = pages.dictionary_page_offset or pages.data_page_offset
    data = bytearray(path.read_bytes())
    data[start + pages.total_compressed_size - 1] ^= 1
    path.write_bytes(data)


def test_damaged_shard_of_an_unfinished_build_is_named(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "export"
    interrupt_at_row(119, out, monkeypatch)
    capsys.readouterr()
    damaged = template_shard(partial_folder(out), 0)
    flip_in_page(damaged)
    message = refused(capsys, "build", "templates", "--output-dir", out)
    assert str(damaged) in message
    assert "cannot be read" in message
    assert not out.exists()
    damaged.unlink()
    succeeds(capsys, "build", "templates", "--output-dir", out)
    assert verify(out, 1) == 150


# A process that is killed

LARGER = ("build", "n1k", "n4k", "--num-biographies", "4000", "--num-workers", "2")


def start(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bio_facts.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An export by a process that nobody disturbs, verified, and the seconds it took."""
    folder = tmp_path_factory.mktemp("unbroken") / "export"
    began = time.monotonic()
    _, error = start(*LARGER, "--output-dir", folder).communicate(timeout=120)
    seconds = time.monotonic() - began
    assert error == ""
    verify(folder, 2)
    return folder, seconds


def assert_nothing_half_written_counts(out: Path, unbroken: Path) -> None:
    """`out` is absent or whole, and what an unfinished build holds under a final name is what belongs there."""
    whole = contents(unbroken)
    if out.exists():
        assert contents(out) == whole
    for path, content in contents(partial_folder(out)).items():
        if path.startswith("data/") and not path.endswith(".unfinished"):
            assert content == whole[path]


def test_build_killed_at_ten_random_moments_ends_as_if_unbroken(
    tmp_path: Path, unbroken: tuple[Path, float], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, seconds = unbroken
    moments = random.Random(10)
    num_kills = num_attempts = 0
    while num_kills < 10:
        out = tmp_path / f"export{num_attempts}"
        num_attempts += 1
        assert num_attempts < 20, "the build ends before it is killed"
        for _ in range(3):  # from the second time on while it goes on from what is there
            process = start(*LARGER, "--output-dir", out)
            try:
                process.communicate(timeout=moments.uniform(0.25, 0.95) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            num_kills += process.returncode == -signal.SIGKILL
            assert process.returncode in (0, -signal.SIGKILL)
            assert_nothing_half_written_counts(out, folder)
        succeeds(capsys, *LARGER, "--output-dir", out)
        assert contents(out) == contents(folder)
        assert not partial_folder(out).exists()
        shutil.rmtree(out)


def test_ctrl_c_ends_with_130_and_one_line(tmp_path: Path, unbroken: tuple[Path, float]) -> None:
    out = tmp_path / "export"
    process = start(*LARGER, "--output-dir", out)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    printed, error = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert error == "bio-facts: interrupted; run the same command to resume\n"
    assert not out.exists()
    assert list(tmp_path.rglob("*.unfinished")) == []
    assert_nothing_half_written_counts(out, unbroken[0])


# A disk that is full or must not be written to


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mounting a disk is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)


def test_build_on_a_full_disk_says_so_and_goes_on_once_there_is_room(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("build", "n1k", *FEW, "--output-dir")
    succeeds(capsys, *command, tmp_path / "elsewhere")
    assert "No space left on device" in refused(capsys, *command, disk / "export")
    assert not (disk / "export").exists()
    assert list(disk.rglob("*.parquet")) != []
    assert list(disk.rglob("*.unfinished")) == []
    assert_nothing_half_written_counts(disk / "export", tmp_path / "elsewhere")
    remount(disk, "size=50m")
    succeeds(capsys, *command, disk / "export")
    assert contents(disk / "export") == contents(tmp_path / "elsewhere")


def test_build_without_room_for_a_manifest_says_so(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No space left"), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            assert file.write(bytes(4096)) > 0
    assert "No space left on device" in refused(capsys, "build", "templates", "--output-dir", disk / "export")
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["filler"]
    (disk / "filler").unlink()
    succeeds(capsys, "build", "templates", "--output-dir", disk / "export")


def test_build_on_a_read_only_disk_says_so(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remount(disk, "ro")
    message = refused(capsys, "build", "templates", "--output-dir", disk / "export")
    assert f"{disk / 'export.partial'}: Read-only file system" in message
    assert list(disk.iterdir()) == []


def test_build_goes_on_after_its_disk_became_read_only(
    disk: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_at_row(119, disk / "export", monkeypatch)
    capsys.readouterr()
    before = snapshot(disk)
    remount(disk, "ro")
    assert "Read-only file system" in refused(capsys, "build", "templates", "--output-dir", disk / "export")
    assert snapshot(disk) == before
    remount(disk, "rw")
    succeeds(capsys, "build", "templates", "--output-dir", disk / "export")
    assert verify(disk / "export", 1) == 150


def test_whole_export_on_a_read_only_disk_can_be_verified(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(TEMPLATES, disk / "export", 1)
    remount(disk, "ro")
    assert "150 rows" in succeeds(capsys, "verify", disk / "export")


def test_write_that_fails_in_the_middle_of_a_shard_leaves_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where mounting is not allowed: a process that may write files of 1 MB at most."""
    command = ("build", "n1k", *FEW, "--output-dir", tmp_path / "export")
    process = start(*command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)))
    printed, error = process.communicate(timeout=60)
    assert (process.returncode, printed, len(error.splitlines())) == (2, "", 1)
    assert "File too large" in error
    assert not (tmp_path / "export").exists()
    assert [path.name for path in tmp_path.rglob("*.parquet*")] == ["train-00000-of-00001.parquet"]
    succeeds(capsys, *command)
    assert verify(tmp_path / "export", 2) == 32_060


# Verify


@pytest.mark.parametrize("num_workers", [1, 4])
def test_verify_says_how_many_rows_are_right(num_workers: int, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = succeeds(capsys, "verify", out, "--num-workers", num_workers)
    assert printed == f"{out}: 150 rows, all correct\n"


def test_verify_leaves_everything_alone(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(out)
    succeeds(capsys, "verify", out)
    assert snapshot(out) == before


def test_verify_needs_neither_the_name_of_the_folder_nor_that_of_a_config(tmp_path: Path) -> None:
    build({"anything": SMALL.replace(num_biographies=5)}, tmp_path / "export", 2)
    (tmp_path / "export").rename(tmp_path / "copy")
    assert verify(tmp_path / "copy", 2) == 32_005


@pytest.mark.parametrize(("row_group", "first_row"), [(0, 0), (1, 40)])
@pytest.mark.parametrize("column", ["attribute", "template_id", "template"])
def test_verify_finds_a_changed_byte(
    column: str, row_group: int, first_row: int, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_in_page(template_shard(out, 1), row_group, column)
    message = refused(capsys, "verify", out)
    assert f"{template_shard(out, 1)} cannot be read, in one of rows {first_row} to " in message


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], None], **options: Any) -> None:
    table = pq.read_table(path)
    content = table.to_pylist()
    change(content)
    pq.write_table(pa.Table.from_pylist(content, schema=table.schema), path, **options)


def test_verify_finds_a_changed_row(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = pq.read_table(template_shard(out, 1)).to_pylist()[45]["template"]
    rewrite(template_shard(out, 1), lambda content: content[45].update(template="{name} is {value}."))
    assert refused(capsys, "verify", out) == (
        f"bio-facts: error: {template_shard(out, 1)}, row 45 (row 105 of split train): template is "
        f"'{{name}} is {{value}}.'; it must be {wanted!r}\n"
    )


def test_verify_finds_a_changed_value_deep_in_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build({"small": SMALL.replace(num_biographies=20)}, tmp_path / "export", 2)
    path = tmp_path / "export/data/small/train-00000-of-00001.parquet"
    rewrite(path, lambda content: content[7]["attributes"][3].update(start=0))
    message = refused(capsys, "verify", tmp_path / "export")
    assert f"{path}, row 7 (row 7 of split train): attributes is [{{" in message
    assert "; it must be [{" in message


@pytest.mark.parametrize("num_workers", [1, 4])
def test_verify_names_the_first_of_several_changes(num_workers: int, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(content: list[dict[str, Any]]) -> None:
        for row in (8, 3):
            content[row].update(template="{name} {value}.", template_id=77)

    for index in (2, 1):
        rewrite(template_shard(out, index), change)
    message = refused(capsys, "verify", out, "--num-workers", num_workers)
    assert f"{template_shard(out, 1)}, row 3 (row 63 of split train): template_id is 77; it must be" in message


def test_verify_finds_two_rows_that_changed_places(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(content: list[dict[str, Any]]) -> None:
        content[10], content[11] = content[11], content[10]

    rewrite(template_shard(out, 0), change)
    assert f"{template_shard(out, 0)}, row 10 (row 10 of split train)" in refused(capsys, "verify", out)


def test_verify_finds_a_change_whatever_the_row_groups(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(template_shard(out, 1), lambda content: content[45].update(template_id=77), row_group_size=7)
    assert f"{template_shard(out, 1)}, row 45 " in refused(capsys, "verify", out)


def test_verify_does_not_mind_how_the_same_rows_are_compressed(out: Path) -> None:
    rewrite(template_shard(out, 1), lambda content: None, compression="gzip", row_group_size=7)
    assert verify(out, 1) == 150


def test_verify_names_a_missing_shard(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template_shard(out, 2).unlink()
    assert f"{template_shard(out, 2)} is missing" in refused(capsys, "verify", out)


def test_verify_names_a_missing_card(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out / "README.md").unlink()
    assert f"{out / 'README.md'} is missing" in refused(capsys, "verify", out)


@pytest.mark.parametrize("name", ["notes.txt", "data/templates/train-00003-of-00004.parquet", "data/other/train.parquet"])
def test_verify_names_a_file_too_many(name: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).touch()
    assert f"{out / name} does not belong to the export; remove it" in refused(capsys, "verify", out)


def test_verify_names_a_shard_with_other_rows(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(template_shard(out, 1), lambda content: content.pop())
    assert f"{template_shard(out, 1)} has 59 rows; it must have 60" in refused(capsys, "verify", out)


def test_verify_names_a_shard_with_other_columns(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = template_shard(out, 1)
    pq.write_table(pq.read_table(path).rename_columns(["attribute", "template_index", "template"]), path)
    message = refused(capsys, "verify", out)
    assert f"{path} has columns ['attribute', 'template_index', 'template']" in message


def test_verify_names_a_file_that_is_no_parquet(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template_shard(out, 1).write_text("version https://git-lfs.github.com/spec/v1\n")
    assert f"{template_shard(out, 1)} cannot be read" in refused(capsys, "verify", out)


def edited(out: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    change(manifest)
    (out / "manifest.json").write_text(json.dumps(manifest))


def templates_entry(manifest: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = manifest["configs"]["templates"]
    return entry


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda found: templates_entry(found)["splits"]["train"].update(content_digest="0" * 64), "other content digests"),
        (lambda found: templates_entry(found)["splits"]["train"].pop("content_digest"), "other content digests"),
        (
            lambda found: templates_entry(found)["splits"]["train"].update(num_rows=149),
            "row counts do not match",
        ),
        (
            lambda found: templates_entry(found).update(fingerprint="0" * 16),
            "fingerprints or row counts do not match",
        ),
        (lambda found: templates_entry(found).update(table="people"), "no config has table 'people'"),
        (lambda found: templates_entry(found).update(parameters={"seed": 1}), "parameters {'seed': 1}"),
        (lambda found: templates_entry(found).pop("splits"), "manifest.json is damaged"),
        (lambda found: found.pop("configs"), "manifest.json is damaged"),
        (lambda found: found.update(data_version="0.9.0"), f"holds data 0.9.0; this is bio-facts for data {DATA_VERSION}"),
    ],
)
def test_verify_finds_a_changed_manifest(
    change: Callable[[dict[str, Any]], Any], fragment: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(out, change)
    assert fragment in refused(capsys, "verify", out)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch])
def test_verify_refuses_what_is_no_export(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "export")
    message = refused(capsys, "verify", tmp_path / "export")
    assert message == f"bio-facts: error: {tmp_path / 'export'} is not an export of bio-facts: it has no manifest.json\n"


def test_shards_of_an_export_are_in_the_order_of_the_manifest() -> None:
    found = [(shard.config_name, shard.split) for shard in all_shards(BUILT)]
    assert found == sorted(found, key=lambda item: item[0])
    assert [re.sub(r"-\d+-of.*", "", shard.path.name) for shard in all_shards(BUILT)] == [split for _, split in found]
