"""The settings of a run of the key-value memory (train/train_memory.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bio_facts.checks import check_integer, check_number
from bio_facts.generate.distributions import FineTuning
from bio_facts.runs.recipe import check_eval_every, frozen, plain, scheduled_steps

_SCHEDULES = ("cosine", "constant")
# What a run must have in common with the run that it starts from.
SHARED_WITH_SOURCE = ("num_pairs", "num_values", "dimension", "num_units", "seed")


@dataclass(frozen=True, kw_only=True)
class MemoryRecipe:
    """Settings of a run; defaults are those of the paper's pre-training (App. F.4).

    num_pairs: key-value pairs of pre-training. num_new_pairs: those of fine-tuning; 0 is pre-training. replay_weight: how
    likely each pair of pre-training is in fine-tuning, where each new one has weight 1. num_values: how many values there are.
    dimension: of keys and values. num_units: hidden ones. batch_size: pairs per optimizer step. learning_rate: the peak; cosine
    to 0, or constant, by lr_schedule. eval_every: [[interval, until step], ...]: how often to evaluate. source: the folder of a
    finished pre-training, whose last model fine-tuning starts from. seed: of pairs, samples and initial weights.
    """

    num_pairs: int = 8_192
    num_new_pairs: int = 0
    replay_weight: float = 0.0
    num_values: int = 30
    dimension: int = 64
    num_units: int = 256
    batch_size: int = 128
    num_steps: int = 16_000
    learning_rate: float = 0.03
    lr_schedule: str = "cosine"
    weight_decay: float = 0.01
    eval_every: Sequence[Sequence[int]] = ((1_000, 16_000),)
    source: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("seed", self.seed, minimum=0, maximum=2**32 - 1)
        check_integer("num_values", self.num_values, minimum=2)
        check_integer("num_steps", self.num_steps, minimum=1, maximum=10_000_000)
        check_integer("num_new_pairs", self.num_new_pairs, minimum=0)
        for name in ("num_pairs", "dimension", "num_units", "batch_size"):
            check_integer(name, getattr(self, name), minimum=1)
        check_number("learning_rate", self.learning_rate, minimum=1e-12, maximum=1e3)
        check_number("weight_decay", self.weight_decay, minimum=0, maximum=1e3)
        if self.lr_schedule not in _SCHEDULES:
            raise ValueError(f"lr_schedule is {self.lr_schedule!r}; it must be one of {', '.join(_SCHEDULES)}")
        check_eval_every(self.eval_every)
        object.__setattr__(self, "eval_every", frozen(self.eval_every))
        if self.num_new_pairs:
            FineTuning(self.num_new_pairs, self.replay_weight)  # checks the weight
            if not isinstance(self.source, str) or self.source.endswith((".yaml", ".yml")):
                raise ValueError(f"source is {self.source!r}; it must be the folder of a finished pre-training: --source DIR")
        else:
            for name in ("source", "replay_weight"):
                if getattr(self, name):
                    raise ValueError(f"{name} is {getattr(self, name)!r}, but num_new_pairs is 0; it must be at least 1")

    @cached_property
    def eval_steps(self) -> frozenset[int]:
        """The steps at which the memory is evaluated: 0, those of eval_every, and the last."""
        return scheduled_steps(self.eval_every, 0, self.num_steps)

    def as_dict(self) -> dict[str, Any]:
        """All settings as plain JSON types."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}

    def as_config(self) -> dict[str, Any]:
        """What config.json records of a run, but for the machine."""
        return {"recipe": self.as_dict()}
