"""The evaluation of a recipe's run: AttributeEvaluation, written to a resumable metrics.jsonl, with tokens and seconds."""

import math
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bio_facts.checks import needs
from bio_facts.generate.facts import facts
from bio_facts.generate.splits import draw
from bio_facts.measure.attention import attention_signatures
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.modules import evaluation_mode, unwrapped
from bio_facts.measure.probing import ProbeRows, probe_accuracies, probe_rows
from bio_facts.measure.recall import FactTokens, fact_counts
from bio_facts.measure.tokens import ROLES
from bio_facts.runs.checkpoints import DIGESTS, keep_model
from bio_facts.runs.early_stopping import is_decided
from bio_facts.runs.recipe import Recipe

with needs("train", "training"):
    from accelerate import PartialState


# What attention is summarized on: with fine-tuning, the new individuals and those of pre-training.
_ATTENTION_SPLITS = ("validation", "pretrain_validation")
_FACTS_SPLIT = "questions_not_asked"  # whose lines have the counts of facts


class RecipeEvaluation(AttributeEvaluation):
    """One JSON line per (step, split) in metrics.jsonl; num_tokens trained so far, padding not counted, and seconds.

    If train has phases, lines have num_biographies and num_questions, the rows of each format trained so far. Where the model
    is kept, the line of validation has weights_sha256: the name of each weight file and its SHA-256.

    A resumed run drops the lines written after its checkpoint; `seconds` continues from the last line that is kept.
    """

    def __init__(self, recipe: Recipe, dataset: Any, path: Path, saved_tokenizer: Any) -> None:
        super().__init__(
            dataset.tokenizer,
            recipe.data,
            splits=recipe.evaluated_splits,
            num_biographies=recipe.num_eval_biographies,
            batch_size=recipe.eval_batch_size,
            steps=recipe.eval_steps,
            file=path,
            first_step=recipe.first_step,
        )
        self._further: dict[str, dict[str, Any]] = {}  # split -> what its lines have about attention, or about facts
        self._kept: dict[str, Any] = {}  # what the validation line of this step has about the model that is kept
        self._facts: FactTokens | None = None
        self._probe_rows: ProbeRows | None = None
        self.path, self.recipe, self.dataset, self.saved_tokenizer = path, recipe, dataset, saved_tokenizer

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Read the lines of the steps done; if there are none, evaluate the model that the run starts from."""
        begins = state.global_step == self.recipe.first_step
        if begins and state.is_world_process_zero:
            self.path.unlink(missing_ok=True)  # of a run that was interrupted before its first checkpoint
            self._keep(state.global_step, model)
        self._tokens_until, self._num_tokens = state.global_step, 0
        self._begun = self._started = time.perf_counter()
        self._seconds_of_evaluations = 0.0
        PartialState().wait_for_everyone()
        super().on_train_begin(args, state, control, model, **kwargs)
        if not begins:
            last = self.history[-1]
            self._tokens_until, self._num_tokens = last["step"], last["num_tokens"]
            self._started -= last["seconds"]

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Keep the model at the recipe's steps, evaluate, and end the run once its question is decided."""
        if state.is_world_process_zero:
            self._keep(state.global_step, model)
        super().on_step_end(args, state, control, model, **kwargs)
        last = next(line for line in reversed(self.history) if line["split"] == "validation")
        if not math.isfinite(last["attribute_loss"]):  # before Trainer makes a checkpoint of it
            raise FloatingPointError(f"attribute loss is {last['attribute_loss']} at step {last['step']}")
        if last["step"] == state.global_step and is_decided(last, self.recipe.stop_below):
            control.should_training_stop = control.should_save = True

    def _keep(self, step: int, model: Any) -> None:
        self._kept = {}
        if step in self.recipe.kept_steps:
            self._kept = {DIGESTS: keep_model(model, self.saved_tokenizer, self.path.parent, step)}

    def evaluate(self, state: Any, model: Any) -> dict[str, float]:
        """Score all splits, summarize the attention, test facts, and count the seconds that it takes."""
        begun = time.perf_counter()
        if self.recipe.num_attention_biographies:
            splits = [split for split in _ATTENTION_SPLITS if split in self.splits]
            self._further = {split: self._attention_signatures(model, split) for split in splits}
        if self.recipe.num_fact_individuals:
            self._further[_FACTS_SPLIT] = self._tested_facts(model)
        scores = super().evaluate(state, model)
        self._seconds_of_evaluations += time.perf_counter() - begun
        return scores

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say how much of the time the evaluations took."""
        if state.is_world_process_zero:
            share = self._seconds_of_evaluations / (time.perf_counter() - self._begun)
            tqdm.write(f"evaluations took {share:.0%} of the time", file=sys.stderr)

    def further(self, step: int, split: str) -> dict[str, Any]:
        """Tokens, seconds and rows up to a step; attention of each layer, of validation splits; counts of facts."""
        batch_size = self.recipe.batch_size
        self._num_tokens += self.dataset.num_tokens(self._tokens_until * batch_size, step * batch_size)
        self._tokens_until = step
        progress = {"num_tokens": self._num_tokens, "seconds": round(time.perf_counter() - self._started, 3)}
        if (mixture := self.recipe.data.phases) is not None:
            num_questions = mixture.num_questions(step * batch_size)
            progress |= {"num_biographies": step * batch_size - num_questions, "num_questions": num_questions}
        return progress | self._further.get(split, {}) | (self._kept if split == "validation" else {})

    def _tested_facts(self, model: Any) -> dict[str, Any]:
        """`facts`, `probe_in_text` and so on, see bio_facts.measure.recall and probing; every process tests all of them."""
        data, number = self.recipe.data, self.recipe.num_fact_individuals or 0
        if self._facts is None or self._probe_rows is None:
            self._facts = FactTokens.of(facts(data, range(number)), self.tokenizer)
            self._probe_rows = probe_rows(data, self.tokenizer, number)
        with evaluation_mode(model):
            counts = fact_counts(model, self._facts, self.batch_size)
            return counts | probe_accuracies(model, self._probe_rows, self.batch_size)

    def _attention_signatures(self, model: Any, split: str) -> dict[str, list[float]]:
        """`attention_value_to_name` and so on, one number for each layer, on the first rows of a split."""
        biographies = draw(self.recipe.data, split, range(self.recipe.num_attention_biographies))
        batch, is_name = self.tokenizer(biographies), self.tokenizer.roles(biographies) == ROLES.index("name")
        with evaluation_mode(model):
            signatures = attention_signatures(unwrapped(model), batch.input_ids, batch.attribute_ids, is_name)
        return {f"attention_{name}": [round(value, 5) for value in layers] for name, layers in signatures.items()}
