"""SPLITS: which people x which templates x how many rows; and what row k of a split says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from bio_facts import seeding
from bio_facts.attributes import ATTRIBUTES
from bio_facts.biography import Biographies, attribute_orders
from bio_facts.config import Config
from bio_facts.distributions import Distribution, Uniform
from bio_facts.population import FIRST_UNSEEN_INDIVIDUAL, NUM_UNSEEN_INDIVIDUALS, template_orders
from bio_facts.templates import NUM_TEMPLATES, NUM_TRAINING_TEMPLATES

_EVALUATION_ROWS = 16_000  # paper section 1.4


@dataclass(frozen=True)
class Split:
    """One split. `templates` is the range of positions in an individual's template order that its rows draw from."""

    name: str
    distribution: Callable[[Config], Distribution]
    templates: range
    num_rows: Callable[[Config], int]
    endless: bool = False  # rows beyond num_rows exist too


_TRAINING_TEMPLATES = range(NUM_TRAINING_TEMPLATES)
_HELD_OUT_TEMPLATES = range(NUM_TRAINING_TEMPLATES, NUM_TEMPLATES)

SPLITS: Mapping[str, Split] = MappingProxyType(
    {
        split.name: split
        for split in (
            Split(
                "train",
                distribution=lambda config: config.distribution,
                templates=_TRAINING_TEMPLATES,
                num_rows=lambda config: config.num_biographies,
                endless=True,
            ),
            Split(
                "validation",
                distribution=lambda config: Uniform(config.num_individuals),
                templates=_HELD_OUT_TEMPLATES,
                num_rows=lambda config: _EVALUATION_ROWS,
            ),
            Split(
                "unseen",
                distribution=lambda config: Uniform(NUM_UNSEEN_INDIVIDUALS, FIRST_UNSEEN_INDIVIDUAL),
                templates=_HELD_OUT_TEMPLATES,
                num_rows=lambda config: _EVALUATION_ROWS,
            ),
        )
    }
)


def get_split(name: str) -> Split:
    """The split of that name; ValueError listing the names there are."""
    if not isinstance(name, str) or name not in SPLITS:
        raise ValueError(f"split is {name!r}; it must be one of {', '.join(SPLITS)}")
    return SPLITS[name]


def draw(config: Config, split_name: str, sample_indices: ArrayLike) -> Biographies:
    """The biographies at `sample_indices` (int [n]) of a split: the same whoever asks, in whatever order.

    Train has a row for every index from 0 on; validation and unseen have those that are exported.

    Raises:
        ValueError: for an unknown split, or an index outside it.
    """
    split = get_split(split_name)
    end = None if split.endless else split.num_rows(config)
    indices = seeding.check_indices(f"sample index of split {split_name}", sample_indices, end)
    stream, population = f"sample/{split_name}", config.population
    individual_ids = split.distribution(config).individual_ids(config.seed, f"{stream}/individual", indices)
    orders = attribute_orders()
    order = orders[seeding.integers(len(orders), config.seed, f"{stream}/order", indices)]
    position = split.templates.start + seeding.integers(
        len(split.templates), config.seed, f"{stream}/template", indices[:, None], np.arange(len(ATTRIBUTES))
    )
    template_ids = template_orders()[population.template_ranks(individual_ids), position].astype(np.int64)
    return Biographies.assemble(indices, individual_ids, population, order, template_ids)
