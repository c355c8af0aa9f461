import errno
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import other_process_holding, refused, succeeds
from exports import (
    TEMPLATES,
    snapshot,
)
from filelock import ReadWriteLock

from bio_facts.files import locked
from bio_facts.publish.build import build, open_partial
from bio_facts.publish.verify import verify


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
def test_build_works_on_a_disk_without_locks(
    method: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locking fails as it does on such a disk."""

    def no_locks(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(ReadWriteLock, method, no_locks)
    assert build(TEMPLATES, tmp_path / "export", 1) == 150


def test_error_raised_while_a_lock_is_held_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), locked(tmp_path / "export"):
        raise OSError("disk full")


def test_build_works_without_fcntl(tmp_path: Path) -> None:
    """As on Windows, which has no such module."""
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from pathlib import Path; from bio_facts.files import locked\n"
        "from bio_facts.publish.build import build; from bio_facts.generate.config import CONFIGS\n"
        "with locked(Path('other')): print(build({'templates': CONFIGS['templates']}, Path('export'), 1))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert result.stdout == "150\n", result.stderr
    assert verify(tmp_path / "export", 1) == 150
