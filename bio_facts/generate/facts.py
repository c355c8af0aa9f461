"""The facts of individuals that train has no questions about: each in a text of train, and as a question.

A fact that a model completes in the text but does not answer as a question is stored and not recalled.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bio_facts.checks import check_indices
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import NAME, NUM_SLOTS, VALUE, Biographies
from bio_facts.generate.config import Config, check_biographies
from bio_facts.generate.pieces import EMPTY, piece_table
from bio_facts.generate.pools import NAME_POOLS
from bio_facts.generate.splits import draw_about


class Facts(NamedTuple):
    """The six facts of each of n individuals.

    texts: one biography of each, as train has them, n rows of six sentences. questions: one row for each fact, in the order of
    ATTRIBUTES for each individual, 6 n rows of one question, as the split questions_not_asked has them. exchanged: the same
    questions, answered with the value of the next individual (of the first one for the last).
    """

    texts: Biographies
    questions: Biographies
    exchanged: Biographies


def num_not_asked(config: Config) -> int:
    """How many individuals train has no questions about; 0 if it has none at all."""
    return config.num_individuals - config.num_asked if config.has_questions else 0


def facts(config: Config, indices: ArrayLike) -> Facts:
    """The facts of individuals that train has no questions about; indices: int [n], from 0 to num_not_asked(config) - 1.

    Raises:
        ValueError: if train has no questions, or an index is out of range.
    """
    if not check_biographies(config).has_questions:
        raise ValueError("phases of the config have no questions; expected a config such as 'n1k-questions'")
    index = check_indices("index of an individual that is not asked about", indices, num_not_asked(config))
    ids = config.population.asked_individuals(config.num_asked + index)
    num_attributes = len(ATTRIBUTES)
    fact = ids[:, None] * num_attributes + np.arange(num_attributes)  # row i of a split of questions asks about i modulo 6
    questions = draw_about(config, "questions_not_asked", np.repeat(ids, num_attributes), fact.ravel())
    pieces = questions.piece_id.copy()
    pieces[:, :, VALUE] = np.roll(pieces[:, :, VALUE], -num_attributes, axis=0)
    return Facts(draw_about(config, "train", ids, ids), questions, dataclasses.replace(questions, piece_id=pieces))


def names_alone(config: Config, individual_ids: NDArray[np.int64]) -> Biographies:
    """The full names of individuals, int64 [n], as they begin a text, with nothing after them: n rows without a value."""
    table, names = piece_table(), config.population.name_parts(individual_ids)
    pieces = np.full((len(names), 1, NUM_SLOTS), EMPTY, dtype=np.int64)
    pieces[:, 0, NAME] = names + [table.pools[pool] for pool in NAME_POOLS]
    pieces[:, 0, NAME.start] = table.initial_first_names + names[:, 0]
    attribute, template = np.ones((2, len(names), 1), dtype=np.int64)
    return Biographies(np.arange(len(names)), individual_ids, attribute, template, pieces)
