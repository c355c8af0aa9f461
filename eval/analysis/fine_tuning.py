"""C7: fine-tuning on new individuals destroys old knowledge before it teaches new (paper Fig. 5, middle).

python eval/analysis/fine_tuning.py runs/paper-mini/fine_tuning-* --results eval/results/fine_tuning/mini.json
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
    label="C7",
    name="fine_tuning",
    title="Fine-tuning on new individuals destroys old knowledge before it teaches new",
    paper=(
        "Fine-tuning on 1k to 16k new individuals, 4k steps at a constant learning rate: the loss on the individuals of "
        "pre-training jumps within the first few hundred steps, while the new ones are learned slowly (Fig. 5, middle)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
