"""The settings of a run of the key-value memory (train/train_memory.py)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from bio_facts.checks import check_integer, check_number


@dataclass(frozen=True, kw_only=True)
class MemoryRecipe:
    """Settings of a run; defaults are the paper's (App. F.4).

    num_pairs: key-value pairs of pre-training; num_new_pairs: those of fine-tuning. num_values: how many values there are.
    dimension: of keys and values. num_units: hidden ones. batch_size: pairs per optimizer step. num_pretraining_steps, then
    num_steps of fine-tuning; learning_rate: of fine-tuning, constant; pretraining_learning_rate: the peak, cosine to 0.
    eval_every: steps of fine-tuning between evaluations. seed: of pairs, samples and initial weights.
    """

    num_pairs: int = 8_192
    num_new_pairs: int
    num_values: int = 30
    dimension: int = 64
    num_units: int = 256
    batch_size: int = 128
    num_pretraining_steps: int = 16_000
    num_steps: int = 4_000
    pretraining_learning_rate: float = 0.03
    learning_rate: float = 0.001
    weight_decay: float = 0.01
    eval_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("seed", self.seed, minimum=0, maximum=2**32 - 1)
        check_integer("num_values", self.num_values, minimum=2)
        check_integer("num_steps", self.num_steps, minimum=1, maximum=10_000_000)
        sizes = ("num_pairs", "num_new_pairs", "dimension", "num_units", "batch_size")
        for name in (*sizes, "num_pretraining_steps", "eval_every"):
            check_integer(name, getattr(self, name), minimum=1)
        for name in ("pretraining_learning_rate", "learning_rate"):
            check_number(name, getattr(self, name), minimum=1e-12, maximum=1e3)
        check_number("weight_decay", self.weight_decay, minimum=0, maximum=1e3)

    def as_dict(self) -> dict[str, Any]:
        """All settings."""
        return dataclasses.asdict(self)

    def as_config(self) -> dict[str, Any]:
        """What config.json records of a run, but for the machine."""
        return {"recipe": self.as_dict()}
