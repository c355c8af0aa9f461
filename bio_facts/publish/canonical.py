"""The canonical set: the configs that are published as files, built as one export and published by one command."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from bio_facts.generate.config import CONFIGS, DATA_VERSION, BaseConfig

# A size to try things, a middle one, and the paper's; and the other tables. Every variant of a size has the evaluation splits
# of n{size}, so that they are in the set once for all of them; its train split is made on the spot (bio_facts.load_dataset).
CANONICAL: Mapping[str, BaseConfig] = MappingProxyType(
    {name: CONFIGS[name] for name in ("n1k", "n8k", "n64k", "individuals", "templates", "questions", "cloze")}
)
CANONICAL_FOLDER = Path(f"bio_facts-v{DATA_VERSION}")  # where the set is built, if no other folder is given
