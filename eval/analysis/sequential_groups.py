"""F3: groups in sequence are learned ever faster and forgotten faster still (paper App. F.5).

  python eval/analysis/sequential_groups.py runs/paper-mini/sequential_groups-* \\
      --results eval/results/sequential_groups/mini.json
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
    label="F3",
    name="sequential_groups",
    title="Groups in sequence are learned ever faster and forgotten faster still",
    paper=(
        "Groups of individuals that are presented one after another are learned ever faster: only the first group has a "
        "plateau. The group before is forgotten faster than it was learned (App. F.5)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
