import dataclasses

import numpy as np
import pytest
from chi_square import p_uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.attributes import ATTRIBUTES
from bio_facts.biography import Biographies
from bio_facts.config import CONFIGS, Config
from bio_facts.distributions import Uniform
from bio_facts.records import rows
from bio_facts.splits import SPLITS, draw, get_split
from bio_facts.templates import templates

CONFIG = Config(num_individuals=50, num_biographies=1_000, seed=3, population_seed=4)
FIRST_ID = {"train": 0, "validation": 0, "unseen": 600_000_000}
NUM_PEOPLE = {"train": 50, "validation": 50, "unseen": 16_000}
NUM_ROWS = {"train": 1_000, "validation": 16_000, "unseen": 16_000}
MANY = 36_000


@pytest.fixture(scope="module", params=SPLITS)
def split(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def first_rows(split: str) -> list[dict]:
    return rows(draw(CONFIG, split, range(200)))


@pytest.fixture(scope="module")
def many_train_samples() -> Biographies:
    return draw(CONFIG, "train", range(MANY))


def test_splits_are_train_validation_and_unseen() -> None:
    assert list(SPLITS) == ["train", "validation", "unseen"]


def test_splits_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        SPLITS["test"] = SPLITS["train"]  # type: ignore[index]


def test_text_is_the_filled_templates_one_after_another(first_rows: list[dict]) -> None:
    for row in first_rows:
        person = CONFIG.population.individual(row["individual_id"])
        sentences = [
            templates()[found["attribute"]][found["template_id"]].fill(person.name, person.values[found["attribute"]])
            for found in row["attributes"]
        ]
        assert row["text"] == " ".join(sentences)


def test_value_spans_hold_the_values_of_the_individual(first_rows: list[dict]) -> None:
    for row in first_rows:
        person = CONFIG.population.individual(row["individual_id"])
        for found in row["attributes"]:
            assert row["text"][found["start"] : found["end"]] == found["value"] == person.values[found["attribute"]]


def test_name_spans_hold_the_full_name(first_rows: list[dict]) -> None:
    for row in first_rows:
        name = CONFIG.population.individual(row["individual_id"]).name
        assert [row["text"][span["start"] : span["end"]] for span in row["name_spans"]] == [name] * 6


def test_each_attribute_stands_once_in_order_of_appearance(first_rows: list[dict]) -> None:
    for row in first_rows:
        starts = [found["start"] for found in row["attributes"]]
        assert starts == sorted(starts)
        assert {found["attribute"] for found in row["attributes"]} == ATTRIBUTES.keys()
        assert len(row["attributes"]) == 6


def test_each_name_comes_before_its_value_and_after_the_value_before(first_rows: list[dict]) -> None:
    for row in first_rows:
        ends = [0, *(found["end"] for found in row["attributes"])]
        for before, name, found in zip(ends, row["name_spans"], row["attributes"], strict=False):
            assert before <= name["start"] < name["end"] < found["start"] < found["end"]


def test_templates_are_those_the_split_draws_from(split: str, first_rows: list[dict]) -> None:
    for row in first_rows:
        person = CONFIG.population.individual(row["individual_id"])
        allowed = person.training_template_ids if split == "train" else person.evaluation_template_ids
        assert all(found["template_id"] in allowed[found["attribute"]] for found in row["attributes"])


def test_individuals_are_those_of_the_split(split: str, first_rows: list[dict]) -> None:
    ids = [row["individual_id"] - FIRST_ID[split] for row in first_rows]
    assert 0 <= min(ids) <= max(ids) < NUM_PEOPLE[split]


def test_rows_carry_their_index(first_rows: list[dict]) -> None:
    assert [row["biography_id"] for row in first_rows] == list(range(200))


def test_number_of_exported_rows(split: str) -> None:
    assert get_split(split).num_rows(CONFIG) == NUM_ROWS[split]


def test_train_goes_on_beyond_the_exported_rows() -> None:
    assert [row["biography_id"] for row in rows(draw(CONFIG, "train", [1_000, 10**12]))] == [1_000, 10**12]


@pytest.mark.parametrize("name", ["validation", "unseen"])
def test_evaluation_splits_end_with_the_exported_rows(name: str) -> None:
    assert len(draw(CONFIG, name, [15_999])) == 1
    with pytest.raises(ValueError) as error:
        draw(CONFIG, name, [0, 16_000])
    assert str(error.value) == f"sample index of split {name} is 16000; it must be an integer from 0 to 15,999"


def test_negative_index_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^sample index of split train is -1; it must be an integer from 0 to 9,223,372,036,854,775,807$"
    ):
        draw(CONFIG, "train", [3, -1])


def test_unknown_split_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"^split is 'test'; it must be one of train, validation, unseen$"):
        draw(CONFIG, "test", [0])


def test_no_indices_give_no_biographies() -> None:
    assert rows(draw(CONFIG, "train", [])) == []


def test_fractional_index_is_refused() -> None:
    with pytest.raises((ValueError, TypeError)):
        draw(CONFIG, "train", [1.5])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(list(SPLITS)), st.lists(st.integers(0, 15_999), min_size=1, max_size=12))
def test_row_is_the_same_alone_and_in_any_company(name: str, indices: list[int]) -> None:
    assert rows(draw(CONFIG, name, indices)) == [rows(draw(CONFIG, name, index))[0] for index in indices]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**15), st.integers(1, 9), st.integers(1, 9))
def test_rows_are_the_same_in_chunks(start: int, first: int, second: int) -> None:
    whole = rows(draw(CONFIG, "train", range(start, start + first + second)))
    halves = [range(start, start + first), range(start + first, start + first + second)]
    assert whole == [row for half in halves for row in rows(draw(CONFIG, "train", half))]


def test_individuals_are_uniform(many_train_samples: Biographies) -> None:
    assert p_uniform(np.bincount(many_train_samples.individual_id, minlength=50)) > 0.001


def test_unseen_individuals_are_uniform() -> None:
    ids = draw(CONFIG, "unseen", range(16_000)).individual_id - 600_000_000
    assert p_uniform(np.bincount(ids // 100, minlength=160)) > 0.001


def test_orders_of_sentences_are_uniform(many_train_samples: Biographies) -> None:
    _, counts = np.unique(many_train_samples.attribute_id, axis=0, return_counts=True)
    assert len(counts) == 720
    assert p_uniform(counts) > 0.001


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_training_templates_are_uniform(many_train_samples: Biographies, attribute: str) -> None:
    samples = many_train_samples
    allowed = np.array([person.training_template_ids[attribute] for person in CONFIG.population])
    template_id = samples.template_id[samples.attribute_id == ATTRIBUTES[attribute].attribute_id]
    positions = (allowed[samples.individual_id] == template_id[:, None]).argmax(axis=1)
    assert p_uniform(np.bincount(positions, minlength=20)) > 0.001


def test_evaluation_templates_are_uniform() -> None:
    samples = draw(CONFIG, "validation", range(10_000))
    allowed = np.array([person.evaluation_template_ids["major"] for person in CONFIG.population])
    template_id = samples.template_id[samples.attribute_id == ATTRIBUTES["major"].attribute_id]
    positions = (allowed[samples.individual_id] == template_id[:, None]).argmax(axis=1)
    assert p_uniform(np.bincount(positions, minlength=5)) > 0.001


def test_template_of_one_sentence_does_not_tell_that_of_another() -> None:
    samples = draw(Config(num_individuals=1), "train", range(10_000))
    by_attribute = np.take_along_axis(samples.template_id, np.argsort(samples.attribute_id, axis=1), axis=1)
    pairs, counts = np.unique(by_attribute[:, :2], axis=0, return_counts=True)
    assert len(pairs) == 400
    assert p_uniform(counts) > 0.001


def test_no_biography_of_train_is_repeated() -> None:
    made = rows(draw(CONFIG, "train", range(2_000)))
    assert len({row["text"] for row in made}) == 2_000


def test_another_seed_changes_the_samples() -> None:
    other = dataclasses.replace(CONFIG, seed=30)
    for column in ("individual_id", "attribute_id", "template_id"):
        one, two = (getattr(draw(config, "train", range(200)), column) for config in (CONFIG, other))
        assert (one == two).mean() < 0.3


def test_another_seed_leaves_the_people_as_they_are() -> None:
    assert list(dataclasses.replace(CONFIG, seed=30).population) == list(CONFIG.population)


def test_another_population_seed_changes_the_people() -> None:
    one, two = (dataclasses.replace(CONFIG, population_seed=seed).population for seed in (4, 5))
    assert not {person.name for person in one} & {person.name for person in two}


def test_another_population_seed_leaves_the_choice_of_people_and_order_as_it_is() -> None:
    one, two = (draw(dataclasses.replace(CONFIG, population_seed=seed), "train", range(200)) for seed in (4, 5))
    assert np.array_equal(one.individual_id, two.individual_id)
    assert np.array_equal(one.attribute_id, two.attribute_id)


def test_number_of_biographies_changes_no_row() -> None:
    fewer = dataclasses.replace(CONFIG, num_biographies=10)
    assert rows(draw(fewer, "train", range(20))) == rows(draw(CONFIG, "train", range(20)))


def test_splits_draw_independently_of_one_another() -> None:
    one, two = (draw(CONFIG, name, range(1_000)).individual_id for name in ("train", "validation"))
    assert (one == two).mean() == pytest.approx(1 / 50, abs=0.02)


def test_pool_sizes_reach_the_text() -> None:
    config = dataclasses.replace(CONFIG, pool_sizes={"cities": 1, "majors": 1})
    for row in rows(draw(config, "train", range(20))):
        values = {found["attribute"]: found["value"] for found in row["attributes"]}
        assert (values["birth_place"], values["current_location"], values["major"]) == ("Shanghai", "Shanghai", "Mathematics")


def test_people_of_n1k_are_the_first_of_n4k() -> None:
    small, large = CONFIGS["n1k"].population, CONFIGS["n4k"].population
    assert [small[k] for k in (0, 1, 500, 999)] == [large[k] for k in (0, 1, 500, 999)]
    for part in ("name_parts", "value_parts", "template_ranks"):
        assert np.array_equal(getattr(small, part)(range(1_000)), getattr(large, part)(range(1_000)))


def test_unseen_people_are_the_same_for_all_named_configs() -> None:
    unseen = [rows(draw(config, "unseen", range(5))) for config in CONFIGS.values()]
    assert unseen == [unseen[0]] * len(CONFIGS)


def test_uniform_begins_at_the_first_individual() -> None:
    ids = Uniform(4, first_individual=7).individual_ids(0, "s", range(100))
    assert set(ids.tolist()) == {7, 8, 9, 10}
