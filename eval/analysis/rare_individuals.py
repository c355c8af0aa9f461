"""C9: fine-tuning on rare individuals helps them but still erodes the rest, though later than with new ones (paper App. F.3).

python eval/analysis/rare_individuals.py runs/paper-mini/rare_individuals-s* --results eval/results/rare_individuals/mini.json
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
    label="C9",
    name="rare_individuals",
    title="Fine-tuning on rare individuals helps them but still erodes the rest",
    paper=(
        "Fine-tuning on individuals that were rare in pre-training raises accuracy on them without the collapse that new "
        "individuals bring (App. F.3)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
