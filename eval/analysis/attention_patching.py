"""C3: the attention patterns that recall needs form during the plateau (paper section 3.1, Fig. 3; App. D.2).

  python eval/analysis/attention_patching.py runs/paper-mini/attention_patching-* \\
      --results eval/results/attention_patching/mini.json
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
    label="C3",
    name="attention_patching",
    title="The attention patterns that recall needs form during the plateau",
    paper=(
        "A model that is trained from scratch with the attention patterns of a model after its plateau has no plateau. The "
        "patterns of very early models are worse than those of an untrained model. At the position where a value is "
        "predicted, attention to the name rises during the plateau, and attention to the other text falls (Fig. 3, App. D.2)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
