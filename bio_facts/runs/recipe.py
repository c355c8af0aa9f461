"""A recipe: every setting of a run, checked before heavy libraries are imported."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import bio_facts
from bio_facts.checks import check_integer
from bio_facts.generate.config import get_biographies_config
from bio_facts.generate.facts import num_not_asked
from bio_facts.generate.splits import data_digest, splits
from bio_facts.measure.tokens import DEFAULT_TOKENIZER, check_tokenizer
from bio_facts.measure.word_tokenizer import WORD_TOKENIZER
from bio_facts.runs.precision import PRECISIONS

_MAX_STEPS = 10_000_000
MAPPINGS = ("dataset_parameters", "model_config", "attention")  # recipe keys that a dot reaches into
KEEP_LOG_SPACED = "log"  # of keep_models_at
_SCHEDULES = ("cosine", "constant", "constant_then_linear")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one run; defaults are the paper's (section 1.4, Table 1).

    dataset: a named config (bio-facts configs). dataset_parameters: parameters that replace those of the config, such as
    num_individuals, pool_sizes, alpha. tokenizer: "bio_facts", which knows the words of every config; "words", those that this
    config can produce, the smallest vocabulary; a path; or a cached Hub id. A run with a source takes the source's.
    model_config: model_type and further fields of a transformers config; vocab_size is the tokenizer's unless given.
    source: the folder of a finished run, in place of model_config: its last model is what fine-tuning starts from; attention
    patching starts from its model of step attention.start_step (0: the untrained one) and is given the attention patterns of
    its model of step attention.reference_step. source_seed: the seed of a source of attention patching with other individuals
    and initial weights than this run's seed gives; unless given, the source has the seed of the run.
    batch_size: biographies per optimizer step, over all processes. gradient_accumulation_steps: forwards that each process
    divides its share of a batch into, for less memory. learning_rate: the peak, after lr_warmup_steps of linear ramp.
    lr_schedule: cosine, to final_learning_rate; constant; or constant_then_linear, which falls to final_learning_rate over the
    last fifth of all steps. learning_rate_factor: [step, factor]: from this step on, the rate is multiplied by the factor.
    max_grad_norm: 0 = no clipping.
    eval_every: [[interval, until step], ...]: how often to evaluate. num_attention_biographies: rows of validation, and of
    pretrain_validation in fine-tuning, on which each evaluation also summarizes the attention patterns; 0: none.
    num_fact_individuals: of how many individuals that train has no questions about each evaluation tests all facts, in a text
    of train and as questions (bio_facts.generate.facts).
    save_every: steps between checkpoints. keep_models_at: evaluated steps whose models are kept, as models/step-K; log: steps
    1, 2, 4, 8, ... are evaluated too, and the models of all evaluated steps are kept.
    stop_below: end the run at the first evaluation with a validation loss below this share of the no-knowledge loss.
    precision: float32; bf16: matrix products in bfloat16, weights, softmax and metrics in float32; auto: bf16 where the
    hardware has instructions for it (GPUs from Ampere on, CPUs with AVX512-BF16 or AMX), float32 elsewhere.
    torch_compile: compile the model.
    seed: the population, the sampling stream and the initial weights; dataset_parameters can give another population_seed.
    """

    dataset: str
    dataset_parameters: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = DEFAULT_TOKENIZER
    model_config: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    attention: Mapping[str, int] = field(default_factory=dict)
    source_seed: int | None = None
    batch_size: int = 128
    gradient_accumulation_steps: int = 1
    num_steps: int = 16_000
    learning_rate: float = 4e-4
    final_learning_rate: float = 1e-7
    lr_warmup_steps: int = 0
    lr_schedule: str = "cosine"
    learning_rate_factor: Sequence[float] | None = None
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    adam_epsilon: float = 1e-8  # unstated in the paper; PyTorch's default
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0  # unstated in the paper
    eval_every: Sequence[Sequence[int]] = ((125, 2_000), (500, 16_000))
    num_eval_biographies: int = 16_000
    num_attention_biographies: int = 0
    num_fact_individuals: int | None = None
    eval_batch_size: int = 128
    save_every: int = 1_000
    keep_models_at: Sequence[int] | str = ()
    stop_below: float | None = None
    precision: str = "auto"
    torch_compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("seed", self.seed, minimum=0, maximum=2**32 - 1)  # what PyTorch and NumPy take
        check_integer("num_steps", self.num_steps, minimum=1, maximum=_MAX_STEPS)
        for name in ("batch_size", "num_eval_biographies", "eval_batch_size", "save_every"):
            check_integer(name, getattr(self, name), minimum=1)
        check_integer("gradient_accumulation_steps", self.gradient_accumulation_steps, minimum=1, maximum=self.batch_size)
        check_integer("lr_warmup_steps", self.lr_warmup_steps, minimum=0, maximum=self.num_steps)
        _check_number("learning_rate", self.learning_rate, "a number above 0", lambda x: x > 0)
        _check_number(
            "final_learning_rate", self.final_learning_rate, "from 0 to learning_rate", lambda x: 0 <= x <= self.learning_rate
        )
        for name in ("adam_beta1", "adam_beta2"):
            _check_number(name, getattr(self, name), "a number from 0 to below 1", lambda x: 0 <= x < 1)
        for name in ("adam_epsilon", "weight_decay", "max_grad_norm"):
            _check_number(name, getattr(self, name), "a number of at least 0", lambda x: x >= 0)
        if not isinstance(self.torch_compile, bool):
            raise ValueError(f"torch_compile is {self.torch_compile!r}; it must be true or false")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")
        if self.torch_compile and self.attention:
            raise ValueError("torch_compile is true, but a model with patched attention cannot be compiled; it must be false")
        if self.lr_schedule not in _SCHEDULES:
            raise ValueError(f"lr_schedule is {self.lr_schedule!r}; it must be one of {', '.join(_SCHEDULES)}")
        self._check_factor()
        if self.stop_below is not None:
            _check_number("stop_below", self.stop_below, "from above 0 to below 1", lambda x: 0 < x < 1)
        for name in MAPPINGS:
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a mapping of names to values")
        self._check_model()
        try:
            json.dumps(self.as_dict())
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"recipe holds a value that JSON cannot ({error}); use numbers, text, lists and mappings"
            ) from error
        if not isinstance(self.tokenizer, str):
            raise ValueError(
                f"tokenizer is {self.tokenizer!r}; it must be {DEFAULT_TOKENIZER!r}, {WORD_TOKENIZER!r}, a path or a Hub id"
            )
        if self.tokenizer != WORD_TOKENIZER:
            check_tokenizer(self.tokenizer)
        end = splits(self.data)["train"].end
        num_samples = self.num_steps * self.batch_size
        if end is not None and num_samples > end:
            raise ValueError(
                f"num_steps x batch_size is {num_samples:,} samples, but phases of the dataset end at sample {end:,}; it must "
                "be at most that"
            )
        rows = min(splits(self.data)[split].num_rows for split in self.evaluated_splits)
        check_integer("num_eval_biographies", self.num_eval_biographies, minimum=1, maximum=rows)
        check_integer("num_attention_biographies", self.num_attention_biographies, minimum=0, maximum=rows)
        if self.num_fact_individuals is not None:
            not_asked = num_not_asked(self.data)
            check_integer("num_fact_individuals", self.num_fact_individuals, minimum=1, maximum=not_asked)
        self._check_schedule()
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def _check_model(self) -> None:
        if self.source is None:
            if not isinstance(self.model_config.get("model_type"), str):
                raise ValueError(f"model_config is {dict(self.model_config)}; it must have a model_type, such as gpt_neox")
        elif not isinstance(self.source, str) or self.source.endswith((".yaml", ".yml")):
            raise ValueError(f"source is {self.source!r}; it must be the folder of a finished run of it: --source DIR")
        elif self.model_config:
            raise ValueError(f"model_config is {dict(self.model_config)}, but the model is that of source {self.source}")
        if self.attention:
            if self.source is None:
                raise ValueError("attention is given without source; it needs the run whose attention patterns are patched in")
            if set(self.attention) != {"reference_step", "start_step"}:
                raise ValueError(f"attention is {dict(self.attention)}; it must have reference_step and start_step")
            check_integer("attention.reference_step", self.attention["reference_step"], minimum=0)
            check_integer("attention.start_step", self.attention["start_step"], minimum=0, maximum=self.num_steps - 1)
        if self.source_seed is not None:
            if type(self.source_seed) is not int or self.source_seed < 0:
                raise ValueError(
                    f"source_seed is {self.source_seed!r}; expected the seed of the source, an integer: --source-seed SEED"
                )
            if not self.attention:
                raise ValueError(f"source_seed is {self.source_seed}, but only attention patching has one; expected none")

    def _check_factor(self) -> None:
        factor = self.learning_rate_factor
        if factor is None:
            return
        if not isinstance(factor, list | tuple) or len(factor) != 2:
            raise ValueError(f"learning_rate_factor is {factor!r}; it must be [step, factor], such as [1000, 0.3]")
        check_integer("step of learning_rate_factor", factor[0], minimum=1, maximum=self.num_steps)
        _check_number("factor of learning_rate_factor", factor[1], "a number above 0", lambda x: x > 0)

    def _check_schedule(self) -> None:
        check_eval_every(self.eval_every)
        saved = range(self.save_every, self.num_steps, self.save_every)
        unevaluated = next((step for step in saved if step > self.first_step and step not in self.eval_steps), None)
        if unevaluated is not None:
            raise ValueError(
                f"save_every is {self.save_every}, but step {unevaluated} is not evaluated by eval_every "
                f"{self.eval_every!r}; a checkpoint must fall on an evaluation"
            )
        kept = self.keep_models_at
        if kept == KEEP_LOG_SPACED:
            return
        if not isinstance(kept, list | tuple) or not all(
            type(step) is int and (step in self.eval_steps or step > self.num_steps) for step in kept
        ):
            raise ValueError(
                f"keep_models_at is {kept!r}; it must be a list of steps that eval_every evaluates, such as [0, 125], "
                f"or {KEEP_LOG_SPACED}"
            )

    @cached_property
    def data(self) -> bio_facts.Config:
        """The dataset config with this recipe's parameters and seed."""
        config = get_biographies_config(self.dataset, "dataset")
        if "seed" in self.dataset_parameters:
            raise ValueError("dataset_parameters has a seed; it must be the recipe's: --seed")
        return config.replace(**{"population_seed": self.seed} | plain(self.dataset_parameters), seed=self.seed)

    @property
    def evaluated_splits(self) -> tuple[str, ...]:
        """All splits of the dataset but train."""
        return tuple(split for split in splits(self.data) if split != "train")

    @property
    def first_step(self) -> int:
        """The step that the run starts at: 0, or that of the model that attention patching starts from."""
        return self.attention.get("start_step", 0)

    @cached_property
    def eval_steps(self) -> frozenset[int]:
        """The steps at which the model is evaluated: the first, those of eval_every and keep_models_at after it, the last."""
        steps = scheduled_steps(self.eval_every, self.first_step, self.num_steps)
        if self.keep_models_at != KEEP_LOG_SPACED:
            return steps
        powers = (2**exponent for exponent in range(self.num_steps.bit_length()))
        return steps | {step for step in powers if step >= self.first_step}

    @property
    def kept_steps(self) -> frozenset[int]:
        """The steps whose models are kept."""
        return self.eval_steps if isinstance(self.keep_models_at, str) else frozenset(self.keep_models_at)

    def as_dict(self) -> dict[str, Any]:
        """All settings as plain JSON types."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}

    def as_config(self) -> dict[str, Any]:
        """What config.json records of a run, but for the machine: its settings and data."""
        data = {"dataset_parameters": self.data.parameters, "dataset_fingerprint": self.data.fingerprint}
        return {"recipe": self.as_dict()} | data | {"data_digest": data_digest(self.data)}


def check_eval_every(eval_every: Any) -> None:
    """ValueError unless it is a list of [interval, until step] with growing steps."""
    spans = eval_every if isinstance(eval_every, list | tuple) else [None]
    well_formed = all(
        isinstance(span, list | tuple) and len(span) == 2 and all(type(x) is int and x > 0 for x in span) for span in spans
    ) and all(earlier[1] < later[1] for earlier, later in itertools.pairwise(spans))
    if not well_formed:
        raise ValueError(
            f"eval_every is {eval_every!r}; it must be a list of [interval, until step] with growing steps, "
            "such as [[125, 2000], [500, 16000]]"
        )


def scheduled_steps(eval_every: Sequence[Sequence[int]], first: int, last: int) -> frozenset[int]:
    """The steps `first` and `last`, and those of eval_every between them."""
    steps, start = {first, last}, 0
    for interval, until in eval_every:
        steps.update(range(start + interval, min(until, last) + 1, interval))
        start = until
    return frozenset(step for step in steps if step >= first)


def _check_number(name: str, value: object, expected: str, accept: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not accept(value):
        raise ValueError(f"{name} is {value!r}; it must be {expected}")


class FrozenDict(Mapping[str, Any]):
    """A read-only mapping that can be hashed, copied and pickled; equal to a dict with the same items."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def frozen(value: Any) -> Any:
    """A copy of plain JSON types that cannot be changed: read-only mappings and tuples, all the way down."""
    if isinstance(value, Mapping):
        return FrozenDict({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    return value


def plain(value: Any) -> Any:
    """A copy as dicts and lists, all the way down."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
