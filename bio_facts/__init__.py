"""bio_facts: fictional biographies for studying how language models learn facts (arXiv 2503.21676)."""

from typing import TYPE_CHECKING, Any

from bio_facts.attributes import ATTRIBUTES
from bio_facts.config import CONFIGS, DATA_VERSION, Config, get_config
from bio_facts.population import Individual, Population
from bio_facts.splits import draw, splits

if TYPE_CHECKING:
    from bio_facts.builder import load_dataset
    from bio_facts.records import rows

__version__ = "0.1.0"

__all__ = [
    "ATTRIBUTES", "CONFIGS", "DATA_VERSION", "Config", "Individual", "Population",
    "draw", "get_config", "load_dataset", "rows", "splits",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Training needs neither pyarrow nor datasets: what does is imported when it is first asked for."""
    if name == "rows":
        from bio_facts.records import rows

        return rows
    if name == "load_dataset":
        from bio_facts.builder import load_dataset

        return load_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
