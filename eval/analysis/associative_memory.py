"""F2: a key-value memory forgets old pairs when it learns new ones, as a language model does (paper App. F.4).

  python eval/analysis/associative_memory.py runs/paper-mini/associative_memory-* \\
      --results eval/results/associative_memory/mini.json
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
    label="F2",
    name="associative_memory",
    title="A key-value memory forgets old pairs when it learns new ones",
    paper=(
        "A perceptron with one hidden layer of ReLU units, used as a key-value memory, behaves like a language model that "
        "is fine-tuned on new individuals (App. F.4)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)
