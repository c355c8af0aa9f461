"""The five tables: their columns, splits and rows as Arrow record batches.

They are biographies, individuals, templates, questions and cloze.
"""

import abc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from bio_facts.checks import check_indices, did_you_mean
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import CUE, Biographies
from bio_facts.generate.config import BaseConfig, ClozeConfig, Config, IndividualsConfig, QuestionsConfig, TemplatesConfig
from bio_facts.generate.pools import NAME_POOLS
from bio_facts.generate.population import (
    FIRST_FINE_TUNING_INDIVIDUAL,
    FIRST_UNSEEN_INDIVIDUAL,
    NUM_FINE_TUNING_INDIVIDUALS,
    NUM_UNSEEN_INDIVIDUALS,
)
from bio_facts.generate.splits import draw, splits
from bio_facts.generate.templates import (
    ANSWER,
    FORMATS,
    NUM_QUESTIONS,
    NUM_TEMPLATES,
    NUM_TRAINING_QUESTIONS,
    NUM_TRAINING_TEMPLATES,
    QUESTIONS,
    question_orders,
    template_orders,
    templates,
)
from bio_facts.publish import arrays, cloze

_INT, _TEXT = pa.int64(), pa.string()
_C = TypeVar("_C", bound=BaseConfig)


class Table(abc.ABC, Generic[_C]):
    """What the configs of one table (BaseConfig.table) have in common: `schema`, the columns, and how rows are made."""

    schema: pa.Schema

    @abc.abstractmethod
    def num_rows(self, config: _C) -> dict[str, int]:
        """Split name -> number of exported rows."""

    @abc.abstractmethod
    def record_batch(self, config: _C, split: str, indices: ArrayLike) -> pa.RecordBatch:
        """Rows `indices` (int [n]) of a split; ValueError for an unknown split or an index outside it."""

    def _checked_indices(self, config: _C, split: str, indices: ArrayLike) -> NDArray[np.int64]:
        known = self.num_rows(config)
        if not isinstance(split, str) or split not in known:
            raise ValueError(f"split is {split!r}; it must be one of {', '.join(known)}{did_you_mean(split, known)}")
        return check_indices(f"row index of split {split}", indices, known[split])


class BiographiesTable(Table[Config]):
    """One row for each biography."""

    schema = pa.schema(
        {
            "biography_id": _INT,
            "individual_id": _INT,
            "text": _TEXT,
            "name_spans": pa.list_(pa.struct({"start": _INT, "end": _INT})),
            "attributes": pa.list_(
                pa.struct({"attribute": _TEXT, "value": _TEXT, "start": _INT, "end": _INT, "template_id": _INT})
            ),
        }
    )

    def num_rows(self, config: Config) -> dict[str, int]:
        """See Table."""
        return {name: split.num_rows for name, split in splits(config).items()}

    def record_batch(self, config: Config, split: str, indices: ArrayLike) -> pa.RecordBatch:
        """See Table; the rows are those of bio_facts.rows."""
        biographies = draw(config, split, indices)
        num_sentences = biographies.attribute_id.shape[1]
        name_spans, value_spans = biographies.name_spans(), biographies.value_spans()
        attributes = {
            "attribute": pa.array(list(ATTRIBUTES)).take(pa.array(biographies.attribute_id.ravel() - 1)),
            "value": arrays.values(biographies),
            "start": value_spans[:, :, 0],
            "end": value_spans[:, :, 1],
            "template_id": biographies.template_id,
        }
        columns = [
            pa.array(biographies.biography_id),
            pa.array(biographies.individual_id),
            arrays.joined(biographies.pieces_in_order()),
            arrays.lists(arrays.structs({"start": name_spans[:, :, 0], "end": name_spans[:, :, 1]}), num_sentences),
            arrays.lists(arrays.structs(attributes), num_sentences),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


class IndividualsTable(Table[IndividualsConfig]):
    """One row for each individual: name, values and template ids."""

    _template_ids = pa.struct(dict.fromkeys(ATTRIBUTES, pa.list_(_INT)))
    schema = pa.schema(
        {
            "individual_id": _INT,
            **dict.fromkeys(("first_name", "middle_name", "last_name", "name", *ATTRIBUTES), _TEXT),
            "training_template_ids": _template_ids,
            "evaluation_template_ids": _template_ids,
        }
    )

    def num_rows(self, config: IndividualsConfig) -> dict[str, int]:
        """See Table."""
        return {name: len(ids) for name, ids in self._individual_ids(config).items()}

    @staticmethod
    def _individual_ids(config: IndividualsConfig) -> dict[str, range]:
        """Split -> ids: all of pre-training, and the fine-tuning and unseen individuals of the named configs."""
        fine_tuning, unseen = FIRST_FINE_TUNING_INDIVIDUAL, FIRST_UNSEEN_INDIVIDUAL
        return {
            "pretrain": range(config.num_individuals),
            "finetune": range(fine_tuning, fine_tuning + NUM_FINE_TUNING_INDIVIDUALS),
            "unseen": range(unseen, unseen + NUM_UNSEEN_INDIVIDUALS),
        }

    def record_batch(self, config: IndividualsConfig, split: str, indices: ArrayLike) -> pa.RecordBatch:
        """See Table."""
        rows = self._checked_indices(config, split, indices)
        ids, population = self._individual_ids(config)[split].start + rows, config.population
        names = [arrays.items(pool, items) for pool, items in zip(NAME_POOLS, population.name_parts(ids).T, strict=True)]
        items = iter(population.value_parts(ids).T)
        values = [
            pc.binary_join_element_wise(*(arrays.items(pool, next(items)) for pool in attribute.pools), " ")
            for attribute in ATTRIBUTES.values()
        ]
        orders = template_orders()[population.template_ranks(ids)].astype(np.int64)
        template_ids = [
            arrays.structs(
                {name: arrays.lists(pa.array(kind[:, k].ravel()), kind.shape[2]) for k, name in enumerate(ATTRIBUTES)}
            )
            for kind in np.split(orders, [NUM_TRAINING_TEMPLATES], axis=2)
        ]
        full_names = pc.binary_join_element_wise(*names, " ")
        columns = [pa.array(ids), *names, full_names, *values, *template_ids]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


class TemplatesTable(Table[TemplatesConfig]):
    """One row for each sentence template."""

    schema = pa.schema({"attribute": _TEXT, "template_id": _INT, "template": _TEXT})

    def num_rows(self, config: TemplatesConfig) -> dict[str, int]:
        """See Table."""
        return {"train": len(ATTRIBUTES) * NUM_TEMPLATES}

    def record_batch(self, config: TemplatesConfig, split: str, indices: ArrayLike) -> pa.RecordBatch:
        """See Table."""
        rows = self._checked_indices(config, split, indices)
        all_templates = [
            {"attribute": attribute, "template_id": template_id, "template": template.fill("{name}", "{value}")}
            for attribute in ATTRIBUTES
            for template_id, template in enumerate(templates()[attribute])
        ]
        return pa.RecordBatch.from_pylist(all_templates, schema=self.schema).take(pa.array(rows))


class _Questions(NamedTuple):
    """What a split of the table of questions is about.

    individuals: their ranks in the order of Population.asked_individuals; or the ids of individuals that are in no train split.
    positions: of phrasings, those for training and then those held out, for each individual and attribute.
    """

    individuals: range
    positions: range


class QuestionsTable(Table[QuestionsConfig]):
    """One row for each question about an individual, in each phrasing of the split.

    Of n individuals, rows 0 to 6 n - 1 ask each of them all six questions in one phrasing, the next 6 n rows in another, and so
    on. The first k phrasings of train are those that a Config with num_phrasings = k uses.
    """

    schema = pa.schema(
        {
            "question": _TEXT,
            "answer": _TEXT,
            "attribute": _TEXT,
            "individual_id": _INT,
            "phrasing_id": _INT,
            "answerable": pa.bool_(),
        }
    )

    @staticmethod
    def _questions(config: QuestionsConfig) -> dict[str, _Questions]:
        for_training, held_out = range(NUM_TRAINING_QUESTIONS), range(NUM_TRAINING_QUESTIONS, NUM_QUESTIONS)
        asked = range(config.num_asked)
        unseen = range(FIRST_UNSEEN_INDIVIDUAL, FIRST_UNSEEN_INDIVIDUAL + NUM_UNSEEN_INDIVIDUALS)
        return {
            "train": _Questions(asked, for_training),
            "questions_asked": _Questions(asked, held_out),
            "questions_not_asked": _Questions(range(config.num_asked, config.num_individuals), held_out),
            "questions_unseen": _Questions(unseen, held_out),
        }

    def num_rows(self, config: QuestionsConfig) -> dict[str, int]:
        """See Table."""
        return {
            name: len(ATTRIBUTES) * len(split.individuals) * len(split.positions)
            for name, split in self._questions(config).items()
        }

    def record_batch(self, config: QuestionsConfig, split: str, indices: ArrayLike) -> pa.RecordBatch:
        """See Table. The answer to a question about an individual that is in no train split is the empty string."""
        rows, population = self._checked_indices(config, split, indices), config.population
        individuals, positions = self._questions(config)[split]
        facts, attribute = np.divmod(rows, len(ATTRIBUTES))
        position, individual = np.divmod(facts, len(individuals))
        position += positions.start
        answerable = individuals.start < FIRST_UNSEEN_INDIVIDUAL
        ids = individuals.start + individual
        if answerable:
            ids = population.asked_individuals(ids)  # from ranks
        distinct, row = np.unique(ids, return_inverse=True)
        if positions.start == 0:
            position = population.training_question_orders(distinct)[row, attribute, position]
        phrasing = question_orders()[population.question_ranks(distinct)[row, attribute], position].astype(np.int64)
        template_ids = np.repeat(FORMATS[QUESTIONS].start + phrasing[:, None], len(ATTRIBUTES), axis=1)
        texts = Biographies.assemble(rows, ids, population, attribute[:, None], template_ids)
        columns = [
            pc.utf8_slice_codeunits(arrays.joined(texts.pieces_in_order()[:, : CUE.stop]), 0, -len(ANSWER)),
            arrays.values(texts) if answerable else pa.repeat("", len(rows)),
            pa.array(list(ATTRIBUTES)).take(pa.array(attribute)),
            pa.array(ids),
            pa.array(phrasing),
            pa.repeat(answerable, len(rows)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


class ClozeTable(Table[ClozeConfig]):
    """One row for each value of the biographies that a uniform Config evaluates on, in order of biography and sentence."""

    schema = cloze.SCHEMA

    @staticmethod
    def _biographies(config: ClozeConfig) -> Config:
        return Config(
            num_individuals=config.num_individuals,
            population_seed=config.population_seed,
            pool_sizes=config.pool_sizes,
            num_biographies=1,  # of train, which has no cloze tasks
            seed=config.seed,
        )

    def num_rows(self, config: ClozeConfig) -> dict[str, int]:
        """See Table."""
        known = splits(self._biographies(config)).items()
        return {name: len(ATTRIBUTES) * split.num_rows for name, split in known if name != "train"}

    def record_batch(self, config: ClozeConfig, split: str, indices: ArrayLike) -> pa.RecordBatch:
        """See Table."""
        biography, sentence = np.divmod(self._checked_indices(config, split, indices), len(ATTRIBUTES))
        biographies = draw(self._biographies(config), split, biography)
        return cloze.cloze_batch(biographies, sentence, split, config.num_choices, config.pool_sizes)


# Table name (BaseConfig.table) -> Table.
TABLES: Mapping[str, Table[Any]] = MappingProxyType(
    {
        Config.table: BiographiesTable(),
        IndividualsConfig.table: IndividualsTable(),
        TemplatesConfig.table: TemplatesTable(),
        QuestionsConfig.table: QuestionsTable(),
        ClozeConfig.table: ClozeTable(),
    }
)


def table_of(config: BaseConfig) -> Table[Any]:
    """The table that a config is of; ValueError if it is no config."""
    if not isinstance(config, BaseConfig):
        raise ValueError(f"config is {config!r}; it must be a config such as CONFIGS['n64k']")
    return TABLES[config.table]


def num_rows(config: BaseConfig) -> dict[str, int]:
    """Split name -> number of exported rows, for a config of any table."""
    return table_of(config).num_rows(config)


def record_batch(config: BaseConfig, split: str, indices: ArrayLike) -> pa.RecordBatch:
    """Rows `indices` (int [n]) of a split of a config of any table; the columns are those of table_of(config).schema.

    Raises:
        ValueError: for an unknown split, or an index outside it.
    """
    return table_of(config).record_batch(config, split, indices)
