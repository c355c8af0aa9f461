"""The paper's own curves as numbers, from eval/paper_numbers.json: for comparisons, and to test the rules of the verdicts."""

import functools
import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "paper_numbers.json"


@functools.cache
def paper_numbers() -> dict[str, Any]:
    """The content of paper_numbers.json; its key `about` says where the numbers are from."""
    numbers: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return numbers


def three_phases_curve() -> tuple[list[int], list[float], float]:
    """Steps, attribute losses (nats per value) and no-knowledge loss of the paper's default run (Fig. 2, middle)."""
    figure = paper_numbers()["fig2_three_phases"]
    return figure["step"], figure["loss"], paper_numbers()["baseline_nats"]


def three_phases_accuracy() -> tuple[list[int], list[float]]:
    """Steps and attribute accuracies of the paper's default run (Fig. 2, left)."""
    accuracy = paper_numbers()["fig2_three_phases"]["accuracy"]
    return [int(step) for step in accuracy], list(accuracy.values())
