"""bio_facts: fictional biographies for studying how language models learn facts (arXiv 2503.21676)."""

import importlib
from typing import TYPE_CHECKING, Any

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS, DATA_VERSION, Config, get_config
from bio_facts.generate.population import Individual, Population
from bio_facts.generate.splits import draw, splits

if TYPE_CHECKING:
    from bio_facts.measure.scoring import Scores, score
    from bio_facts.publish.datasets_builder import load_dataset

__version__ = "0.1.0"

__all__ = [
    "ATTRIBUTES", "CONFIGS", "DATA_VERSION", "Config", "Individual", "Population",
    "Scores", "draw", "get_config", "load_dataset", "rows", "score", "splits",
]  # fmt: skip


# Drawing biographies needs neither pyarrow nor datasets nor torch: names that do are imported on first use.
_LAZY = {"load_dataset": "publish.datasets_builder", "Scores": "measure.scoring", "score": "measure.scoring"}


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"bio_facts.{_LAZY[name]}"), name)
