"""C4: imbalanced data shortens the plateau; too much imbalance hurts (paper Fig. 4, left and middle).

python eval/analysis/power_law.py runs/paper-mini/power_law-* --results eval/results/power_law/mini.json
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
    label="C4",
    name="power_law",
    title="Imbalanced data shortens the plateau; too much imbalance hurts",
    paper=(
        "With alpha from 0 to 1 in steps of 0.2, the plateau is shortest at 0.6 to 0.8 for every population. The alpha of "
        "the best final loss differs from that: it is higher for larger populations and for shorter budgets. Too high an "
        "alpha hurts. A few celebrities give a comparable benefit (Fig. 4)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
