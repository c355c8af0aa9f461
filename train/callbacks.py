"""What a recipe's run notes beside the metrics of AttributeEvaluation: metrics.jsonl, resumable, with tokens and seconds."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from arguments import EVALUATED_SPLITS, Recipe
from run_folder import read_metrics

from bio_facts.callbacks import AttributeEvaluation
from bio_facts.splits import draw
from bio_facts.tokenization import BiographyTokenizer

_COUNTED_ROWS = 10_000  # biographies whose tokens are counted at a time


class RecipeEvaluation(AttributeEvaluation):
    """One JSON line per (step, split) in metrics.jsonl; num_tokens trained so far, padding not counted, and seconds.

    A resumed run drops the lines written after its checkpoint and goes on; `seconds` counts from the line before.
    """

    def __init__(self, recipe: Recipe, tokenizer: BiographyTokenizer, path: Path) -> None:
        super().__init__(
            tokenizer,
            recipe.data,
            splits=EVALUATED_SPLITS,
            num_biographies=recipe.num_eval_biographies,
            batch_size=recipe.eval_batch_size,
            steps=recipe.eval_steps,
            file=path,
        )
        self.path, self.train_batch_size = path, recipe.batch_size

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
        super().on_train_begin(args, state, control, model, **kwargs)

    def progress(self, step: int) -> dict[str, float]:
        """Tokens and seconds up to a step."""
        for row in range(self._tokens_until * self.train_batch_size, step * self.train_batch_size, _COUNTED_ROWS):
            rows = np.arange(row, min(row + _COUNTED_ROWS, step * self.train_batch_size))
            self._num_tokens += int(self.tokenizer.lengths(draw(self.data, "train", rows)).sum())
        self._tokens_until = step
        return {"num_tokens": self._num_tokens, "seconds": round(time.perf_counter() - self._started, 3)}
