import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import refused, succeeds
from exports import SMALL, flip_bit, snapshot, template_shard

from bio_facts.generate.config import DATA_VERSION
from bio_facts.publish.build import build
from bio_facts.publish.verify import verify


@pytest.mark.parametrize("num_workers", [1, 4])
def test_verify_prints_the_number_of_correct_rows(num_workers: int, export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = succeeds(capsys, "verify", export, "--num-workers", num_workers)
    assert printed == f"{export}: 150 rows, all correct\n"


def test_verify_changes_nothing(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(export)
    succeeds(capsys, "verify", export)
    assert snapshot(export) == before


def test_verify_does_not_depend_on_the_names_of_folder_and_config(tmp_path: Path) -> None:
    build({"anything": SMALL.replace(num_biographies=5)}, tmp_path / "export", 2)
    (tmp_path / "export").rename(tmp_path / "copy")
    assert verify(tmp_path / "copy", 2) == 32_005


@pytest.mark.parametrize(("row_group", "first_row"), [(0, 0), (1, 40)])
@pytest.mark.parametrize("column", ["attribute", "template_id", "template"])
def test_verify_finds_a_changed_byte(
    column: str, row_group: int, first_row: int, export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_bit(template_shard(export, 1), row_group, column)
    message = refused(capsys, "verify", export)
    assert f"{template_shard(export, 1)} cannot be read, in one of rows {first_row} to " in message


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], None], **options: Any) -> None:
    table = pq.read_table(path)
    content = table.to_pylist()
    change(content)
    pq.write_table(pa.Table.from_pylist(content, schema=table.schema), path, **options)


def test_verify_finds_a_changed_row(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = pq.read_table(template_shard(export, 1)).to_pylist()[45]["template"]
    rewrite(template_shard(export, 1), lambda content: content[45].update(template="{name} is {value}."))
    assert refused(capsys, "verify", export) == (
        f"bio-facts: error: {template_shard(export, 1)}, row 45 (row 105 of split train): template is "
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
def test_verify_names_the_first_of_several_changes(num_workers: int, export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(content: list[dict[str, Any]]) -> None:
        for row in (8, 3):
            content[row].update(template="{name} {value}.", template_id=77)

    for index in (2, 1):
        rewrite(template_shard(export, index), change)
    message = refused(capsys, "verify", export, "--num-workers", num_workers)
    assert f"{template_shard(export, 1)}, row 3 (row 63 of split train): template_id is 77; it must be" in message


def test_verify_finds_two_swapped_rows(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(content: list[dict[str, Any]]) -> None:
        content[10], content[11] = content[11], content[10]

    rewrite(template_shard(export, 0), change)
    assert f"{template_shard(export, 0)}, row 10 (row 10 of split train)" in refused(capsys, "verify", export)


def test_verify_finds_a_change_whatever_the_row_groups(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(template_shard(export, 1), lambda content: content[45].update(template_id=77), row_group_size=7)
    assert f"{template_shard(export, 1)}, row 45 " in refused(capsys, "verify", export)


def test_verify_accepts_the_same_rows_in_another_compression(export: Path) -> None:
    rewrite(template_shard(export, 1), lambda content: None, compression="gzip", row_group_size=7)
    assert verify(export, 1) == 150


def test_verify_names_a_missing_shard(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template_shard(export, 2).unlink()
    assert f"{template_shard(export, 2)} is missing" in refused(capsys, "verify", export)


def test_verify_names_a_missing_card(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (export / "README.md").unlink()
    assert f"{export / 'README.md'} is missing" in refused(capsys, "verify", export)


@pytest.mark.parametrize("name", ["notes.txt", "data/templates/train-00003-of-00004.parquet", "data/other/train.parquet"])
def test_verify_names_an_extra_file(name: str, export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (export / name).parent.mkdir(exist_ok=True)
    (export / name).touch()
    assert f"{export / name} does not belong to the export; remove it" in refused(capsys, "verify", export)


def test_verify_names_a_shard_that_lacks_a_row(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(template_shard(export, 1), lambda content: content.pop())
    assert f"{template_shard(export, 1)} has 59 rows; it must have 60" in refused(capsys, "verify", export)


def test_verify_names_a_shard_with_other_columns(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = template_shard(export, 1)
    pq.write_table(pq.read_table(path).rename_columns(["attribute", "template_index", "template"]), path)
    message = refused(capsys, "verify", export)
    assert f"{path} has columns ['attribute', 'template_index', 'template']" in message


def test_verify_names_a_file_that_is_not_parquet(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template_shard(export, 1).write_text("version https://git-lfs.github.com/spec/v1\n")
    assert f"{template_shard(export, 1)} cannot be read" in refused(capsys, "verify", export)


def edit_manifest(export: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((export / "manifest.json").read_text())
    change(manifest)
    (export / "manifest.json").write_text(json.dumps(manifest))


def templates_entry(manifest: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = manifest["configs"]["templates"]
    return entry


def templates_split(manifest: dict[str, Any]) -> dict[str, Any]:
    split: dict[str, Any] = templates_entry(manifest)["splits"]["train"]
    return split


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (
            lambda manifest: templates_split(manifest).update(content_digest="0" * 64),
            "other content digests",
        ),
        (lambda manifest: templates_split(manifest).pop("content_digest"), "other content digests"),
        (
            lambda manifest: templates_split(manifest).update(num_rows=149),
            "row counts do not match",
        ),
        (
            lambda manifest: templates_entry(manifest).update(fingerprint="0" * 16),
            "fingerprints or row counts do not match",
        ),
        (lambda manifest: templates_entry(manifest).update(table="people"), "no config has table 'people'"),
        (lambda manifest: templates_entry(manifest).update(parameters={"seed": 1}), "parameters {'seed': 1}"),
        (lambda manifest: templates_entry(manifest).pop("splits"), "manifest.json is damaged"),
        (lambda manifest: manifest.pop("configs"), "manifest.json is damaged"),
        (
            lambda manifest: manifest.update(data_version="0.9.0"),
            f"holds data 0.9.0; this is bio-facts for data {DATA_VERSION}",
        ),
    ],
)
def test_verify_finds_a_changed_manifest(
    change: Callable[[dict[str, Any]], Any], fragment: str, export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_manifest(export, change)
    assert fragment in refused(capsys, "verify", export)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch])
def test_verify_refuses_a_folder_without_a_manifest(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "export")
    message = refused(capsys, "verify", tmp_path / "export")
    assert message == f"bio-facts: error: {tmp_path / 'export'} is not an export of bio-facts: it has no manifest.json\n"
