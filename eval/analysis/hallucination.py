"""C6: hallucination arrives with knowledge (paper Fig. 5, left).

python eval/analysis/hallucination.py runs/paper-mini/three_phases-s* --results eval/results/hallucination/mini.json
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
    label="C6",
    name="hallucination",
    title="Hallucination arrives with knowledge",
    paper=(
        "As the knowledge phase begins, the loss on individuals never seen rises above the no-knowledge loss: the model "
        "becomes overconfident about them, though less confident than about individuals it has seen (Fig. 5, left)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
