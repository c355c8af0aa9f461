"""Trainers of other people, with the callback of bio_facts attached."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from kinds import model_of, tokenizer_of
from transformers import Trainer, TrainingArguments

from bio_facts.generate.config import Config
from bio_facts.measure.callbacks import AttributeEvaluation

DATA = Config(num_individuals=20)
SENTENCES = ["Somebody else has texts of their own.", "They train on them as they like.", "We only watch."] * 4
NUM_BIOGRAPHIES = 5


class TheirData(torch.utils.data.Dataset[dict]):
    """Texts of other people, one a row, padded."""

    def __len__(self) -> int:
        return len(SENTENCES)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.tensor((tokenizer_of("bio_facts")(SENTENCES[index]).input_ids + [0] * 16)[:16])
        return {"input_ids": ids, "labels": ids}


class Observer:
    """Whether the model is in training mode, at each of its forwards."""

    def __init__(self, model: Any) -> None:
        self.modes: list[bool] = []
        model.register_forward_hook(lambda module, args, output: self.modes.append(module.training))


def their_trainer(tmp_path: Path, model: Any = None, **options: Any) -> Trainer:
    """A Trainer of transformers without anything of bio_facts."""
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "theirs"),
        max_steps=4,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=True,
        **{"save_strategy": "no", "report_to": []} | options,
    )
    model = model_of("llama", tokenizer_of("bio_facts")) if model is None else model
    return Trainer(model=model, args=arguments, train_dataset=TheirData(), eval_dataset=TheirData())


def watch(**options: Any) -> AttributeEvaluation:
    return AttributeEvaluation(tokenizer_of("bio_facts"), DATA, num_biographies=NUM_BIOGRAPHIES, batch_size=2, **options)


def places(callback: AttributeEvaluation) -> list[tuple[int, str]]:
    return [(line["step"], line["split"]) for line in callback.history]


EVERY_STEP = {"eval_strategy": "steps", "eval_steps": 1}


def watched(
    tmp_path: Path, callback: AttributeEvaluation, model: Any = None, eval_dataset: Any = None, **options: Any
) -> Trainer:
    trainer = their_trainer(tmp_path, model, **EVERY_STEP | options)
    trainer.eval_dataset = eval_dataset or trainer.eval_dataset
    callback.attach(trainer)
    return trainer


def in_file(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@contextmanager
def counted_forwards(model: Any) -> Iterator[list[int]]:
    calls: list[int] = []
    handle = model.register_forward_pre_hook(lambda module, args: calls.append(1))
    yield calls
    handle.remove()
