"""C2: the plateau lasts longer with more individuals (paper Fig. 2, right).

python eval/analysis/population_size.py runs/paper-mini/population_size-* --results eval/results/population_size/mini.json
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
    label="C2",
    name="population_size",
    title="The plateau lasts longer with more individuals",
    paper=(
        "The plateau's end grows as 0.43 N^0.81 steps of 128 biographies, over populations from 4k to 256k (R2 0.998); the "
        "number of biographies of each individual until then falls slowly with N (Fig. 2, right)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
