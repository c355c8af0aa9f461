"""What must hold of every split of every kind of config; goldens.json has the digests of all named ones."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bio_facts.generate.config import CONFIGS
from bio_facts.generate.pools import read_lines
from bio_facts.publish.canonical_json import canonical_json, content_digest
from bio_facts.publish.tables import TABLES, num_rows, record_batch

NUM_ROWS = 10
# Parameters that no named config sets, and that change how rows come about.
VARIANTS = {
    "n1k-templates1": CONFIGS["n1k"].replace(num_training_templates=1),
    "n1k-finetune1k-templates3-fixed": CONFIGS["n1k-finetune1k"].replace(
        num_training_templates=3, sentence_order="fixed", replay_weight=1
    ),
    "n1k-finetune1k-wordings2": CONFIGS["n1k-finetune1k"].replace(num_wordings=2, replay_weight=1),
    "n1k-order-of-individuals": CONFIGS["n1k"].replace(sentence_order="individual"),
    "n1k-wordings2-order-of-rows": CONFIGS["n1k"].replace(num_wordings=2, sentence_order="row"),
    "n1k-questions-mixed": CONFIGS["n1k-questions"].replace(
        phases=[[3, {"biographies": 1}], [256_000, {"biographies": 2, "questions": 3}]], num_phrasings=3
    ),
    "n1k-questions-wordings1": CONFIGS["n1k-questions"].replace(num_wordings=1, wordings_for="not_asked"),
    "n1k-groups-rounds": CONFIGS["n1k-groups"].replace(num_group_biographies=1, num_rounds=2),
}


def kind(name: str) -> tuple[Any, ...]:
    """What makes a config's rows come about in another way: table, distribution, and whether it replays individuals."""
    parameters = CONFIGS[name].parameters
    return CONFIGS[name].table, parameters.get("distribution"), bool(parameters.get("replay_weight"))


# The first config of each kind, and the one with the most individuals.
NAMES = [*{kind(name): name for name in reversed(CONFIGS)}.values(), "n256k"]
TRIED: dict[str, Any] = {name: CONFIGS[name] for name in NAMES} | VARIANTS
EVERY_SPLIT = [(name, split) for name, config in TRIED.items() for split in num_rows(config)]
ATTRIBUTE_NAMES = ("birth_place", "current_location", "university", "major", "company", "birth_date")
LINES = {
    attribute: read_lines(f"templates/{attribute}.txt") + read_lines(f"questions/{attribute}.txt")
    for attribute in ATTRIBUTE_NAMES
}

PROGRAM = f"""
import json, sys
from bio_facts.generate.config import config_from
from bio_facts.publish.canonical_json import content_digest
from bio_facts.publish.tables import num_rows, record_batch
print(json.dumps({{
    name + "/" + split: content_digest([record_batch(config, split, range({NUM_ROWS}))])
    for name, table, parameters in json.load(sys.stdin)
    for config in [config_from(table, parameters)]
    for split in num_rows(config)
}}))
"""


def of_table(table: str) -> pytest.MarkDecorator:
    """For the splits of that table only."""
    chosen = [(name, split) for name, split in EVERY_SPLIT if TRIED[name].table == table]
    return pytest.mark.parametrize("config_and_split", chosen, indirect=True, ids="/".join)


@pytest.fixture(scope="module", params=EVERY_SPLIT, ids="/".join)
def config_and_split(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Of module scope, so that pytest runs all tests of a split one after another, and makes its rows once."""
    return request.param


@pytest.fixture(scope="module")
def config(config_and_split: tuple[str, str]) -> Any:
    return TRIED[config_and_split[0]]


@pytest.fixture(scope="module")
def split(config_and_split: tuple[str, str]) -> str:
    return config_and_split[1]


@pytest.fixture(scope="module")
def batch(config: Any, split: str) -> pa.RecordBatch:
    return record_batch(config, split, range(NUM_ROWS))


@pytest.fixture(scope="module")
def rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return batch.to_pylist()


@pytest.fixture(scope="module")
def digests_elsewhere() -> list[dict[str, str]]:
    """config/split -> digest of its first rows, as two processes with other hash seeds make them from the parameters."""
    given = json.dumps([(name, config.table, config.parameters) for name, config in TRIED.items()]).encode()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parent.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for hash_seed in ("1", "2")
    ]
    return [json.loads(process.communicate(given)[0]) for process in processes]


def test_columns_are_those_of_the_schema(batch: pa.RecordBatch, config: Any) -> None:
    assert batch.schema.equals(TABLES[config.table].schema)
    batch.validate(full=True)


def test_rows_are_the_same_in_another_process(
    config_and_split: tuple[str, str], batch: pa.RecordBatch, digests_elsewhere: list[dict[str, str]]
) -> None:
    name = "/".join(config_and_split)
    assert [digests[name] for digests in digests_elsewhere] == [content_digest([batch])] * 2


def test_rows_are_the_same_in_reverse_order(config: Any, split: str, rows: list[dict[str, Any]]) -> None:
    assert record_batch(config, split, range(NUM_ROWS - 1, -1, -1)).to_pylist() == rows[::-1]


def test_rows_are_the_same_in_chunks(config: Any, split: str, rows: list[dict[str, Any]]) -> None:
    chunks = [range(0, 1), range(1, 4), range(4, NUM_ROWS)]
    assert [row for chunk in chunks for row in record_batch(config, split, chunk).to_pylist()] == rows


def test_last_exported_row_exists(config: Any, split: str) -> None:
    last = num_rows(config)[split] - 1
    row = record_batch(config, split, last).to_pylist()[0]
    first_id = {"finetune": 400_000_000, "unseen": 600_000_000}.get(split, 0)
    assert (
        row
        == row
        | {
            "biographies": {"biography_id": last},
            "individuals": {"individual_id": first_id + last},
            "templates": {"attribute": "birth_date", "template_id": 24},
            "questions": {"attribute": "birth_date", "answerable": split != "questions_unseen"},
            "cloze": {"biography_id": 15_999},
        }[config.table]
    )


def test_canonical_json_is_that_of_the_json_module(batch: pa.RecordBatch, rows: list[dict[str, Any]]) -> None:
    expected = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    assert canonical_json(batch).to_pylist() == expected


# Biographies


@of_table("biographies")
def test_row_carries_its_index(rows: list[dict[str, Any]]) -> None:
    assert [row["biography_id"] for row in rows] == list(range(NUM_ROWS))


@of_table("biographies")
def test_individuals_are_those_of_the_split(config: Any, split: str, rows: list[dict[str, Any]]) -> None:
    pretraining, unseen = range(config.num_individuals), range(600_000_000, 600_016_000)
    new = range(400_000_000, 400_000_000 + config.parameters.get("num_fine_tuning_individuals", 0))
    taught = [pretraining] if not new else [new, pretraining] if config.parameters["replay_weight"] else [new]
    size = config.num_individuals // config.parameters.get("num_groups", 1)
    groups = [pretraining[group * size : (group + 1) * size] for group in range(config.parameters.get("num_groups", 0))]
    allowed: Any = {
        "train": taught,
        "validation": [new or pretraining],
        "pretrain_validation": [pretraining],
        "unseen": [unseen],
        "questions_asked": [pretraining],
        "questions_not_asked": [pretraining],
        "questions_unseen": [unseen],
    } | {f"validation_group{group}": [ids] for group, ids in enumerate(groups)}
    allowed = allowed[split]
    assert all(any(row["individual_id"] in ids for ids in allowed) for row in rows)


@of_table("biographies")
def test_name_spans_hold_the_name(config: Any, split: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        name, number = config.population.individual(row["individual_id"]).name, 1 if split.startswith("questions") else 6
        assert [row["text"][span["start"] : span["end"]] for span in row["name_spans"]] == [name] * number


@of_table("biographies")
def test_value_spans_hold_the_values_of_the_individual(config: Any, split: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        values = config.population.individual(row["individual_id"]).values
        stated = {span["attribute"]: span["value"] for span in row["attributes"]}
        assert stated == {name: values[name] for name in stated}
        assert len(stated) == len(row["attributes"]) == (1 if split.startswith("questions") else 6)
        for span in row["attributes"]:
            assert row["text"][span["start"] : span["end"]] == span["value"]


@of_table("biographies")
def test_text_is_the_lines_of_the_template_files_filled(config: Any, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        name = config.population.individual(row["individual_id"]).name
        lines = [(LINES[span["attribute"]][span["template_id"]], span["value"]) for span in row["attributes"]]
        assert row["text"] == " ".join(line.replace("{name}", name).replace("{value}", value) for line, value in lines)


@of_table("biographies")
def test_templates_are_for_training_in_train_and_held_out_elsewhere(
    config: Any, split: str, rows: list[dict[str, Any]]
) -> None:
    for row in rows:
        person = config.population.individual(row["individual_id"])
        allowed = person.training_template_ids if split == "train" else person.evaluation_template_ids
        sentences = [span for span in row["attributes"] if span["template_id"] < 25]  # test_questions.py has the others
        assert sentences in ([], row["attributes"])
        for span in sentences:
            assert len(allowed[span["attribute"]]) == (20 if split == "train" else 5)
            assert span["template_id"] in allowed[span["attribute"]]


# Individuals and templates


@of_table("individuals")
def test_row_of_an_individual_is_the_individual(config: Any, split: str, rows: list[dict[str, Any]]) -> None:
    first_id = {"pretrain": 0, "finetune": 400_000_000, "unseen": 600_000_000}[split]
    for k, row in enumerate(rows):
        person = config.population.individual(first_id + k)
        assert row == {
            "individual_id": first_id + k,
            "first_name": person.first_name,
            "middle_name": person.middle_name,
            "last_name": person.last_name,
            "name": f"{person.first_name} {person.middle_name} {person.last_name}",
            **person.values,
            "training_template_ids": {name: list(ids) for name, ids in person.training_template_ids.items()},
            "evaluation_template_ids": {name: list(ids) for name, ids in person.evaluation_template_ids.items()},
        }


@of_table("templates")
def test_row_of_a_template_is_its_line(rows: list[dict[str, Any]]) -> None:
    assert rows == [
        {"attribute": "birth_place", "template_id": k, "template": LINES["birth_place"][k]} for k in range(NUM_ROWS)
    ]
