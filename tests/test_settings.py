"""Settings are declared once: their bounds, flags, builder fields, card rows and splits follow from the declaration."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from knobs import ALONGSIDE, CASES, OTHER_VALUES, declared_parameters, kind_of

from bio_facts.cli import main
from bio_facts.generate import config as config_module
from bio_facts.generate import distributions
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS, ClozeConfig, Config, IndividualsConfig, QuestionsConfig, all_settings
from bio_facts.generate.distributions import DISTRIBUTIONS, Distribution, EvaluationSplit, register
from bio_facts.generate.population import Population
from bio_facts.generate.settings import Setting, check_settings, parameters_of, settings_of
from bio_facts.generate.splits import draw, individual_ids, splits
from bio_facts.publish.card import render_card
from bio_facts.publish.manifest import specification

# Declaration


@dataclass(frozen=True)
class Example:
    plain: int
    count: Annotated[int, Setting("a count", minimum=2, maximum=5)] = 3
    share: Annotated[float, Setting("a share", maximum=1)] = 0.5
    limit: Annotated[int | None, Setting("a limit", minimum=1)] = None
    sizes: Annotated[Mapping[str, int], Setting("sizes")] = dataclasses.field(default_factory=dict)
    color: Annotated[Literal["red", "green"], Setting("a color", omit_default=True)] = "red"


def test_settings_of_a_class_are_its_annotated_fields_in_order() -> None:
    assert dict(settings_of(Example)) == {
        "count": Setting("a count", 2, 5, int),
        "share": Setting("a share", 0, 1, float),
        "limit": Setting("a limit", 1, None, int, is_optional=True),
        "sizes": Setting("sizes", 0, None, Mapping),
        "color": Setting("a color", type=str, choices=("red", "green"), omit_default=True),
    }


def test_check_stores_plain_numbers_and_strings() -> None:
    example = Example(0, count=np.int64(4), share=1, color=np.str_("green"))  # type: ignore[arg-type]
    check_settings(example)
    assert [type(value) for value in (example.count, example.share, example.color)] == [int, float, str]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 1}, "count is 1; it must be an integer from 2 to 5"),
        ({"count": 6}, "count is 6; it must be an integer from 2 to 5"),
        ({"count": None}, "count is None; it must be an integer from 2 to 5"),
        ({"share": 1.5}, "share is 1.5; it must be a number from 0 to 1"),
        ({"limit": 0}, "limit is 0; it must be an integer of at least 1"),
        ({"color": "Red"}, "color is 'Red'; it must be one of red, green; did you mean 'red'?"),
        *(
            ({"color": color}, f"color is {color!r}; it must be one of red, green")
            for color in ("blue", "", "r", None, True, 0, ["red"], ("red", "green"), np.array(["red"]))
        ),
    ],
)
def test_check_refuses_values_out_of_bounds(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        check_settings(Example(0, **values))
    assert str(error.value) == message


@dataclass(frozen=True)
class Late:
    early: Annotated[int, Setting("an early field")] = 1
    late: Annotated[int, Setting("a late field", omit_default=True)] = 1
    required: Annotated[int, Setting("a late field without a default", omit_default=True)] = dataclasses.field(kw_only=True)


@pytest.mark.parametrize(
    ("instance", "parameters"),
    [
        (Late(required=1), {"early": 1, "required": 1}),
        (Late(2, 1, required=2), {"early": 2, "required": 2}),
        (Late(1, 2, required=1), {"early": 1, "late": 2, "required": 1}),
    ],
)
def test_fields_that_omit_their_default_are_parameters_with_other_values_only(
    instance: Late, parameters: dict[str, int]
) -> None:
    assert parameters_of(instance) == parameters


# Every declared setting


@pytest.mark.parametrize(
    "cls",
    [Population, IndividualsConfig, QuestionsConfig, ClozeConfig, Config, *DISTRIBUTIONS.values()],
    ids=lambda cls: cls.__name__,
)
def test_every_field_declares_a_setting_with_help(cls: Any) -> None:
    assert [item.name for item in dataclasses.fields(cls)] == list(settings_of(cls))
    assert all(setting.help for setting in settings_of(cls).values())


def test_every_declared_parameter_has_a_case() -> None:
    assert {(kind_of(name, parameter), parameter) for name, parameter in CASES} == set(declared_parameters())


def test_parameters_of_configs_are_the_declared_settings() -> None:
    assert set().union(*(config.parameter_names for config in CONFIGS.values())) == set(all_settings())


OMITTED = {
    *("num_training_templates", "num_wordings", "sentence_order", "num_rounds", "num_group0_individuals"),
    *("phases", "num_asked_individuals", "num_phrasings", "wordings_for"),
}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_parameters_are_all_but_those_that_are_omitted_at_their_defaults(name: str) -> None:
    config, others = CONFIGS[name], {key: value for key, value in OTHER_VALUES[name].items() if key != "distribution"}
    others |= {key: value for parameter in others for key, value in ALONGSIDE.get(parameter, {}).items()}
    of_questions = {"phases", "num_asked_individuals"} if name.endswith("-questions") else set()
    assert config.parameters.keys() == config.parameter_names - OMITTED | of_questions
    assert config.replace(**others).parameters.keys() == config.parameters.keys() | others.keys()


def test_settings_that_omit_their_default_are_those_added_after_the_first_configs() -> None:
    assert {name for name, setting in all_settings().items() if setting.omit_default} == OMITTED


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_other_value_is_another_fingerprint(name: str, parameter: str) -> None:
    config = CONFIGS[name].replace(**ALONGSIDE.get(parameter, {}))
    other = config.replace(**{parameter: OTHER_VALUES[name][parameter]})
    assert other.fingerprint != config.fingerprint
    assert other.replace(**{parameter: getattr_or_distribution(config, parameter)}) == config


def getattr_or_distribution(config: Any, parameter: str) -> Any:
    return getattr(config if hasattr(config, parameter) else config.distribution, parameter)


NUMERIC_CASES = [case for case in CASES if all_settings()[case[1]].type in (int, float)]


@pytest.mark.parametrize(("name", "parameter"), NUMERIC_CASES)
def test_bounds_of_every_number_are_those_declared(name: str, parameter: str) -> None:
    setting = all_settings()[parameter]
    outside = [setting.minimum - 1, *([] if setting.maximum is None else [setting.maximum + 1])]
    for value in [*outside, "1", True, *([] if setting.type is float else [1.5]), *([] if setting.is_optional else [None])]:
        with pytest.raises(ValueError, match=f"^{parameter} is {value!r}; it must be (an integer|a number) "):
            CONFIGS[name].replace(**{parameter: value})


# A distribution is one class


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Distribution]]:
    """A new distribution with a named config, `odd`."""
    registered = dict(distributions._REGISTERED)

    @register
    @dataclass(frozen=True)
    class Odd(Distribution):
        name = "odd"
        num_odd: Annotated[int, Setting("number of odd individuals", minimum=1, maximum=9)] = 3

        def individual_ids(self, num_individuals: int, seed: int, stream: str, sample_indices: Any) -> Any:
            return 2 * (sample_indices % self.num_odd) + 1

        def trained_individuals(self, num_individuals: int) -> tuple[range, ...]:
            return (range(1, 2 * self.num_odd, 2),)

        def evaluation_splits(self, num_individuals: int) -> dict[str, EvaluationSplit]:
            everyone = EvaluationSplit("everyone", range(num_individuals))
            return super().evaluation_splits(num_individuals) | {"everyone": everyone}

    config = Config(num_individuals=40, num_biographies=60, distribution=Odd())
    monkeypatch.setattr(config_module, "CONFIGS", {**CONFIGS, "odd": config})
    yield Odd
    distributions._REGISTERED.clear()
    distributions._REGISTERED.update(registered)


@pytest.mark.usefixtures("odd")
def test_new_distribution_has_its_splits() -> None:
    config = config_module.get_config("odd")
    assert list(splits(config)) == ["train", "validation", "everyone", "unseen"]
    assert splits(config)["train"].individuals == (range(1, 6, 2),)
    assert individual_ids(config, "train", range(4)).tolist() == [1, 3, 5, 1]
    assert config_module.config_from("biographies", config.parameters) == config


@pytest.mark.usefixtures("odd")
def test_new_distribution_has_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "odd", "--num-odd", "1", "--num", "3"]) == 0
    printed = capsys.readouterr().out
    expected = rows(draw(config_module.get_config("odd").replace(num_odd=1), "train", range(3)))
    assert all(row["text"] in printed for row in expected)
    assert printed.count(", individual 1\n") == 3
    with pytest.raises(SystemExit):
        main(["build", "--help"])
    assert "number of odd individuals (distribution odd)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("odd")
@pytest.mark.ecosystem
def test_new_distribution_has_its_builder_field() -> None:
    from bio_facts.publish.datasets_builder import builder_config_class

    assert builder_config_class()(name="odd", num_odd=5).dataset_config.distribution.num_odd == 5


@pytest.mark.usefixtures("odd")
def test_new_distribution_has_its_card_row() -> None:
    manifest = specification({"odd": config_module.get_config("odd")})
    for split in manifest["configs"]["odd"]["splits"].values():
        split["num_bytes"] = 1
    assert (
        "\n| `num_odd` | number of odd individuals (distribution odd) |\n"
        in DatasetCard(render_card(manifest, dict.fromkeys(manifest["configs"], 0))).text
    )


def test_name_of_a_distribution_is_registered_once(odd: type[Distribution]) -> None:
    with pytest.raises(ValueError, match=r"^a distribution 'odd' is already registered$"):
        register(odd)


class NotADataclass(Distribution):
    name = "not_a_dataclass"


@dataclass
class Mutable:
    name = "mutable"


class Inherited(DISTRIBUTIONS["power_law"]):  # type: ignore[misc,valid-type]
    name = "inherited"


@dataclass(frozen=True)
class Nameless(Distribution):
    pass


@dataclass(frozen=True)
class Undeclared(Distribution):
    name = "undeclared"
    size: int = 1


@dataclass(frozen=True)
class Unbounded(Distribution):
    name = "unbounded"
    share: Annotated[float, Setting("a share")] = 0.5


@dataclass(frozen=True)
class Hiding(Distribution):
    name = "hiding"
    seed: Annotated[int, Setting("a seed")] = 0


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (NotADataclass, "distribution NotADataclass is not a frozen dataclass; put @dataclass(frozen=True) below @register"),
        (Mutable, "distribution Mutable is not a frozen dataclass; put @dataclass(frozen=True) below @register"),
        (Inherited, "distribution Inherited is not a frozen dataclass; put @dataclass(frozen=True) below @register"),
        (Nameless, "distribution Nameless has name None; it must be a string, such as 'uniform'"),
        (Undeclared, "field size of distribution Undeclared has no Setting; declare it as Annotated[int, Setting(...)]"),
        (Unbounded, "field share of distribution Unbounded is a number without a maximum; its Setting must have one"),
        (Hiding, "field seed of distribution Hiding has the name of a field of Config; choose another name"),
    ],
)
def test_incomplete_distribution_is_not_registered(distribution: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        register(distribution)
    assert str(error.value) == message
    assert distribution not in DISTRIBUTIONS.values()


def test_names_that_no_distribution_may_use_are_those_of_config() -> None:
    assert set(settings_of(Config)) == distributions._CONFIG_FIELDS
