import dataclasses

import numpy as np
import pytest

from bio_facts import config as config_module
from bio_facts.config import CONFIGS, Config, get_config


def test_named_configs_are_the_populations_of_the_paper_and_a_small_one() -> None:
    sizes = {"n1k": 1, "n4k": 4, "n8k": 8, "n16k": 16, "n32k": 32, "n64k": 64, "n128k": 128, "n256k": 256}
    assert {name: config.num_individuals for name, config in CONFIGS.items()} == {k: v * 1_000 for k, v in sizes.items()}


def test_named_configs_have_the_biographies_of_16k_steps_of_128() -> None:
    assert {config.num_biographies for name, config in CONFIGS.items() if name != "n1k"} == {16_000 * 128}


def test_named_configs_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CONFIGS["n2k"] = CONFIGS["n1k"]  # type: ignore[index]


def test_fields_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONFIGS["n1k"].seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_individuals", 0, "num_individuals is 0; it must be an integer from 1 to 400,000,000"),
        ("num_individuals", "10", "num_individuals is '10'; it must be an integer from 1 to 400,000,000"),
        ("num_biographies", 0, "num_biographies is 0; it must be an integer of at least 1"),
        ("num_biographies", True, "num_biographies is True; it must be an integer of at least 1"),
        ("seed", -1, "seed is -1; it must be an integer of at least 0"),
        ("seed", None, "seed is None; it must be an integer of at least 0"),
        ("population_seed", 1.5, "population_seed is 1.5; it must be an integer of at least 0"),
        ("pool_sizes", {"majors": 101}, "pool_sizes['majors'] is 101; it must be an integer from 1 to 100"),
        ("pool_sizes", {"city": 3}, "pool_sizes names 'city'; the value pools are cities, universities, majors, companies,"),
    ],
)
def test_bad_config_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError) as error:
        dataclasses.replace(CONFIGS["n1k"], **{field: value})
    assert message in str(error.value)


def test_misspelt_field_is_refused() -> None:
    with pytest.raises(TypeError, match="num_individual"):
        Config(num_individual=10)  # type: ignore[call-arg]


def test_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"^config is 'n2k'; it must be one of n1k, n4k, n8k, n16k, n32k, n64k, n128k, n256k$"):
        get_config("n2k")


def test_name_gives_its_config() -> None:
    assert get_config("n4k") is CONFIGS["n4k"]


@pytest.mark.parametrize(
    "change",
    [{"num_individuals": 11}, {"num_biographies": 11}, {"seed": 1}, {"population_seed": 1}, {"pool_sizes": {"cities": 799}}],
    ids=lambda change: next(iter(change)),
)
def test_every_field_changes_the_fingerprint(change: dict[str, object]) -> None:
    config = Config(num_individuals=10, num_biographies=10)
    assert dataclasses.replace(config, **change).fingerprint != config.fingerprint


def test_data_version_changes_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = CONFIGS["n1k"].fingerprint
    monkeypatch.setattr(config_module, "DATA_VERSION", "99.0.0")
    assert CONFIGS["n1k"].fingerprint != before


def test_full_pool_sizes_have_the_fingerprint_of_none() -> None:
    assert dataclasses.replace(CONFIGS["n1k"], pool_sizes={"cities": 800}).fingerprint == CONFIGS["n1k"].fingerprint


def test_numpy_integer_has_the_fingerprint_of_the_python_one() -> None:
    assert Config(num_individuals=np.int64(10)).fingerprint == Config(num_individuals=10).fingerprint
