"""A callback that measures recall while any Trainer of transformers trains. Imports transformers."""

import operator
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from bio_facts.checks import needs
from bio_facts.generate.config import Config, check_biographies, get_biographies_config
from bio_facts.measure.baseline import pool_no_knowledge_loss, split_no_knowledge_loss
from bio_facts.measure.forward import fingerprint
from bio_facts.measure.history import History
from bio_facts.measure.modules import evaluation_mode
from bio_facts.measure.split_scoring import SplitScorer

with needs("train", "bio_facts.measure.callbacks"):
    from accelerate.utils import gather_object
    from transformers import TrainerCallback


class AttributeEvaluation(TrainerCallback):  # type: ignore[misc]
    """Scores the first rows of splits during training: `AttributeEvaluation(tokenizer, "n1k").attach(trainer)`.

    Each evaluation appends one dict for each split to `history`: step, split, the metrics of AttributeTotals.detailed_summary,
    no_knowledge_loss and pool_no_knowledge_loss (nats per value); those of unseen also have confidence_auroc, how well
    confidence tells values of validation from values of unseen, and those of questions_unseen the same for questions_not_asked.
    There is one dict for each step and split, however often the Trainer evaluates at that step. In distributed training, each
    process scores its share of the rows.

    Training that resumes from a checkpoint continues history and file at the checkpoint's step. When training starts anew, as
    with auto_find_batch_size or in a second run with the same file, the dicts that follow also have `restart`: 1 after the
    first new start, then 2, ...

    Two AttributeEvaluations of one Trainer must write different files. They must have different splits, unless one of them has
    a `log` of its own; the Trainer's metrics then get the scores of the one that was attached last.

    Args:
        tokenizer: the model's: a fast tokenizer of transformers, which is given whole texts, as in bio_facts.score; or a
            BiographyTokenizer, for a model that is trained on the tokens that it makes.
        data: a config of biographies, or the name of one.
        splits: the splits to score. num_biographies: number of rows of each. batch_size: rows at a time in each process.
        steps: the steps to evaluate at; 0 is before training. None: before training, and whenever the Trainer evaluates.
        file: JSON lines to append the dicts to.
        log: a function that is given the scores of each evaluation, with keys such as `validation/attribute_loss`. None:
            attach sets it to trainer.log, which sends them to the trackers of report_to.
        first_step: the step that training starts from.

    Raises:
        ValueError: for an unknown config or split, another tokenizer, a number out of range, or a file in no folder.
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
        if file is not None and not Path(file).absolute().parent.is_dir():
            raise ValueError(f"file is {str(file)!r}, but there is no folder {Path(file).absolute().parent}; make it first")
        self._scorer = SplitScorer(tokenizer, self.data, splits, num_biographies=num_biographies, batch_size=batch_size)
        self.tokenizer, self.splits = tokenizer, self._scorer.splits
        self.num_biographies, self.batch_size = num_biographies, batch_size
        self.steps = None if steps is None else _integers(steps)
        self.log = log
        self._log_taken: Callable[[dict[str, float]], None] | None = None  # of the Trainer that this was attached to
        pools = {"pool_no_knowledge_loss": pool_no_knowledge_loss(self.data.pool_sizes)}
        self.baselines = {
            split: {"no_knowledge_loss": split_no_knowledge_loss(self.data, split)} | pools for split in self.splits
        }
        self._history = History(None if file is None else Path(file))
        self._first_step = first_step
        self._to_log: list[dict[str, float]] = []
        self._last: tuple[Any, dict[str, float]] | None = None  # what was evaluated last, and its scores
        self._given_to: frozenset[str] | None = None  # the names of the Trainer's metrics that these scores were added to

    def attach(self, trainer: Any) -> Self:
        """Make a Trainer call this before all its other callbacks, and log through the Trainer.

        Callbacks that read the Trainer's metrics, such as EarlyStoppingCallback, must come after this one, and
        trainer.add_callback would put it last.

        Raises:
            ValueError: if another AttributeEvaluation of the Trainer logs a split under the same names or writes the same file.
        """
        callbacks = trainer.callback_handler.callbacks
        log = trainer.log if self.log is None or self.log == self._log_taken else self.log
        for other in callbacks:
            if isinstance(other, AttributeEvaluation) and other is not self:
                self._check_apart(other, log)
        callbacks[:] = [self, *(callback for callback in callbacks if callback is not self)]
        if self.log != log:
            self.log = self._log_taken = log
        return self

    def _check_apart(self, other: "AttributeEvaluation", log: Callable[[dict[str, float]], None]) -> None:
        file, others = self._history.file, other._history.file
        if file is not None and others is not None and file.resolve() == others.resolve():
            raise ValueError(
                f"file is {str(file)!r}, which another AttributeEvaluation of this Trainer writes; give each a file of its own"
            )
        shared = next((split for split in self.splits if split in other.splits), None)
        if shared is not None and log == other.log:
            raise ValueError(
                f"splits has {shared!r}, which another AttributeEvaluation of this Trainer logs under the same names; "
                "leave it out of one of them, or give one a log of its own"
            )

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dict for each evaluated step and split, in order."""
        return self._history.lines

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Evaluate the untrained model, unless `steps` leaves it out; resumed training reads the lines of earlier steps."""
        if state.global_step != self._first_step:
            self._history.resume(state.global_step, writes=state.is_world_process_zero)
            return
        self._history.begin()
        if self.steps is None or state.global_step in self.steps:
            log, self.log = self.log, self._to_log.append  # trackers that are called after this are not ready yet
            try:
                self.evaluate(state, model)
            finally:
                self.log = log

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the evaluation before training, now that the trackers are ready."""
        should_log = control.should_log
        while self._to_log:
            scores = self._to_log.pop(0)
            if self.log is not None:
                self.log(scores)
        control.should_log = should_log

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Evaluate if this step is one of `steps`, before its checkpoint is saved."""
        if self.steps is not None and state.global_step in self.steps:
            should_log = control.should_log
            self.evaluate(state, model)
            control.should_log = should_log  # trainer.log clears it, and the Trainer would not log this step's loss

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Evaluate when the Trainer does, at `steps` if there are any, and add the scores to the Trainer's metrics.

        metric_for_best_model can name them: `eval_validation/attribute_loss`. Metrics with another prefix than eval_ get none;
        with several eval datasets, only the metrics of the first get them.
        """
        if self.steps is not None and state.global_step not in self.steps:
            return
        scores = self.evaluate(state, model)
        names = frozenset(name for name in metrics or () if name.startswith("eval_"))
        if metrics is not None and names and self._given_to in (None, names):
            self._given_to = names
            metrics |= {f"eval_{name}": value for name, value in scores.items()} | metrics

    def further(self, step: int, split: str) -> dict[str, Any]:
        """Further entries of the line of a step and split; subclasses override it."""
        return {}

    def evaluate(self, state: Any, model: Any) -> dict[str, float]:
        """Score all splits, record and return the results, such as `validation/attribute_loss`; every process must call it.

        If neither model nor step has changed since the last evaluation, the model is not scored again. A step that is in
        `history` is not recorded again.
        """
        weights = [(id(weight), None if weight.is_inference() else weight._version) for weight in model.parameters()]
        with evaluation_mode(model):
            self._scorer.check_model(model)
            # The fingerprint shows changes of weights that leave their versions as they were.
            evaluated = self._history.restart, state.global_step, weights, fingerprint(model)
            if self._last is not None and not any(gather_object([self._last[0] != evaluated])):
                return self._last[1]
            summaries = self._scorer.summaries(model)
        scores = {f"{split}/{name}": value for split, summary in summaries.items() for name, value in summary.items()}
        self._last, self._given_to = (evaluated, scores), None
        if not self._history.has(state.global_step):
            self._record(state, summaries, scores)
        return scores

    def _record(self, state: Any, summaries: dict[str, dict[str, float]], scores: dict[str, float]) -> None:
        """Append to `history` and the file; in the main process also log, and print a line."""
        lines = [
            {"step": state.global_step, "split": split}
            | summary
            | self.baselines[split]
            | self.further(state.global_step, split)
            for split, summary in summaries.items()
        ]
        self._history.append(lines, writes=state.is_world_process_zero)
        if not state.is_world_process_zero:
            return
        if self.log is not None:
            self.log(scores)
        texts = (
            f"{split} {summary['attribute_loss']:.3f} nats per value, accuracy {summary['attribute_accuracy']:.3f}"
            for split, summary in summaries.items()
        )
        tqdm.write(f"step {state.global_step}: {'; '.join(texts)}", file=sys.stderr)


def _integers(steps: Any) -> Collection[int]:
    """Steps as integers of Python, whatever integers they are."""
    try:
        if isinstance(steps, Collection):
            return steps if isinstance(steps, range) else frozenset(operator.index(step) for step in steps)
    except TypeError:  # one of them is not an integer
        pass
    raise ValueError(f"steps is {steps!r}; it must be a list of integers, or None")
