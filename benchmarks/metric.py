"""What the metric costs: seconds and memory of the module for evaluate, and of the NumPy core under it.

  python benchmarks/metric.py --output-file benchmarks/metric.json

Random scores of 128 tokens a sequence, six values among them. The module, on 20,000 sequences held as lists: its configs
default and details against one that takes the same columns and computes nothing, which is what evaluate itself costs. The
core, on 100,000 sequences made batch by batch, in a new process: its memory against that of an eighth of them.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.checks import Parser, whole_number
from bio_facts.measure.metrics import attribute_totals

MODULE = Path(__file__).parent.parent / "eval" / "attribute_recall"
NUM_TOKENS, NUM_ATTRIBUTES = 128, 6
ROWS_AT_A_TIME = 2_000
_REPEATS = 3
EMPTY = """
import datasets
import evaluate
COLUMNS = {columns}
class Empty(evaluate.Metric):
    def _info(self):
        kinds = {{name: datasets.Sequence(datasets.Value(kind)) for name, kind in COLUMNS.items()}}
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=datasets.Features(kinds))
    def _compute(self, **columns):
        return {{}}
"""
KINDS = {"predictions": "int64", "references": "int64", "nlls": "float64", "attribute_ids": "int64"}


def random_rows(num_rows: int, seed: int) -> dict[str, Any]:
    """Columns of sequences, arrays [num_rows, 128]; values of one to four tokens at every twentieth place."""
    generator = np.random.default_rng(seed)
    attribute_ids = np.zeros((num_rows, NUM_TOKENS), dtype=np.int64)
    lengths = generator.integers(1, 5, size=(num_rows, NUM_ATTRIBUTES))
    for attribute in range(NUM_ATTRIBUTES):
        for token in range(4):
            attribute_ids[:, 8 + 20 * attribute + token] = (attribute + 1) * (token < lengths[:, attribute])
    references = generator.integers(0, 6_000, size=attribute_ids.shape)
    right = generator.random(attribute_ids.shape) < 0.5
    return {
        "predictions": np.where(right, references, 6_000),
        "references": references,
        "nlls": generator.exponential(2.0, size=attribute_ids.shape),
        "attribute_ids": attribute_ids,
        "top_probabilities": generator.random(attribute_ids.shape),
        "entropies": generator.exponential(1.0, size=attribute_ids.shape),
    }


def batches(num_rows: int) -> Iterator[dict[str, Any]]:
    """Columns of num_rows sequences, a batch at a time."""
    for start in range(0, num_rows, ROWS_AT_A_TIME):
        yield random_rows(min(ROWS_AT_A_TIME, num_rows - start), seed=start)


def core(num_rows: int) -> dict[str, float]:
    """Seconds in attribute_totals, all columns given, and peak memory of this process."""
    seconds, totals = 0.0, None
    for columns in batches(num_rows):
        start = time.perf_counter()
        batch_totals = attribute_totals(
            nlls=columns["nlls"].ravel(),
            correct=(columns["predictions"] == columns["references"]).ravel(),
            attribute_ids=columns["attribute_ids"].ravel(),
            row_lengths=np.full(len(columns["nlls"]), NUM_TOKENS),
            num_attributes=NUM_ATTRIBUTES,
            top_probabilities=columns["top_probabilities"].ravel(),
            entropies=columns["entropies"].ravel(),
        )
        totals = batch_totals if totals is None else totals + batch_totals
        seconds += time.perf_counter() - start
    assert totals is not None and totals.num_values.sum() == num_rows * NUM_ATTRIBUTES
    return {
        "rows": num_rows,
        "seconds": seconds,
        "peak_memory_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def core_alone(num_rows: int) -> dict[str, float]:
    """`core` in a new process."""
    result = subprocess.run([sys.executable, __file__, "--core", str(num_rows)], capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(result.stdout)
    return measured


def module(path: str, config_name: str | None, columns: dict[str, Any]) -> float:
    """Seconds of compute() on columns of lists, the best of several."""
    import evaluate

    times = []
    for _ in range(_REPEATS):
        loaded = evaluate.load(path, config_name)
        start = time.perf_counter()
        loaded.compute(**columns)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    num_rows = whole_number("num_rows", 1)
    parser.add_argument("--num-rows", type=num_rows, default=20_000, help="for the module; five times as many for the core")
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="JSON file to write the figures to")
    parser.add_argument("--core", type=int, metavar="ROWS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.core is not None:
        print(json.dumps(core(arguments.core)))
        return
    eighth, whole = core_alone(5 * arguments.num_rows // 8), core_alone(5 * arguments.num_rows)
    lists = {name: column.tolist() for name, column in random_rows(arguments.num_rows, seed=0).items()}
    default = {name: lists[name] for name in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_HOME"] = folder  # evaluate is imported later, and keeps its files there
        empty = Path(folder) / "empty" / "empty.py"
        empty.parent.mkdir()
        empty.write_text(EMPTY.format(columns=KINDS), encoding="utf-8")
        seconds = {
            "empty": module(str(empty.parent), None, default),
            "default": module(str(MODULE), None, default),
            "details": module(str(MODULE), "details", lists | {"groups": ["seen", "unseen"] * (arguments.num_rows // 2)}),
        }
    figures = {
        "tokens_per_row": NUM_TOKENS,
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "module_rows": arguments.num_rows,
        "module_seconds": seconds,
        "core_an_eighth": eighth,
        "core_whole": whole,
        "time_of_default_to_empty": seconds["default"] / seconds["empty"],
        "memory_of_whole_to_eighth": whole["peak_memory_MB"] / eighth["peak_memory_MB"],
    }
    print(json.dumps(figures, indent=1))
    if arguments.output_file is not None:
        arguments.output_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
