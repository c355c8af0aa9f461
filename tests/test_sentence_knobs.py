"""num_training_templates, num_wordings and sentence_order: what they change, and what they leave as it is."""

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from chi_square import p_uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.generate import seeding
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import Biographies, rows
from bio_facts.generate.config import Config
from bio_facts.generate.distributions import FineTuning, Groups
from bio_facts.generate.population import Population
from bio_facts.generate.splits import draw, splits
from bio_facts.generate.templates import template_orders, templates

CONFIG = Config(num_individuals=50, num_biographies=1_000, seed=3, population_seed=4)
TUNED = CONFIG.replace(distribution=FineTuning(30, replay_weight=1))
PEOPLE = Population(num_individuals=20_000, population_seed=0)
NUMBERS = (1, 2, 4, 19)
EACH_NUMBER = pytest.mark.parametrize("number", NUMBERS)
EACH_DISTRIBUTION = pytest.mark.parametrize(
    "distribution", [None, FineTuning(30, replay_weight=1), Groups(2)], ids=["uniform", "fine_tuning", "groups"]
)
EACH_CONFIG = pytest.mark.parametrize("config", [CONFIG, TUNED], ids=["plain", "tuned"])


def by_attribute(biographies: Biographies) -> np.ndarray:
    """The template id of each attribute, [n, 6], whatever the order of the sentences."""
    return np.take_along_axis(biographies.template_id, np.argsort(biographies.attribute_id, axis=1), axis=1)


def templates_in_use(config: Config, num_rows: int = 20_000) -> dict[tuple[int, str], set[int]]:
    """(individual, attribute) -> ids of its templates in the first rows of train, read from the rows."""
    in_use: dict[tuple[int, str], set[int]] = defaultdict(set)
    for row in rows(draw(config, "train", range(num_rows))):
        for entry in row["attributes"]:
            in_use[row["individual_id"], entry["attribute"]].add(entry["template_id"])
    return in_use


# The templates of an individual


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**70), st.integers(0, 809_999_999), st.integers(1, 20), st.sampled_from(sorted(ATTRIBUTES)))
def test_templates_are_the_first_ones_of_a_sort_by_random_bits(seed: int, individual: int, number: int, name: str) -> None:
    positions = Population(num_individuals=1, population_seed=seed).training_templates([individual], number)
    keys = [int(seeding.bits(seed, f"training_templates/{name}", individual, position)[0]) for position in range(20)]
    expected = sorted(sorted(range(20), key=keys.__getitem__)[:number])
    assert positions.shape == (1, 6, number)
    assert positions[0, list(ATTRIBUTES).index(name)].tolist() == expected


def test_templates_of_a_smaller_number_are_among_those_of_a_larger_one() -> None:
    chosen = [PEOPLE.training_templates(range(300), number) for number in range(1, 21)]
    for fewer, more in itertools.pairwise(chosen):
        assert (fewer[..., :, None] == more[..., None, :]).any(axis=-1).all()
    assert (chosen[-1] == np.arange(20)).all()


def test_each_individual_has_different_templates_in_ascending_order() -> None:
    assert (np.diff(PEOPLE.training_templates(range(5_000), 7), axis=-1) > 0).all()


@pytest.mark.parametrize("column", range(6), ids=ATTRIBUTES)
@pytest.mark.parametrize("number", [1, 5])
def test_every_template_is_chosen_for_the_same_share_of_individuals(number: int, column: int) -> None:
    ids = np.arange(20_000)
    positions = PEOPLE.training_templates(ids, number)[:, column]
    assert p_uniform(np.bincount(positions.ravel(), minlength=20)) > 0.001
    template_ids = template_orders()[PEOPLE.template_ranks(ids)[:, column, None], positions]
    assert p_uniform(np.bincount(template_ids.ravel(), minlength=25)) > 0.001


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 5)])
def test_template_of_one_attribute_does_not_tell_that_of_another(one: int, other: int) -> None:
    first = PEOPLE.training_templates(range(20_000), 1)[..., 0]
    assert p_uniform(np.bincount(first[:, one] * 20 + first[:, other], minlength=400)) > 0.001


def test_pairs_of_templates_are_equally_likely() -> None:
    pairs = PEOPLE.training_templates(range(20_000), 2)[:, 0] @ np.array([20, 1])
    counts = np.bincount(pairs, minlength=400)
    assert p_uniform(counts[[20 * first + second for first, second in itertools.combinations(range(20), 2)]]) > 0.001


def test_another_population_seed_gives_other_templates() -> None:
    one, other = (Population(num_individuals=1, population_seed=seed).training_templates(range(2_000), 1) for seed in (0, 1))
    assert (one == other).mean() == pytest.approx(1 / 20, abs=0.01)


@pytest.mark.parametrize("number", [0, 21, 1.0, True])
def test_number_of_templates_outside_1_to_20_is_refused(number: Any) -> None:
    with pytest.raises(ValueError) as error:
        PEOPLE.training_templates([0], number)
    assert str(error.value) == f"num_templates is {number!r}; it must be an integer from 1 to 20"


# The train split


@EACH_CONFIG
@EACH_NUMBER
def test_train_uses_so_many_of_the_training_templates_of_each_individual(config: Config, number: int) -> None:
    in_use = templates_in_use(config.replace(num_training_templates=number))
    assert len(in_use) == 6 * sum(map(len, splits(config)["train"].individuals))
    for (individual_id, attribute), template_ids in in_use.items():
        assert len(template_ids) == number
        assert template_ids <= set(config.population.individual(individual_id).training_template_ids[attribute])


def test_templates_in_use_grow_with_the_number() -> None:
    in_use = [templates_in_use(CONFIG.replace(num_training_templates=number)) for number in NUMBERS]
    for fewer, more in itertools.pairwise(in_use):
        assert all(template_ids < more[key] for key, template_ids in fewer.items())


def test_every_template_is_seen_in_training_where_each_individual_has_one() -> None:
    in_use = templates_in_use(Config(num_individuals=1_000, num_training_templates=1))
    for attribute in ATTRIBUTES:
        assert set().union(*(ids for (_, name), ids in in_use.items() if name == attribute)) == set(range(25))


@EACH_NUMBER
def test_templates_in_use_are_equally_likely(number: int) -> None:
    config = Config(num_individuals=1, num_training_templates=number)
    template_ids = by_attribute(draw(config, "train", range(20_000)))
    for column in template_ids.T:
        _, counts = np.unique(column, return_counts=True)
        assert len(counts) == number
        assert number == 1 or p_uniform(counts) > 0.001


def test_biographies_of_an_individual_with_one_template_differ_in_the_order_of_sentences_alone() -> None:
    """They consist of the same letters; those at the beginning of a sentence are capital or small."""
    texts, letters = defaultdict(set), defaultdict(set)
    for row in rows(draw(CONFIG.replace(num_training_templates=1), "train", range(1_000))):
        texts[row["individual_id"]].add(row["text"])
        letters[row["individual_id"]].add("".join(sorted(row["text"].lower())))
    assert {len(of_individual) for of_individual in letters.values()} == {1}
    assert min(len(of_individual) for of_individual in texts.values()) > 5


@EACH_CONFIG
@EACH_NUMBER
def test_number_of_templates_changes_the_templates_of_train_and_nothing_else(config: Config, number: int) -> None:
    fewer = config.replace(num_training_templates=number)
    plain, changed = (draw(item, "train", range(2_000)) for item in (config, fewer))
    assert np.array_equal(plain.individual_id, changed.individual_id)
    assert np.array_equal(plain.attribute_id, changed.attribute_id)
    assert (plain.template_id != changed.template_id).mean() > 0.05
    for name in splits(config).keys() - {"train"}:
        assert rows(draw(fewer, name, range(200))) == rows(draw(config, name, range(200)))
    assert list(itertools.islice(fewer.population, 5)) == list(itertools.islice(config.population, 5))


def test_replayed_individuals_have_the_templates_of_pretraining() -> None:
    pretraining, replay = (templates_in_use(config.replace(num_training_templates=2)) for config in (CONFIG, TUNED))
    assert {key: ids for key, ids in replay.items() if key[0] < 50} == pretraining


def test_another_seed_leaves_the_templates_of_individuals_as_they_are() -> None:
    one, other = (templates_in_use(CONFIG.replace(num_training_templates=2, seed=seed)) for seed in (3, 30))
    assert one == other


# The texts of an individual


def texts_in_use(config: Config, num_rows: int = 3_000) -> dict[int, list[dict[str, Any]]]:
    """individual -> its rows in the first rows of train, one for each text."""
    in_use: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows(draw(config, "train", range(num_rows))):
        in_use[row["individual_id"]][row["text"]] = row
    return {individual: list(of_texts.values()) for individual, of_texts in in_use.items()}


def order_of(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry["attribute"] for entry in row["attributes"])


@pytest.mark.parametrize("order", ["drawn", "individual", "fixed"])
@EACH_CONFIG
@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_individual_has_so_many_texts_without_a_common_template(config: Config, number: int, order: str) -> None:
    texts = texts_in_use(config.replace(num_wordings=number, sentence_order=order))
    assert len(texts) == sum(map(len, splits(config)["train"].individuals))
    for individual_id, of_individual in texts.items():
        assert len(of_individual) == number
        individual = config.population.individual(individual_id)
        for attribute in ATTRIBUTES:
            ids = [
                entry["template_id"] for row in of_individual for entry in row["attributes"] if entry["attribute"] == attribute
            ]
            assert len(set(ids)) == number
            assert set(ids) <= set(individual.training_template_ids[attribute])
        assert order != "fixed" or {order_of(row) for row in of_individual} == {tuple(ATTRIBUTES)}


def test_texts_in_use_grow_with_the_number_and_their_templates_are_those_of_fewer_templates() -> None:
    few, more = (texts_in_use(CONFIG.replace(num_wordings=number)) for number in (2, 3))
    for individual, of_individual in few.items():
        assert {row["text"] for row in of_individual} < {row["text"] for row in more[individual]}
    templates_of_two = templates_in_use(CONFIG.replace(num_training_templates=2))
    assert templates_in_use(CONFIG.replace(num_training_templates=2, num_wordings=2)) == templates_of_two


def test_texts_of_an_individual_are_equally_likely() -> None:
    batch = draw(Config(num_individuals=1, num_wordings=3), "train", range(30_000))
    _, counts = np.unique(by_attribute(batch)[:, 0], return_counts=True)
    assert len(counts) == 3
    assert p_uniform(counts) > 0.001


def test_orders_of_the_texts_are_drawn_for_each_individual_and_text() -> None:
    orders = PEOPLE.wording_orders(np.repeat(np.arange(20_000), 2), np.tile([0, 1], 20_000))
    assert p_uniform(np.bincount(orders, minlength=720)) > 0.001
    first, second = orders.reshape(-1, 2).T
    assert (first == second).mean() == pytest.approx(1 / 720, abs=0.001)


def test_number_of_texts_leaves_individuals_and_evaluation_as_they_are() -> None:
    fewer = TUNED.replace(num_wordings=1)
    plain, changed = (draw(item, "train", range(2_000)) for item in (TUNED, fewer))
    assert np.array_equal(plain.individual_id, changed.individual_id)
    for name in splits(TUNED).keys() - {"train"}:
        assert rows(draw(fewer, name, range(200))) == rows(draw(TUNED, name, range(200)))


def test_another_seed_leaves_the_texts_as_they_are() -> None:
    one, other = (texts_in_use(CONFIG.replace(num_wordings=2, seed=seed)) for seed in (3, 30))
    assert {key: {row["text"] for row in of} for key, of in one.items()} == {
        key: {row["text"] for row in of} for key, of in other.items()
    }


# The individuals that have texts of their own

HALVES = CONFIG.replace(
    num_biographies=2_000, phases=[[4_000, {"biographies": 2, "questions": 1}]], num_asked_individuals=20, num_wordings=2
)


@pytest.mark.parametrize("order", ["drawn", "row", "individual", "fixed"])
@pytest.mark.parametrize("num_templates", [20, 3])
def test_texts_of_those_not_asked_are_fixed_and_those_of_the_asked_are_new(num_templates: int, order: str) -> None:
    everyone = HALVES.replace(num_training_templates=num_templates, sentence_order=order)
    new = everyone.replace(num_wordings=None, sentence_order="drawn" if order == "row" else order)
    asked = {row["individual_id"] for row in rows(draw(everyone, "train", range(4_000))) if is_question(row)}
    assert len(asked) == 20
    changed = everyone.replace(wordings_for="not_asked")
    each = zip(*(rows(draw(config, "train", range(1_000))) for config in (changed, everyone, new)), strict=True)
    for row, worded, fresh in each:
        assert row == (fresh if row["individual_id"] in asked else worded)


def is_question(row: dict[str, Any]) -> bool:
    return bool(row["attributes"][0]["template_id"] >= 25)


def test_individuals_with_texts_leave_evaluation_as_it_is() -> None:
    changed = HALVES.replace(wordings_for="not_asked")
    for name in splits(HALVES).keys() - {"train"}:
        assert rows(draw(changed, name, range(100))) == rows(draw(HALVES, name, range(100)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG, "wordings_for is 'not_asked', but num_wordings is not given; it needs num_wordings"),
        (
            CONFIG.replace(num_wordings=1),
            "wordings_for is 'not_asked', but phases have no questions; it must be 'everyone'",
        ),
        (
            HALVES.replace(num_wordings=None),
            "wordings_for is 'not_asked', but num_wordings is not given; it needs num_wordings",
        ),
    ],
    ids=["neither", "without_questions", "without_wordings"],
)
def test_texts_of_those_not_asked_need_texts_and_questions(config: Config, message: str) -> None:
    with pytest.raises(ValueError) as error:
        config.replace(wordings_for="not_asked")
    assert str(error.value) == message


# The order of sentences


@EACH_DISTRIBUTION
def test_fixed_order_is_that_of_the_attributes_in_every_split(distribution: Any) -> None:
    config = CONFIG if distribution is None else CONFIG.replace(distribution=distribution)
    fixed = config.replace(sentence_order="fixed")
    for name in splits(config):
        plain, changed = (draw(item, name, range(500)) for item in (config, fixed))
        assert (changed.attribute_id == np.arange(1, 7)).all()
        assert np.array_equal(plain.individual_id, changed.individual_id)
        assert np.array_equal(by_attribute(plain), changed.template_id)
        assert len(np.unique(plain.attribute_id, axis=0)) > 250


@pytest.mark.parametrize("num_wordings", [None, 1, 3])
@EACH_DISTRIBUTION
def test_order_of_an_individual_is_the_same_in_all_splits_and_nothing_else_changes(
    distribution: Any, num_wordings: int | None
) -> None:
    config = CONFIG if distribution is None else CONFIG.replace(distribution=distribution)
    plain = config.replace(num_wordings=num_wordings)
    orders = defaultdict(set)
    for name in splits(config):
        before, after = (draw(item, name, range(500)) for item in (plain, plain.replace(sentence_order="individual")))
        assert np.array_equal(before.individual_id, after.individual_id)
        assert np.array_equal(by_attribute(before), by_attribute(after))
        for individual_id, order in zip(after.individual_id.tolist(), after.attribute_id.tolist(), strict=True):
            orders[individual_id].add(tuple(order))
    assert {len(of_individual) for of_individual in orders.values()} == {1}
    assert len(set.union(*orders.values())) > 0.5 * min(len(orders), 720)  # they differ between individuals


def test_orders_of_individuals_are_uniform_and_independent_of_the_seed() -> None:
    config = Config(num_individuals=36_000, sentence_order="individual")
    ids = draw(config, "train", range(50_000)).individual_id
    first_row = np.unique(ids, return_index=True)[1]
    orders = draw(config, "train", first_row).attribute_id
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 720
    assert p_uniform(counts) > 0.001
    other = draw(config.replace(seed=7), "train", range(2_000))
    known = dict(zip(ids[first_row].tolist(), orders.tolist(), strict=True))
    assert all(
        known.get(row, order) == order for row, order in zip(other.individual_id, other.attribute_id.tolist(), strict=True)
    )


def test_order_of_an_individual_is_that_of_its_text_where_it_has_one() -> None:
    for num_wordings in (1, 4):
        drawn, one = (
            texts_in_use(CONFIG.replace(num_wordings=num_wordings, sentence_order=order)) for order in ("drawn", "individual")
        )
        for individual, of_individual in one.items():
            (order,) = {order_of(row) for row in of_individual}
            assert order in {order_of(row) for row in drawn[individual]}
            assert num_wordings > 1 or drawn[individual] == of_individual


@pytest.mark.parametrize("number", [1, 3])
def test_order_of_rows_is_that_of_new_texts_and_templates_are_those_of_wordings(number: int) -> None:
    config = TUNED.replace(num_wordings=number)
    rowwise = config.replace(sentence_order="row")
    changed, worded, new = (draw(item, "train", range(2_000)) for item in (rowwise, config, TUNED))
    assert np.array_equal(by_attribute(changed), by_attribute(worded))
    assert np.array_equal(changed.attribute_id, new.attribute_id)
    for name in splits(config).keys() - {"train"}:
        assert rows(draw(rowwise, name, range(200))) == rows(draw(config, name, range(200)))


def test_order_of_rows_without_wordings_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        CONFIG.replace(sentence_order="row")
    expected = "sentence_order is 'row', but num_wordings is not given; it must be 'drawn', which then means each row"
    assert str(error.value) == expected


def test_text_in_fixed_order_is_the_filled_templates_one_after_another() -> None:
    config = CONFIG.replace(sentence_order="fixed", num_training_templates=2)
    order = ["birth_place", "current_location", "university", "major", "company", "birth_date"]
    for row in rows(draw(config, "train", range(200))):
        individual = config.population.individual(row["individual_id"])
        filled = [
            templates()[name][entry["template_id"]].fill(individual.name, individual.values[name])
            for name, entry in zip(order, row["attributes"], strict=True)
        ]
        assert [entry["attribute"] for entry in row["attributes"]] == order
        assert row["text"] == " ".join(filled)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 20),
    st.sampled_from([(None, order) for order in ("drawn", "individual", "fixed")])
    | st.sampled_from([(1, order) for order in ("drawn", "row", "individual", "fixed")]),
    st.sampled_from(["train", "validation", "pretrain_validation", "unseen"]),
    st.lists(st.integers(0, 15_999), min_size=1, max_size=12),
)
def test_row_is_the_same_alone_and_among_others(
    number: int, texts: tuple[int | None, str], split: str, indices: list[int]
) -> None:
    num_wordings, order = texts
    config = TUNED.replace(num_training_templates=number, num_wordings=num_wordings, sentence_order=order)
    assert rows(draw(config, split, indices)) == [rows(draw(config, split, index))[0] for index in indices]
