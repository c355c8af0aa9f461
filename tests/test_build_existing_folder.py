import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import contents, refused, succeeds
from exports import PEOPLE, TEMPLATES, interrupt_at_row, snapshot

from bio_facts.generate.config import DATA_VERSION
from bio_facts.publish import build as build_module
from bio_facts.publish.build import build
from bio_facts.publish.verify import verify


def test_complete_export_is_not_built_again(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(export.parent)
    assert succeeds(capsys, "build", "templates", "--output-dir", export) == f"{export}: already built\n"
    assert snapshot(export.parent) == before


def set_in_manifest(folder: Path, key: str, value: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def plain_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("dear to me")


def other_configs(folder: Path) -> None:
    build({"people": PEOPLE}, folder, 2)


def more_configs(folder: Path) -> None:
    build(TEMPLATES | {"people": PEOPLE}, folder, 2)


def other_version(folder: Path) -> None:
    build(TEMPLATES, folder, 1)
    set_in_manifest(folder, "data_version", "0.9.0")


def damaged_manifest(folder: Path) -> None:
    build(TEMPLATES, folder, 1)
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:200])


def manifest_of_something_else(folder: Path) -> None:
    folder.mkdir()
    (folder / "manifest.json").write_text('["a", "list"]')


def binary_manifest(folder: Path) -> None:
    folder.mkdir()
    (folder / "manifest.json").write_bytes(b"\xff\xfe\x00")


def missing_shard(folder: Path) -> None:
    build(TEMPLATES, folder, 1)
    next(folder.rglob("*.parquet")).unlink()


def assert_build_refuses_and_changes_nothing(capsys: pytest.CaptureFixture[str], folder: Path, *fragments: str) -> None:
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
        (lambda folder: folder.symlink_to("nowhere"), "is not a folder"),
        (other_configs, f"of people ({PEOPLE.fingerprint}), not data"),
        (more_configs, "of people"),
        (other_version, "holds data 0.9.0 of templates"),
        (damaged_manifest, "manifest.json is damaged"),
        (manifest_of_something_else, "manifest.json is damaged"),
        (binary_manifest, "manifest.json is damaged"),
        (missing_shard, "train-00000-of-00001.parquet is missing from a finished export"),
    ],
)
def test_build_refuses_a_folder_that_holds_something_else(
    make: Callable[[Path], None], fragment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "export")
    assert_build_refuses_and_changes_nothing(capsys, tmp_path, fragment, str(tmp_path / "export"))


def test_missing_card_of_a_finished_export_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(capsys, "build", "templates", "--output-dir", tmp_path / "export")
    (tmp_path / "export" / "README.md").unlink()
    assert "README.md is missing" in refused(capsys, "build", "templates", "--output-dir", tmp_path / "export")


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
def test_build_refuses_an_unfinished_build_of_something_else(
    make: Callable[[Path], None], fragment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "export.partial")
    assert_build_refuses_and_changes_nothing(capsys, tmp_path, fragment, str(tmp_path / "export.partial"))


def test_foreign_file_in_an_unfinished_build_is_named_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_at_row(60, tmp_path / "export", monkeypatch)
    capsys.readouterr()
    foreign = tmp_path / "export.partial" / "data" / "thesis.txt"
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.write_text("dear to me")
    assert f"{foreign} does not belong to the export" in refused(
        capsys, "build", "templates", "--output-dir", tmp_path / "export"
    )
    assert foreign.read_text() == "dear to me"
    assert not (tmp_path / "export").exists()


def test_folder_created_during_the_build_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(build_module, "render_card", lambda manifest, num_bytes: plain_folder(tmp_path / "export") or "card")
        assert "was created during this build" in refused(capsys, "build", "templates", "--output-dir", tmp_path / "export")
    assert list(contents(tmp_path / "export")) == ["thesis.txt"]
    shutil.rmtree(tmp_path / "export")
    succeeds(capsys, "build", "templates", "--output-dir", tmp_path / "export")
    assert verify(tmp_path / "export", 1) == 150
