"""Splits: which individuals and templates each one draws from, its number of rows, and the biographies at any row indices."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bio_facts.checks import check_indices
from bio_facts.generate import seeding
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import Biographies, attribute_orders
from bio_facts.generate.config import Config, check_biographies
from bio_facts.generate.distributions import Distribution, Uniform
from bio_facts.generate.pieces import piece_table
from bio_facts.generate.population import FIRST_UNSEEN_INDIVIDUAL, NUM_UNSEEN_INDIVIDUALS
from bio_facts.generate.templates import NUM_TEMPLATES, NUM_TRAINING_TEMPLATES, template_orders

_DIGESTED_ROWS = 64  # of each split
_EVALUATION_ROWS = 16_000  # paper section 1.4
_TRAINING_TEMPLATES = range(NUM_TRAINING_TEMPLATES)
_HELD_OUT_TEMPLATES = range(NUM_TRAINING_TEMPLATES, NUM_TEMPLATES)


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a config of biographies.

    stream: names its random draws. num_rows: number of exported rows; an endless split can be drawn from beyond them.
    templates: the range of positions in an individual's template order that rows draw from. num_templates: how many of them,
    for each individual and attribute; only those for training can be fewer than all. num_wordings: how many texts there are
    about each individual; None: a text is drawn for each row.
    distribution: of the samples over `num_individuals` individuals, whose ids start at `first_individual`.
    individuals: ids of all individuals that rows can be about, as ranges. learned_individuals: ids of those whose value
    frequencies a model trained on the config can know; for individuals never trained on, those of pre-training.
    """

    stream: str
    num_rows: int = _EVALUATION_ROWS
    templates: range = _HELD_OUT_TEMPLATES
    num_templates: int = len(_HELD_OUT_TEMPLATES)
    num_wordings: int | None = None
    distribution: Distribution = Uniform()
    num_individuals: int
    first_individual: int = 0
    endless: bool = False
    individuals: tuple[range, ...] = ()
    learned_individuals: tuple[range, ...] = ()

    def __post_init__(self) -> None:
        ids = (range(self.first_individual, self.first_individual + self.num_individuals),)
        object.__setattr__(self, "individuals", self.individuals or ids)
        object.__setattr__(self, "learned_individuals", self.learned_individuals or self.individuals)


def splits(config: Config) -> Mapping[str, Split]:
    """Split name -> Split of a config of biographies.

    train: training templates. Then the evaluation splits of the config's distribution, of held-out templates and uniform over
    their individuals: validation, and with fine-tuning and groups further ones. unseen: individuals never trained on.

    Raises:
        ValueError: if the config is not one of biographies.
    """
    num_individuals, distribution = check_biographies(config).num_individuals, config.distribution
    train = Split(
        stream=distribution.train_stream,
        num_rows=config.num_biographies,
        templates=_TRAINING_TEMPLATES,
        num_templates=config.num_training_templates,
        num_wordings=config.num_wordings,
        distribution=distribution,
        num_individuals=num_individuals,
        endless=True,
        individuals=distribution.trained_individuals(num_individuals),
    )
    unseen = Split(
        stream="unseen",
        num_individuals=NUM_UNSEEN_INDIVIDUALS,
        first_individual=FIRST_UNSEEN_INDIVIDUAL,
        learned_individuals=(range(num_individuals),),
    )
    evaluation = {
        name: Split(stream=stream, num_individuals=len(individuals), first_individual=individuals.start)
        for name, (stream, individuals) in distribution.evaluation_splits(num_individuals).items()
    }
    return {"train": train} | evaluation | {"unseen": unseen}


def get_split(config: Config, name: str) -> Split:
    """The split of that name; ValueError listing the names there are."""
    known = splits(config)
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"split is {name!r}; it must be one of {', '.join(known)}")
    return known[name]


def individual_ids(config: Config, split_name: str, sample_indices: ArrayLike) -> NDArray[np.int64]:
    """The individual_id of each row at `sample_indices` (int [n]), int64 [n], without making the rows. Raises as draw does."""
    split = get_split(config, split_name)
    return _individual_ids(config, split, _check_indices(split, split_name, sample_indices))


def _individual_ids(config: Config, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    stream = f"sample/{split.stream}/individual"
    drawn = split.distribution.individual_ids(split.num_individuals, config.seed, stream, indices)
    return split.first_individual + drawn


def _check_indices(split: Split, name: str, sample_indices: ArrayLike) -> NDArray[np.int64]:
    return check_indices(f"sample index of split {name}", sample_indices, None if split.endless else split.num_rows)


def draw(config: Config, split_name: str, sample_indices: ArrayLike) -> Biographies:
    """The biographies at `sample_indices` (int [n]) of a split; each depends on its own index only.

    The train split has a row for every index from 0; the other splits have 16,000 rows.

    Raises:
        ValueError: for an unknown split, or an index outside it.
    """
    split = get_split(config, split_name)
    indices = _check_indices(split, split_name, sample_indices)
    stream, population = f"sample/{split.stream}", config.population
    ids = _individual_ids(config, split, indices)
    is_drawn = config.sentence_order == "drawn"  # otherwise the order is the first one, that of ATTRIBUTES
    if split.num_wordings is None:
        order = seeding.integers(len(attribute_orders()) if is_drawn else 1, config.seed, f"{stream}/order", indices)
        index = seeding.integers(
            split.num_templates, config.seed, f"{stream}/template", indices[:, None], np.arange(len(ATTRIBUTES))
        )
        if split.num_templates < len(split.templates):
            in_use = population.training_templates(ids, split.num_templates)
            index = np.take_along_axis(in_use, index[..., None], axis=-1)[..., 0]
    else:
        wording = seeding.integers(split.num_wordings, config.seed, f"{stream}/wording", indices)
        index, order = population.wordings(ids, wording)
        order = order * is_drawn
    position = split.templates.start + index
    template_ids = template_orders()[population.template_ranks(ids), position].astype(np.int64)
    return Biographies.assemble(indices, ids, population, attribute_orders()[order], template_ids)


def data_digest(config: Config) -> str:
    """SHA-256 over the first 64 rows of every split, 64 hexadecimal digits.

    The fingerprint identifies a config and a data version; this digest identifies the rows that the installed package
    generates for them.
    """
    digest, texts = hashlib.sha256(), piece_table().texts
    for name, split in splits(config).items():
        batch = draw(config, name, np.arange(min(_DIGESTED_ROWS, split.num_rows)))
        pieces = [[[texts[piece] for piece in sentence] for sentence in row] for row in batch.piece_id.tolist()]
        rows = [name, batch.individual_id.tolist(), batch.attribute_id.tolist(), batch.template_id.tolist(), pieces]
        digest.update(json.dumps(rows).encode())
    return digest.hexdigest()
