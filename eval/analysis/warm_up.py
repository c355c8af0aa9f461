"""C5: a warm-up on few individuals beats fixed distributions on a short budget (paper Fig. 4, right).

  python eval/analysis/warm_up.py runs/paper-mini/warm_up-* runs/paper-mini/power_law-{uniform,alpha0.6,alpha1.0}-s1* \\
      --results eval/results/warm_up/mini.json
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
    label="C5",
    name="warm_up",
    title="A warm-up on few individuals beats fixed distributions on a short budget",
    paper=(
        "Uniform sampling of a subset of individuals for a few epochs, then of all, beats every fixed distribution when the "
        "budget is short: with 64k individuals and 8k steps, accuracy rises from about a third to about 98 % (with 8k "
        "individuals for the first 1.5k steps). A uniform run on fewer individuals does not explain it (Fig. 4, right)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
