"""Early stopping: a run ends at its last step, or at the first evaluation that decides its question (recipe key stop_below)."""

from collections.abc import Mapping
from typing import Any


def is_decided(line: Mapping[str, Any], stop_below: float | None) -> bool:
    """Whether a line of metrics has a loss below `stop_below` x its no-knowledge loss, at which a run may end; None: never."""
    return stop_below is not None and bool(line["attribute_loss"] < stop_below * line["no_knowledge_loss"])


def ends_run(line: Mapping[str, Any], num_steps: int, stop_below: float | None) -> bool:
    """Whether a run ends with this line of metrics: at step `num_steps`, or because it is decided before."""
    return bool(line["step"] == num_steps) or is_decided(line, stop_below)
