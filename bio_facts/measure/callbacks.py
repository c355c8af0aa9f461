"""A callback that measures recall while any Trainer of transformers trains. Imports transformers."""

import functools
import operator
import sys
import weakref
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bio_facts.checks import check_integer, needs
from bio_facts.generate import biography
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import Config, check_biographies, get_biographies_config
from bio_facts.generate.splits import draw, get_split
from bio_facts.measure.baseline import pool_no_knowledge_loss, split_no_knowledge_loss
from bio_facts.measure.causality import check_causal
from bio_facts.measure.forward import fingerprint, forget, prove
from bio_facts.measure.history import History
from bio_facts.measure.metrics import AttributeTotals
from bio_facts.measure.modules import context_length, evaluation_mode, vocabulary_size
from bio_facts.measure.scoring import check_tokens, score_tokens, tokenized
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

    Two of a Trainer need files of their own, and splits of their own or one of them a `log` of its own; of a split that both
    have, the Trainer's metrics get the scores of the one attached last.

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
        self.splits, self.num_biographies, self.batch_size = tuple(splits), num_biographies, batch_size
        self.steps = None if steps is None else _integers(steps)
        self.log = log
        self._log_taken: Callable[[dict[str, float]], None] | None = None  # of the Trainer that this was attached to
        pools = {"pool_no_knowledge_loss": pool_no_knowledge_loss(self.data.pool_sizes)}
        self.baselines = {
            split: {"no_knowledge_loss": split_no_knowledge_loss(self.data, split)} | pools for split in self.splits
        }
        self._lines = History(None if file is None else Path(file))
        self._first_step = first_step
        self._batches: dict[str, list[TokenBatch]] = {}
        self._to_log: list[dict[str, float]] = []
        self._evaluated: tuple[Any, dict[str, float]] | None = None  # the model's state and its scores
        self._given_to: frozenset[str] | None = None  # the names of the Trainer's metrics that these scores were added to
        self._checked: Callable[[], Any] = lambda: None  # the model that is known to be causal

    def attach(self, trainer: Any) -> Self:
        """Make a Trainer call this before all its other callbacks, and log through it.

        Callbacks that look at its metrics, such as EarlyStoppingCallback, must come later; trainer.add_callback puts it last.

        Raises:
            ValueError: if the Trainer has another AttributeEvaluation that logs a split by the same names or writes the file.
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
        file, others = self._lines.file, other._lines.file
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
        return self._lines.lines

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Take up the lines of resumed training, or evaluate the untrained model, unless `steps` leave it out."""
        if state.global_step != self._first_step:
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
        """Evaluate along with the Trainer, at `steps` if there are any. Its metrics get `eval_validation/attribute_loss` and so
        on, which metric_for_best_model may name: those that begin with eval_, of several eval datasets the first one's."""
        if self.steps is not None and state.global_step not in self.steps:
            return
        scores = self.evaluate(state, model)
        names = frozenset(name for name in metrics or () if name.startswith("eval_"))
        if metrics is not None and names and self._given_to in (None, names):
            self._given_to = names
            metrics |= {f"eval_{name}": value for name, value in scores.items()} | metrics

    def progress(self, step: int) -> dict[str, float]:
        """What else to note of a step."""
        return {}

    def evaluate(self, state: Any, model: Any) -> dict[str, float]:
        """Score all splits, note and return the results, as `validation/attribute_loss`; every process must call it.

        A model that is the same as at the last evaluation is not scored again; a step that has its lines gets no second ones.
        """
        weights = [(id(weight), None if weight.is_inference() else weight._version) for weight in model.parameters()]
        with evaluation_mode(model):
            if self._checked() is not model:
                check_causal(model)
                self._checked, self._batches = weakref.ref(model), {}
            now = self._lines.restart, state.global_step, weights, fingerprint(model)  # weights also change without a version
            if self._evaluated is not None and not any(gather_object([self._evaluated[0] != now])):
                return self._evaluated[1]
            if not self._batches:
                self._batches = self._prepared(model)
            forget(model)
            prove(model, _longest([batch for batches in self._batches.values() for batch in batches]))
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

        A process whose scores are an error goes on, so that the others, who may need it for each of their forwards, come to
        the end; then all raise the error.
        """
        most_rows = -(-self.num_biographies // PartialState().num_processes)
        totals: list[AttributeTotals] = []
        error: Exception | None = None
        batches = self._batches[split]
        for place in range(-(-most_rows // self.batch_size)):
            try:
                totals.append(score_tokens(model, batches[place] if place < len(batches) else _NO_ROWS))
            except ValueError as caught:
                error = error or caught
        _raise_together(error)
        total: AttributeTotals = functools.reduce(operator.add, gather_object(totals))
        return total

    def _prepared(self, model: Any) -> dict[str, list[TokenBatch]]:
        """The tokens of this process's rows of each split, batch by batch; an error of one process is raised by all."""
        processes = PartialState()
        rows = np.arange(self.num_biographies)[processes.process_index :: processes.num_processes]
        prepared: dict[str, list[TokenBatch]] = {}
        error: Exception | None = None
        try:
            for split in self.splits:
                prepared[split] = self._tokens(split, rows, model)
                for batch in prepared[split]:
                    check_tokens(batch.input_ids, vocabulary_size(model))
        except Exception as caught:  # whatever their tokenizer raises: the others wait for this process
            error = caught
        _raise_together(error)
        return prepared

    def _tokens(self, split: str, rows: NDArray[np.int64], model: Any) -> list[TokenBatch]:
        """The generator's own tokens, or those of whole texts."""
        batches = [
            draw(self.data, split, rows[start : start + self.batch_size]) for start in range(0, len(rows), self.batch_size)
        ]
        if isinstance(self.tokenizer, BiographyTokenizer):
            return [self.tokenizer(batch) for batch in batches]
        limit = context_length(model)
        return [tokenized(self.tokenizer, biography.rows(batch), max_length=limit) for batch in batches]


def _integers(steps: Any) -> Collection[int]:
    """Steps as Python's integers, which those of NumPy and so on become."""
    try:
        if isinstance(steps, Collection):
            return steps if isinstance(steps, range) else frozenset(operator.index(step) for step in steps)
    except TypeError:  # among them is no integer
        pass
    raise ValueError(f"steps is {steps!r}; it must be a list of integers, or None")


def _longest(batches: list[TokenBatch]) -> Any:
    """What the model will see of the longest rows: token ids [2, L]; of a process without rows, as many as it runs instead."""
    import torch

    batch = max(batches, key=lambda batch: batch.input_ids.shape[1], default=_NO_ROWS)
    ids = batch.input_ids[np.argsort(-batch.lengths, kind="stable")[:2], :-1]
    return torch.from_numpy(ids) if ids.size else torch.zeros((1, 2), dtype=torch.int64)


def _raise_together(error: Exception | None) -> None:
    """Raise the error of any process in all of them, so that none waits for another."""
    found = gather_object([] if error is None else [(isinstance(error, ValueError), f"{type(error).__name__}: {error}")])
    if error is not None:
        raise error
    for is_value_error, message in found:
        raise (ValueError if is_value_error else RuntimeError)(f"another process: {message}")
