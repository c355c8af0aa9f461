"""bio_facts: fictional biographies for studying how language models learn facts (arXiv 2503.21676)."""

from bio_facts.attributes import ATTRIBUTES
from bio_facts.config import CONFIGS, DATA_VERSION, Config
from bio_facts.population import Individual, Population
from bio_facts.records import rows
from bio_facts.splits import SPLITS, draw

__version__ = "0.1.0"

__all__ = ["ATTRIBUTES", "CONFIGS", "DATA_VERSION", "SPLITS", "Config", "Individual", "Population", "draw", "rows"]
