"""A population: individual index -> names, values and template hold-out, as pure functions of (population_seed, index).

Nothing is stored: individual 3 and individual 3 million cost the same, and the first 100 individuals of a population of 1,000
are the population of 100. Indices are the individual_ids of the dataset: individuals of pre-training are 0..N-1; further ranges
hold the individuals of other roles (fine-tuning, unseen).
"""

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bio_facts.checks import check_indices, check_integer
from bio_facts.generate import seeding
from bio_facts.generate.attributes import ATTRIBUTES, VALUE_PARTS
from bio_facts.generate.pools import NAME_POOLS, PoolSizes, pools
from bio_facts.generate.settings import Setting, check_settings
from bio_facts.generate.templates import (
    NUM_TRAINING_QUESTIONS,
    NUM_TRAINING_TEMPLATES,
    question_orders,
    template_orders,
)

MAX_INDIVIDUALS = 400_000_000  # ids from here on belong to other roles
FIRST_FINE_TUNING_INDIVIDUAL = 400_000_000
FIRST_UNSEEN_INDIVIDUAL = 600_000_000
NUM_FINE_TUNING_INDIVIDUALS = 16_000  # of the largest named config
NUM_UNSEEN_INDIVIDUALS = 16_000

_FIRST_IDS = np.array([0, FIRST_FINE_TUNING_INDIVIDUAL, FIRST_UNSEEN_INDIVIDUAL])  # of each role


def name_space_size() -> int:
    """The number of full names: 900 x 900 x 1000 = 810 million."""
    return math.prod(len(pools()[pool]) for pool in NAME_POOLS)


def _check_ids(individual_ids: ArrayLike) -> NDArray[np.int64]:
    return check_indices("individual_id", individual_ids, name_space_size())


@dataclass(frozen=True)
class Individual:
    """One individual of a population: names, values by attribute, template ids by attribute."""

    individual_id: int
    first_name: str
    middle_name: str
    last_name: str
    values: Mapping[str, str]
    training_template_ids: Mapping[str, tuple[int, ...]]
    evaluation_template_ids: Mapping[str, tuple[int, ...]]

    @property
    def name(self) -> str:
        """The full name: first, middle and last."""
        return f"{self.first_name} {self.middle_name} {self.last_name}"


NumIndividuals = Annotated[int, Setting("number of individuals of pre-training", minimum=1, maximum=MAX_INDIVIDUALS)]
PopulationSeed = Annotated[int, Setting("seed of the population: names, values and held-out templates", minimum=0)]
PoolSizesSetting = Annotated[
    Mapping[str, int],
    Setting("use only the first items of a pool of values or name parts; pools that are not named are full"),
]


@dataclass(frozen=True, kw_only=True)
class Population:
    """`num_individuals` fictional individuals, fully determined by `population_seed`.

    pool_sizes: pool name -> k; values and name parts are drawn from the first k items. Pools that are not named are full. With
    smaller name pools, each role (pre-training, fine-tuning, unseen) has the same share of the names as of all 810 million.

    Raises:
        ValueError: if a number is not an integer in its range, pool_sizes names an unknown pool, or there are too few names for
            the individuals of pre-training or for the 16,000 unseen ones (which need 61,715 names in all).
    """

    num_individuals: NumIndividuals
    population_seed: PopulationSeed
    pool_sizes: PoolSizesSetting = field(default_factory=PoolSizes)

    def __post_init__(self) -> None:
        check_settings(self)
        object.__setattr__(self, "pool_sizes", PoolSizes(self.pool_sizes))
        self.check_names("num_individuals", self.num_individuals, 0)
        self.check_names("the number of unseen individuals", NUM_UNSEEN_INDIVIDUALS, FIRST_UNSEEN_INDIVIDUAL)

    @functools.cached_property
    def _first_names_of_roles(self) -> NDArray[np.int64]:
        """Rank of the first name of each role in the name space, and the end of the name space, int64 [4]."""
        num_names = math.prod(self.pool_sizes[pool] for pool in NAME_POOLS)
        return np.append(_FIRST_IDS, name_space_size()) * num_names // name_space_size()

    def check_names(self, what: str, count: int, first_id: int) -> None:
        """ValueError, naming `what`, if there are fewer than `count` names for the role whose ids start at `first_id`."""
        room = int(np.diff(self._first_names_of_roles)[_FIRST_IDS.tolist().index(first_id)])
        if count > room:
            sizes = " x ".join(str(self.pool_sizes[pool]) for pool in NAME_POOLS)
            raise ValueError(f"{what} is {count:,}; name pools of {sizes} items (pool_sizes) have names for {room:,}")

    def name_parts(self, individual_ids: ArrayLike) -> NDArray[np.int64]:
        """Items of the first-, middle- and last-name pools, int64 [n, 3]; no two individuals share all three.

        Raises:
            ValueError: if the name pools are too small to have a name for an id.
        """
        ids, firsts = _check_ids(individual_ids), self._first_names_of_roles
        role = np.searchsorted(_FIRST_IDS, ids, side="right") - 1
        rank = firsts[role] + ids - _FIRST_IDS[role]
        if (nameless := ids[rank >= firsts[role + 1]]).size:
            ranges = [f"{first:,} to {first + room - 1:,}" for first, room in zip(_FIRST_IDS, np.diff(firsts), strict=True)]
            raise ValueError(f"individual_id is {nameless[0]}; with these pool_sizes ids {', '.join(ranges)} have names")
        rank = seeding.permute(rank, int(firsts[-1]), self.population_seed, "name")
        first_and_middle, last = np.divmod(rank, self.pool_sizes["last_names"])
        first, middle = np.divmod(first_and_middle, self.pool_sizes["middle_names"])
        return np.stack([first, middle, last], axis=-1)

    def value_parts(self, individual_ids: ArrayLike) -> NDArray[np.int64]:
        """Items of the value pools, int64 [n, 8], columns as in VALUE_PARTS, each drawn independently and uniformly."""
        ids = _check_ids(individual_ids)
        columns = [
            seeding.integers(self.pool_sizes[pool], self.population_seed, f"value/{attribute}/{pool}", ids)
            for attribute, pool in VALUE_PARTS
        ]
        return np.stack(columns, axis=-1)

    def template_ranks(self, individual_ids: ArrayLike) -> NDArray[np.int64]:
        """The row of template_orders() of each individual and attribute, int64 [n, 6]."""
        num_orders, ids = len(template_orders()), _check_ids(individual_ids)
        columns = [seeding.integers(num_orders, self.population_seed, f"held_out/{attribute}", ids) for attribute in ATTRIBUTES]
        return np.stack(columns, axis=-1)

    def question_ranks(self, individual_ids: ArrayLike) -> NDArray[np.int64]:
        """The row of question_orders() of each individual and attribute, int64 [n, 6]."""
        num_orders, ids = len(question_orders()), _check_ids(individual_ids)
        streams = [f"held_out_questions/{attribute}" for attribute in ATTRIBUTES]
        return np.stack([seeding.integers(num_orders, self.population_seed, stream, ids) for stream in streams], axis=-1)

    def asked_individuals(self, ranks: ArrayLike) -> NDArray[np.int64]:
        """The individuals of pre-training in the order in which they are asked about, by rank (0..N-1), int64 [n].

        The order is a random permutation of the ids 0..N-1: the first individuals in it are those that training has questions
        about, however many they are, and low ids are as likely as high ones. It is another one for another N.
        """
        checked = check_indices("rank of an individual", ranks, self.num_individuals)
        return seeding.permute(checked, self.num_individuals, self.population_seed, "asked")

    def asked_ranks(self, individual_ids: ArrayLike) -> NDArray[np.int64]:
        """The inverse of asked_individuals: the rank (0..N-1) of each individual of pre-training, int64 [n]."""
        checked = check_indices("individual_id", individual_ids, self.num_individuals)
        return seeding.permute(checked, self.num_individuals, self.population_seed, "asked", inverse=True)

    def training_templates(self, individual_ids: ArrayLike, num_templates: int) -> NDArray[np.int64]:
        """Which of its 20 training templates each individual has for each attribute in a train split with `num_templates` of
        them: 0-based positions in its row of template_orders(), ascending, int64 [n, 6, num_templates].

        They are the first ones of an order of the 20 that is drawn for each individual and attribute, so those of 2 include
        that of 1, and 20 are all. The first ones of the row itself would not do: its ids are ascending, so they would be nearly
        the same templates for everyone. With drawn ones, all templates occur in training even if each individual has one.

        Raises:
            ValueError: if an id is not in the name space, or num_templates is not an integer from 1 to 20.
        """
        check_integer("num_templates", num_templates, 1, NUM_TRAINING_TEMPLATES)
        return np.sort(self._orders_of_training_templates(individual_ids)[..., :num_templates], axis=-1)

    def training_questions(self, individual_ids: ArrayLike, num_questions: int) -> NDArray[np.int64]:
        """As training_templates, of its 8 training questions: 0-based positions in its row of question_orders(), int64 [n, 6,
        num_questions].

        Raises:
            ValueError: if an id is not in the name space, or num_questions is not an integer from 1 to 8.
        """
        check_integer("num_questions", num_questions, 1, NUM_TRAINING_QUESTIONS)
        return np.sort(self.training_question_orders(individual_ids)[..., :num_questions], axis=-1)

    def training_question_orders(self, individual_ids: ArrayLike) -> NDArray[np.int64]:
        """The order of the 8 training questions of each individual and attribute whose first ones training_questions returns,
        as 0-based positions in its row of question_orders(), int64 [n, 6, 8]."""
        return self._orders("training_questions", NUM_TRAINING_QUESTIONS, individual_ids)

    def _orders_of_training_templates(self, individual_ids: ArrayLike) -> NDArray[np.int64]:
        """An order of the 20 training templates of each individual and attribute, as positions, int64 [n, 6, 20]."""
        return self._orders("training_templates", NUM_TRAINING_TEMPLATES, individual_ids)

    def _orders(self, stream: str, number: int, individual_ids: ArrayLike) -> NDArray[np.int64]:
        """A random order of range(number) for each individual and attribute, int64 [n, 6, number]."""
        ids, positions = _check_ids(individual_ids), np.arange(number)
        keys = [
            seeding.bits(self.population_seed, f"{stream}/{attribute}", ids[:, None], positions) for attribute in ATTRIBUTES
        ]
        return np.argsort(np.stack(keys, axis=1), axis=-1, kind="stable")

    def wordings(self, individual_ids: ArrayLike, wording_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The training templates of a wording (0..19) of each individual, one for each attribute; both arguments int64 [n].

        Returns:
            0-based positions in the individual's rows of template_orders(), int64 [n, 6]. Different wordings of an individual
            have no template in common.

        Raises:
            ValueError: if an id is not in the name space.
        """
        orders = self._orders_of_training_templates(individual_ids)
        return np.take_along_axis(orders, wording_ids[:, None, None], axis=-1)[..., 0]

    def wording_orders(self, individual_ids: ArrayLike, wording_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The order of the sentences of a wording (0..19) of each individual, drawn for each wording; both arguments int64 [n].

        Returns:
            Rows of attribute_orders() (0..719), int64 [n].

        Raises:
            ValueError: if an id is not in the name space.
        """
        num_orders = math.factorial(len(ATTRIBUTES))
        return seeding.integers(num_orders, self.population_seed, "wording_order", _check_ids(individual_ids), wording_ids)

    def individual(self, individual_id: int) -> Individual:
        """Any individual by id, including those of other roles (fine-tuning, unseen).

        Raises:
            ValueError: if individual_id is not an integer from 0 to 809,999,999, or has no name (see name_parts).
        """
        individual_id = check_integer("individual_id", individual_id, 0, name_space_size() - 1)
        names = [pools()[pool][item] for pool, item in zip(NAME_POOLS, self.name_parts([individual_id])[0], strict=True)]
        texts: dict[str, list[str]] = {attribute: [] for attribute in ATTRIBUTES}
        for (attribute, pool), item in zip(VALUE_PARTS, self.value_parts([individual_id])[0], strict=True):
            texts[attribute].append(pools()[pool][item])
        orders = template_orders()[self.template_ranks([individual_id])[0]].tolist()
        return Individual(
            individual_id=int(individual_id),
            first_name=names[0],
            middle_name=names[1],
            last_name=names[2],
            values={attribute: " ".join(parts) for attribute, parts in texts.items()},
            training_template_ids={
                attribute: tuple(order[:NUM_TRAINING_TEMPLATES]) for attribute, order in zip(ATTRIBUTES, orders, strict=True)
            },
            evaluation_template_ids={
                attribute: tuple(order[NUM_TRAINING_TEMPLATES:]) for attribute, order in zip(ATTRIBUTES, orders, strict=True)
            },
        )

    def __len__(self) -> int:
        return self.num_individuals

    def __getitem__(self, index: int) -> Individual:
        if not isinstance(index, int | np.integer) or isinstance(index, bool):
            raise TypeError(f"index is {index!r}; it must be an integer from 0 to {self.num_individuals - 1:,}")
        if not 0 <= index < self.num_individuals:
            raise IndexError(f"individual {index}; this population has individuals 0 to {self.num_individuals - 1:,}")
        return self.individual(index)

    def __iter__(self) -> Iterator[Individual]:
        return (self[index] for index in range(self.num_individuals))
