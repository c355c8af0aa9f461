"""No-knowledge loss, nats per value: the loss of a model that knows the statistics of the values but no individual.

The paper's baseline is the entropy of the value POOLS. A model can also learn how often each value occurs in a POPULATION,
whose entropy is lower with few individuals. Phases are judged by the population's loss, hallucination by that of the pools.
"""

import math
from collections.abc import Mapping

import numpy as np

from bio_facts.generate.attributes import ATTRIBUTES, VALUE_PARTS
from bio_facts.generate.config import Config, get_config
from bio_facts.generate.pools import PoolSizes
from bio_facts.generate.population import Population
from bio_facts.generate.splits import get_split

_CHUNK = 1_000_000  # individuals whose values are held in memory at a time


def pool_no_knowledge_losses(pool_sizes: Mapping[str, int] | None = None) -> dict[str, float]:
    """Attribute -> log of the number of its possible values, nats per value (paper App. B.3). None: the full pools."""
    sizes = PoolSizes(pool_sizes or {})
    return {name: sum(math.log(sizes[pool]) for pool in attribute.pools) for name, attribute in ATTRIBUTES.items()}


def pool_no_knowledge_loss(pool_sizes: Mapping[str, int] | None = None) -> float:
    """Mean of pool_no_knowledge_losses over attributes; 6.767 nats per value with the full pools."""
    return mean_over_attributes(pool_no_knowledge_losses(pool_sizes))


def no_knowledge_losses(population: Population, *individuals: range) -> dict[str, float]:
    """Attribute -> entropy of the values of individuals, each counted once; the parts of a date count as independent.

    Args:
        individuals: ids, as ranges that do not overlap; by default, all individuals of pre-training.
    """
    id_ranges = individuals or (range(population.num_individuals),)
    counts = [np.zeros(population.pool_sizes[pool], dtype=np.int64) for _, pool in VALUE_PARTS]
    for ids in id_ranges:
        for start in range(ids.start, ids.stop, _CHUNK):
            columns = population.value_parts(np.arange(start, min(start + _CHUNK, ids.stop))).T
            for count, items in zip(counts, columns, strict=True):
                count += np.bincount(items, minlength=len(count))
    losses = dict.fromkeys(ATTRIBUTES, 0.0)
    for (attribute, _), count in zip(VALUE_PARTS, counts, strict=True):
        frequencies = count[count > 0] / sum(map(len, id_ranges))
        losses[attribute] -= float(np.sum(frequencies * np.log(frequencies)))
    return losses


def no_knowledge_loss(population: Population, *individuals: range) -> float:
    """Mean of no_knowledge_losses over attributes, nats per value."""
    return mean_over_attributes(no_knowledge_losses(population, *individuals))


def split_no_knowledge_losses(config: str | Config, split: str) -> dict[str, float]:
    """Attribute -> no-knowledge loss of a split, nats per value.

    It is the entropy of the values of the split's individuals. For individuals never trained on, it is that of the individuals
    of pre-training, whose statistics are the only ones that a model can learn.

    Args:
        config: of biographies, or its name, such as "n64k".

    Raises:
        ValueError: if there is no such config, or it has no such split.
    """
    resolved = get_config(config) if isinstance(config, str) else config
    return no_knowledge_losses(resolved.population, *get_split(resolved, split).learned_individuals)


def split_no_knowledge_loss(config: str | Config, split: str) -> float:
    """Mean of split_no_knowledge_losses over attributes, nats per value."""
    return mean_over_attributes(split_no_knowledge_losses(config, split))


def mean_over_attributes(losses: Mapping[str, float]) -> float:
    """The overall loss: the mean over attributes, because every biography has each attribute once."""
    return sum(losses.values()) / len(losses)
