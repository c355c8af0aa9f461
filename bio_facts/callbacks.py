"""A callback that measures recall while any Trainer of transformers trains. Imports transformers."""

import functools
import json
import operator
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import bio_facts
from bio_facts.attributes import ATTRIBUTES
from bio_facts.baseline import no_knowledge_loss, pool_no_knowledge_loss
from bio_facts.config import Config, get_config
from bio_facts.extras import needs
from bio_facts.metrics import AttributeTotals
from bio_facts.population import FIRST_UNSEEN_INDIVIDUAL
from bio_facts.scoring import score, score_tokens
from bio_facts.seeding import check_integer
from bio_facts.splits import draw, get_split
from bio_facts.tokenization import BiographyTokenizer

with needs("train", "bio_facts.callbacks"):
    from accelerate import PartialState
    from accelerate.utils import gather_object
    from transformers import TrainerCallback


class AttributeEvaluation(TrainerCallback):  # type: ignore[misc]
    """Scores the first rows of splits during training: `trainer.add_callback(AttributeEvaluation(tokenizer, "n1k"))`.

    Each evaluation appends one dict for each split to `history`: step, split, the metrics of AttributeTotals.detailed_summary,
    no_knowledge_loss and pool_no_knowledge_loss (nats per value). Several processes share the rows.

    Args:
        tokenizer: the model's, a fast tokenizer of transformers, which is given whole texts, as bio_facts.score does; or a
            BiographyTokenizer, for a model that is trained on the generator's own tokens.
        data: a config of biographies, or the name of one.
        splits: which of its splits. num_biographies: how many rows of each. batch_size: rows at a time in each process.
        steps: when (0 is before training); None is before training and whenever the Trainer evaluates.
        file: JSON lines to append the dicts to. log: is given each dict with keys `validation/attribute_loss`; trainer.log
            sends them to whatever report_to names.

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
    ) -> None:
        self.data: Config = get_config(data) if isinstance(data, str) else data
        if not isinstance(self.data, Config):
            raise ValueError(f"data is {data!r}, which has no biographies; it must be a config such as 'n64k'")
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
        self.file, self.log = None if file is None else Path(file), log
        pools = {"pool_no_knowledge_loss": pool_no_knowledge_loss(self.data.pool_sizes)}
        self.baselines = {split: {"no_knowledge_loss": self._no_knowledge_loss(split)} | pools for split in splits}
        self.history: list[dict[str, Any]] = []
        self._batches: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Evaluate the untrained model, unless `steps` leave it out."""
        if state.global_step == 0 and (self.steps is None or 0 in self.steps):
            self.evaluate(state, model)

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
        which metric_for_best_model may name."""
        if self.steps is None:
            found = self.evaluate(state, model)
            if metrics is not None:
                metrics |= {f"eval_{name}": value for name, value in found.items()}

    def progress(self, step: int) -> dict[str, float]:
        """What else to note of a step."""
        return {}

    def evaluate(self, state: Any, model: Any) -> dict[str, float]:
        """Score all splits, note and return the results, as `validation/attribute_loss`; every process must call it."""
        was_training = model.training
        model.eval()
        summaries = {split: self._totals(split, model).detailed_summary(tuple(ATTRIBUTES)) for split in self.splits}
        model.train(was_training)
        noted = self.progress(state.global_step)
        lines = [
            {"step": state.global_step, "split": split} | found | self.baselines[split] | noted
            for split, found in summaries.items()
        ]
        self.history += lines
        whole = {f"{split}/{name}": value for split, found in summaries.items() for name, value in found.items()}
        if not state.is_world_process_zero:
            return whole
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as opened:
                opened.writelines(json.dumps(line) + "\n" for line in lines)
        if self.log is not None:
            self.log(whole)
        parts = (
            f"{split} {found['attribute_loss']:.3f} nats per value, accuracy {found['attribute_accuracy']:.3f}"
            for split, found in summaries.items()
        )
        tqdm.write(f"step {state.global_step}: {'; '.join(parts)}", file=sys.stderr)
        return whole

    def _no_knowledge_loss(self, name: str) -> float:
        """Of the people of a split; for unseen ones, of the population that the model could have learned the statistics of."""
        split = get_split(self.data, name)
        first = 0 if split.first_individual == FIRST_UNSEEN_INDIVIDUAL else split.first_individual
        people = self.data.num_individuals if split.first_individual == FIRST_UNSEEN_INDIVIDUAL else split.num_individuals
        return no_knowledge_loss(self.data.population, range(first, first + people))

    def _totals(self, split: str, model: Any) -> AttributeTotals:
        """Totals of a split; each process scores its share of the rows."""
        if split not in self._batches:
            processes = PartialState()
            rows = np.arange(self.num_biographies)[processes.process_index :: processes.num_processes]
            self._batches[split] = self._prepared(split, rows)
        shares = gather_object([self._scored(model, self._batches[split])])
        totals: AttributeTotals = functools.reduce(operator.add, shares)
        return totals

    def _prepared(self, split: str, rows: NDArray[np.int64]) -> Any:
        """What stays the same of this process's rows: batches of the generator's own tokens, or texts."""
        if not isinstance(self.tokenizer, BiographyTokenizer):
            return bio_facts.rows(draw(self.data, split, rows))
        cuts = range(0, len(rows), self.batch_size)
        return [self.tokenizer(draw(self.data, split, rows[cut : cut + self.batch_size])) for cut in cuts]

    def _scored(self, model: Any, prepared: Any) -> AttributeTotals:
        if not isinstance(self.tokenizer, BiographyTokenizer):
            return score(model, self.tokenizer, prepared, batch_size=self.batch_size).totals()
        return functools.reduce(operator.add, [score_tokens(model, batch) for batch in prepared])
