import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chi_square import p_uniform
from hypothesis import given, settings
from hypothesis import strategies as st

import bio_facts
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import Biographies, rows
from bio_facts.generate.config import CONFIGS, Config
from bio_facts.generate.distributions import Celebrities, Distribution, FineTuning, Groups, PowerLaw, Uniform, WarmUp
from bio_facts.generate.splits import data_digest, draw, get_split, individual_ids, splits
from bio_facts.generate.templates import templates

CONFIG = Config(num_individuals=50, num_biographies=1_000, seed=3, population_seed=4)
TUNED = CONFIG.replace(distribution=FineTuning(30, replay_weight=0.5))
GROUPED = CONFIG.replace(distribution=Groups(2, first_group=1))
# (config, split) -> first id and number of its individuals (without replayed ones), number of exported rows.
INDIVIDUALS_AND_ROWS = {
    ("plain", "train"): (0, 50, 1_000),
    ("plain", "validation"): (0, 50, 16_000),
    ("plain", "unseen"): (600_000_000, 16_000, 16_000),
    ("grouped", "train"): (25, 25, 1_000),
    ("grouped", "validation"): (0, 50, 16_000),
    ("grouped", "validation_group0"): (0, 25, 16_000),
    ("grouped", "validation_group1"): (25, 25, 16_000),
    ("grouped", "unseen"): (600_000_000, 16_000, 16_000),
    ("tuned", "train"): (400_000_000, 30, 1_000),
    ("tuned", "validation"): (400_000_000, 30, 16_000),
    ("tuned", "pretrain_validation"): (0, 50, 16_000),
    ("tuned", "unseen"): (600_000_000, 16_000, 16_000),
}
EVERY_DISTRIBUTION = [PowerLaw(1.0), Celebrities(), WarmUp(), Groups(2), FineTuning(30), FineTuning(30, replay_weight=2)]
MANY = 36_000


@pytest.fixture(scope="module", params=INDIVIDUALS_AND_ROWS, ids="-".join)
def config_and_split(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture(scope="module")
def config(config_and_split: tuple[str, str]) -> Config:
    return {"plain": CONFIG, "tuned": TUNED, "grouped": GROUPED}[config_and_split[0]]


@pytest.fixture(scope="module")
def split(config_and_split: tuple[str, str]) -> str:
    return config_and_split[1]


@pytest.fixture(scope="module")
def first_rows(config: Config, split: str) -> list[dict]:
    return rows(draw(config, split, range(200)))


@pytest.fixture(scope="module")
def many_train_samples() -> Biographies:
    return draw(CONFIG, "train", range(MANY))


@pytest.mark.parametrize("distribution", [Uniform(), PowerLaw(0.6), Celebrities(), WarmUp()], ids=repr)
def test_splits_are_train_validation_and_unseen(distribution: Distribution) -> None:
    assert list(splits(CONFIG.replace(distribution=distribution))) == ["train", "validation", "unseen"]


def test_fine_tuning_has_the_validation_split_of_pretraining_too() -> None:
    assert list(splits(TUNED)) == ["train", "validation", "pretrain_validation", "unseen"]


def test_groups_have_a_validation_split_each() -> None:
    names = ["train", "validation", "validation_group0", "validation_group1", "unseen"]
    assert list(splits(GROUPED)) == names


def test_splits_cannot_be_changed_through_what_splits_returns() -> None:
    dict(splits(CONFIG))["train"] = get_split(CONFIG, "unseen")
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_split(CONFIG, "train").num_rows = 1  # type: ignore[misc]


def test_text_is_the_filled_templates_one_after_another(config: Config, first_rows: list[dict]) -> None:
    for row in first_rows:
        individual = config.population.individual(row["individual_id"])
        sentences = [
            templates()[span["attribute"]][span["template_id"]].fill(individual.name, individual.values[span["attribute"]])
            for span in row["attributes"]
        ]
        assert row["text"] == " ".join(sentences)


def test_value_spans_hold_the_values_of_the_individual(config: Config, first_rows: list[dict]) -> None:
    for row in first_rows:
        individual = config.population.individual(row["individual_id"])
        for span in row["attributes"]:
            assert row["text"][span["start"] : span["end"]] == span["value"] == individual.values[span["attribute"]]


def test_name_spans_hold_the_full_name(config: Config, first_rows: list[dict]) -> None:
    for row in first_rows:
        name = config.population.individual(row["individual_id"]).name
        assert [row["text"][span["start"] : span["end"]] for span in row["name_spans"]] == [name] * 6


def test_attributes_occur_once_each_in_the_order_of_the_text(first_rows: list[dict]) -> None:
    for row in first_rows:
        starts = [span["start"] for span in row["attributes"]]
        assert starts == sorted(starts)
        assert {span["attribute"] for span in row["attributes"]} == ATTRIBUTES.keys()
        assert len(row["attributes"]) == 6


def test_each_name_stands_between_the_previous_value_and_its_own(first_rows: list[dict]) -> None:
    for row in first_rows:
        ends = [0, *(span["end"] for span in row["attributes"])]
        for previous_end, name, span in zip(ends, row["name_spans"], row["attributes"], strict=False):
            assert previous_end <= name["start"] < name["end"] < span["start"] < span["end"]


def test_templates_are_those_the_split_draws_from(config: Config, split: str, first_rows: list[dict]) -> None:
    for row in first_rows:
        individual = config.population.individual(row["individual_id"])
        allowed = individual.training_template_ids if split == "train" else individual.evaluation_template_ids
        assert all(span["template_id"] in allowed[span["attribute"]] for span in row["attributes"])


def test_individuals_are_those_of_the_split(config_and_split: tuple[str, str], first_rows: list[dict]) -> None:
    first, number, _ = INDIVIDUALS_AND_ROWS[config_and_split]
    allowed = {*range(first, first + number), *(range(50) if config_and_split == ("tuned", "train") else ())}
    assert {row["individual_id"] for row in first_rows} <= allowed


def test_rows_carry_their_index(first_rows: list[dict]) -> None:
    assert [row["biography_id"] for row in first_rows] == list(range(200))


def test_number_of_exported_rows(config_and_split: tuple[str, str], config: Config, split: str) -> None:
    assert get_split(config, split).num_rows == INDIVIDUALS_AND_ROWS[config_and_split][2]


@pytest.mark.parametrize("config", [CONFIG, TUNED], ids=["plain", "tuned"])
def test_train_has_rows_beyond_the_exported_ones(config: Config) -> None:
    assert [row["biography_id"] for row in rows(draw(config, "train", [1_000, 10**12]))] == [1_000, 10**12]


@pytest.mark.parametrize("name", ["validation", "pretrain_validation", "unseen"])
@pytest.mark.parametrize("ask", [draw, individual_ids])
def test_evaluation_splits_end_with_the_exported_rows(name: str, ask: Any) -> None:
    assert len(ask(TUNED, name, [15_999])) == 1
    with pytest.raises(ValueError) as error:
        ask(TUNED, name, [0, 16_000])
    assert str(error.value) == f"sample index of split {name} is 16000; it must be an integer from 0 to 15,999"


def test_negative_index_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^sample index of split train is -1; it must be an integer from 0 to 9,223,372,036,854,775,807$"
    ):
        draw(CONFIG, "train", [3, -1])


@pytest.mark.parametrize(
    ("config", "known"),
    [(CONFIG, "train, validation, unseen"), (TUNED, "train, validation, pretrain_validation, unseen")],
    ids=["plain", "tuned"],
)
@pytest.mark.parametrize("name", ["test", "", None, ["train"]], ids=repr)
@pytest.mark.parametrize("ask", [draw, individual_ids, lambda config, name, _: get_split(config, name)])
def test_unknown_split_is_refused_with_the_names_of_all(config: Config, known: str, name: Any, ask: Any) -> None:
    with pytest.raises(ValueError) as error:
        ask(config, name, [0])
    assert str(error.value) == f"split is {name!r}; it must be one of {known}"


@pytest.mark.parametrize("name", ["individuals", "templates", "questions", "cloze"])
def test_config_without_biographies_has_no_such_splits(name: str) -> None:
    with pytest.raises(ValueError) as error:
        draw(CONFIGS[name], "train", [0])
    assert str(error.value) == f"config is {CONFIGS[name]!r}, which has no biographies; it must be a config such as 'n64k'"


def test_no_indices_give_no_biographies() -> None:
    assert rows(draw(CONFIG, "train", [])) == []
    assert individual_ids(TUNED, "train", []).tolist() == []


def test_individual_ids_are_those_of_the_rows(config: Config, split: str, first_rows: list[dict]) -> None:
    assert individual_ids(config, split, range(200)).tolist() == [row["individual_id"] for row in first_rows]


def test_fractional_index_is_refused() -> None:
    with pytest.raises((ValueError, TypeError)):
        draw(CONFIG, "train", [1.5])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(INDIVIDUALS_AND_ROWS)), st.lists(st.integers(0, 15_999), min_size=1, max_size=12))
def test_row_is_the_same_alone_and_among_others(config_and_split: tuple[str, str], indices: list[int]) -> None:
    config, name = {"plain": CONFIG, "tuned": TUNED, "grouped": GROUPED}[config_and_split[0]], config_and_split[1]
    assert rows(draw(config, name, indices)) == [rows(draw(config, name, index))[0] for index in indices]


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
    allowed = np.array([individual.training_template_ids[attribute] for individual in CONFIG.population])
    template_id = samples.template_id[samples.attribute_id == ATTRIBUTES[attribute].attribute_id]
    positions = (allowed[samples.individual_id] == template_id[:, None]).argmax(axis=1)
    assert p_uniform(np.bincount(positions, minlength=20)) > 0.001


def test_evaluation_templates_are_uniform() -> None:
    samples = draw(CONFIG, "validation", range(10_000))
    allowed = np.array([individual.evaluation_template_ids["major"] for individual in CONFIG.population])
    template_id = samples.template_id[samples.attribute_id == ATTRIBUTES["major"].attribute_id]
    positions = (allowed[samples.individual_id] == template_id[:, None]).argmax(axis=1)
    assert p_uniform(np.bincount(positions, minlength=5)) > 0.001


def test_templates_of_two_sentences_are_independent() -> None:
    samples = draw(Config(num_individuals=1), "train", range(10_000))
    by_attribute = np.take_along_axis(samples.template_id, np.argsort(samples.attribute_id, axis=1), axis=1)
    pairs, counts = np.unique(by_attribute[:, :2], axis=0, return_counts=True)
    assert len(pairs) == 400
    assert p_uniform(counts) > 0.001


def test_no_biography_of_train_is_repeated() -> None:
    made = rows(draw(CONFIG, "train", range(2_000)))
    assert len({row["text"] for row in made}) == 2_000


def test_another_seed_changes_the_samples() -> None:
    other = CONFIG.replace(seed=30)
    for column in ("individual_id", "attribute_id", "template_id"):
        first, second = (getattr(draw(config, "train", range(200)), column) for config in (CONFIG, other))
        assert (first == second).mean() < 0.3


def test_another_seed_leaves_the_individuals_as_they_are() -> None:
    assert list(CONFIG.replace(seed=30).population) == list(CONFIG.population)


def test_another_population_seed_changes_the_individuals() -> None:
    first, second = (CONFIG.replace(population_seed=seed).population for seed in (4, 5))
    assert not {individual.name for individual in first} & {individual.name for individual in second}


def test_another_population_seed_leaves_ids_and_order_of_sentences_as_they_are() -> None:
    first, second = (draw(CONFIG.replace(population_seed=seed), "train", range(200)) for seed in (4, 5))
    assert np.array_equal(first.individual_id, second.individual_id)
    assert np.array_equal(first.attribute_id, second.attribute_id)


def test_number_of_biographies_changes_no_row() -> None:
    fewer = CONFIG.replace(num_biographies=10)
    assert rows(draw(fewer, "train", range(20))) == rows(draw(CONFIG, "train", range(20)))


def test_splits_draw_independently_of_one_another() -> None:
    train, validation = (draw(CONFIG, name, range(1_000)).individual_id for name in ("train", "validation"))
    assert (train == validation).mean() == pytest.approx(1 / 50, abs=0.02)


def test_pool_sizes_reach_the_text() -> None:
    config = CONFIG.replace(pool_sizes={"cities": 1, "majors": 1})
    for row in rows(draw(config, "train", range(20))):
        values = {span["attribute"]: span["value"] for span in row["attributes"]}
        assert (values["birth_place"], values["current_location"], values["major"]) == ("Shanghai", "Shanghai", "Mathematics")


def test_individuals_of_n1k_are_the_first_of_n4k() -> None:
    small, large = CONFIGS["n1k"].population, CONFIGS["n4k"].population
    assert [small[k] for k in (0, 1, 500, 999)] == [large[k] for k in (0, 1, 500, 999)]
    for part in ("name_parts", "value_parts", "template_ranks"):
        assert np.array_equal(getattr(small, part)(range(1_000)), getattr(large, part)(range(1_000)))


BIOGRAPHIES = {name: config for name, config in CONFIGS.items() if isinstance(config, Config)}


def test_unseen_rows_are_the_same_for_all_named_configs() -> None:
    unseen = [rows(draw(config, "unseen", range(3))) for config in BIOGRAPHIES.values()]
    assert unseen == [unseen[0]] * 115


@pytest.mark.parametrize("distribution", EVERY_DISTRIBUTION, ids=repr)
def test_unseen_individuals_are_not_in_train(distribution: Distribution) -> None:
    config = CONFIG.replace(distribution=distribution)
    in_train, unseen = (set(individual_ids(config, name, range(16_000)).tolist()) for name in ("train", "unseen"))
    assert not in_train & unseen
    assert max(in_train) < 600_000_000 <= min(unseen)


@pytest.mark.parametrize("name", ["validation", "unseen"])
@pytest.mark.parametrize("distribution", [PowerLaw(1.0), Celebrities(), WarmUp()], ids=repr)
def test_evaluation_splits_do_not_depend_on_the_distribution(distribution: Distribution, name: str) -> None:
    skewed = CONFIG.replace(distribution=distribution)
    assert rows(draw(skewed, name, range(300))) == rows(draw(CONFIG, name, range(300)))


def test_validation_individuals_are_uniform() -> None:
    ids = individual_ids(CONFIG.replace(distribution=PowerLaw(1.0)), "validation", range(16_000))
    assert p_uniform(np.bincount(ids, minlength=50)) > 0.001


@pytest.mark.parametrize("distribution", [PowerLaw(1.0), Celebrities(), WarmUp()], ids=repr)
def test_distribution_changes_the_individuals_of_train_and_nothing_else(distribution: Distribution) -> None:
    """Two rows about the same individual are equal; the order of sentences depends on the row alone."""
    plain, skewed = (draw(config, "train", range(200)) for config in (CONFIG, CONFIG.replace(distribution=distribution)))
    same = plain.individual_id == skewed.individual_id
    assert 0 < same.sum() < 200
    assert np.array_equal(plain.attribute_id, skewed.attribute_id)
    assert np.array_equal(plain.template_id[same], skewed.template_id[same])


# Fine-tuning


@pytest.mark.parametrize("weight", [0, 0.5])
def test_pretrain_validation_of_fine_tuning_is_the_validation_of_pretraining(weight: float) -> None:
    tuned = CONFIG.replace(distribution=FineTuning(30, replay_weight=weight))
    assert rows(draw(tuned, "pretrain_validation", range(2_000))) == rows(draw(CONFIG, "validation", range(2_000)))


def test_pretrain_validation_of_named_configs_is_the_validation_of_their_size() -> None:
    for name in [name for name in CONFIGS if "finetune" in name]:
        plain = CONFIGS[name.partition("-")[0]]
        assert rows(draw(CONFIGS[name], "pretrain_validation", range(20))) == rows(draw(plain, "validation", range(20)))


def test_validation_of_fine_tuning_is_uniform_over_the_new_individuals() -> None:
    ids = individual_ids(TUNED, "validation", range(16_000))
    assert p_uniform(np.bincount(ids - 400_000_000)) > 0.001
    assert set(ids.tolist()) == set(range(400_000_000, 400_000_030))


def test_replay_is_in_train_only() -> None:
    assert (individual_ids(TUNED, "train", range(16_000)) < 50).mean() == pytest.approx(25 / 55, abs=0.02)
    assert (individual_ids(TUNED, "validation", range(16_000)) >= 400_000_000).all()


def test_replayed_biographies_are_not_those_of_pretraining() -> None:
    replayed = CONFIG.replace(distribution=FineTuning(1, replay_weight=1_000))
    pretraining, replay = (draw(config, "train", range(2_000)) for config in (CONFIG, replayed))
    assert (pretraining.attribute_id == replay.attribute_id).all(axis=1).mean() < 0.01  # 1 in 720, by chance
    assert not {row["text"] for row in rows(pretraining)} & {row["text"] for row in rows(replay)}


def test_new_individuals_have_names_of_their_own() -> None:
    new = {row["individual_id"]: row for row in rows(draw(TUNED, "validation", range(300)))}
    names = {row["text"][row["name_spans"][0]["start"] : row["name_spans"][0]["end"]] for row in new.values()}
    assert len(names) == len(new) == 30
    assert not names & {individual.name for individual in CONFIG.population}


def test_more_new_individuals_leave_pretraining_validation_as_it_is() -> None:
    fewer, more = (CONFIG.replace(distribution=FineTuning(count)) for count in (30, 60))
    for name in ("pretrain_validation", "unseen"):
        assert rows(draw(fewer, name, range(100))) == rows(draw(more, name, range(100)))


DIGEST_OF_N1K = "9bf9a20cfe8dadbad7ab8888fcc00f11f5413b9fbb1b6376a385bd038cb29c34"


def digest_of_changed_copy(folder: Path, file: str = "", line: int = 0) -> str:
    """data_digest of n1k from a copy of the package, where one line of a data file is changed."""
    shutil.copytree(Path(bio_facts.__file__).parent, folder / "bio_facts", ignore=shutil.ignore_patterns("__pycache__"))
    if file:
        path = folder / "bio_facts" / "data" / file
        lines = path.read_text(encoding="utf-8").splitlines()
        lines[line] = lines[line].replace(" {value}", " the {value}") if "{" in lines[line] else f"Zyx{lines[line]}"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    code = (
        "import sys; from bio_facts.generate.config import CONFIGS; from bio_facts.generate.splits import data_digest\n"
        "print(data_digest(CONFIGS['n1k'])); assert not {'pyarrow', 'datasets'} & sys.modules.keys()"
    )
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "7"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_data_digest_is_the_same_in_every_process(tmp_path: Path) -> None:
    assert data_digest(CONFIGS["n1k"]) == DIGEST_OF_N1K == digest_of_changed_copy(tmp_path)


@pytest.mark.parametrize("file", ["first_names.txt", "companies.txt", "cities.txt", "templates/company.txt"])
def test_changed_line_of_a_data_file_gives_another_digest(tmp_path: Path, file: str) -> None:
    first = next(iter(rows(draw(CONFIGS["n1k"], "train", [0]))))
    lines = (Path(bio_facts.__file__).parent / "data" / file).read_text(encoding="utf-8").splitlines()
    if file.startswith("templates"):
        line = next(item["template_id"] for item in first["attributes"] if item["attribute"] == "company")
    else:
        line = next(number for number, item in enumerate(lines) if item and re.search(rf"\b{re.escape(item)}\b", first["text"]))
    assert digest_of_changed_copy(tmp_path, file, line) != DIGEST_OF_N1K


def test_other_rows_and_splits_give_another_digest() -> None:
    config = CONFIGS["n1k"]
    groups = CONFIGS["n1k"].replace(distribution=Groups(num_groups=2))
    assert (
        len({data_digest(item) for item in (config, config.replace(seed=1), config.replace(num_individuals=999), groups)}) == 4
    )
