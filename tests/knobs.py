"""For every declared setting a named config that has it, and another value, which changes its rows."""

from collections.abc import Iterator
from typing import Any

from bio_facts.generate.config import CONFIGS, ClozeConfig, Config, IndividualsConfig, QuestionsConfig
from bio_facts.generate.distributions import DISTRIBUTIONS, PowerLaw
from bio_facts.generate.settings import settings_of

# Named config -> parameter -> value; test_settings.py checks that no declared setting is missing.
OTHER_VALUES: dict[str, dict[str, Any]] = {
    "n1k": {
        "num_individuals": 7,
        "num_biographies": 60,
        "seed": 5,
        "population_seed": 5,
        "pool_sizes": {"cities": 2},
        "num_training_templates": 1,
        "num_wordings": 1,
        "sentence_order": "fixed",
        "distribution": PowerLaw(2),
    },
    "n1k-alpha0.6": {"alpha": 2.5},
    "n1k-celebrities": {"num_celebrities": 5, "celebrity_weight": 1_000},
    "n1k-warmup": {"num_warmup_individuals": 3, "num_warmup_biographies": 20},
    "n1k-groups": {
        "num_groups": 2,
        "num_group_biographies": 10,
        "first_group": 1,
        "num_rounds": 2,
        "num_group0_individuals": 13,
    },
    "n1k-questions": {
        "phases": [[256_000, {"biographies": 3, "questions": 1}]],
        "num_asked_individuals": 3,
        "num_phrasings": 1,
        "wordings_for": "not_asked",
    },
    "n1k-finetune1k": {"num_fine_tuning_individuals": 4, "replay_weight": 0.5},
    "individuals": {"num_individuals": 20, "population_seed": 5, "pool_sizes": {"cities": 2}},
    "questions": {"num_individuals": 20, "population_seed": 5, "pool_sizes": {"cities": 2}},
    "cloze": {"num_individuals": 20, "population_seed": 5, "pool_sizes": {"cities": 4}, "seed": 5, "num_choices": 3},
}
# Parameter -> others without which its other value would be refused or would not change the first 20 rows.
ALONGSIDE: dict[str, dict[str, Any]] = {"num_rounds": {"num_group_biographies": 4}, "wordings_for": {"num_wordings": 1}}
CASES = [(name, parameter) for name, values in OTHER_VALUES.items() for parameter in values]


def declared_parameters() -> Iterator[tuple[str, str]]:
    """(kind of config, parameter) for every parameter: the name of a table or of a distribution."""
    tables = {cls.table: cls for cls in (IndividualsConfig, QuestionsConfig, ClozeConfig, Config)}
    for kind, cls in {**tables, **DISTRIBUTIONS}.items():
        yield from ((kind, parameter) for parameter in settings_of(cls))


def kind_of(name: str, parameter: str) -> str:
    """The kind of config, as in declared_parameters, that has a parameter of a named config."""
    config = CONFIGS[name]
    return config.table if parameter in settings_of(type(config)) else config.distribution.name
