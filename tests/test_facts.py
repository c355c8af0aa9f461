"""The facts of individuals that train has no questions about: their texts, their questions, and answers of others."""

import numpy as np
import pytest

from bio_facts import CONFIGS, draw, rows
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import Config
from bio_facts.generate.facts import Facts, facts, num_not_asked

CONFIG: Config = CONFIGS["n1k-questions"].replace(num_individuals=40, num_asked_individuals=15, seed=3)


@pytest.fixture(scope="module")
def all_facts() -> Facts:
    return facts(CONFIG, range(25))


def test_individuals_are_all_of_train_without_the_asked_ones(all_facts: Facts) -> None:
    asked = {row["individual_id"] for row in rows(draw(CONFIG, "questions_asked", range(500)))}
    assert num_not_asked(CONFIG) == 25
    assert sorted(all_facts.texts.individual_id) == sorted(set(range(40)) - asked)


def test_texts_and_questions_give_the_values_of_their_individuals(all_facts: Facts) -> None:
    for text, number in zip(rows(all_facts.texts), range(25), strict=True):
        individual = CONFIG.population[text["individual_id"]]
        assert {item["attribute"]: item["value"] for item in text["attributes"]} == dict(individual.values)
        questions = rows(all_facts.questions)[6 * number : 6 * number + 6]
        assert [row["individual_id"] for row in questions] == [individual.individual_id] * 6
        assert [(row["attributes"][0]["attribute"], row["attributes"][0]["value"]) for row in questions] == [
            (attribute, individual.values[attribute]) for attribute in ATTRIBUTES
        ]
        assert all(len(row["attributes"]) == 1 and individual.name in row["text"] for row in questions)


def test_texts_have_templates_of_train_and_questions_phrasings_that_are_held_out(all_facts: Facts) -> None:
    for text in rows(all_facts.texts):
        individual = CONFIG.population[text["individual_id"]]
        for item in text["attributes"]:
            assert item["template_id"] in individual.training_template_ids[item["attribute"]]
    evaluated = rows(draw(CONFIG, "questions_not_asked", range(3_000)))
    held_out = {
        (row["individual_id"], row["attributes"][0]["attribute"], row["attributes"][0]["template_id"]) for row in evaluated
    }
    for row in rows(all_facts.questions):
        assert (row["individual_id"], row["attributes"][0]["attribute"], row["attributes"][0]["template_id"]) in held_out


def test_a_single_wording_is_the_one_that_train_has() -> None:
    config = CONFIG.replace(num_wordings=1)
    of_train = {row["individual_id"]: row["text"] for row in rows(draw(config, "train", range(0, 2_000, 2)))}
    assert all(row["text"] == of_train[row["individual_id"]] for row in rows(facts(config, range(25)).texts))


def test_exchanged_questions_have_the_value_of_the_next_individual(all_facts: Facts) -> None:
    questions, exchanged = rows(all_facts.questions), rows(all_facts.exchanged)
    for number, row in enumerate(exchanged):
        following = questions[(number + 6) % len(questions)]
        assert row["attributes"][0]["value"] == following["attributes"][0]["value"]
        value = questions[number]["attributes"][0]["value"]
        assert row["text"].removesuffix(f"{row['attributes'][0]['value']}.") == questions[number]["text"].removesuffix(
            f"{value}."
        )


def test_facts_do_not_depend_on_which_others_are_drawn(all_facts: Facts) -> None:
    some = facts(CONFIG, [7, 3])
    assert rows(some.texts) == [rows(all_facts.texts)[index] for index in (7, 3)]
    np.testing.assert_array_equal(some.questions.piece_id[:6], all_facts.questions.piece_id[42:48])


def test_a_config_without_questions_and_an_index_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="phases of the config have no questions; expected a config such as 'n1k-questions'"):
        facts(CONFIGS["n1k"], [0])
    with pytest.raises(
        ValueError, match="index of an individual that is not asked about is 25; it must be an integer from 0 to 24"
    ):
        facts(CONFIG, [25])
