"""The settings that were tried for the miniature: table and picture come from the committed curves, and runs are added."""

import shutil
from pathlib import Path

from conftest import ROOT, assert_refused, run_script

EVAL = ROOT / "eval"


def test_table_is_that_of_the_committed_curves_and_a_run_adds_a_row(smoke_run: Path, tmp_path: Path) -> None:
    shutil.copy(EVAL / "regime.curves.jsonl", tmp_path)
    done = run_script("eval/regime.py", "--output-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    committed = (EVAL / "regime.md").read_text()
    assert done.stdout == (tmp_path / "regime.md").read_text() == committed
    shutil.copytree(smoke_run, tmp_path / "runs" / "smoke-s0")
    for _ in range(2):  # a run of the same name replaces the former one
        assert run_script("eval/regime.py", tmp_path / "runs", "--output-dir", tmp_path).returncode == 0
        rows = (tmp_path / "regime.md").read_text().splitlines()
        assert len(rows) == len(committed.splitlines()) + 1
        assert sum(row.startswith("| 20 |") for row in rows) == 1
    assert (tmp_path / "regime.png").read_bytes().startswith(b"\x89PNG")


def test_folder_without_runs_is_refused(tmp_path: Path) -> None:
    assert_refused(run_script("eval/regime.py", tmp_path, "--output-dir", tmp_path), "which holds no run")
