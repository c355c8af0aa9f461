"""Whether bf16 learns as float32 does: recipe.yaml with the tokenizer of its words, on three seeds, in both.

  python benchmarks/precision.py --seeds 10 11 12 --output-file benchmarks/precision.json    # up to an hour; reruns resume

A CPU without instructions for bf16 takes hours a run. There, products of bf16 matrices are computed in float32 from the same
rounded factors, and their results are rounded to bf16, which is what the instructions do but for the order of sums.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bio_facts.checks import Parser, whole_number
from bio_facts.runs.curves import Run, read_run
from bio_facts.runs.precision import has_bf16_instructions

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "benchmarks" / "recipe.yaml"
_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default}


class RoundedProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes products of bf16 matrices in float32, and rounds them."""

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        """One operation of PyTorch."""
        if operation in _PRODUCTS and arguments[-1].dtype == torch.bfloat16:
            return operation(*(factor.float() for factor in arguments), **(named or {})).bfloat16()
        return operation(*arguments, **(named or {}))


def train(seed: int, precision: str, output_dir: Path) -> None:
    """Train the recipe in this process, or do nothing if the run is complete."""
    emulated = precision == "bf16" and not has_bf16_instructions("cpu")
    flags = ["--config", str(RECIPE), "--tokenizer", "words", "--precision", precision, "--seed", str(seed)]
    sys.argv = ["pretrain.py", *flags, "--output-dir", str(output_dir)]
    torch.set_num_threads(1)
    with RoundedProducts() if emulated else nullcontext():
        runpy.run_path(str(ROOT / "train" / "pretrain.py"), run_name="__main__")


def figures(run: Run) -> dict[str, Any]:
    """Ends of the phases (steps), and losses (nats per value) and accuracy of the last step."""
    phase1_end, plateau_end = run.phase_ends
    validation, unseen = run.curve("validation"), run.curve("unseen")
    return {
        "phase1_end": phase1_end,
        "plateau_end": plateau_end,
        "final accuracy": validation["attribute_accuracy"][-1],
        "final loss": validation["attribute_loss"][-1],
        "final unseen loss": unseen["attribute_loss"][-1],
    }


def main() -> None:
    """Train one run after another, or one alone, and print where the phases end."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=whole_number("seeds", 0), default=[10, 11, 12], metavar="N")
    parser.add_argument(
        "--output-dir", type=Path, default=ROOT / "runs" / "precision", metavar="DIR", help="folder of the runs"
    )
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="JSON file to write the figures to")
    parser.add_argument("--run", nargs=2, metavar=("SEED", "PRECISION"), help="train this run alone")
    arguments = parser.parse_args()
    if arguments.run is not None:
        seed, precision = arguments.run
        train(int(seed), precision, arguments.output_dir / f"{precision}-{seed}")
        return
    names = [(seed, precision) for precision in ("float32", "bf16") for seed in arguments.seeds]
    base = [sys.executable, __file__, "--output-dir", str(arguments.output_dir), "--run"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for code in pool.map(lambda run: subprocess.run([*base, *map(str, run)], check=False).returncode, names):
            if code:
                sys.exit(code)
    results: dict[str, dict[str, Any]] = {}
    for seed, precision in names:
        results.setdefault(precision, {})[str(seed)] = figures(read_run(arguments.output_dir / f"{precision}-{seed}"))
    content = {"bf16 is emulated": not has_bf16_instructions("cpu"), "runs": results}
    text = json.dumps(content, indent=1)
    print(text)
    if arguments.output_file is not None:
        arguments.output_file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
