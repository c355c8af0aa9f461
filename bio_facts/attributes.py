"""The six attributes of an individual, and the pools that their values are drawn from (paper section 1.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bio_facts.resources import NAME_POOLS, pools
from bio_facts.seeding import check_integer


@dataclass(frozen=True)
class Attribute:
    """One attribute. `attribute_id` is its number in masks (0 = no value); `pools` has one pool for each part of a value."""

    name: str
    attribute_id: int
    pools: tuple[str, ...]


ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType(
    {
        name: Attribute(name, attribute_id, part_pools)
        for attribute_id, (name, part_pools) in enumerate(
            {
                "birth_place": ("cities",),
                "current_location": ("cities",),
                "university": ("universities",),
                "major": ("majors",),
                "company": ("companies",),
                "birth_date": ("months", "days", "years"),
            }.items(),
            start=1,
        )
    }
)

# The columns of every array of value parts: one for each (attribute, part), in the order of ATTRIBUTES.
VALUE_PARTS: tuple[tuple[str, str], ...] = tuple(
    (attribute.name, pool) for attribute in ATTRIBUTES.values() for pool in attribute.pools
)


def full_pool_sizes() -> dict[str, int]:
    """Pool name -> number of items, of the pools that values are drawn from."""
    return {name: len(items) for name, items in pools().items() if name not in NAME_POOLS}


def check_pool_sizes(sizes: Mapping[str, int]) -> dict[str, int]:
    """All pool sizes, with `sizes` in place of the full ones; ValueError naming a pool or size that cannot be."""
    full = full_pool_sizes()
    for pool, size in sizes.items():
        if pool not in full:
            raise ValueError(f"pool_sizes names {pool!r}; the value pools are {', '.join(full)}")
        check_integer(f"pool_sizes[{pool!r}]", size, minimum=1, maximum=full[pool])
    return full | dict(sizes)
