"""C8: replay reduces forgetting, but less at the start than at the end (paper Fig. 5, right).

  python eval/analysis/replay.py runs/paper-mini/replay-* runs/paper-mini/fine_tuning-new225-* \\
      --results eval/results/replay/mini.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from figures import new_figure, save_figure
from intervals import Values


def measure(arms: Arms) -> Mapping[str, Values]:
    """Placeholder."""
    return {}


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Placeholder."""
    figure, _ = new_figure(1, "placeholder")
    save_figure(figure, path)


CLAIM = Claim(
    label="C8",
    name="replay",
    title="Replay reduces forgetting, but less at the start than at the end",
    paper=(
        "When individuals of pre-training are mixed in, each with a weight of 2 to 1/32 (a new individual has 1), less old "
        "knowledge is lost in the end, but the loss of knowledge at the start remains (Fig. 5, right)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
