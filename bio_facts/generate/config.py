"""Configs: everything that determines the bytes of a dataset, frozen and checked. CONFIGS has the published ones by name."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from bio_facts.checks import check_integer
from bio_facts.generate.distributions import (
    DISTRIBUTIONS,
    MAX_BIOGRAPHIES,
    Celebrities,
    Distribution,
    FineTuning,
    Groups,
    PowerLaw,
    Uniform,
    WarmUp,
)
from bio_facts.generate.mixture import Mixture
from bio_facts.generate.settings import Setting, check_settings, parameters_of, settings_of
from bio_facts.generate.table_configs import DATA_VERSION as DATA_VERSION
from bio_facts.generate.table_configs import BaseConfig as BaseConfig
from bio_facts.generate.table_configs import ClozeConfig as ClozeConfig
from bio_facts.generate.table_configs import IndividualsConfig as IndividualsConfig
from bio_facts.generate.table_configs import PopulationConfig as PopulationConfig
from bio_facts.generate.table_configs import QuestionsConfig as QuestionsConfig
from bio_facts.generate.table_configs import SampleSeed, check_names
from bio_facts.generate.table_configs import TemplatesConfig as TemplatesConfig
from bio_facts.generate.templates import BIOGRAPHIES, NUM_TRAINING_QUESTIONS, NUM_TRAINING_TEMPLATES, QUESTIONS

PAPER_BIOGRAPHIES = 2_048_000  # 16k steps x 128 (paper section 1.4)


@dataclass(frozen=True, kw_only=True)
class Config(PopulationConfig):
    """One dataset of biographies; `CONFIGS["n64k"].replace(num_individuals=..., alpha=...)` gives one with other parameters.

    num_individuals, population_seed, pool_sizes: see Population.
    num_biographies: number of rows of the exported train split.
    seed: fixes individual, templates and sentence order of each sample.
    num_training_templates: how many of the 20 training templates of each individual and attribute occur in train (see
    Population.training_templates).
    num_wordings: how many texts train has about each individual (see Population.wordings); None: a new one for each sample.
    wordings_for: the individuals that have them, everyone, or not_asked: those that train has no questions about. Texts about
    the others are new.
    sentence_order: drawn for each text, which is each sample, or with num_wordings each text of an individual. row: with
    num_wordings, drawn for each sample. individual: one for all biographies of an individual, in all splits, that of its first
    wording. fixed: that of ATTRIBUTES in all samples of all splits. Rows of questions have drawn orders unless it is fixed.
    phases: which formats train has, biographies or questions, as Mixture.of takes it; None: biographies alone.
    num_asked_individuals: how many individuals the questions of train are about (see Population.asked_individuals), by default
    half of them.
    num_phrasings: how many of the 8 training phrasings of each question occur in train, or 1, the same phrasing in all
    questions of all splits.
    distribution: which individuals train is about.

    Raises:
        ValueError: naming the parameter, its value and what is expected.
    """

    table = "biographies"
    num_biographies: Annotated[int, Setting("number of rows of the train split", minimum=1, maximum=MAX_BIOGRAPHIES)] = (
        PAPER_BIOGRAPHIES
    )
    seed: SampleSeed = 0
    num_training_templates: Annotated[
        int,
        Setting(
            "number of templates that train uses for each individual and attribute, drawn from its 20; default: 20",
            minimum=1,
            maximum=NUM_TRAINING_TEMPLATES,
            omit_default=True,
        ),
    ] = NUM_TRAINING_TEMPLATES
    num_wordings: Annotated[
        int | None,
        Setting(
            "number of texts that train has about each individual, without a common template; default: a new text in each row",
            minimum=1,
            maximum=NUM_TRAINING_TEMPLATES,
            omit_default=True,
        ),
    ] = None
    wordings_for: Annotated[
        Literal["everyone", "not_asked"],
        Setting(
            "individuals that num_wordings holds for: everyone (the default), or those that train has no questions about",
            omit_default=True,
        ),
    ] = "everyone"
    sentence_order: Annotated[
        Literal["drawn", "row", "individual", "fixed"],
        Setting(
            "order of the sentences: drawn (the default) for each text, or for each row (with num_wordings), one for each "
            "individual, or fixed",
            omit_default=True,
        ),
    ] = "drawn"
    phases: Annotated[
        Mixture | None,
        Setting(
            "formats of the train split: [[until_sample, {format: weight}], ...], where a format is biographies or questions; "
            "default: biographies alone",
            omit_default=True,
        ),
    ] = None
    num_asked_individuals: Annotated[
        int | None,
        Setting("number of individuals that train has questions about; default: half of all", minimum=1, omit_default=True),
    ] = None
    num_phrasings: Annotated[
        int,
        Setting(
            "number of phrasings that train uses for each question about an individual, drawn from its 8; 1: one phrasing for "
            "all, in evaluation too; default: 8",
            minimum=1,
            maximum=NUM_TRAINING_QUESTIONS,
            omit_default=True,
        ),
    ] = NUM_TRAINING_QUESTIONS
    distribution: Annotated[Distribution, Setting("which individuals the train split is about")] = Uniform()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "phases", None if self.phases is None else Mixture.of(self.phases))
        check_settings(self)
        self._check_wordings()
        _check_distribution(self.distribution).resolved(self.num_individuals).check_population(self.population)
        if self.phases is not None and self.num_biographies > self.phases.num_samples:
            raise ValueError(
                f"num_biographies is {self.num_biographies:,}, but phases end at sample {self.phases.num_samples:,}; it must "
                "be at most that"
            )
        self._check_questions()

    def _check_wordings(self) -> None:
        if self.num_wordings is not None:
            if self.num_wordings > self.num_training_templates:
                raise ValueError(
                    f"num_wordings is {self.num_wordings}; it must be at most num_training_templates, "
                    f"{self.num_training_templates}"
                )
            return
        if self.wordings_for != "everyone":
            raise ValueError(f"wordings_for is {self.wordings_for!r}, but num_wordings is not given; it needs num_wordings")
        if self.sentence_order == "row":
            raise ValueError(
                "sentence_order is 'row', but num_wordings is not given; it must be 'drawn', which then means each row"
            )

    def _check_questions(self) -> None:
        if self.has_questions:
            if not isinstance(self.distribution, Uniform):
                raise ValueError(
                    f"phases have questions, and distribution is {self.distribution.name}; with questions it must be uniform"
                )
            check_integer("num_individuals (with questions)", self.num_individuals, minimum=2)
            check_integer("num_asked_individuals", self.num_asked, minimum=1, maximum=self.num_individuals - 1)
            return
        defaults = {"num_asked_individuals": None, "num_phrasings": NUM_TRAINING_QUESTIONS, "wordings_for": "everyone"}
        for name, default in defaults.items():
            if (value := getattr(self, name)) != default:
                raise ValueError(f"{name} is {value!r}, but phases have no questions; it must be {default!r}")

    @property
    def has_questions(self) -> bool:
        """Whether train has questions; if so, there are splits that score them."""
        return self.phases is not None and self.phases.has_questions

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of the rows of all splits; evaluation always has biographies."""
        return (BIOGRAPHIES, QUESTIONS) if self.has_questions else (BIOGRAPHIES,)

    @property
    def num_asked(self) -> int:
        """num_asked_individuals, with its default filled in."""
        return self.num_individuals // 2 if self.num_asked_individuals is None else self.num_asked_individuals

    @property
    def parameter_names(self) -> frozenset[str]:
        """See BaseConfig."""
        return super().parameter_names | settings_of(type(self.distribution)).keys()

    @property
    def parameters(self) -> dict[str, Any]:
        """See BaseConfig."""
        distribution = self.distribution.resolved(self.num_individuals)
        mixture = {} if self.phases is None else {"phases": self.phases.as_json()}
        asked = {"num_asked_individuals": self.num_asked} if self.has_questions else {}
        return super().parameters | mixture | asked | {"distribution": distribution.name} | parameters_of(distribution)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """See BaseConfig."""
        remaining = dict(parameters)
        distribution = DISTRIBUTIONS[remaining.pop("distribution")]
        settings = settings_of(distribution).items()
        names = [name for name, setting in settings if name in remaining or not setting.omit_default]
        return cls(distribution=distribution(**{name: remaining.pop(name) for name in names}), **remaining)

    def replace(self, **parameters: Any) -> Self:
        """See BaseConfig; parameters of the distribution are given by their own names."""
        distribution: Any = _check_distribution(parameters.pop("distribution", self.distribution))
        config_names, distribution_names = (settings_of(type(item)).keys() for item in (self, distribution))
        check_names(parameters, config_names | distribution_names, f"config with {distribution.name} distribution")
        changed = {name: parameters.pop(name) for name in distribution_names & parameters.keys()}
        return dataclasses.replace(self, distribution=dataclasses.replace(distribution, **changed), **parameters)


def _check_distribution(distribution: object) -> Distribution:
    if not isinstance(distribution, Distribution):
        kinds = ", ".join(f"{kind.__name__}(...)" for kind in DISTRIBUTIONS.values())
        raise ValueError(f"distribution is {distribution!r}; it must be one of {kinds}")
    return distribution


def all_settings() -> dict[str, Setting]:
    """Parameter name -> Setting, of configs of any table and with any registered distribution."""
    settings = dict(settings_of(Config))
    for table, config in _CONFIG_CLASSES.items():
        for parameter, setting in settings_of(config).items():
            settings.setdefault(parameter, dataclasses.replace(setting, help=f"{setting.help} (table {table})"))
    for name, distribution in DISTRIBUTIONS.items():
        for parameter, setting in settings_of(distribution).items():
            settings.setdefault(parameter, dataclasses.replace(setting, help=f"{setting.help} (distribution {name})"))
    return settings


def check_biographies(config: object, argument: str = "config", name: str | None = None) -> Config:
    """`config` itself, if it is a config of biographies; ValueError naming `argument` and its name otherwise."""
    if not isinstance(config, Config):
        if isinstance(config, str):
            raise ValueError(f"{argument} is {config!r}, a string; it must be a config, such as bio_facts.CONFIGS['n64k']")
        given = config if name is None else name
        raise ValueError(f"{argument} is {given!r}, which has no biographies; it must be a config such as 'n64k'")
    return config


_CONFIG_CLASSES: Mapping[str, type[BaseConfig]] = {
    cls.table: cls for cls in (Config, IndividualsConfig, TemplatesConfig, QuestionsConfig, ClozeConfig)
}


def config_from(table: str, parameters: Mapping[str, Any]) -> BaseConfig:
    """The config whose `table` and `parameters` these are, as manifests keep them.

    Raises:
        ValueError: if this version has no such config.
    """
    try:
        return _CONFIG_CLASSES[table].from_parameters(parameters)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no config has table {table!r} and parameters {dict(parameters)!r}") from error


_K = 1_000
_PAPER_FINE_TUNING_BIOGRAPHIES = 512_000  # 4k steps x 128
_SIZES = (1, 4, 8, 16, 32, 64, 128, 256)  # thousands of individuals; 1k is for demonstrations
_ALPHAS = (0.2, 0.4, 0.6, 0.8, 1.0)
_FINE_TUNING_SIZES = (1, 2, 4, 8, 16)  # thousands of new individuals
_REPLAY_WEIGHTS = (2, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125)
_QUESTION_SIZES = (1, 8, 64)  # thousands of individuals


def _named_configs() -> dict[str, BaseConfig]:
    configs: dict[str, BaseConfig] = {
        "individuals": IndividualsConfig(num_individuals=_SIZES[-1] * _K),
        "templates": TemplatesConfig(),
        "questions": QuestionsConfig(num_individuals=_QUESTION_SIZES[-1] * _K),
        "cloze": ClozeConfig(num_individuals=_QUESTION_SIZES[-1] * _K),
    }
    for size in _SIZES:
        name = f"n{size}k"
        uniform = Config(num_individuals=size * _K, num_biographies=128 * _K if size == 1 else PAPER_BIOGRAPHIES)
        configs[name] = uniform
        for alpha in _ALPHAS:
            configs[f"{name}-alpha{alpha}"] = uniform.replace(distribution=PowerLaw(alpha))
        configs[f"{name}-celebrities"] = uniform.replace(distribution=Celebrities())
        configs[f"{name}-warmup"] = uniform.replace(distribution=WarmUp())
        configs[f"{name}-groups"] = uniform.replace(distribution=Groups())
        if size in _QUESTION_SIZES:  # all biographies of the train split without questions, and as many rows of questions
            num_rows = 2 * uniform.num_biographies
            phases = [[num_rows, {BIOGRAPHIES: 1, QUESTIONS: 1}]]
            configs[f"{name}-questions"] = uniform.replace(num_biographies=num_rows, phases=phases)
        for new in _FINE_TUNING_SIZES:
            if new <= size:
                tuned = uniform.replace(num_biographies=_PAPER_FINE_TUNING_BIOGRAPHIES, distribution=FineTuning(new * _K))
                configs[f"{name}-finetune{new}k"] = tuned
                if (size, new) == (64, 4):
                    for weight in _REPLAY_WEIGHTS:
                        configs[f"{name}-finetune{new}k-replay{weight:g}"] = tuned.replace(replay_weight=weight)
    return configs


# Name -> config. Read-only. All values but "individuals", "templates", "questions" and "cloze" are of class Config.
CONFIGS: Mapping[str, Any] = MappingProxyType(_named_configs())


def get_config(name: str) -> Any:
    """The config of that name (see CONFIGS); ValueError with similar names if there is none."""
    if not isinstance(name, str) or name not in CONFIGS:
        near = difflib.get_close_matches(str(name), CONFIGS, n=3, cutoff=0)
        raise ValueError(
            f"config is {name!r}; it must be one of {len(CONFIGS)} such as {', '.join(near)} (list: bio-facts configs)"
        )
    return CONFIGS[name]


def get_biographies_config(name: str, argument: str = "config") -> Config:
    """The config of biographies of that name; ValueError, naming `argument`, if it is of another table or there is none."""
    return check_biographies(get_config(name), argument, name)
