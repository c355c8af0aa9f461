import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import contents, refused, succeeds
from exports import assert_absent_or_complete, flip_bit, interrupt_at_row, start, template_shard

from bio_facts.publish.build import partial_folder
from bio_facts.publish.verify import verify

# Interrupted and resumed


def test_interrupted_build_leaves_finished_shards_and_no_export(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interrupt_at_row(119, tmp_path / "export", monkeypatch) == 130
    assert capsys.readouterr().err == "bio-facts: interrupted; run the same command to resume\n"
    assert not (tmp_path / "export").exists()
    assert list(contents(tmp_path / "export.partial")) == ["data/templates/train-00000-of-00003.parquet", "manifest.json"]


def test_resumed_build_keeps_finished_shards_and_removes_unfinished_files(
    tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed = tmp_path / "resumed"
    interrupt_at_row(119, resumed, monkeypatch)
    capsys.readouterr()
    before = template_shard(partial_folder(resumed), 0).stat()
    unfinished = template_shard(partial_folder(resumed), 1).with_name("train-00001-of-00003.parquet.0123abcd.unfinished")
    unfinished.write_bytes(b"half")
    succeeds(capsys, "build", "templates", "--output-dir", resumed)
    after = template_shard(resumed, 0).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert contents(resumed) == contents(export)
    assert not partial_folder(resumed).exists()


def test_build_interrupted_before_its_last_rename_is_finished(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complete = contents(export)
    export.rename(partial_folder(export))
    succeeds(capsys, "build", "templates", "--output-dir", export)
    assert contents(export) == complete


def test_build_resumes_after_an_interrupted_write_of_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "export.partial").mkdir()
    (tmp_path / "export.partial" / "manifest.json.0123abcd.unfinished").write_text("{")
    succeeds(capsys, "build", "templates", "--output-dir", tmp_path / "export")
    assert verify(tmp_path / "export", 1) == 150


def test_damaged_shard_of_an_unfinished_build_is_named(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "export"
    interrupt_at_row(119, out, monkeypatch)
    capsys.readouterr()
    damaged = template_shard(partial_folder(out), 0)
    flip_bit(damaged)
    message = refused(capsys, "build", "templates", "--output-dir", out)
    assert str(damaged) in message
    assert "cannot be read" in message
    assert not out.exists()
    damaged.unlink()
    succeeds(capsys, "build", "templates", "--output-dir", out)
    assert verify(out, 1) == 150


# A process that is killed

LARGER = ("build", "n1k", "n4k", "--num-biographies", "4000", "--num-workers", "2")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A verified export of an uninterrupted process, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "export"
    began = time.monotonic()
    _, error = start(*LARGER, "--output-dir", folder).communicate(timeout=120)
    seconds = time.monotonic() - began
    assert error == ""
    verify(folder, 2)
    return folder, seconds


def test_build_killed_at_ten_random_moments_ends_with_the_bytes_of_an_uninterrupted_one(
    tmp_path: Path, uninterrupted: tuple[Path, float], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, seconds = uninterrupted
    moments = random.Random(10)
    num_kills = num_attempts = 0
    while num_kills < 10:
        out = tmp_path / f"export{num_attempts}"
        num_attempts += 1
        assert num_attempts < 20, "the build ends before it is killed"
        for attempt in range(3):  # from the second time on, while it resumes
            process, began = start(*LARGER, "--output-dir", out), time.monotonic()
            try:
                process.communicate(timeout=moments.uniform(0.25, 0.95) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            num_kills += process.returncode == -signal.SIGKILL
            assert process.returncode in (0, -signal.SIGKILL)
            assert_absent_or_complete(out, folder)
            if process.returncode == 0:
                if attempt == 0:  # the machine is less busy than when the time was taken
                    seconds = time.monotonic() - began
                break
        succeeds(capsys, *LARGER, "--output-dir", out)
        assert contents(out) == contents(folder)
        assert not partial_folder(out).exists()
        shutil.rmtree(out)


def test_ctrl_c_ends_a_build_with_code_130_and_one_line(tmp_path: Path) -> None:
    out = tmp_path / "export"
    process = start("build", "n1k", "--num-biographies", "100000", "--num-workers", "2", "--output-dir", out)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.unfinished")) and time.monotonic() < deadline:  # the shard takes a second
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    printed, error = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert error == "bio-facts: interrupted; run the same command to resume\n"
    assert not out.exists()
    assert list(tmp_path.rglob("*.unfinished")) == []
