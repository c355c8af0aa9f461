import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import contents, refused, succeeds
from exports import FEW, PEOPLE, SMALL, SPLITS_OF_BUILT, TEMPLATES, files_of

from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS, DATA_VERSION, TemplatesConfig
from bio_facts.generate.splits import draw
from bio_facts.publish import shards
from bio_facts.publish.build import build, partial_folder

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


def test_manifest_names_table_fingerprint_and_parameters_of_each_config(built: Path) -> None:
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
    exported = [row for path in files_of(built, "small", split) for row in pq.read_table(path).to_pylist()]
    assert exported == rows(draw(SMALL, split, range(len(exported))))


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


# The same bytes however it is built


def test_all_bytes_are_the_same_with_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_BATCH", 2_000)
    for workers in (1, 4):
        succeeds(capsys, "build", "n1k-finetune1k", *FEW, "--output-dir", tmp_path / str(workers), "--num-workers", workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "4")


@pytest.mark.parametrize(("rows_per_shard", "rows_per_batch"), [(150, 150), (60, 40), (7, 3), (1, 1)])
def test_manifest_is_the_same_whatever_the_sizes_of_shards_and_batches(
    rows_per_shard: int, rows_per_batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(TEMPLATES, tmp_path / "default", 2)
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", rows_per_shard)
    monkeypatch.setattr(shards, "ROWS_PER_BATCH", rows_per_batch)
    build(TEMPLATES, tmp_path / "export", 2)
    assert len(list((tmp_path / "export").rglob("*.parquet"))) == -(-150 // rows_per_shard)
    assert (tmp_path / "export/manifest.json").read_bytes() == (tmp_path / "default/manifest.json").read_bytes()


def test_order_of_configs_does_not_matter(tmp_path: Path) -> None:
    build({"people": PEOPLE} | TEMPLATES, tmp_path / "a", 2)
    build(TEMPLATES | {"people": PEOPLE}, tmp_path / "b", 2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


# The command


def test_build_prints_folder_configs_and_number_of_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = succeeds(capsys, "build", "templates", "--output-dir", tmp_path / "deep" / "export")
    assert printed.startswith(f"{tmp_path / 'deep' / 'export'}: templates; 150 rows in ")


def test_config_with_changed_parameters_has_its_fingerprint_in_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "export"
    succeeds(capsys, "build", "n1k", *FEW, "--seed", "5", "--output-dir", folder)
    specification = {
        "table": "biographies",
        "data_version": DATA_VERSION,
        **CONFIGS["n1k"].parameters,
        "num_individuals": 40,
        "num_biographies": 60,
        "seed": 5,
    }
    fingerprint = hashlib.sha256(json.dumps(specification, sort_keys=True).encode()).hexdigest()
    assert [path.name for path in (folder / "data").iterdir()] == [f"n1k-{fingerprint[:8]}"]
    assert list(json.loads((folder / "manifest.json").read_text())["configs"]) == [f"n1k-{fingerprint[:8]}"]


def test_config_with_parameters_set_to_their_defaults_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names: list[str] = []
    # Writes nothing.
    monkeypatch.setattr("bio_facts.commands.data.build", lambda configs, *arguments: names.extend(configs) or 0)
    defaults = ("--num-individuals", "256000", "--population-seed", "0")
    succeeds(capsys, "build", "individuals", *defaults, "--output-dir", tmp_path / "export")
    assert names == ["individuals"]


def test_each_parameter_applies_to_the_configs_that_have_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--num-individuals", "20", "--num-biographies", "10", "--output-dir", tmp_path / "export"]
    succeeds(capsys, "build", "n1k", "individuals", "templates", *arguments)
    configs = json.loads((tmp_path / "export" / "manifest.json").read_text(encoding="utf-8"))["configs"]
    assert [entry["parameters"].get("num_individuals") for entry in configs.values()] == [20, 20, None]


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


def test_build_takes_every_config_that_a_pattern_matches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
