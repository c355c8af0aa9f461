import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.generate import biography as biography_module
from bio_facts.generate import pieces as pieces_module
from bio_facts.generate.biography import Biographies, rows
from bio_facts.generate.config import ClozeConfig, Config, IndividualsConfig, QuestionsConfig, TemplatesConfig
from bio_facts.generate.distributions import Celebrities, FineTuning, Groups, PowerLaw, Uniform, WarmUp
from bio_facts.generate.pieces import EMPTY, is_initial, piece_table, ragged_table
from bio_facts.generate.pools import pools, read_lines
from bio_facts.generate.splits import draw, splits
from bio_facts.publish import arrays as arrays_module
from bio_facts.publish.canonical_json import canonical_json, content_digest, joined_bytes
from bio_facts.publish.tables import TABLES, num_rows, record_batch

CONFIG = Config(num_individuals=50, num_biographies=1_000, seed=3, population_seed=4)
PEOPLE = IndividualsConfig(num_individuals=50, population_seed=4)
TEMPLATES = TemplatesConfig()
ASKED = QuestionsConfig(num_individuals=50, population_seed=4)
CLOZE = ClozeConfig(num_individuals=50, population_seed=4)
ATTRIBUTE_NAMES = ["birth_place", "current_location", "university", "major", "company", "birth_date"]
ROW = {
    "biography_id": 7,
    "individual_id": 400_000_000,
    "text": "Łucja São",
    "name_spans": [{"start": 0, "end": 5}, {"start": 6, "end": 9}],
    "attributes": [],
}
EVERY_TABLE = pytest.mark.parametrize("config", [CONFIG, PEOPLE, TEMPLATES, ASKED, CLOZE], ids=lambda config: config.table)


def batch_of(*given: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(given), schema=TABLES["biographies"].schema)


def as_json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


@pytest.fixture(scope="module")
def biographies() -> Biographies:
    return draw(CONFIG, "train", range(300))


# Biographies


def test_row_has_the_fields_of_the_schema_in_order(biographies: Biographies) -> None:
    row = rows(biographies)[0]
    assert list(row) == ["biography_id", "individual_id", "text", "name_spans", "attributes"]
    assert [list(span) for span in row["name_spans"]] == [["start", "end"]] * 6
    assert [list(span) for span in row["attributes"]] == [["attribute", "value", "start", "end", "template_id"]] * 6


def test_row_holds_plain_python_values(biographies: Biographies) -> None:
    row = rows(biographies)[0]
    assert type(row["biography_id"]) is type(row["individual_id"]) is int
    assert {type(value) for span in row["attributes"] for value in span.values()} == {str, int}
    assert {type(value) for span in row["name_spans"] for value in span.values()} == {int}


EVERY_KIND = [Uniform(), PowerLaw(0.6), Celebrities(), WarmUp(), FineTuning(20, replay_weight=0.5), Groups(2)]
SHORT_NAMES = {"first_names": 50, "middle_names": 40, "last_names": 50, "cities": 3, "days": 2}
SPLITS_OF_EVERY_KIND = [
    (config, split)
    for distribution in EVERY_KIND
    for config in (CONFIG.replace(distribution=distribution),)
    for split in splits(config)
]


@pytest.mark.parametrize(
    ("config", "split"),
    SPLITS_OF_EVERY_KIND,
    ids=[f"{config.distribution.name}-{split}" for config, split in SPLITS_OF_EVERY_KIND],
)
@pytest.mark.parametrize("pool_sizes", [{}, SHORT_NAMES], ids=["full", "small"])
def test_rows_are_those_of_the_batch(config: Config, split: str, pool_sizes: dict[str, int]) -> None:
    config = config.replace(pool_sizes=pool_sizes)
    assert rows(draw(config, split, range(300))) == record_batch(config, split, range(300)).to_pylist()


def test_no_biographies_have_no_rows() -> None:
    assert rows(draw(CONFIG, "train", [])) == record_batch(CONFIG, "train", []).to_pylist() == []


def test_spans_are_arrays_of_starts_and_ends(biographies: Biographies) -> None:
    for spans, column in ((biographies.name_spans(), "name_spans"), (biographies.value_spans(), "attributes")):
        expected = [[[entry["start"], entry["end"]] for entry in row[column]] for row in rows(biographies)]
        assert spans.shape == (300, 6, 2)
        assert spans.dtype == np.int64
        assert spans.tolist() == expected


def test_text_is_its_pieces_one_after_another(biographies: Biographies) -> None:
    for row, pieces in zip(rows(biographies), biographies.piece_id, strict=True):
        assert row["text"] == "".join(piece_table().texts[piece] for piece in pieces.ravel())


def test_text_has_single_spaces_and_ends_in_a_period(biographies: Biographies) -> None:
    for row in rows(biographies):
        assert row["text"] == " ".join(row["text"].split())
        assert row["text"].endswith(".")


@pytest.fixture
def accented_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All pieces with letters of two and four bytes; those of the package are ASCII."""
    table = piece_table()
    accented = tuple(text.replace("e", "é").replace("a", "𐍈") for text in table.texts)
    caches = (
        *(arrays_module.piece_texts, biography_module._piece_texts),
        *(pieces_module.piece_lengths, pieces_module.leading_spaces),
    )
    for cache in caches:
        cache.cache_clear()
    for module in (arrays_module, biography_module, pieces_module):
        monkeypatch.setattr(module, "piece_table", lambda: table._replace(texts=accented))
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("accented_pieces")
def test_spans_count_code_points_and_not_bytes() -> None:
    for row in rows(draw(CONFIG, "train", range(50))):
        values = CONFIG.population.individual(row["individual_id"]).values
        for span in row["attributes"]:
            value = values[span["attribute"]].replace("e", "é").replace("a", "𐍈")
            assert row["text"][span["start"] : span["end"]] == span["value"] == value


# Schemas

SPANS = "list<item: struct<start: int64, end: int64>>"
FOUND = "list<item: struct<attribute: string, value: string, start: int64, end: int64, template_id: int64>>"
TEMPLATE_IDS = f"struct<{', '.join(f'{name}: list<item: int64>' for name in ATTRIBUTE_NAMES)}>"


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (
            "biographies",
            {"biography_id": "int64", "individual_id": "int64", "text": "string", "name_spans": SPANS, "attributes": FOUND},
        ),
        (
            "individuals",
            {
                "individual_id": "int64",
                **dict.fromkeys(["first_name", "middle_name", "last_name", "name", *ATTRIBUTE_NAMES], "string"),
                "training_template_ids": TEMPLATE_IDS,
                "evaluation_template_ids": TEMPLATE_IDS,
            },
        ),
        ("templates", {"attribute": "string", "template_id": "int64", "template": "string"}),
        (
            "questions",
            {
                **dict.fromkeys(["question", "answer", "attribute"], "string"),
                **dict.fromkeys(["individual_id", "phrasing_id"], "int64"),
                "answerable": "bool",
            },
        ),
        (
            "cloze",
            {
                **dict.fromkeys(["prompt", "target"], "string"),
                "choices": "list<item: string>",
                "target_index": "int64",
                "attribute": "string",
                **dict.fromkeys(["biography_id", "individual_id", "template_id"], "int64"),
            },
        ),
    ],
)
def test_columns_and_types(table: str, columns: dict[str, str]) -> None:
    types = {column.name: str(column.type).replace("element:", "item:") for column in TABLES[table].schema}
    assert list(types.items()) == list(columns.items())


def test_schemas_cannot_be_changed() -> None:
    assert list(TABLES) == ["biographies", "individuals", "templates", "questions", "cloze"]
    with pytest.raises(TypeError):
        TABLES["people"] = TABLES["individuals"]  # type: ignore[index]


@EVERY_TABLE
def test_no_rows_have_the_columns_too(config: Any) -> None:
    split = next(iter(num_rows(config)))
    empty = record_batch(config, split, [])
    assert empty.num_rows == 0
    assert empty.schema.equals(TABLES[config.table].schema)
    assert canonical_json(empty).to_pylist() == []


# Splits of any table


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONFIG, {"train": 1_000, "validation": 16_000, "unseen": 16_000}),
        (
            CONFIG.replace(distribution=FineTuning(9)),
            {"train": 1_000, "validation": 16_000, "pretrain_validation": 16_000, "unseen": 16_000},
        ),
        (PEOPLE, {"pretrain": 50, "finetune": 16_000, "unseen": 16_000}),
        (TEMPLATES, {"train": 150}),
        (ASKED, {"train": 1_200, "questions_asked": 300, "questions_not_asked": 300, "questions_unseen": 192_000}),
        (CLOZE, {"validation": 96_000, "unseen": 96_000}),
    ],
    ids=["plain", "tuned", "individuals", "templates", "questions", "cloze"],
)
def test_number_of_rows(config: Any, expected: dict[str, int]) -> None:
    assert list(num_rows(config).items()) == list(expected.items())


@pytest.mark.parametrize(
    ("config", "known"),
    [(CONFIG, "train, validation, unseen"), (PEOPLE, "pretrain, finetune, unseen"), (TEMPLATES, "train")],
    ids=["biographies", "individuals", "templates"],
)
def test_unknown_split_is_refused_with_those_there_are(config: Any, known: str) -> None:
    with pytest.raises(ValueError) as error:
        record_batch(config, "test", [0])
    assert str(error.value) == f"split is 'test'; it must be one of {known}"


@pytest.mark.parametrize(
    ("config", "split", "indices", "message"),
    [
        (PEOPLE, "pretrain", [3, 50], "row index of split pretrain is 50; it must be an integer from 0 to 49"),
        (PEOPLE, "finetune", 16_000, "row index of split finetune is 16000; it must be an integer from 0 to 15,999"),
        (PEOPLE, "unseen", [-1], "row index of split unseen is -1; it must be an integer from 0 to 15,999"),
        (CLOZE, "unseen", [96_000], "row index of split unseen is 96000; it must be an integer from 0 to 95,999"),
        (ASKED, "train", [1_200], "row index of split train is 1200; it must be an integer from 0 to 1,199"),
        (TEMPLATES, "train", [150], "row index of split train is 150; it must be an integer from 0 to 149"),
        (TEMPLATES, "train", [0.5], "row index of split train is [0.5]; it must be integers, one or a sequence of them"),
        (CONFIG, "unseen", [16_000], "sample index of split unseen is 16000; it must be an integer from 0 to 15,999"),
    ],
)
def test_index_outside_the_split_is_refused(config: Any, split: str, indices: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        record_batch(config, split, indices)
    assert str(error.value) == message


# Individuals and templates


@pytest.mark.parametrize(("split", "first_id"), [("pretrain", 0), ("finetune", 400_000_000), ("unseen", 600_000_000)])
def test_rows_of_individuals_are_those_of_the_population(split: str, first_id: int) -> None:
    exported = record_batch(PEOPLE, split, [49, 0, 7, 7]).to_pylist()
    assert [row["individual_id"] - first_id for row in exported] == [49, 0, 7, 7]
    for row in exported:
        person = PEOPLE.population.individual(row["individual_id"])
        assert row["name"] == person.name == f"{row['first_name']} {row['middle_name']} {row['last_name']}"
        assert {name: row[name] for name in ATTRIBUTE_NAMES} == person.values


def test_template_ids_of_individuals_are_those_of_their_biographies() -> None:
    person = {row["individual_id"]: row for row in record_batch(PEOPLE, "pretrain", range(50)).to_pylist()}
    for split, column in {"train": "training_template_ids", "validation": "evaluation_template_ids"}.items():
        for row in record_batch(CONFIG, split, range(300)).to_pylist():
            allowed = person[row["individual_id"]][column]
            assert all(span["template_id"] in allowed[span["attribute"]] for span in row["attributes"])


def test_values_of_individuals_are_those_of_their_biographies() -> None:
    person = {row["individual_id"]: row for row in record_batch(PEOPLE, "pretrain", range(50)).to_pylist()}
    for row in record_batch(CONFIG, "train", range(300)).to_pylist():
        assert all(span["value"] == person[row["individual_id"]][span["attribute"]] for span in row["attributes"])


def test_pool_sizes_reach_the_rows_of_individuals() -> None:
    few = IndividualsConfig(num_individuals=50, pool_sizes={"majors": 1})
    assert record_batch(few, "unseen", range(30)).column("major").to_pylist() == ["Mathematics"] * 30


def test_rows_of_templates_are_the_lines_of_their_files() -> None:
    expected = [
        {"attribute": name, "template_id": k, "template": line}
        for name in ATTRIBUTE_NAMES
        for k, line in enumerate(read_lines(f"templates/{name}.txt"))
    ]
    assert record_batch(TEMPLATES, "train", range(150)).to_pylist() == expected


# Canonical JSON


def test_canonical_json_keeps_order_and_letters_and_has_no_spaces() -> None:
    assert canonical_json(batch_of(ROW)).to_pylist() == [
        '{"biography_id":7,"individual_id":400000000,"text":"Łucja São",'
        '"name_spans":[{"start":0,"end":5},{"start":6,"end":9}],"attributes":[]}'
    ]


SPAN = st.fixed_dictionaries({"start": st.integers(-(2**63), 2**63 - 1), "end": st.integers(0, 9)})
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FOUND_ENTRY = st.fixed_dictionaries(
    {"attribute": TEXT, "value": TEXT, "start": st.integers(0, 9), "end": st.integers(0, 9), "template_id": st.just(24)}
)
ANY_ROW = st.fixed_dictionaries(
    {
        "biography_id": st.integers(0, 2**63 - 1),
        "individual_id": st.integers(0, 9),
        "text": TEXT,
        "name_spans": st.lists(SPAN, max_size=3),
        "attributes": st.lists(FOUND_ENTRY, max_size=3),
    }
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(ANY_ROW, min_size=1, max_size=6), st.integers(0, 5), st.integers(0, 6))
def test_canonical_json_is_that_of_the_json_module(given: list[dict[str, Any]], start: int, length: int) -> None:
    """Of any text, also with quotes and line ends, and of a part of a batch."""
    batch = batch_of(*given)
    expected = [as_json(row) for row in batch.to_pylist()]
    assert canonical_json(batch).to_pylist() == expected
    assert canonical_json(batch.slice(start, length)).to_pylist() == expected[start : start + length]


@EVERY_TABLE
def test_canonical_json_of_rows_parses_to_them(config: Any) -> None:
    batch = record_batch(config, next(iter(num_rows(config))), range(40))
    assert [json.loads(line) for line in canonical_json(batch).to_pylist()] == batch.to_pylist()


def test_row_without_a_value_has_no_canonical_json() -> None:
    with pytest.raises(AssertionError, match="no nulls"):
        canonical_json(batch_of(ROW | {"text": None}))


def test_joined_bytes_are_those_of_the_strings() -> None:
    strings = pa.array(["a", "", "Łucja", "São"])
    assert bytes(joined_bytes(strings)) == "aŁucjaSão".encode()
    assert bytes(joined_bytes(strings.slice(2, 1))) == "Łucja".encode()
    assert bytes(joined_bytes(strings.slice(4))) == b""


# Digest


def test_content_digest_is_sha256_of_the_joined_json() -> None:
    other = ROW | {"biography_id": 8}
    expected = hashlib.sha256((as_json(ROW) + as_json(other)).encode("utf-8")).hexdigest()
    assert content_digest([batch_of(ROW, other)]) == expected


def test_content_digest_of_rows_is_that_of_their_json(biographies: Biographies) -> None:
    joined = "".join(as_json(row) for row in rows(biographies))
    assert content_digest([record_batch(CONFIG, "train", range(300))]) == hashlib.sha256(joined.encode()).hexdigest()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 100), max_size=4))
def test_content_digest_does_not_depend_on_batches(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 100]
    made = [record_batch(CONFIG, "train", np.arange(*pair)) for pair in itertools.pairwise(edges)]
    assert content_digest(made) == content_digest([record_batch(CONFIG, "train", range(100))])


def test_content_digest_depends_on_the_order_of_rows() -> None:
    one, other = batch_of(ROW), batch_of(ROW | {"biography_id": 8})
    assert content_digest([one, other]) != content_digest([other, one])


# Pieces


def test_pool_items_stand_in_the_pieces_behind_a_space() -> None:
    table = piece_table()
    for name, items in pools().items():
        start = table.pools[name]
        assert table.texts[start : start + len(items)] == tuple(f" {item}" for item in items)


def test_only_pieces_that_begin_a_text_lack_the_space() -> None:
    table = piece_table()
    initial = {table.texts[k] for k in np.flatnonzero(is_initial())}
    assert not any(text.startswith(" ") for text in initial)
    assert initial >= set(pools()["first_names"])
    assert not is_initial()[EMPTY]


def test_ragged_table_concatenates_runs() -> None:
    runs = [np.array(run, dtype=np.int64) for run in ([], [1, 2], [3], [4, 5, 6])]
    table = ragged_table(runs)
    assert table.concatenate(np.array([[3, 0], [1, 1]])).tolist() == [4, 5, 6, 1, 2, 1, 2]
    assert table.concatenate(np.array([[0]])).tolist() == []
