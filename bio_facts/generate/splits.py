"""Splits: which individuals and templates each one draws from, its number of rows, and the biographies at any row indices."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bio_facts.checks import check_indices, did_you_mean
from bio_facts.generate import seeding
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import Biographies, attribute_orders
from bio_facts.generate.config import Config, check_biographies
from bio_facts.generate.distributions import Distribution, Uniform
from bio_facts.generate.mixture import Mixture
from bio_facts.generate.pieces import piece_table
from bio_facts.generate.population import FIRST_UNSEEN_INDIVIDUAL, NUM_UNSEEN_INDIVIDUALS
from bio_facts.generate.templates import (
    BIOGRAPHIES,
    FORMATS,
    NUM_QUESTIONS,
    NUM_TEMPLATES,
    NUM_TRAINING_QUESTIONS,
    NUM_TRAINING_TEMPLATES,
    QUESTIONS,
    question_orders,
    template_orders,
)

_DIGESTED_ROWS = 64  # of each split
_EVALUATION_ROWS = 16_000  # paper section 1.4
_TRAINING_TEMPLATES = range(NUM_TRAINING_TEMPLATES)
_HELD_OUT_TEMPLATES = range(NUM_TRAINING_TEMPLATES, NUM_TEMPLATES)


class Questions(NamedTuple):
    """The rows of questions of a split.

    stream: names their random draws. ranks: those of their individuals in the order of Population.asked_individuals; None: the
    individuals are those of the split. for_training: a row has six questions in training phrasings; otherwise it has one, in a
    held-out phrasing, and row i of the split asks about attribute i modulo 6.
    """

    stream: str
    ranks: range | None
    for_training: bool


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a config of biographies.

    stream: names its random draws. num_rows: number of exported rows; an endless split can be drawn from beyond them.
    templates: the range of positions in an individual's template order that rows draw from. num_templates: how many of them,
    for each individual and attribute; only those for training can be fewer than all. num_wordings: how many texts there are
    about each individual, or each of those that Config.wordings_for names; None: a text is drawn for each row.
    distribution: of the samples over `num_individuals` individuals, whose ids start at `first_individual`.
    individuals: ids of all individuals that rows can be about, as ranges. learned_individuals: ids of those whose value
    frequencies a model trained on the config can know; for individuals never trained on, those of pre-training.
    questions: what rows of questions are drawn from, in a split that has them. mixture: which rows these are; None: all.
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
    questions: Questions | None = None
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        ids = (range(self.first_individual, self.first_individual + self.num_individuals),)
        object.__setattr__(self, "individuals", self.individuals or ids)
        object.__setattr__(self, "learned_individuals", self.learned_individuals or self.individuals)

    @property
    def end(self) -> int | None:
        """The number of rows that can be drawn; None: there is a row for every index."""
        if self.mixture is not None:
            return self.mixture.num_samples
        return None if self.endless else self.num_rows

    @property
    def num_sentences(self) -> int:
        """The number of sentences of a row."""
        return len(ATTRIBUTES) if self.questions is None or self.questions.for_training else 1

    def locate(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each row (int64 [n]) is one of questions, bool [n], and its index among those of its format, int64 [n]."""
        if self.mixture is None:
            return np.full(len(indices), self.questions is not None), indices
        return self.mixture.locate(indices)


def splits(config: Config) -> Mapping[str, Split]:
    """Split name -> Split of a config of biographies.

    train: training templates. Then the evaluation splits of the config's distribution, of held-out templates and uniform over
    their individuals: validation, and with fine-tuning and groups further ones. unseen: individuals never trained on.

    If train has questions, there are splits of rows with one question each, in a held-out phrasing: questions_asked, of the
    individuals that train has questions about, questions_not_asked, of the others of train, and questions_unseen.

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
        questions=Questions("questions", range(config.num_asked), for_training=True) if config.has_questions else None,
        mixture=config.phases,
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
    of_questions = {}
    if config.has_questions:
        of_questions = {
            "questions_asked": _recall(evaluation["validation"], "questions_asked", range(config.num_asked)),
            "questions_not_asked": _recall(
                evaluation["validation"], "questions_not_asked", range(config.num_asked, num_individuals)
            ),
            "questions_unseen": _recall(unseen, "questions_unseen", None),
        }
    return {"train": train} | evaluation | {"unseen": unseen} | of_questions


def _recall(split: Split, stream: str, ranks: range | None) -> Split:
    """The split with one question in each row, in place of a biography."""
    return dataclasses.replace(split, stream=stream, questions=Questions(stream, ranks, for_training=False))


def get_split(config: Config, name: str) -> Split:
    """The split of that name; ValueError listing the names there are."""
    known = splits(config)
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"split is {name!r}; it must be one of {', '.join(known)}{did_you_mean(name, known)}")
    return known[name]


def individual_ids(config: Config, split_name: str, sample_indices: ArrayLike) -> NDArray[np.int64]:
    """The individual_id of each row at `sample_indices` (int [n]), int64 [n], without making the rows. Raises as draw does."""
    split = get_split(config, split_name)
    return _individual_ids(config, split, *split.locate(_check_indices(split, split_name, sample_indices)))


def _individual_ids(
    config: Config, split: Split, is_question: NDArray[np.bool_], index: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The individual of each row, given as Split.locate does."""
    stream = f"sample/{split.stream}/individual"
    ids = split.first_individual + split.distribution.individual_ids(split.num_individuals, config.seed, stream, index)
    if split.questions is not None and (ranks := split.questions.ranks) is not None:
        stream = f"sample/{split.questions.stream}/individual"
        rank = ranks.start + seeding.integers(len(ranks), config.seed, stream, index[is_question])
        ids[is_question] = config.population.asked_individuals(rank)
    return ids


def _check_indices(split: Split, name: str, sample_indices: ArrayLike) -> NDArray[np.int64]:
    return check_indices(f"sample index of split {name}", sample_indices, split.end)


def formats(config: Config, split_name: str, sample_indices: ArrayLike) -> NDArray[np.object_]:
    """The format of each row at `sample_indices` (int [n]), "biographies" or "questions", [n]. Raises as draw does."""
    split = get_split(config, split_name)
    is_question, _ = split.locate(_check_indices(split, split_name, sample_indices))
    return np.array([BIOGRAPHIES, QUESTIONS], dtype=object)[is_question.astype(np.int64)]


def draw(config: Config, split_name: str, sample_indices: ArrayLike) -> Biographies:
    """The biographies at `sample_indices` (int [n]) of a split; each depends on its own index only.

    The train split has a row for every index from 0, up to the end of its phases if it has any; the other splits have 16,000.

    Raises:
        ValueError: for an unknown split, or an index outside it.
    """
    split = get_split(config, split_name)
    indices = _check_indices(split, split_name, sample_indices)
    is_question, index = split.locate(indices)
    ids = _individual_ids(config, split, is_question, index)
    order = np.empty((len(indices), split.num_sentences), dtype=np.int64)
    template_ids = np.empty((len(indices), len(ATTRIBUTES)), dtype=np.int64)
    for chosen, contents in ((~is_question, _sentences), (is_question, _questions)):
        if chosen.any():
            order[chosen], template_ids[chosen] = contents(config, split, ids[chosen], index[chosen])
    return Biographies.assemble(indices, ids, config.population, order, template_ids)


def draw_about(config: Config, split_name: str, individuals: NDArray[np.int64], indices: NDArray[np.int64]) -> Biographies:
    """Rows about given individuals, int64 [n], as a split has them: of biographies, or of one question in splits of questions.

    Each row depends on its individual and its index, int64 [n], alone. Its other draws are not those of any row of the split.

    Raises:
        ValueError: for an unknown split.
    """
    split = get_split(config, split_name)
    is_recall = split.questions is not None and not split.questions.for_training
    split = dataclasses.replace(split, stream="about")
    order, template_ids = (_questions if is_recall else _sentences)(config, split, individuals, indices)
    return Biographies.assemble(indices, individuals, config.population, order, template_ids)


def _sentences(
    config: Config, split: Split, ids: NDArray[np.int64], indices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of biographies: the attribute positions in order of appearance, and the template_id of each attribute, int64 [n, 6]."""
    stream, population = f"sample/{split.stream}", config.population
    order = _orders(config, stream, ids, indices)
    index = seeding.integers(
        split.num_templates, config.seed, f"{stream}/template", indices[:, None], np.arange(len(ATTRIBUTES))
    )
    if split.num_templates < len(split.templates):
        index = _at(population.training_templates(ids, split.num_templates), index)
    if split.num_wordings is not None:
        worded = np.ones(len(ids), dtype=bool)
        if config.wordings_for == "not_asked":
            worded = population.asked_ranks(ids) >= config.num_asked
        wording = seeding.integers(split.num_wordings, config.seed, f"{stream}/wording", indices[worded])
        index[worded] = population.wordings(ids[worded], wording)
        if config.sentence_order == "drawn":
            order[worded] = population.wording_orders(ids[worded], wording)
    position = split.templates.start + index
    return attribute_orders()[order], template_orders()[population.template_ranks(ids), position].astype(np.int64)


def _at(choices: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of `choices`, int64 [n, 6, k], the one at `index`, int64 [n, 6], for each individual and attribute, int64 [n, 6]."""
    return np.take_along_axis(choices, index[..., None], axis=-1)[..., 0]


def _orders(config: Config, stream: str, ids: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order of the sentences of each row that has no wording, as a row of attribute_orders(), int64 [n]."""
    if config.sentence_order == "fixed":
        return np.zeros_like(ids)  # that of ATTRIBUTES
    if config.sentence_order == "individual":
        return config.population.wording_orders(ids, np.zeros_like(ids))
    return seeding.integers(len(attribute_orders()), config.seed, f"{stream}/order", indices)


def _questions(
    config: Config, split: Split, ids: NDArray[np.int64], indices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of rows of questions: the attribute positions in order of appearance, int64 [n, 6] or [n, 1], and the template_id of each
    attribute, int64 [n, 6]."""
    assert split.questions is not None
    (stream, _, for_training), population = split.questions, config.population
    attributes = np.arange(len(ATTRIBUTES))
    if for_training:
        num_orders = 1 if config.sentence_order == "fixed" else len(attribute_orders())  # the first is that of ATTRIBUTES
        order = attribute_orders()[seeding.integers(num_orders, config.seed, f"sample/{stream}/order", indices)]
    else:
        order = indices[:, None] % len(attributes)
    if config.num_phrasings == 1:
        phrasing = np.zeros((len(ids), len(attributes)), dtype=np.int64)
    else:
        number = config.num_phrasings if for_training else NUM_QUESTIONS - NUM_TRAINING_QUESTIONS
        position = seeding.integers(number, config.seed, f"sample/{stream}/phrasing", indices[:, None], attributes)
        if for_training:
            position = _at(population.training_questions(ids, number), position)
        else:
            position += NUM_TRAINING_QUESTIONS
        phrasing = question_orders()[population.question_ranks(ids), position].astype(np.int64)
    return order, FORMATS[QUESTIONS].start + phrasing


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
