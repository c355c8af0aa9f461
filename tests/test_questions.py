"""Questions: who is asked, in which phrasings, and what is left as it is."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chi_square import p_uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import Config, config_from
from bio_facts.generate.distributions import FineTuning, Groups, PowerLaw
from bio_facts.generate.population import Population
from bio_facts.generate.splits import data_digest, draw, formats, get_split, individual_ids, splits
from bio_facts.generate.templates import question_orders, questions
from bio_facts.measure.baseline import no_knowledge_losses, split_no_knowledge_losses
from bio_facts.publish.tables import record_batch

PHASES: Any = [[500, {"biographies": 1}], [6_000, {"biographies": 1, "questions": 3}]]
PLAIN = Config(num_individuals=50, num_biographies=1_000, seed=3, population_seed=4)
CONFIG = PLAIN.replace(phases=PHASES)
ASKED = set(CONFIG.population.asked_individuals(range(25)).tolist())
RECALL = ("questions_asked", "questions_not_asked", "questions_unseen")
EACH_RECALL = pytest.mark.parametrize("split", RECALL)
PEOPLE = Population(num_individuals=20_000, population_seed=0)


def question_rows(config: Config, num_rows: int = 6_000) -> list[dict[str, Any]]:
    """The rows of questions among the first rows of train."""
    batch = rows(draw(config, "train", range(num_rows)))
    return [row for row in batch if row["attributes"][0]["template_id"] >= 25]


def phrasings(question_rows: list[dict[str, Any]]) -> dict[tuple[int, str], set[int]]:
    """(individual, attribute) -> the phrasings in which rows ask about it."""
    in_use: dict[tuple[int, str], set[int]] = defaultdict(set)
    for row in question_rows:
        for entry in row["attributes"]:
            in_use[row["individual_id"], entry["attribute"]].add(entry["template_id"] - 25)
    return in_use


def order_of(config: Config, individual_id: int, attribute: str) -> list[int]:
    """The 8 training phrasings and the 2 held-out ones of a question about an individual."""
    rank = config.population.question_ranks([individual_id])[0, list(ATTRIBUTES).index(attribute)]
    return question_orders()[rank].tolist()  # type: ignore[no-any-return]


# Who is asked


@pytest.mark.parametrize("number", [1, 2, 7, 1_000, 20_000])
def test_order_of_the_asked_is_a_permutation_of_all_ids(number: int) -> None:
    ids = Population(num_individuals=number, population_seed=5).asked_individuals(range(number))
    assert sorted(ids.tolist()) == list(range(number))


def test_low_ids_are_asked_as_often_as_high_ones() -> None:
    asked = PEOPLE.asked_individuals(range(10_000))
    assert p_uniform(np.bincount(asked // 1_000, minlength=20)) > 0.001
    assert p_uniform(np.bincount(asked % 2)) > 0.001


def test_another_population_seed_asks_others() -> None:
    one, other = (Population(num_individuals=20_000, population_seed=seed).asked_individuals(range(10_000)) for seed in (0, 1))
    assert len(np.intersect1d(one, other)) == pytest.approx(5_000, abs=200)


@pytest.mark.parametrize("number", [1, 7, 20_000])
def test_rank_of_an_individual_is_its_place_among_the_asked(number: int) -> None:
    population = Population(num_individuals=number, population_seed=5)
    ranks = population.asked_ranks(range(number))
    assert population.asked_individuals(ranks).tolist() == list(range(number))


def test_individual_outside_the_population_has_no_rank() -> None:
    with pytest.raises(ValueError) as error:
        PEOPLE.asked_ranks([20_000])
    assert str(error.value) == "individual_id is 20000; it must be an integer from 0 to 19,999"


@pytest.mark.parametrize("rank", [-1, 20_000])
def test_rank_outside_the_population_is_refused(rank: int) -> None:
    with pytest.raises(ValueError) as error:
        PEOPLE.asked_individuals([rank])
    assert str(error.value) == f"rank of an individual is {rank}; it must be an integer from 0 to 19,999"


@pytest.mark.parametrize("number", [1, 12, 49])
def test_train_asks_about_exactly_so_many_individuals_and_evaluation_about_these_and_the_others(number: int) -> None:
    config = CONFIG.replace(num_asked_individuals=number)
    asked = {row["individual_id"] for row in question_rows(config)}
    assert len(asked) == number
    assert set(individual_ids(config, "questions_asked", range(2_000)).tolist()) == asked
    assert set(individual_ids(config, "questions_not_asked", range(2_000)).tolist()) == set(range(50)) - asked
    assert (individual_ids(config, "questions_unseen", range(2_000)) >= 600_000_000).all()


def test_half_of_the_individuals_are_asked_by_default() -> None:
    assert {row["individual_id"] for row in question_rows(CONFIG)} == ASKED
    assert CONFIG.parameters["num_asked_individuals"] == 25
    assert CONFIG.replace(num_asked_individuals=25).fingerprint == CONFIG.fingerprint
    assert CONFIG.replace(num_individuals=51).parameters["num_asked_individuals"] == 25


def test_the_asked_of_fewer_are_among_those_of_more() -> None:
    few, more = (
        set(individual_ids(CONFIG.replace(num_asked_individuals=number), "questions_asked", range(2_000)).tolist())
        for number in (10, 20)
    )
    assert few < more


def test_individuals_of_questions_are_uniform_in_train_and_in_evaluation() -> None:
    ids = np.array([row["individual_id"] for row in question_rows(CONFIG)])
    assert p_uniform(np.bincount(ids, minlength=50)[sorted(ASKED)]) > 0.001
    not_asked = individual_ids(CONFIG, "questions_not_asked", range(16_000))
    assert p_uniform(np.bincount(not_asked, minlength=50)[sorted(set(range(50)) - ASKED)]) > 0.001


# Rows


def test_formats_of_train_are_those_of_the_mixture() -> None:
    assert formats(CONFIG, "train", range(498, 506)).tolist() == ["biographies"] * 3 + ["questions"] * 3 + [
        "biographies",
        "questions",
    ]
    batch = draw(CONFIG, "train", range(6_000))
    is_question = formats(CONFIG, "train", range(6_000)) == "questions"
    assert ((batch.template_id >= 25) == is_question[:, None]).all()
    assert is_question.sum() == 5_500 * 3 // 4


def test_biographies_are_those_of_the_config_without_phases_but_for_biography_id() -> None:
    for changed in ({}, {"num_wordings": 2}, {"num_training_templates": 3, "sentence_order": "fixed"}):
        config, plain = CONFIG.replace(**changed), PLAIN.replace(**changed)
        is_question, index = CONFIG.phases.locate(np.arange(2_000))
        mixed = np.array(rows(draw(config, "train", range(2_000))))[~is_question]
        for row, expected in zip(mixed, rows(draw(plain, "train", index[~is_question])), strict=True):
            assert row | {"biography_id": expected["biography_id"]} == expected
        assert [row["biography_id"] for row in mixed] == np.flatnonzero(~is_question).tolist()


def test_phases_of_biographies_alone_work_with_any_distribution() -> None:
    for distribution in (PowerLaw(1.0), Groups(2), FineTuning(9)):
        plain = PLAIN.replace(distribution=distribution)
        bounded = plain.replace(phases=[[1_000, {"biographies": 1}]])
        assert list(splits(bounded)) == list(splits(plain))
        assert rows(draw(bounded, "train", range(50))) == rows(draw(plain, "train", range(50)))


def test_row_of_train_has_all_six_questions_one_after_another() -> None:
    for row in question_rows(CONFIG, 1_000):
        individual = CONFIG.population.individual(row["individual_id"])
        filled = [
            questions()[entry["attribute"]][entry["template_id"] - 25].fill(
                individual.name, individual.values[entry["attribute"]]
            )
            for entry in row["attributes"]
        ]
        assert {entry["attribute"] for entry in row["attributes"]} == set(ATTRIBUTES)
        assert row["text"] == " ".join(filled)


@EACH_RECALL
def test_row_of_evaluation_has_one_question(split: str) -> None:
    for index, row in enumerate(rows(draw(CONFIG, split, range(300)))):
        individual = CONFIG.population.individual(row["individual_id"])
        (entry,), (name,) = row["attributes"], row["name_spans"]
        assert entry["attribute"] == list(ATTRIBUTES)[index % 6]
        assert entry["value"] == individual.values[entry["attribute"]] == row["text"][entry["start"] : entry["end"]]
        assert row["text"][name["start"] : name["end"]] == individual.name
        assert row["text"] == questions()[entry["attribute"]][entry["template_id"] - 25].fill(individual.name, entry["value"])


def test_orders_of_questions_are_uniform_or_fixed() -> None:
    config = PLAIN.replace(num_biographies=1, phases=[[36_000, {"questions": 1}]])
    _, counts = np.unique(draw(config, "train", range(36_000)).attribute_id, axis=0, return_counts=True)
    assert len(counts) == 720
    assert p_uniform(counts) > 0.001
    fixed = draw(config.replace(sentence_order="fixed"), "train", range(100))
    assert (fixed.attribute_id == np.arange(1, 7)).all()


def test_order_of_questions_does_not_depend_on_that_of_biographies_unless_it_is_fixed() -> None:
    indices = np.flatnonzero(formats(CONFIG, "train", range(2_000)) == "questions")
    plain = draw(CONFIG, "train", indices)
    for changed in ({"sentence_order": "individual"}, {"sentence_order": "row", "num_wordings": 1}):
        assert np.array_equal(draw(CONFIG.replace(**changed), "train", indices).attribute_id, plain.attribute_id)


# Phrasings


def test_phrasings_of_train_are_for_training_and_those_of_evaluation_are_held_out() -> None:
    in_train = phrasings(question_rows(CONFIG))
    assert len(in_train) == 25 * 6
    for key, in_use in in_train.items():
        assert in_use == set(order_of(CONFIG, *key)[:8])
    for split in RECALL:
        for key, in_use in phrasings(rows(draw(CONFIG, split, range(2_000)))).items():
            assert in_use <= set(order_of(CONFIG, *key)[8:])


def test_held_out_phrasings_are_drawn_for_each_individual_and_attribute() -> None:
    ranks = PEOPLE.question_ranks(range(20_000))
    for column in ranks.T:
        assert p_uniform(np.bincount(column, minlength=45)) > 0.001
    assert p_uniform(np.bincount(ranks[:, 0] * 45 + ranks[:, 5], minlength=45**2)) > 0.001


def test_phrasings_are_equally_likely() -> None:
    config = PLAIN.replace(num_individuals=2, num_biographies=1, phases=[[8_000, {"questions": 1}]])
    for attribute in range(6):
        batch = draw(config, "train", range(8_000))
        _, counts = np.unique(batch.template_id[batch.attribute_id == attribute + 1], return_counts=True)
        assert len(counts) == 8
        assert p_uniform(counts) > 0.001


@pytest.mark.parametrize("number", [2, 5, 7])
def test_train_uses_so_many_phrasings_which_differ_between_individuals(number: int) -> None:
    in_train = phrasings(question_rows(CONFIG.replace(num_phrasings=number)))
    for key, in_use in in_train.items():
        assert len(in_use) == number
        assert in_use < set(order_of(CONFIG, *key)[:8])
    assert set().union(*in_train.values()) == set(range(10))


def test_number_of_phrasings_leaves_evaluation_and_individuals_as_they_are() -> None:
    fewer = CONFIG.replace(num_phrasings=2)
    assert np.array_equal(individual_ids(fewer, "train", range(2_000)), individual_ids(CONFIG, "train", range(2_000)))
    for split in splits(CONFIG).keys() - {"train"}:
        assert rows(draw(fewer, split, range(50))) == rows(draw(CONFIG, split, range(50)))


def test_one_phrasing_is_the_first_in_all_splits() -> None:
    config = CONFIG.replace(num_phrasings=1)
    for question_rows_of_split in (question_rows(config), *(rows(draw(config, split, range(300))) for split in RECALL)):
        assert set().union(*phrasings(question_rows_of_split).values()) == {0}


@pytest.mark.parametrize("number", [0, 9, 1.0, True])
def test_number_of_questions_outside_1_to_8_is_refused(number: Any) -> None:
    with pytest.raises(ValueError) as error:
        PEOPLE.training_questions([0], number)
    assert str(error.value) == f"num_questions is {number!r}; it must be an integer from 1 to 8"


# Splits


def test_splits_of_recall_come_after_those_of_biographies() -> None:
    assert list(splits(CONFIG)) == ["train", "validation", "unseen", *RECALL]
    assert [get_split(CONFIG, name).num_rows for name in splits(CONFIG)] == [1_000, *[16_000] * 5]


def test_validation_and_unseen_are_those_of_the_config_without_phases() -> None:
    for name in ("validation", "unseen"):
        assert rows(draw(CONFIG, name, range(100))) == rows(draw(PLAIN, name, range(100)))


def test_mixture_leaves_evaluation_as_it_is() -> None:
    other = CONFIG.replace(num_biographies=10, phases=[[10, {"questions": 1}]])
    for name in splits(CONFIG).keys() - {"train"}:
        assert rows(draw(other, name, range(50))) == rows(draw(CONFIG, name, range(50)))


def test_no_knowledge_loss_of_questions_is_that_of_the_individuals_of_train() -> None:
    expected = no_knowledge_losses(CONFIG.population)
    assert [split_no_knowledge_losses(CONFIG, split) for split in RECALL] == [expected] * 3


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(["train", *RECALL]), st.lists(st.integers(0, 5_999), min_size=1, max_size=12))
def test_row_is_the_same_alone_and_among_others(split: str, indices: list[int]) -> None:
    assert rows(draw(CONFIG, split, indices)) == [rows(draw(CONFIG, split, index))[0] for index in indices]
    assert rows(draw(CONFIG, split, indices)) == record_batch(CONFIG, split, indices).to_pylist()
    assert individual_ids(CONFIG, split, indices).tolist() == draw(CONFIG, split, indices).individual_id.tolist()


def test_rows_are_the_same_in_another_process() -> None:
    code = (
        "import json, sys\n"
        "from bio_facts.generate.config import config_from\n"
        "from bio_facts.generate.splits import data_digest\n"
        "print(data_digest(config_from('biographies', json.load(sys.stdin))))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONHASHSEED": "7"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment, input=json.dumps(CONFIG.parameters), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.strip() == data_digest(CONFIG)


def test_no_indices_give_no_rows() -> None:
    for split in splits(CONFIG):
        assert rows(draw(CONFIG, split, [])) == record_batch(CONFIG, split, []).to_pylist() == []


@pytest.mark.parametrize("index", [6_000, 10**15])
def test_sample_beyond_the_phases_is_refused(index: int) -> None:
    assert len(draw(CONFIG, "train", [5_999])) == 1
    for function in (draw, individual_ids, formats):
        with pytest.raises(ValueError) as error:
            function(CONFIG, "train", [index])
        assert str(error.value) == f"sample index of split train is {index}; it must be an integer from 0 to 5,999"


# Parameters


@pytest.mark.parametrize(
    "changed",
    [{}, {"num_phrasings": 3}, {"num_asked_individuals": 7}, {"phases": [[1_000, {"biographies": 1}]]}, {"phases": None}],
    ids=str,
)
def test_config_comes_back_from_the_json_of_its_parameters(changed: dict[str, Any]) -> None:
    config = CONFIG.replace(**changed)
    back = config_from("biographies", json.loads(json.dumps(config.parameters)))
    assert (back.parameters, back.fingerprint) == (config.parameters, config.fingerprint)
    assert (back.phases, back.num_phrasings, back.num_asked) == (config.phases, config.num_phrasings, config.num_asked)
    assert (hash(config.replace()), config.replace()) == (hash(config), config)


def test_phases_are_parameters_as_they_are_given_but_for_the_scale_of_weights() -> None:
    assert CONFIG.parameters["phases"] == PHASES
    doubled = [[500, {"biographies": 2}], [6_000, {"questions": 6, "biographies": 2}]]
    assert CONFIG.replace(phases=doubled) == CONFIG


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_biographies": 6_001}, "num_biographies is 6,001, but phases end at sample 6,000; it must be at most that"),
        ({"num_asked_individuals": 0}, "num_asked_individuals is 0; it must be an integer of at least 1"),
        ({"num_asked_individuals": 50}, "num_asked_individuals is 50; it must be an integer from 1 to 49"),
        ({"num_individuals": 1}, "num_individuals (with questions) is 1; it must be an integer of at least 2"),
        ({"num_phrasings": 9}, "num_phrasings is 9; it must be an integer from 1 to 8"),
        *(
            (
                {"distribution": distribution},
                f"phases have questions, and distribution is {distribution.name}; with questions it must be uniform",
            )
            for distribution in (PowerLaw(1.0), Groups(2), FineTuning(9, replay_weight=1))
        ),
        (
            {"phases": None, "num_asked_individuals": 5},
            "num_asked_individuals is 5, but phases have no questions; it must be None",
        ),
        (
            {"phases": [[1_000, {"biographies": 1}]], "num_phrasings": 2},
            "num_phrasings is 2, but phases have no questions; it must be 8",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        CONFIG.replace(**changed)
    assert str(error.value) == message
