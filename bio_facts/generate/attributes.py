"""The six attributes of an individual and the pools of their values (paper section 1.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


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
