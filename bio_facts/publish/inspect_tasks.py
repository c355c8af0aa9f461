"""Cloze tasks for Inspect (inspect-ai), which finds them by an entry point of the package.

inspect eval bio_facts/cloze --model hf/local -M model_path=path/to/model -T num_individuals=1000 --limit 6000
inspect eval bio_facts/cloze_generate --model openai/gpt-5-mini -T instruction="Continue the text with a few words."

cloze reads the model's probabilities, and gives the numbers of bio_facts.score and of the tasks for the
lm-evaluation-harness. It needs a model that Inspect loads with transformers (hf/). cloze_generate lets any model continue
the text, and looks for the value at its beginning.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bio_facts.checks import check_choice, needs
from bio_facts.generate.config import ClozeConfig, get_config
from bio_facts.measure.scoring import score
from bio_facts.publish.shards import chunks
from bio_facts.publish.tables import num_rows, record_batch

with needs("inspect", "bio_facts/cloze"):
    from inspect_ai import Task, task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.scorer import Score, Scorer, Target, match, mean, scorer, stderr
    from inspect_ai.solver import Generate, Solver, TaskState, generate, solver, system_message

_ROWS_AT_A_TIME = 6_000  # made together
_TASKS_AT_A_TIME = 16  # scored together, with all their choices
_MAX_TOKENS = 32  # of a continuation; longer than any value in the vocabularies of large models
_METRICS = ("attribute_loss", "attribute_accuracy", "choice_accuracy")
_LIKELIHOODS = "likelihoods"  # in the store of a sample


@task  # type: ignore[untyped-decorator]
def cloze(split: str = "validation", **parameters: Any) -> Task:
    """Loss and accuracy of values, and choice among `num_choices` of them, by the probabilities of a model of transformers.

    Args:
        split: validation or unseen.
        parameters: replace those of the config cloze, such as num_individuals.
    """
    config, samples = _config(parameters), _samples(split, parameters)
    return Task(dataset=samples, solver=likelihoods(split, config), scorer=likelihood_scorer(), version=1)


@task  # type: ignore[untyped-decorator]
def cloze_generate(split: str = "validation", instruction: str | None = None, **parameters: Any) -> Task:
    """Whether a model continues the text with the value; for any model of Inspect.

    Args:
        split: validation or unseen.
        instruction: a system message, which models for conversations need.
        parameters: replace those of the config cloze, such as num_individuals.
    """
    return Task(
        dataset=_samples(split, parameters),
        solver=[*([] if instruction is None else [system_message(instruction)]), generate()],
        scorer=match(location="begin", ignore_case=False),
        config=GenerateConfig(temperature=0, max_tokens=_MAX_TOKENS),
        version=1,
    )


def _config(parameters: Mapping[str, Any]) -> ClozeConfig:
    config: ClozeConfig = get_config("cloze").replace(**parameters)
    return config


def _samples(split: str, parameters: Mapping[str, Any]) -> MemoryDataset:
    """A sample for each row of a split, whose id is the index of the row."""
    config = _config(parameters)
    count = num_rows(config)[check_choice("split", split, tuple(num_rows(config)))]
    rows = [
        row
        for indices in chunks(range(count), _ROWS_AT_A_TIME)
        for row in record_batch(config, split, np.asarray(indices)).to_pylist()
    ]
    ids = ("attribute", "biography_id", "individual_id", "template_id", "target_index")
    samples = [
        Sample(id=index, input=row["prompt"], target=row["target"], choices=row["choices"], metadata={k: row[k] for k in ids})
        for index, row in enumerate(rows)
    ]
    return MemoryDataset(samples, name=f"cloze-{split}-{config.fingerprint}")


# Probabilities


@solver  # type: ignore[untyped-decorator]
def likelihoods(split: str, config: ClozeConfig) -> Solver:
    """Stores the log-likelihood of each choice, and whether all tokens of the target are the arg-max."""
    scored = _scored_rows(split, config)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        del generate
        api = get_model().api
        if not (hasattr(api, "model") and hasattr(api, "tokenizer")):
            raise ValueError(f"model is {state.model}, which has no weights here; it must be one of hf/, or use cloze_generate")
        log_likelihoods, is_greedy = scored(api.model, api.tokenizer, int(state.sample_id))
        best = int(np.argmax(log_likelihoods))
        state.output.completion = state.choices[best].value
        target = state.metadata["target_index"]
        values = (-log_likelihoods[target], float(is_greedy[target]), float(best == target))
        state.store.set(_LIKELIHOODS, dict(zip(_METRICS, values, strict=True)))
        return state

    return solve


@scorer(metrics={name: [mean(), stderr()] for name in _METRICS})  # type: ignore[untyped-decorator]
def likelihood_scorer() -> Scorer:
    """Reads what the solver `likelihoods` has stored. attribute_loss: nats per value."""

    async def measure(state: TaskState, target: Target) -> Score:
        del target
        return Score(value=state.store.get(_LIKELIHOODS), answer=state.output.completion)

    return measure


def _scored_rows(split: str, config: ClozeConfig) -> Callable[[Any, Any, int], tuple[list[float], list[bool]]]:
    """A function of model, tokenizer and row -> the log-likelihood of each choice in nats, and whether all its tokens are the
    arg-max. Rows are scored with those beside them and kept, because a sample alone is too small a batch."""
    kept: dict[int, tuple[list[float], list[bool]]] = {}
    count = num_rows(config)[split]

    def scored(model: Any, tokenizer: Any, index: int) -> tuple[list[float], list[bool]]:
        if index not in kept:
            start = index - index % _TASKS_AT_A_TIME
            indices = range(start, min(start + _TASKS_AT_A_TIME, count))
            rows = record_batch(config, split, np.asarray(indices)).to_pylist()
            texts = [_text(row, choice) for row in rows for choice in row["choices"]]
            scores = score(model, tokenizer, texts, batch_size=len(texts))
            losses = [float(nlls.sum()) for nlls in scores.nlls]
            greedy = [
                bool((predictions == references)[ids > 0].all())
                for predictions, references, ids in zip(
                    scores.predictions, scores.references, scores.attribute_ids, strict=True
                )
            ]
            for place, row in enumerate(indices):
                of_row = slice(place * config.num_choices, (place + 1) * config.num_choices)
                kept[row] = [-loss for loss in losses[of_row]], greedy[of_row]
        return kept[index]

    return scored


def _text(row: Mapping[str, Any], choice: str) -> dict[str, Any]:
    """The prompt and a choice, as a row that bio_facts.score takes."""
    text = f"{row['prompt']} {choice}"
    span = {"attribute": row["attribute"], "start": len(row["prompt"]) + 1, "end": len(text)}
    return {"text": text, "attributes": [span]}
