import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.generate import table_configs
from bio_facts.generate.config import (
    CONFIGS,
    ClozeConfig,
    Config,
    IndividualsConfig,
    QuestionsConfig,
    TemplatesConfig,
    config_from,
    get_config,
)
from bio_facts.generate.distributions import Celebrities, FineTuning, Groups, PowerLaw, Uniform, WarmUp
from bio_facts.generate.population import NUM_FINE_TUNING_INDIVIDUALS

CARD = Path(__file__).parent.parent / "dataset_card.md"
CONFIG = Config(num_individuals=80, num_biographies=10)
BIOGRAPHIES = {name: config for name, config in CONFIGS.items() if isinstance(config, Config)}

SIZES = (1, 4, 8, 16, 32, 64, 128, 256)
ALPHAS = ("0.2", "0.4", "0.6", "0.8", "1.0")
FINE_TUNING_SIZES = (1, 2, 4, 8, 16)
QUESTION_SIZES = (1, 8, 64)
REPLAY_WEIGHTS = ("2", "1", "0.5", "0.25", "0.125", "0.0625", "0.03125")


# Named configs


def expected_names() -> set[str]:
    variants = ["", *(f"-alpha{alpha}" for alpha in ALPHAS), "-celebrities", "-warmup", "-groups"]
    return {
        *(f"n{size}k{variant}" for size in SIZES for variant in variants),
        *(f"n{size}k-finetune{new}k" for size in SIZES for new in FINE_TUNING_SIZES if new <= size),
        *(f"n64k-finetune4k-replay{weight}" for weight in REPLAY_WEIGHTS),
        *(f"n{size}k-questions" for size in QUESTION_SIZES),
        "individuals",
        "templates",
        "questions",
        "cloze",
    }


def test_names_are_all_sizes_times_all_variants() -> None:
    assert len(CONFIGS) == 119
    assert set(CONFIGS) == expected_names()


def test_names_are_those_of_the_card() -> None:
    card = CARD.read_text(encoding="utf-8")
    assert f"`n{{size}}` gives the number of individuals: {', '.join(f'n{size}k' for size in SIZES[:5])}, n64k" in card
    assert f"The replay weight is {', '.join(REPLAY_WEIGHTS[:-1])} or {REPLAY_WEIGHTS[-1]}." in card
    for row in (
        "`n{size}`",
        f"`n{{size}}-alpha{{{', '.join(ALPHAS)}}}`",
        "`n{size}-celebrities`",
        "`n{size}-warmup`",
        "`n{size}-groups`",
        f"`n{{size}}-finetune{{{', '.join(f'{new}k' for new in FINE_TUNING_SIZES)}}}`",
        "`n64k-finetune4k-replay{weight}`",
        f"`n{{{', '.join(f'{size}k' for size in QUESTION_SIZES)}}}-questions`",
        "`individuals`",
        "`templates`",
        "`questions`",
        "`cloze`",
    ):
        assert card.count(f"| {row} |") == 1


@pytest.mark.parametrize("size", SIZES)
def test_name_says_the_number_of_people(size: int) -> None:
    of_size = [config for name, config in BIOGRAPHIES.items() if name.partition("-")[0] == f"n{size}k"]
    assert len(of_size) >= 9
    assert {config.num_individuals for config in of_size} == {size * 1_000}


def test_individuals_are_those_of_the_largest_size() -> None:
    assert CONFIGS["individuals"] == IndividualsConfig(num_individuals=256_000)


def distribution_of(name: str) -> Any:
    """The distribution that the name of a config stands for."""
    variant = name.partition("-")[2]
    if variant.startswith("alpha"):
        return PowerLaw(float(variant.removeprefix("alpha")))
    if variant.startswith("finetune"):
        new, _, weight = variant.removeprefix("finetune").partition("k")
        return FineTuning(int(new) * 1_000, float(weight.removeprefix("-replay") or 0))
    return {"": Uniform(), "questions": Uniform(), "celebrities": Celebrities(), "warmup": WarmUp(), "groups": Groups()}[
        variant
    ]


def test_names_say_the_distribution() -> None:
    expected = {name: distribution_of(name) for name in BIOGRAPHIES}
    assert {name: config.distribution for name, config in BIOGRAPHIES.items()} == expected


def test_named_configs_have_the_biographies_of_the_paper() -> None:
    """16k steps of 128, of which fine-tuning is 4k (sections 1.4 and 4); the smallest is for demonstrations.

    Rows of questions come on top of the biographies.
    """
    expected = {
        name: 4_000 * 128 if "finetune" in name else 1_000 * 128 if name.startswith("n1k") else 16_000 * 128
        for name in BIOGRAPHIES
    }
    for size in QUESTION_SIZES:
        config = CONFIGS[f"n{size}k-questions"]
        assert config == CONFIGS[f"n{size}k"].replace(num_biographies=config.num_biographies, phases=config.phases)
        assert config.phases.as_json() == [[config.num_biographies, {"biographies": 1, "questions": 1}]]
        expected[f"n{size}k-questions"] *= 2
    assert {name: config.num_biographies for name, config in BIOGRAPHIES.items()} == expected


def test_named_configs_share_seeds_and_pools() -> None:
    assert {(config.seed, config.population_seed) for config in BIOGRAPHIES.values()} == {(0, 0)}
    assert {config.pool_sizes for config in BIOGRAPHIES.values()} == {CONFIG.pool_sizes}


def test_individuals_table_has_the_new_people_of_every_named_config() -> None:
    counts = [config.parameters.get("num_fine_tuning_individuals", 0) for config in CONFIGS.values()]
    assert max(counts) == NUM_FINE_TUNING_INDIVIDUALS


def test_named_configs_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CONFIGS["n2k"] = CONFIGS["n1k"]  # type: ignore[index]


def test_name_gives_its_config() -> None:
    assert get_config("n4k-alpha0.6") is CONFIGS["n4k-alpha0.6"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("n64", "n64k"),
        ("n64k-alpha0.7", "n64k-alpha0.6"),
        ("n8k-celebrity", "n8k-celebrities"),
        ("n4k-finetune8k", "n4k-finetune4k"),
        ("individual", "individuals"),
        ("N1K", "n"),
        ("", "n"),
        (None, "n"),
        (["n1k"], "n"),
    ],
)
def test_unknown_name_is_refused_with_some_that_are_near(name: Any, near: str) -> None:
    with pytest.raises(ValueError) as error:
        get_config(name)
    before, _, choice = str(error.value).partition(" such as ")
    assert before == f"config is {name!r}; it must be one of 119"
    names, listed, _ = choice.partition(" (list: bio-facts configs)")
    assert listed
    assert near in names
    assert len(names.split(", ")) == 3
    assert set(names.split(", ")) <= set(CONFIGS)


# Fields


@pytest.mark.parametrize("name", ["n1k", "n1k-warmup", "individuals"])
def test_fields_cannot_be_changed(name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONFIGS[name].num_individuals = 1


BAD_BIOGRAPHIES = [
    ("num_biographies", 0, "num_biographies is 0; it must be an integer from 1 to 1,000,000,000,000"),
    ("num_biographies", True, "num_biographies is True; it must be an integer from 1 to 1,000,000,000,000"),
    ("seed", -1, "seed is -1; it must be an integer of at least 0"),
    ("seed", None, "seed is None; it must be an integer of at least 0"),
    ("num_training_templates", 0, "num_training_templates is 0; it must be an integer from 1 to 20"),
    ("num_training_templates", 21, "num_training_templates is 21; it must be an integer from 1 to 20"),
    ("num_training_templates", 1.0, "num_training_templates is 1.0; it must be an integer from 1 to 20"),
    ("num_training_templates", None, "num_training_templates is None; it must be an integer from 1 to 20"),
    ("num_wordings", 0, "num_wordings is 0; it must be an integer from 1 to 20"),
    ("num_wordings", 21, "num_wordings is 21; it must be an integer from 1 to 20"),
    ("num_wordings", 2.0, "num_wordings is 2.0; it must be an integer from 1 to 20"),
    ("sentence_order", "shuffled", "sentence_order is 'shuffled'; it must be one of drawn, row, individual, fixed"),
    ("sentence_order", "Fixed", "sentence_order is 'Fixed'; it must be one of drawn, row, individual, fixed"),
    ("sentence_order", True, "sentence_order is True; it must be one of drawn, row, individual, fixed"),
    ("sentence_order", None, "sentence_order is None; it must be one of drawn, row, individual, fixed"),
    (
        "sentence_order",
        "row",
        "sentence_order is 'row', but num_wordings is not given; it must be 'drawn', which then means each row",
    ),
    ("wordings_for", "asked", "wordings_for is 'asked'; it must be one of everyone, not_asked"),
    ("wordings_for", "not_asked", "wordings_for is 'not_asked', but num_wordings is not given; it needs num_wordings"),
    ("phases", 5, "phases is 5; it must be a list of [until_sample, weights], such as [[1000, {'biographies': 1}], [2000, "),
    ("num_asked_individuals", 5, "num_asked_individuals is 5, but phases have no questions; it must be None"),
    ("num_phrasings", 1, "num_phrasings is 1, but phases have no questions; it must be 8"),
    ("num_phrasings", 9, "num_phrasings is 9; it must be an integer from 1 to 8"),
]
BAD_PEOPLE = [
    ("num_individuals", 0, "num_individuals is 0; it must be an integer from 1 to 400,000,000"),
    ("num_individuals", "10", "num_individuals is '10'; it must be an integer from 1 to 400,000,000"),
    ("population_seed", 1.5, "population_seed is 1.5; it must be an integer of at least 0"),
    ("pool_sizes", {"majors": 101}, "pool_sizes['majors'] is 101; it must be an integer from 1 to 100"),
    ("pool_sizes", {"city": 3}, "pool_sizes names 'city'; the pools are cities, universities, majors, companies,"),
    ("pool_sizes", 3, "pool_sizes is 3; it must be a mapping of pool names to integers"),
]


@pytest.mark.parametrize(("field", "value", "message"), BAD_BIOGRAPHIES + BAD_PEOPLE)
def test_bad_config_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError) as error:
        CONFIG.replace(**{field: value})
    assert message in str(error.value)


@pytest.mark.parametrize(("field", "value", "message"), BAD_PEOPLE)
def test_bad_config_of_individuals_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        IndividualsConfig(**{"num_individuals": 10, field: value})
    assert message in str(error.value)


def test_misspelt_field_is_refused() -> None:
    with pytest.raises(TypeError, match="num_individual"):
        Config(num_individual=10)  # type: ignore[call-arg]


# Replacing parameters


def test_replace_changes_what_is_named_and_nothing_else() -> None:
    changed = CONFIGS["n64k-alpha0.6"].replace(num_individuals=500, seed=1, pool_sizes={"cities": 3})
    assert changed == Config(
        num_individuals=500, num_biographies=2_048_000, seed=1, pool_sizes={"cities": 3}, distribution=PowerLaw(0.6)
    )
    assert CONFIGS["n64k-alpha0.6"].num_individuals == 64_000


@pytest.mark.parametrize(
    ("name", "given", "distribution"),
    [
        ("n1k-alpha0.6", {"alpha": 0.7}, PowerLaw(0.7)),
        ("n1k-celebrities", {"num_celebrities": 3}, Celebrities(3, 8)),
        ("n1k-celebrities", {"celebrity_weight": 2, "num_celebrities": 5}, Celebrities(5, 2)),
        ("n1k-warmup", {"num_warmup_individuals": 9}, WarmUp(9, None)),
        ("n1k-warmup", {"num_warmup_biographies": 9}, WarmUp(None, 9)),
        ("n1k-groups", {"num_groups": 2, "first_group": 1}, Groups(2, None, 1)),
        ("n1k-groups", {"num_group_biographies": 9}, Groups(4, 9, 0)),
        ("n1k-groups", {"num_rounds": 3}, Groups(4, None, 0, 3)),
        ("n1k-groups", {"num_group0_individuals": 100}, Groups(4, None, 0, num_group0_individuals=100)),
        ("n1k-finetune1k", {"replay_weight": 0.5}, FineTuning(1_000, 0.5)),
        ("n1k-finetune1k", {"num_fine_tuning_individuals": 3}, FineTuning(3, 0)),
        ("n1k", {"distribution": PowerLaw(0.7)}, PowerLaw(0.7)),
        ("n1k-celebrities", {"distribution": Celebrities(9, 3), "num_celebrities": 5}, Celebrities(5, 3)),
    ],
)
def test_replace_reaches_the_parameters_of_the_distribution(name: str, given: dict[str, Any], distribution: Any) -> None:
    assert CONFIGS[name].replace(**given) == dataclasses.replace(CONFIGS[name], distribution=distribution)


def test_replace_with_nothing_gives_the_same() -> None:
    for config in CONFIGS.values():
        assert config.replace() == config


CONFIG_FIELDS = [
    *("distribution", "num_asked_individuals", "num_biographies", "num_individuals", "num_phrasings"),
    *("num_training_templates", "num_wordings", "phases", "pool_sizes", "population_seed", "seed", "sentence_order"),
    "wordings_for",
]


@pytest.mark.parametrize(
    ("name", "parameter", "what", "known"),
    [
        ("n1k", "alpha", "config with uniform distribution", CONFIG_FIELDS),
        ("n1k-alpha0.6", "alhpa", "config with power_law distribution", [*CONFIG_FIELDS, "alpha"]),
        (
            "n1k-celebrities",
            "alpha",
            "config with celebrities distribution",
            [*CONFIG_FIELDS, "num_celebrities", "celebrity_weight"],
        ),
        (
            "n1k-warmup",
            "num_warmups",
            "config with warm_up distribution",
            [*CONFIG_FIELDS, "num_warmup_individuals", "num_warmup_biographies"],
        ),
        (
            "n1k-groups",
            "num_group",
            "config with groups distribution",
            [*CONFIG_FIELDS, "num_groups", "num_group_biographies", "first_group", "num_rounds", "num_group0_individuals"],
        ),
        (
            "n1k-finetune1k",
            "alpha",
            "config with fine_tuning distribution",
            [*CONFIG_FIELDS, "num_fine_tuning_individuals", "replay_weight"],
        ),
        ("individuals", "seed", "config of individuals", ["num_individuals", "pool_sizes", "population_seed"]),
    ],
)
def test_unknown_parameter_is_refused_with_those_there_are(name: str, parameter: str, what: str, known: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        CONFIGS[name].replace(num_individuals=10, **{parameter: 1})
    message = f"unknown parameter {parameter!r} of a {what}; it has {', '.join(sorted(known))}"
    listed, _, _ = str(error.value).partition("; did you mean ")
    assert listed.removesuffix("; alpha is a parameter of distribution power_law") == message


@pytest.mark.parametrize(("parameter", "hint"), [("alhpa", "; did you mean 'alpha'?"), ("x", "")])
def test_unknown_parameter_is_asked_about_if_one_is_like_it(parameter: str, hint: str) -> None:
    with pytest.raises(ValueError) as error:
        CONFIGS["n1k-alpha0.6"].replace(**{parameter: 1})
    assert str(error.value).endswith(f", wordings_for{hint}")


@pytest.mark.parametrize(
    ("name", "parameter", "owner"),
    [("n1k", "alpha", "power_law"), ("n1k-alpha0.6", "num_groups", "groups"), ("individuals", "replay_weight", "fine_tuning")],
)
def test_parameter_of_another_distribution_is_refused_with_its_name(name: str, parameter: str, owner: str) -> None:
    with pytest.raises(ValueError, match=f"; {parameter} is a parameter of distribution {owner}$"):
        CONFIGS[name].replace(**{parameter: 1})


def test_templates_have_no_parameters() -> None:
    with pytest.raises(ValueError, match=r"^unknown parameter 'seed' of a config of templates; it has none$"):
        CONFIGS["templates"].replace(seed=1)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("n1k-alpha0.6", {"alpha": 4}, "alpha is 4; it must be a number from 0 to 3"),
        ("n1k-celebrities", {"num_celebrities": 1_001}, "num_celebrities is 1001; it must be an integer from 1 to 1,000"),
        (
            "n1k-warmup",
            {"num_warmup_biographies": -1},
            "num_warmup_biographies is -1; it must be an integer from 0 to 1,000,000,000,000",
        ),
        ("n1k-finetune1k", {"replay_weight": -1}, "replay_weight is -1; it must be a number from 0 to 1,000"),
        (
            "n1k-groups",
            {"num_groups": 3},
            "num_groups is 3; it must be a divisor of num_individuals, 1000",
        ),
        ("n1k-groups", {"num_groups": 2, "first_group": 2}, "first_group is 2; it must be an integer from 0 to 1"),
        ("n1k-groups", {"num_group0_individuals": 998}, "num_group0_individuals is 998; it must be an integer from 1 to 997"),
        (
            "n1k-groups",
            {"num_group0_individuals": 101},
            "num_group0_individuals is 101; the other 899 of 1000 individuals must make 3 groups of equal size",
        ),
    ],
)
def test_bad_parameter_of_the_distribution_is_refused(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        CONFIGS[name].replace(**given)
    assert str(error.value) == message


def test_distribution_that_no_longer_fits_is_refused() -> None:
    many = CONFIGS["n1k"].replace(distribution=WarmUp(num_warmup_individuals=900))
    with pytest.raises(ValueError, match=r"^num_warmup_individuals is 900; it must be an integer from 1 to 800$"):
        many.replace(num_individuals=800)


# Parameters and fingerprints


def test_named_configs_come_back_from_the_json_of_their_parameters() -> None:
    for config in CONFIGS.values():
        back = config_from(config.table, json.loads(json.dumps(config.parameters)))
        assert (type(back), back.parameters, back.fingerprint) == (type(config), config.parameters, config.fingerprint)


DISTRIBUTIONS = st.one_of(
    st.just(Uniform()),
    st.builds(PowerLaw, st.floats(0, 3)),
    st.builds(Celebrities, st.none() | st.integers(1, 20), st.integers(1, 1_000)),
    st.builds(WarmUp, st.none() | st.integers(1, 20), st.none() | st.integers(0, 10**12)),
    st.builds(FineTuning, st.integers(1, 10**8), st.integers(0, 10**9).map(lambda millionths: millionths / 10**6)),
    st.integers(1, 64).flatmap(
        lambda count: st.builds(
            Groups,
            st.just(count),
            st.none() | st.integers(1, 10**12),
            st.integers(0, count - 1),
            st.integers(1, 3) | st.integers(1, 10**12),
        )
    ),
)


def config_of(num_individuals: int, distribution: Any, **parameters: Any) -> Config:
    """A config of at least so many individuals: groups are of equal size."""
    size = distribution.num_groups if isinstance(distribution, Groups) else 1
    return Config(num_individuals=-(-num_individuals // size) * size, distribution=distribution, **parameters)


ANY_CONFIG = st.builds(
    config_of,
    num_individuals=st.integers(20, 20_000_000),
    num_biographies=st.integers(1, 10**12),
    seed=st.integers(0, 2**70),
    population_seed=st.integers(0, 2**70),
    pool_sizes=st.fixed_dictionaries({}, optional={"cities": st.integers(1, 800), "days": st.integers(1, 28)}),
    num_training_templates=st.just(20) | st.integers(4, 20),
    num_wordings=st.none() | st.integers(1, 4),
    sentence_order=st.sampled_from(["drawn", "individual", "fixed"]),
    distribution=DISTRIBUTIONS,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(ANY_CONFIG)
def test_any_config_comes_back_from_the_json_of_its_parameters(config: Config) -> None:
    back = config_from("biographies", json.loads(json.dumps(config.parameters)))
    assert back.parameters == config.parameters
    assert back.fingerprint == config.fingerprint
    later = "num_training_templates", "num_wordings", "sentence_order"
    assert [getattr(back, name) for name in later] == [getattr(config, name) for name in later]
    assert back.distribution == config.distribution.resolved(config.num_individuals)


@pytest.mark.parametrize(
    ("name", "parameter", "default"),
    [
        ("n1k", "num_training_templates", 20),
        ("n1k", "num_wordings", None),
        ("n1k", "wordings_for", "everyone"),
        ("n1k", "sentence_order", "drawn"),
        ("n1k", "phases", None),
        ("n1k", "num_asked_individuals", None),
        ("n1k", "num_phrasings", 8),
        ("n1k-groups", "num_rounds", 1),
        ("n1k-groups", "num_group0_individuals", None),
    ],
)
def test_parameter_that_was_added_later_keeps_the_older_fingerprint(name: str, parameter: str, default: Any) -> None:
    """Those who wrote parameters before it existed did not write it; goldens.json has the fingerprints of that time."""
    assert CONFIGS[name].replace(**{parameter: default}) == CONFIGS[name]
    assert parameter not in CONFIGS[name].parameters
    back = config_from("biographies", CONFIGS[name].parameters)
    assert getattr(back if hasattr(back, parameter) else back.distribution, parameter) == default


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n4k", {"distribution": "uniform"}),
        ("n4k-alpha0.6", {"distribution": "power_law", "alpha": 0.6}),
        ("n4k-celebrities", {"distribution": "celebrities", "num_celebrities": 250, "celebrity_weight": 8}),
        ("n4k-warmup", {"distribution": "warm_up", "num_warmup_individuals": 500, "num_warmup_biographies": 12_000}),
        ("n4k-groups", {"distribution": "groups", "num_groups": 4, "num_group_biographies": 16_000, "first_group": 0}),
        (
            "n4k-finetune2k",
            {
                "num_biographies": 512_000,
                "distribution": "fine_tuning",
                "num_fine_tuning_individuals": 2_000,
                "replay_weight": 0.0,
            },
        ),
    ],
)
def test_parameters_are_complete(name: str, expected: dict[str, Any]) -> None:
    pools = dict(cities=800, universities=200, majors=100, companies=500, months=12, days=28, years=200)
    plain = {"num_individuals": 4_000, "num_biographies": 2_048_000, "seed": 0, "population_seed": 0, "pool_sizes": pools}
    assert CONFIGS[name].parameters == plain | expected


@pytest.mark.parametrize(
    ("table", "parameters"),
    [
        ("biography", {}),
        ("templates", {"seed": 1}),
        ("individuals", {}),
        ("individuals", {"num_individuals": 5, "seed": 1}),
        ("biographies", {"num_individuals": 5}),
        ("biographies", CONFIG.parameters | {"distribution": "zipf"}),
        ("biographies", CONFIG.parameters | {"distribution": "power_law"}),
        ("biographies", CONFIG.parameters | {"alpha": 0.6}),
    ],
)
def test_parameters_of_no_config_are_refused(table: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as error:
        config_from(table, parameters)
    assert str(error.value) == f"no config has table {table!r} and parameters {parameters!r}"


def test_fingerprints_are_all_different() -> None:
    assert len({config.fingerprint for config in CONFIGS.values()}) == len(CONFIGS)


def test_fingerprints_are_16_hexadecimal_digits() -> None:
    assert [name for name, config in CONFIGS.items() if not re.fullmatch("[0-9a-f]{16}", config.fingerprint)] == []


@pytest.mark.parametrize(
    "distribution", [PowerLaw(0.0), Celebrities(), WarmUp(), Groups(), FineTuning(1)], ids=lambda kind: kind.name
)
def test_distribution_changes_the_fingerprint(distribution: Any) -> None:
    assert CONFIG.replace(distribution=distribution).fingerprint != CONFIG.fingerprint


def test_table_is_part_of_the_fingerprint() -> None:
    of_individuals = [table(num_individuals=80) for table in (IndividualsConfig, QuestionsConfig, ClozeConfig)]
    assert len({config.fingerprint for config in (CONFIG, *of_individuals, TemplatesConfig())}) == 5


def test_data_version_changes_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = CONFIGS["n1k"].fingerprint
    monkeypatch.setattr(table_configs, "DATA_VERSION", "99.0.0")
    assert CONFIGS["n1k"].fingerprint != before


@pytest.mark.parametrize("pool_sizes", [{"cities": 800}, {"first_names": 900}])
def test_full_pool_sizes_have_the_fingerprint_of_none(pool_sizes: dict[str, int]) -> None:
    assert CONFIG.replace(pool_sizes=pool_sizes).fingerprint == CONFIG.fingerprint


def test_name_pools_are_parameters_where_they_are_smaller() -> None:
    smaller = CONFIG.replace(pool_sizes={"first_names": 800, "last_names": 1000})
    assert smaller.parameters["pool_sizes"].keys() - CONFIG.parameters["pool_sizes"].keys() == {"first_names"}
    assert config_from("biographies", smaller.parameters) == smaller


def test_more_people_for_fine_tuning_than_names_are_refused() -> None:
    small = CONFIGS["n1k-finetune1k"].replace(pool_sizes={"first_names": 50, "middle_names": 40, "last_names": 40})
    with pytest.raises(ValueError, match="num_fine_tuning_individuals is 19,754; name pools of 50 x 40 x 40 items"):
        small.replace(num_fine_tuning_individuals=19_754)


def test_numpy_integer_has_the_fingerprint_of_the_python_one() -> None:
    assert Config(num_individuals=np.int64(10)).fingerprint == Config(num_individuals=10).fingerprint
