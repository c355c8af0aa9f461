import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import contents, ecosystem, other_process_holding

from bio_facts.files import locked
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS, TemplatesConfig
from bio_facts.generate.splits import draw
from bio_facts.publish import shards
from bio_facts.publish.build import build, open_partial

pytestmark = ecosystem("datatrove")

from datatrove.data import Document  # noqa: E402
from datatrove.executor import LocalPipelineExecutor  # noqa: E402
from datatrove.pipeline.filters import LambdaFilter  # noqa: E402
from datatrove.pipeline.writers.jsonl import JsonlWriter  # noqa: E402

from bio_facts.publish import datatrove_steps as pipeline  # noqa: E402
from bio_facts.publish.datatrove_steps import ReadBiographies, WriteShards  # noqa: E402

SMALL = CONFIGS["n1k"].replace(num_individuals=40, num_biographies=100)
BUILT = {"small": SMALL, "templates": TemplatesConfig()}  # four shards
TEMPLATES = {"templates": TemplatesConfig()}

PROGRAM = """
import sys
from bio_facts.generate.config import CONFIGS, TemplatesConfig
from bio_facts.publish.datatrove_steps import WriteShards
from datatrove.executor import LocalPipelineExecutor

if __name__ == "__main__":
    small = CONFIGS["n1k"].replace(num_individuals=40, num_biographies=100)
    step = WriteShards({"small": small, "templates": TemplatesConfig()}, sys.argv[1])
    LocalPipelineExecutor([step], tasks=2, workers=1, logging_dir=sys.argv[2]).run()
"""


def execute(steps: list[Any], logs: Path, tasks: int, workers: int = 1) -> Any:
    return LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=str(logs)).run()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `bio-facts build` makes of the configs by itself. Read only."""
    folder = tmp_path_factory.mktemp("built") / "export"
    build(BUILT, folder, 2)
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 150 rows of templates in 15 shards."""
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 10)
    monkeypatch.setattr(shards, "ROWS_PER_BATCH", 4)


def shards_of(folder: Path) -> dict[str, bytes]:
    return {path: content for path, content in contents(folder).items() if path.startswith("data/")}


# Writing shards


@pytest.mark.parametrize(("tasks", "workers"), [(3, 2), (6, 1)])  # fewer and more than there are shards
def test_tasks_write_the_shards_of_build(tasks: int, workers: int, built: Path, tmp_path: Path) -> None:
    execute([WriteShards(BUILT, tmp_path / "export")], tmp_path / "logs", tasks, workers)
    assert contents(tmp_path / "export.partial").keys() - shards_of(built).keys() == {"manifest.json"}
    assert shards_of(tmp_path / "export.partial") == shards_of(built)
    assert not (tmp_path / "export").exists()


def test_build_finishes_what_tasks_have_written(built: Path, tmp_path: Path) -> None:
    execute([WriteShards(BUILT, tmp_path / "export")], tmp_path / "logs", tasks=2)
    inodes = {path.name: path.stat().st_ino for path in (tmp_path / "export.partial").rglob("*.parquet")}
    build(BUILT, tmp_path / "export", 2)
    assert {path.name: path.stat().st_ino for path in (tmp_path / "export").rglob("*.parquet")} == inodes
    assert contents(tmp_path / "export") == contents(built)


def test_build_writes_what_tasks_have_left_out(built: Path, tmp_path: Path) -> None:
    WriteShards(BUILT, str(tmp_path / "export")).run(rank=1, world_size=3)
    build(BUILT, tmp_path / "export", 2)
    assert contents(tmp_path / "export") == contents(built)


def test_each_task_writes_every_so_many_th_shard(tmp_path: Path, small_shards: None) -> None:
    WriteShards(TEMPLATES, tmp_path / "export").run(rank=2, world_size=4)
    assert sorted(path.name for path in tmp_path.rglob("*.parquet")) == [
        f"train-{index:05d}-of-00015.parquet" for index in (2, 6, 10, 14)
    ]


def test_all_tasks_together_write_every_shard_once(tmp_path: Path, small_shards: None) -> None:
    for rank in range(4):
        WriteShards(TEMPLATES, tmp_path / str(rank)).run(rank=rank, world_size=4)
    written = [path.name for path in tmp_path.rglob("*.parquet")]
    assert sorted(written) == [f"train-{index:05d}-of-00015.parquet" for index in range(15)]


def test_task_tells_how_many_rows_it_wrote(tmp_path: Path, small_shards: None) -> None:
    step = WriteShards(TEMPLATES, tmp_path / "export")
    step.run(rank=0, world_size=4)
    assert step.stats["rows"].total == 40


def test_task_leaves_shards_that_are_there(tmp_path: Path, small_shards: None) -> None:
    WriteShards(TEMPLATES, tmp_path / "export").run()
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}
    step = WriteShards(TEMPLATES, tmp_path / "export")
    step.run()
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before
    assert step.stats["rows"].total == 0


def test_task_has_nothing_to_do_once_the_export_is_whole(tmp_path: Path) -> None:
    build(TEMPLATES, tmp_path / "export", 1)
    before = contents(tmp_path)
    WriteShards(TEMPLATES, tmp_path / "export").run()
    assert contents(tmp_path) == before


def test_task_that_was_killed_is_simply_run_again(built: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, program, tmp_path / "export", tmp_path / "logs"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("validation-*.unfinished")) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = shards_of(tmp_path / "export.partial")
    assert [path for path in finished if path.endswith(".unfinished")] != []
    assert not (tmp_path / "logs" / "completions" / "00001").exists()
    subprocess.run(command, check=True, capture_output=True)
    build(BUILT, tmp_path / "export", 2)
    assert contents(tmp_path / "export") == contents(built)


def test_tasks_of_other_configs_are_refused(tmp_path: Path) -> None:
    WriteShards(TEMPLATES, tmp_path / "export").run()
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="is an unfinished build of data"):
        WriteShards(BUILT, tmp_path / "export").run()
    assert contents(tmp_path) == before


def test_tasks_do_not_touch_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    with pytest.raises(ValueError, match=r"it has no manifest\.json"):
        WriteShards(TEMPLATES, tmp_path / "export").run()
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.fixture
def folder_in_use(tmp_path: Path) -> Path:
    """The folder of an unfinished export."""
    return open_partial(TEMPLATES, tmp_path / "export")


def test_tasks_work_beside_each_other(folder_in_use: Path) -> None:
    with locked(folder_in_use, shared=True):  # another task
        WriteShards(TEMPLATES, folder_in_use.with_name("export")).run()
    assert len(list(folder_in_use.rglob("*.parquet"))) == 1


def test_task_is_refused_beside_a_build(folder_in_use: Path) -> None:
    with other_process_holding(folder_in_use), pytest.raises(ValueError, match="is being written by another process"):
        WriteShards(TEMPLATES, folder_in_use.with_name("export")).run()


def test_build_is_refused_beside_a_task(folder_in_use: Path) -> None:
    with (
        locked(folder_in_use, shared=True),
        pytest.raises(ValueError, match="is being written by another process"),
    ):
        build(TEMPLATES, folder_in_use.with_name("export"), 1)


# Reading biographies


def documents(split: str = "train", rank: int = 0, world_size: int = 1) -> list[Document]:
    return list(ReadBiographies(SMALL, split).run(rank=rank, world_size=world_size))


def test_documents_are_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "ROWS_PER_BATCH", 30)
    wanted = rows(draw(SMALL, "train", range(100)))
    for index, (document, row) in enumerate(zip(documents(), wanted, strict=True)):
        assert (document.text, document.id) == (row["text"], f"train/{index}")
        assert {"text": document.text} | document.metadata == row


@pytest.mark.parametrize("world_size", [1, 3, 7, 101])  # the last has a task without rows
def test_tasks_share_the_rows_without_gaps_and_in_order(world_size: int) -> None:
    shares = [documents(rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [document.id for share in shares for document in share] == [f"train/{index}" for index in range(100)]
    sizes = np.array([len(share) for share in shares])
    assert sizes.max() - sizes.min() <= 1


def test_documents_of_another_split() -> None:
    [document, *_] = documents("unseen", rank=15, world_size=16)
    assert (document.id, document.text) == ("unseen/15000", rows(draw(SMALL, "unseen", 15_000))[0]["text"])


def test_documents_that_came_before_are_passed_on() -> None:
    first = Document(text="Before.", id="before")
    read = list(ReadBiographies(SMALL).run([first]))
    assert read[0] is first
    assert [document.id for document in read[1:]] == [document.id for document in documents()]


def test_reader_refuses_an_unknown_split() -> None:
    with pytest.raises(ValueError, match="split is 'test'; it must be one of train, validation, unseen"):
        ReadBiographies(SMALL, "test")


def of_the_first_people(document: Document) -> bool:
    return bool(document.metadata["individual_id"] < 20)


def rows_of_the_first_people() -> list[dict[str, Any]]:
    chosen = [row for row in rows(draw(SMALL, "train", range(100))) if row["individual_id"] < 20]
    assert 20 < len(chosen) < 80
    return chosen


def test_pipeline_with_a_filter_of_datatrove(tmp_path: Path) -> None:
    def keep(data: Iterator[Document], rank: int, world_size: int) -> None:
        (tmp_path / f"{rank}.json").write_text(json.dumps([document.id for document in data]))

    execute([ReadBiographies(SMALL), LambdaFilter(of_the_first_people), keep], tmp_path / "logs", tasks=3)
    kept = [name for path in sorted(tmp_path.glob("*.json")) for name in json.loads(path.read_text())]
    assert kept == [f"train/{row['biography_id']}" for row in rows_of_the_first_people()]


def test_pipeline_with_a_filter_and_a_writer_of_datatrove(tmp_path: Path) -> None:
    pytest.importorskip("orjson", reason="JsonlWriter of datatrove needs orjson (datatrove[io])")
    writer = JsonlWriter(str(tmp_path / "written"), compression=None)
    execute([ReadBiographies(SMALL), LambdaFilter(of_the_first_people), writer], tmp_path / "logs", tasks=3)
    lines = [line for path in sorted((tmp_path / "written").iterdir()) for line in path.read_text("utf-8").splitlines()]
    assert [json.loads(line) for line in lines] == [
        {"text": row.pop("text"), "id": f"train/{row['biography_id']}", "metadata": row} for row in rows_of_the_first_people()
    ]


def test_pipeline_counts_documents_and_characters(tmp_path: Path) -> None:
    stats = execute([ReadBiographies(SMALL)], tmp_path / "logs", tasks=3)
    lengths = [len(row["text"]) for row in rows(draw(SMALL, "train", range(100)))]
    doc_len = stats.stats[0].stats["doc_len"]
    assert (doc_len.n, doc_len.total, doc_len.min, doc_len.max) == (100, sum(lengths), min(lengths), max(lengths))
