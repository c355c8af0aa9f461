import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import contents, refused, succeeds
from exports import FEW, TEMPLATES, assert_absent_or_complete, interrupt_at_row, snapshot, start

from bio_facts.publish.build import build
from bio_facts.publish.verify import verify


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


def test_build_stops_on_a_full_disk_and_resumes_once_there_is_room(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("build", "n1k", *FEW, "--output-dir")
    succeeds(capsys, *command, tmp_path / "elsewhere")
    assert "No space left on device" in refused(capsys, *command, disk / "export")
    assert not (disk / "export").exists()
    assert list(disk.rglob("*.parquet")) != []
    assert list(disk.rglob("*.unfinished")) == []
    assert_absent_or_complete(disk / "export", tmp_path / "elsewhere")
    remount(disk, "size=50m")
    succeeds(capsys, *command, disk / "export")
    assert contents(disk / "export") == contents(tmp_path / "elsewhere")


def test_build_without_room_for_a_manifest_is_refused(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No space left"), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            assert file.write(bytes(4096)) > 0
    assert "No space left on device" in refused(capsys, "build", "templates", "--output-dir", disk / "export")
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["filler"]
    (disk / "filler").unlink()
    succeeds(capsys, "build", "templates", "--output-dir", disk / "export")


def test_build_on_a_read_only_disk_is_refused(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remount(disk, "ro")
    message = refused(capsys, "build", "templates", "--output-dir", disk / "export")
    assert f"{disk / 'export.partial'}: Read-only file system" in message
    assert list(disk.iterdir()) == []


def test_build_resumes_after_its_disk_was_read_only(
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


def test_complete_export_on_a_read_only_disk_can_be_verified(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
