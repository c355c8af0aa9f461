"""What building an export costs: seconds, memory, and what each stage takes of a row.

  python benchmarks/build.py --config n64k --output-file benchmarks/build.json

Builds the config twice, with an eighth of its rows and with all, each in a new process; has datatrove tasks write the
same shards; times the stages on one thread, and the first row of a stream after imports. Ratios compare within the run:
memory of the whole to memory of the eighth; tasks to build; all cores to what hashing and compressing alone would take.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bio_facts.checks import Parser
from bio_facts.generate.config import Config, get_config
from bio_facts.generate.splits import draw
from bio_facts.publish.canonical_json import canonical_json, joined_bytes
from bio_facts.publish.shards import ROWS_PER_BATCH, shard_writer
from bio_facts.publish.tables import TABLES, num_rows, record_batch

_REPEATS = 5
FIRST_ROW = """
import contextlib, time, bio_facts.publish.datasets_builder
with contextlib.suppress(ImportError):
    import torch  # datasets imports it, where it is installed, when the first stream is made
start = time.perf_counter()
next(iter(bio_facts.load_dataset("{config}", split="train", streaming=True)))
print(time.perf_counter() - start)
"""


TASKS = """
import sys
import bio_facts
from bio_facts.publish.datatrove_steps import WriteShards
from datatrove.executor import LocalPipelineExecutor
config, out, logs, workers = sys.argv[1:]
if __name__ == "__main__":
    step = WriteShards({config: bio_facts.CONFIGS[config]}, out)
    LocalPipelineExecutor([step], tasks=4, workers=int(workers), logging_dir=logs).run()
"""


def build_by_tasks(config: str, folder: Path) -> dict[str, float]:
    """Seconds of four datatrove tasks that write the shards, and of the build that finds them and finishes the export."""
    program = folder / "tasks.py"
    program.write_text(TASKS, encoding="utf-8")
    out = folder / "by_tasks"
    start = time.perf_counter()
    subprocess.run([sys.executable, program, config, out, folder / "logs", str(os.cpu_count())], check=True)
    written = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bio_facts.cli", "build", config, "--output-dir", out], check=True)
    return {"tasks_seconds": written - start, "finishing_seconds": time.perf_counter() - written}


def build(config: str, num_biographies: int, folder: Path) -> dict[str, float]:
    """Seconds, peak memory and size of `bio-facts build` in a new process."""
    out = folder / str(num_biographies)
    flags = ["--num-biographies", str(num_biographies), "--output-dir", out]
    command = [sys.executable, "-m", "bio_facts.cli", "build", config, *flags]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit("build failed")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    rows = sum(split["num_rows"] for entry in manifest["configs"].values() for split in entry["splits"].values())
    size = sum(file.stat().st_size for file in out.rglob("*.parquet"))
    return {
        "rows": rows,
        "seconds": seconds,
        "rows_per_second": rows / seconds,
        "core_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_MB": usage.ru_maxrss / 1e3,
        "bytes_per_row": size / rows,
    }


def microseconds(function: Callable[[], Any]) -> float:
    """Of one row, the best of several runs over a batch."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times) / ROWS_PER_BATCH * 1e6


def stages(config: Config, folder: Path) -> dict[str, float]:
    """Microseconds of one thread for each row, by stage."""
    indices = np.arange(ROWS_PER_BATCH)
    batch = record_batch(config, "train", indices)
    text = canonical_json(batch)

    def write() -> None:
        with shard_writer(folder / "stage.parquet", TABLES[Config.table].schema) as writer:
            writer.write_batch(batch)

    drawing = microseconds(lambda: draw(config, "train", indices))
    return {
        "draw": drawing,
        "arrow": microseconds(lambda: record_batch(config, "train", indices)) - drawing,
        "canonical_json": microseconds(lambda: canonical_json(batch)),
        "sha256": microseconds(lambda: hashlib.sha256(joined_bytes(text)).digest()),
        "parquet": microseconds(write),
    }


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="n64k", help="a config of biographies (default: n64k)")
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="JSON file to write the figures to")
    arguments = parser.parse_args()
    config = get_config(arguments.config)
    first_row = subprocess.run(
        [sys.executable, "-c", FIRST_ROW.format(config=arguments.config)], capture_output=True, check=True
    )
    with tempfile.TemporaryDirectory() as folder:
        eighth = build(arguments.config, num_rows(config)["train"] // 8, Path(folder))
        whole = build(arguments.config, num_rows(config)["train"], Path(folder))
        by_tasks = build_by_tasks(arguments.config, Path(folder))
        by_stage = stages(config, Path(folder))
    cores = os.cpu_count() or 1
    floor = (by_stage["sha256"] + by_stage["parquet"]) * whole["rows"] / 1e6
    figures = {
        "config": arguments.config,
        "cores": cores,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "pyarrow": pa.__version__},
        "an_eighth": eighth,
        "whole": whole,
        "by_datatrove_tasks": by_tasks,
        "microseconds_per_row": by_stage,
        "first_streamed_row_seconds": float(first_row.stdout),
        "time_of_tasks_to_build": by_tasks["tasks_seconds"] / whole["seconds"],
        "memory_of_whole_to_eighth": whole["peak_memory_MB"] / eighth["peak_memory_MB"],
        "time_of_all_cores_to_hashing_and_compressing": whole["seconds"] * cores / floor,
    }
    print(json.dumps(figures, indent=1))
    if arguments.output_file is not None:
        arguments.output_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
