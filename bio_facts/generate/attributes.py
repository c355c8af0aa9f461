"""The six attributes of an individual and the pools of their values (paper section 1.2)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bio_facts.checks import check_integer
from bio_facts.generate.pools import NAME_POOLS, pools


@dataclass(frozen=True)
class Attribute:
    """One attribute. attribute_id: its number in masks, from 1 (0: no value). pools: the pool of each part of a value."""

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

# (attribute, pool) of each column in arrays of value parts, in the order of ATTRIBUTES.
VALUE_PARTS: tuple[tuple[str, str], ...] = tuple(
    (attribute.name, pool) for attribute in ATTRIBUTES.values() for pool in attribute.pools
)


def full_pool_sizes() -> dict[str, int]:
    """Pool name -> number of items: value pools first, then name pools."""
    return {name: len(items) for name, items in sorted(pools().items(), key=lambda pool: pool[0] in NAME_POOLS)}


class PoolSizes(Mapping[str, int]):
    """Pool name -> number of items in use (the first ones), for every pool. Read-only and hashable.

    Args:
        sizes: the pools that are not full.

    Raises:
        ValueError: for an unknown pool, or a size that is not an integer from 1 to the number of its items.
    """

    def __init__(self, sizes: Mapping[str, int] = MappingProxyType({})) -> None:
        full = full_pool_sizes()
        if not isinstance(sizes, Mapping):
            raise ValueError(f"pool_sizes is {sizes!r}; it must be a mapping of pool names to integers")
        for pool in sizes:
            if pool not in full:
                raise ValueError(f"pool_sizes names {pool!r}; the pools are {', '.join(full)}")
        self._sizes = {
            pool: check_integer(f"pool_sizes[{pool!r}]", sizes.get(pool, size), minimum=1, maximum=size)
            for pool, size in full.items()
        }

    def __getitem__(self, pool: str) -> int:
        return self._sizes[pool]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __hash__(self) -> int:
        return hash(tuple(self._sizes.items()))

    def __repr__(self) -> str:
        return f"PoolSizes({self._sizes})"
