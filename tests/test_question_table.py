"""The table of questions: each question of a config with questions, once, and what has no answer."""

from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import refused, succeeds

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS, QuestionsConfig
from bio_facts.generate.splits import draw
from bio_facts.publish.tables import num_rows, record_batch

CONFIG = QuestionsConfig(num_individuals=9, population_seed=4, pool_sizes={"cities": 30})
# Draws of this config have every question of the table, many times over.
DRAWN = CONFIGS["n1k-questions"].replace(
    num_individuals=9, population_seed=4, pool_sizes={"cities": 30}, phases=[[20_000, {"questions": 1}]], num_biographies=1
)
SEEN = ("train", "questions_asked", "questions_not_asked")
Key = tuple[int, str, int]


def table_rows(split: str, config: QuestionsConfig = CONFIG, num: int | None = None) -> list[dict[str, Any]]:
    count = num_rows(config)[split] if num is None else num
    return record_batch(config, split, range(count)).to_pylist()  # type: ignore[no-any-return]


def key_of(row: dict[str, Any]) -> Key:
    return row["individual_id"], row["attribute"], row["phrasing_id"]


def drawn_keys(split: str, num: int, **changed: Any) -> set[Key]:
    """Those of the first rows of a config of biographies with questions."""
    return {
        (row["individual_id"], entry["attribute"], entry["template_id"] - 25)
        for row in rows(draw(DRAWN.replace(**changed), split, range(num)))
        for entry in row["attributes"]
    }


@pytest.mark.parametrize(("split", "num"), [("train", 1_500), ("questions_asked", 1_500), ("questions_not_asked", 2_000)])
def test_rows_are_all_questions_that_are_drawn_each_once(split: str, num: int) -> None:
    keys = [key_of(row) for row in table_rows(split)]
    assert (
        len(keys)
        == len(set(keys))
        == {"train": 4 * 6 * 8, "questions_asked": 4 * 6 * 2, "questions_not_asked": 5 * 6 * 2}[split]
    )
    assert set(keys) == drawn_keys(split, num)


def test_questions_that_are_drawn_about_the_unseen_are_rows() -> None:
    keys = {key_of(row) for row in table_rows("questions_unseen")}
    assert len(keys) == 16_000 * 6 * 2
    assert drawn_keys("questions_unseen", 16_000) < keys


@pytest.mark.parametrize("split", SEEN)
def test_question_and_answer_are_the_text_of_a_row_of_questions(split: str) -> None:
    texts = {
        (row["individual_id"], entry["attribute"], entry["template_id"] - 25): row["text"]
        for row in rows(draw(DRAWN, "questions_asked" if split == "train" else split, range(2_000)))
        for entry in row["attributes"]
    }
    for row in table_rows(split):
        individual, text = CONFIG.population.individual(row["individual_id"]), texts.get(key_of(row))
        assert row["answer"] == individual.values[row["attribute"]]
        assert individual.name in row["question"] and row["question"].endswith("?")
        assert text == f"{row['question']} Answer: {row['answer']}." or (split == "train" and text is None)
        assert row["answerable"] is True


def test_questions_about_individuals_that_are_never_trained_on_have_no_answer() -> None:
    for row in table_rows("questions_unseen", num=300):
        assert row["individual_id"] >= 600_000_000
        assert CONFIG.population.individual(row["individual_id"]).name in row["question"]
        assert (row["answer"], row["answerable"]) == ("", False)


@pytest.mark.parametrize("split", [*SEEN, "questions_unseen"])
def test_every_fact_is_asked_once_before_any_is_asked_again(split: str) -> None:
    num_individuals = {"train": 4, "questions_asked": 4, "questions_not_asked": 5, "questions_unseen": 16_000}[split]
    facts = [key_of(row)[:2] for row in table_rows(split)]
    first = facts[: 6 * num_individuals]
    assert set(first) == set(product({individual for individual, _ in facts}, ATTRIBUTES))
    assert facts == first * (len(facts) // len(first))
    assert [attribute for _, attribute in first] == [*ATTRIBUTES] * num_individuals


@pytest.mark.parametrize("number", [2, 5])
def test_first_phrasings_of_train_are_those_of_fewer_phrasings(number: int) -> None:
    keys = {key_of(row) for row in table_rows("train")[: 4 * 6 * number]}
    assert keys == drawn_keys("train", 1_500, num_phrasings=number)


def test_first_phrasing_of_train_differs_between_individuals() -> None:
    first = table_rows("train", CONFIG.replace(num_individuals=2_000), num=6_000)
    assert {row["phrasing_id"] for row in first} == set(range(10))


def test_rows_do_not_depend_on_those_beside_them() -> None:
    for split, count in num_rows(CONFIG).items():
        indices = [count - 1, 0, 17, 17]
        alone = [record_batch(CONFIG, split, index).to_pylist()[0] for index in indices]
        assert record_batch(CONFIG, split, indices).to_pylist() == alone
        assert record_batch(CONFIG, split, []).num_rows == 0


def test_named_config_has_the_individuals_of_n64k_questions() -> None:
    config = CONFIGS["questions"]
    assert config.population == CONFIGS["n64k-questions"].population
    assert config.num_asked == CONFIGS["n64k-questions"].num_asked


def test_questions_about_half_of_one_individual_are_refused() -> None:
    with pytest.raises(ValueError) as error:
        CONFIG.replace(num_individuals=1)
    assert str(error.value) == "num_individuals (with questions) is 1; it must be an integer of at least 2"


def test_export_is_built_and_verified_and_a_changed_answer_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "export"
    succeeds(capsys, "build", "questions", "--num-individuals", "9", "--output-dir", folder)
    assert succeeds(capsys, "verify", folder) == f"{folder}: 192,300 rows, all correct\n"
    (path,) = folder.glob("data/*/questions_asked-*.parquet")
    exported = pq.read_table(path)
    assert exported.to_pylist() == table_rows("questions_asked", CONFIGS["questions"].replace(num_individuals=9))
    changed = exported.to_pylist()
    changed[5]["answerable"] = False
    pq.write_table(exported.from_pylist(changed, schema=exported.schema), path)
    message = refused(capsys, "verify", folder)
    assert f"{path}, row 5 (row 5 of split questions_asked): answerable is False; it must be True" in message
