"""No-knowledge loss, nats per value: the loss of a model that knows the statistics of the values but no individual.

The paper's baseline is the entropy of the value POOLS. A model can also learn how often each value occurs in a POPULATION,
whose entropy is lower with few individuals. Phases are judged by the population's loss, hallucination by that of the pools.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

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
    losses = dict.fromkeys(ATTRIBUTES, 0.0)
    for (attribute, _), frequencies in zip(VALUE_PARTS, _frequencies(population, *id_ranges), strict=True):
        occurring = frequencies[frequencies > 0]
        losses[attribute] -= float(np.sum(occurring * np.log(occurring)))
    return losses


def _frequencies(
    population: Population, *id_ranges: range, weights: NDArray[np.float64] | None = None
) -> list[NDArray[np.float64]]:
    """Of each part of the values, how often each of its items occurs. weights: those of the individuals, by id."""
    totals = [np.zeros(population.pool_sizes[pool]) for _, pool in VALUE_PARTS]
    for ids in id_ranges:
        for start in range(ids.start, ids.stop, _CHUNK):
            chunk = np.arange(start, min(start + _CHUNK, ids.stop))
            columns = population.value_parts(chunk).T
            for total, items in zip(totals, columns, strict=True):
                total += np.bincount(items, weights=None if weights is None else weights[chunk], minlength=len(total))
    return [total / total.sum() for total in totals]


def no_knowledge_loss(population: Population, *individuals: range) -> float:
    """Mean of no_knowledge_losses over attributes, nats per value."""
    return mean_over_attributes(no_knowledge_losses(population, *individuals))


def weighted_no_knowledge_loss(population: Population, weights: NDArray[np.float64]) -> float:
    """No-knowledge loss of a model that was trained where individual i has weight weights[i] above 0; nats per value.

    The model knows how often each value occurs in its training data, which differs from how often it occurs in the
    population: its loss, with every individual of pre-training counted once, is at least no_knowledge_loss, which it is with
    equal weights.
    """
    if len(weights) != population.num_individuals or not (weights > 0).all():
        raise ValueError(
            f"there are {len(weights)} weights, the least is {weights.min(initial=np.inf):g}; expected "
            f"{population.num_individuals} weights above 0, one for each individual"
        )
    everyone = range(population.num_individuals)
    losses = dict.fromkeys(ATTRIBUTES, 0.0)
    for (attribute, _), actual, known in zip(
        VALUE_PARTS, _frequencies(population, everyone), _frequencies(population, everyone, weights=weights), strict=True
    ):
        occurs = actual > 0
        losses[attribute] -= float(np.sum(actual[occurs] * np.log(known[occurs])))
    return mean_over_attributes(losses)


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
