"""What happens beside the optimisation: attribute evaluation into metrics.jsonl."""

import functools
import json
import operator
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import gather_object
from arguments import EVALUATED_SPLITS
from run_folder import read_metrics
from tqdm import tqdm
from transformers import TrainerCallback

from bio_facts.baseline import no_knowledge_loss, pool_no_knowledge_loss
from bio_facts.config import Config
from bio_facts.scoring import score_tokens
from bio_facts.splits import draw
from bio_facts.tokenization import BiographyTokenizer

_COUNTED_ROWS = 10_000  # biographies whose tokens are counted at a time


class AttributeEvaluation(TrainerCallback):  # type: ignore[misc]
    """Scores the first rows of validation and unseen at given steps, one JSON line per (step, split) in metrics.jsonl.

    A resumed run drops the lines written after its checkpoint and goes on; `seconds` counts from the line before.

    Args:
        data: the data set config.
        tokenizer: its biographies as tokens.
        path: metrics.jsonl.
        eval_steps: the steps to evaluate at.
        num_biographies: rows of each split.
        batch_size: rows scored at a time by each process.
        train_batch_size: biographies per optimiser step, over all processes.
    """

    def __init__(
        self,
        data: Config,
        tokenizer: BiographyTokenizer,
        path: Path,
        eval_steps: frozenset[int],
        num_biographies: int,
        batch_size: int,
        train_batch_size: int,
    ) -> None:
        self.data, self.tokenizer, self.path, self.eval_steps = data, tokenizer, path, eval_steps
        self.num_biographies, self.batch_size, self.train_batch_size = num_biographies, batch_size, train_batch_size
        self.baselines = {
            "no_knowledge_loss": no_knowledge_loss(data.population),
            "pool_no_knowledge_loss": pool_no_knowledge_loss(data.pool_sizes),
        }
        self._batches: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Take up the lines of the steps done, and evaluate the untrained model if there are none."""
        kept = [line for line in read_metrics(self.path) if line["step"] <= state.global_step] if state.global_step else []
        self._tokens_until, self._num_tokens, seconds = 0, 0, 0.0
        if kept:
            self._tokens_until, self._num_tokens, seconds = kept[-1]["step"], kept[-1]["num_tokens"], kept[-1]["seconds"]
        if state.is_world_process_zero:
            unfinished = self.path.with_suffix(".jsonl.partial")
            unfinished.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            unfinished.replace(self.path)
        self._started = time.perf_counter() - seconds
        if state.global_step == 0:
            self._evaluate(state, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Evaluate if this step is one to be evaluated; runs before the step's checkpoint is written."""
        if state.global_step in self.eval_steps:
            self._evaluate(state, model)

    def _evaluate(self, state: Any, model: Any) -> None:
        was_training = model.training
        model.eval()
        summaries = {split: self._score(split, model) for split in EVALUATED_SPLITS}
        model.train(was_training)
        self._count_tokens(state.global_step)
        if not state.is_world_process_zero:
            return
        seconds = round(time.perf_counter() - self._started, 3)
        with self.path.open("a", encoding="utf-8") as file:
            for split, summary in summaries.items():
                progress = {"num_tokens": self._num_tokens, "seconds": seconds}
                file.write(json.dumps({"step": state.global_step, "split": split} | summary | self.baselines | progress) + "\n")
        tqdm.write(
            f"step {state.global_step}: "
            + "; ".join(
                f"{split} {summary['attribute_loss']:.3f} nats per value, accuracy {summary['attribute_accuracy']:.3f}"
                for split, summary in summaries.items()
            ),
            file=sys.stderr,
        )

    def _score(self, split: str, model: Any) -> dict[str, float]:
        """Summary of a split; each process scores its share of the rows."""
        if split not in self._batches:
            processes = PartialState()
            rows = np.arange(self.num_biographies)[processes.process_index :: processes.num_processes]
            cuts = range(0, len(rows), self.batch_size)
            self._batches[split] = [self.tokenizer(draw(self.data, split, rows[cut : cut + self.batch_size])) for cut in cuts]
        shares = gather_object([score_tokens(model, batch) for batch in self._batches[split]])
        return functools.reduce(operator.add, shares).summary()  # type: ignore[no-any-return]

    def _count_tokens(self, step: int) -> None:
        """Bring the number of trained tokens, padding not counted, up to `step`."""
        for row in range(self._tokens_until * self.train_batch_size, step * self.train_batch_size, _COUNTED_ROWS):
            rows = np.arange(row, min(row + _COUNTED_ROWS, step * self.train_batch_size))
            self._num_tokens += int(self.tokenizer.lengths(draw(self.data, "train", rows)).sum())
        self._tokens_until = step
