"""Value pools and name pools: lists of items in data files, checked when they are loaded."""

import functools
import unicodedata
from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType

from bio_facts.checks import check_integer
from bio_facts.generate.text import normalized

DATA = files("bio_facts") / "data"

# Pools in files, with the number of items each must have (paper section 1.2).
_FILE_POOLS = {
    "first_names": 900,
    "middle_names": 900,
    "last_names": 1000,
    "cities": 800,
    "universities": 200,
    "majors": 100,
    "companies": 500,
}
NAME_POOLS = ("first_names", "middle_names", "last_names")

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
# The paper has days 1-31 and years 1900-2100, which include dates that do not exist. These are days 1-28 and years
# 1900-2099, as in "Physics of Language Models 3.1": 67,200 dates, all real.
_DAYS = tuple(f"{day}," for day in range(1, 29))
_YEARS = tuple(str(year) for year in range(1900, 2100))


def read_lines(path: str) -> tuple[str, ...]:
    """Lines of a UTF-8 file below bio_facts/data."""
    return tuple((DATA / path).read_text(encoding="utf-8").splitlines())


def check_pool(name: str, items: tuple[str, ...], size: int) -> None:
    """ValueError unless `items` are `size` distinct NFC strings without stray spaces and without final punctuation."""
    if len(items) != size:
        raise ValueError(f"pool {name} has {len(items)} items; it must have {size}")
    seen: dict[str, str] = {}
    for line, item in enumerate(items, start=1):
        where = f"pool {name}, line {line}, {item!r}"
        if not normalized(item):
            raise ValueError(f"{where}: an item must have letters or digits")
        if unicodedata.normalize("NFC", item) != item:
            raise ValueError(f"{where}: an item must be in Unicode normal form C")
        if item != " ".join(item.split()):
            raise ValueError(f"{where}: an item must have single spaces between words and none around them")
        if not item[-1].isalnum():
            raise ValueError(f"{where}: an item must end in a letter or a digit")
        if name in NAME_POOLS and " " in item:
            raise ValueError(f"{where}: a name part must be one word")
        if normalized(item) in seen:
            raise ValueError(f"{where}: duplicate of {seen[normalized(item)]!r}")
        seen[normalized(item)] = item


@functools.cache
def pools() -> Mapping[str, tuple[str, ...]]:
    """Pool name -> items in order: the seven pools in files and those of birth dates; a day includes its comma."""
    loaded = {name: read_lines(f"{name}.txt") for name in _FILE_POOLS}
    for name, items in loaded.items():
        check_pool(name, items, _FILE_POOLS[name])
    return MappingProxyType(loaded | {"months": _MONTHS, "days": _DAYS, "years": _YEARS})


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
