"""A callback that measures recall while any Trainer of transformers trains. Imports transformers."""

import functools
import operator
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import bio_facts
from bio_facts.checks import check_integer, needs
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import Config, check_biographies, get_biographies_config
from bio_facts.generate.splits import draw, get_split
from bio_facts.measure.baseline import pool_no_knowledge_loss, split_no_knowledge_loss
from bio_facts.measure.forward import check_causal, context_length, evaluation_mode
from bio_facts.measure.history import History
from bio_facts.measure.metrics import AttributeTotals
from bio_facts.measure.scoring import score_tokens, tokenized
from bio_facts.measure.tokens import BiographyTokenizer, TokenBatch

_NO_TOKENS = np.zeros((0, 1), dtype=np.int64)
_NO_ROWS = TokenBatch(_NO_TOKENS, _NO_TOKENS, np.zeros(0, dtype=np.int64))

with needs("train", "bio_facts.measure.callbacks"):
    from accelerate import PartialState
    from accelerate.utils import gather_object
    from transformers import TrainerCallback


class AttributeEvaluation(TrainerCallback):  # type: ignore[misc]
    """Scores the first rows of splits during training: `AttributeEvaluation(tokenizer, "n1k").attach(trainer)`.

    Each evaluation appends one dict for each split to `history`: step, split, the metrics of AttributeTotals.detailed_summary,
    no_knowledge_loss and pool_no_knowledge_loss (nats per value). Several processes share the rows. There is one dict for each
    step and split, however often the Trainer evaluates there. Resumed training continues history and file from its checkpoint.
    Where training begins anew, as with auto_find_batch_size or in a second run with the same file, the dicts that follow also
    have `restart`: 1 for the first time, then 2, ...

    Args:
        tokenizer: the model's, a fast tokenizer of transformers, which is given whole texts, as bio_facts.score does; or a
            BiographyTokenizer, for a model that is trained on the generator's own tokens.
        data: a config of biographies, or the name of one.
        splits: which of its splits. num_biographies: how many rows of each. batch_size: rows at a time in each process.
        steps: when (0 is before training); None is before training and whenever the Trainer evaluates.
        file: JSON lines to append the dicts to. log: is given each dict with keys `validation/attribute_loss`; if it is None,
            attach takes trainer.log, which sends them to whatever report_to names. first_step: at which training begins.

    Raises:
        ValueError: for an unknown config or split, or a number that is not right.
    """

    def __init__(
        self,
        tokenizer: Any,
        data: Config | str,
        *,
        splits: Sequence[str] = ("validation", "unseen"),
        num_biographies: int = 500,
        batch_size: int = 64,
        steps: Collection[int] | None = None,
        file: str | Path | None = None,
        log: Callable[[dict[str, float]], None] | None = None,
        first_step: int = 0,
    ) -> None:
        self.data = get_biographies_config(data, "data") if isinstance(data, str) else check_biographies(data, "data")
        if isinstance(splits, str):
            raise ValueError(f"splits is {splits!r}; it must be a list of names, [{splits!r}]")
        if steps is not None and (not isinstance(steps, Collection) or not all(isinstance(step, int) for step in steps)):
            raise ValueError(f"steps is {steps!r}; it must be a list of integers, or None")
        if file is not None and not Path(file).absolute().parent.is_dir():
            raise ValueError(f"file is {str(file)!r}, but there is no folder {Path(file).absolute().parent}; make it first")
        if not getattr(tokenizer, "is_fast", isinstance(tokenizer, BiographyTokenizer)):
            raise ValueError(
                f"tokenizer is a {type(tokenizer).__name__}; it must be a fast tokenizer of transformers, with offsets"
            )
        for split in splits:
            rows = get_split(self.data, split).num_rows
            check_integer(f"num_biographies (of split {split})", num_biographies, minimum=1, maximum=rows)
        check_integer("batch_size", batch_size, minimum=1)
        self.tokenizer = tokenizer
        self.splits, self.num_biographies, self.batch_size, self.steps = tuple(splits), num_biographies, batch_size, steps
        self.log = log
        pools = {"pool_no_knowledge_loss": pool_no_knowledge_loss(self.data.pool_sizes)}
        self.baselines = {
            split: {"no_knowledge_loss": split_no_knowledge_loss(self.data, split)} | pools for split in self.splits
        }
        self._lines = History(None if file is None else Path(file), first_step)
        self._batches: dict[str, list[TokenBatch]] = {}
        self._to_log: list[dict[str, float]] = []
        self._evaluated: tuple[Any, dict[str, float]] | None = None  # the model's state and its scores
        self._given_to: frozenset[str] | None = None  # the names of the Trainer's metrics that these scores were added to

    def attach(self, trainer: Any) -> Self:
        """Make a Trainer call this before all its other callbacks, and log through it.

        Callbacks that look at its metrics, such as EarlyStoppingCallback, must come later; trainer.add_callback puts it last.
        """
        callbacks = trainer.callback_handler.callbacks
        callbacks[:] = [self, *(callback for callback in callbacks if callback is not self)]
        self.log = self.log or trainer.log
        return self

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dict for each evaluated step and split, in order."""
        return self._lines.lines

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Take up the lines of resumed training, or evaluate the untrained model, unless `steps` leave it out."""
        if state.global_step != self._lines.first_step:
            self._lines.resume(state.global_step, writes=state.is_world_process_zero)
            return
        self._lines.begin()
        if self.steps is None or state.global_step in self.steps:
            log, self.log = self.log, self._to_log.append  # trackers that come later are not ready yet
            try:
                self.evaluate(state, model)
            finally:
                self.log = log

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log what was evaluated before training, now that all callbacks have begun."""
        should_log = control.should_log
        while self._to_log:
            scores = self._to_log.pop(0)
            if self.log is not None:
                self.log(scores)
        control.should_log = should_log

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Evaluate if this step is one of `steps`; runs before the step's checkpoint is written."""
        if self.steps is not None and state.global_step in self.steps:
            should_log = control.should_log
            self.evaluate(state, model)
            control.should_log = should_log  # trainer.log takes it back, and the Trainer's own loss of this step would be lost

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Evaluate along with the Trainer if there are no `steps`; its metrics get `eval_validation/attribute_loss` and so on,
        which metric_for_best_model may name. Of several eval datasets the first one's metrics get them."""
        if self.steps is not None:
            return
        scores = self.evaluate(state, model)
        if metrics is not None and self._given_to in (None, frozenset(metrics)):
            self._given_to = frozenset(metrics)
            metrics |= {f"eval_{name}": value for name, value in scores.items()}

    def progress(self, step: int) -> dict[str, float]:
        """What else to note of a step."""
        return {}

    def evaluate(self, state: Any, model: Any) -> dict[str, float]:
        """Score all splits, note and return the results, as `validation/attribute_loss`; every process must call it.

        A model that is the same as at the last evaluation is not scored again; a step that has its lines gets no second ones.
        """
        weights = [(id(weight), None if weight.is_inference() else weight._version) for weight in model.parameters()]
        now = self._lines.restart, state.global_step, weights
        if self._evaluated is not None and not any(gather_object([self._evaluated[0] != now])):
            return self._evaluated[1]
        with evaluation_mode(model):
            if self._evaluated is None:
                check_causal(model)
            summaries = {split: self._totals(split, model).detailed_summary(tuple(ATTRIBUTES)) for split in self.splits}
        whole = {f"{split}/{name}": value for split, summary in summaries.items() for name, value in summary.items()}
        self._evaluated, self._given_to = (now, whole), None
        if self._lines.has(state.global_step):
            return whole
        progress = self.progress(state.global_step)
        lines = [
            {"step": state.global_step, "split": split} | summary | self.baselines[split] | progress
            for split, summary in summaries.items()
        ]
        self._lines.append(lines, writes=state.is_world_process_zero)
        if not state.is_world_process_zero:
            return whole
        if self.log is not None:
            self.log(whole)
        parts = (
            f"{split} {summary['attribute_loss']:.3f} nats per value, accuracy {summary['attribute_accuracy']:.3f}"
            for split, summary in summaries.items()
        )
        tqdm.write(f"step {state.global_step}: {'; '.join(parts)}", file=sys.stderr)
        return whole

    def _totals(self, split: str, model: Any) -> AttributeTotals:
        """Totals of a split; each process scores its share of the rows, in as many forwards as every other.

        A process whose scores are an error goes on with forwards of its own, so that the others, who may need it for each of
        theirs, come to the end; then all raise the error.
        """
        processes = PartialState()
        most_rows = -(-self.num_biographies // processes.num_processes)
        totals: list[AttributeTotals] = []
        errors: list[ValueError] = []
        try:
            if split not in self._batches:
                rows = np.arange(self.num_biographies)[processes.process_index :: processes.num_processes]
                self._batches[split] = self._prepared(split, rows, model)
        except ValueError as error:
            errors.append(error)
        for place in range(-(-most_rows // self.batch_size)):
            batches = [] if errors else self._batches[split]
            try:
                totals.append(score_tokens(model, batches[place] if place < len(batches) else _NO_ROWS))
            except ValueError as error:
                errors.append(error)
        if errors := gather_object(errors):
            raise errors[0]
        total: AttributeTotals = functools.reduce(operator.add, gather_object(totals))
        return total

    def _prepared(self, split: str, rows: NDArray[np.int64], model: Any) -> list[TokenBatch]:
        """The tokens of this process's rows, batch by batch: the generator's own, or those of whole texts."""
        batches = [
            draw(self.data, split, rows[start : start + self.batch_size]) for start in range(0, len(rows), self.batch_size)
        ]
        if isinstance(self.tokenizer, BiographyTokenizer):
            return [self.tokenizer(batch) for batch in batches]
        limit = context_length(model)
        return [tokenized(self.tokenizer, bio_facts.rows(batch), max_length=limit) for batch in batches]
