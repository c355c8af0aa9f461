"""attribute_recall: how well a language model recalls the attribute values in texts, for `evaluate` (arXiv 2503.21676).

evaluate.load("eval/attribute_recall")             per-token numbers of any model and tokenizer
evaluate.load("eval/attribute_recall", "details")  also confidence, calibration, groups
evaluate.load("eval/attribute_recall", "text")     generated strings alone

bio_facts need not be installed; metrics.py beside this file is a copy of bio_facts/measure/metrics.py.
"""

import functools
import itertools
import math
import numbers
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from .metrics import AttributeTotals, attribute_totals, auroc, first_tokens
from .text import normalized

# Attributes of bio_facts in the order of their ids (1, 2, ...), and how many values each can have.
BIO_FACTS_ATTRIBUTES = {
    "birth_place": 800,
    "current_location": 800,
    "university": 200,
    "major": 100,
    "company": 500,
    "birth_date": 200 * 12 * 28,
}

_METRICS = {
    "attribute_loss", "attribute_accuracy", "first_token_accuracy", "first_token_probability", "token_loss", "num_values",
    "top_probability", "entropy", "pool_no_knowledge_loss",
}  # fmt: skip
_NO_GROUP = ""
_ROWS_AT_A_TIME = 2_000
_NOT_SCORED = -1  # in place of a token id that is None
_IN_VALUES = ", wherever attribute_ids is not 0"
_NATS = f"a number of at least 0, in nats{_IN_VALUES}"
_ROUNDING = 1e-5  # a log-softmax in single precision may come out this little above 0

_DESCRIPTION = """
Scores the tokens of attribute values ("Ada Lovelace was born in [London]"), from the outputs of any causal language model with
any tokenizer. A value is a run of tokens of one sequence with the same attribute id. Its loss is the sum of its tokens'
negative log-likelihoods, and it is correct if all its tokens are the arg-max. (Zucchet et al. 2025, App. B.3.)
"""

_KWARGS_DESCRIPTION = """
A config ignores inputs that only other configs take, so that configs can be combined.

Args:
    predictions: one list of token ids for each sequence, the arg-max where each token is predicted (teacher-forced).
        In config `text`: one string for each value.
    references: the sequences' token ids. In config `text`: one string for each value.
    nlls: negative log-likelihood of each token, nats.
    attribute_ids: for each token 0 (in no value) or the 1-based number of its attribute. Where it is 0, the numbers of
        the other columns have no effect, and may be None, NaN or infinite.
    top_probabilities: config `details`: the largest predicted probability where each token is predicted.
    entropies: config `details`: the entropy of that prediction, nats.
    groups: config `details`: one label for each sequence, such as its split; all metrics are also computed for each group.
    attributes: config `text`: one attribute name for each value.
    attribute_names: names for the attribute ids 1, 2, ...; by default the six of bio_facts. In config `text`: the names that
        attributes may have; by default any.
    num_possible_values: attribute name -> size of its pool; by default those of bio_facts for its attributes.
    auroc_groups: config `details`: (a, b), two groups: how well confidence tells values of a from values of b.

Returns:
    attribute_loss: nats per value. attribute_accuracy: share of values all of whose tokens are the arg-max.
    first_token_accuracy, first_token_probability: of each value's first token, mean over values.
    token_loss: nats per value token. num_values: number of values.
    pool_no_knowledge_loss: attribute_loss of a model that knows the pools but no individual, if the sizes of the pools are
        known. All of these are also reported per attribute, as `attribute_loss/birth_place`; attributes without values are
        left out.
    Config `details`: also top_probability and entropy (means over value tokens, overall and per attribute),
        expected_calibration_error (over value tokens, ten bins), everything for each group as `seen/attribute_loss`, and
        confidence_auroc if auroc_groups are given; a value's confidence is the largest probability where its first token is
        predicted.
    Config `text`: exact_match, normalized_match (without case, accents, spaces and punctuation), num_values, each also per
        attribute.

Examples:
    >>> recall = evaluate.load("attribute_recall")
    >>> results = recall.compute(
    ...     predictions=[[5, 7, 8, 9]], references=[[5, 7, 8, 2]], nlls=[[2.0, 0.5, 0.25, 3.0]], attribute_ids=[[0, 1, 1, 2]]
    ... )
    >>> results["attribute_accuracy"], results["attribute_loss/birth_place"], results["num_values"]
    (0.5, 0.75, 2)

    >>> recall = evaluate.load("attribute_recall", "text")
    >>> recall.compute(predictions=["paris"], references=["Paris"], attributes=["birth_place"])["normalized_match"]
    1.0
"""

_CITATION = """
@inproceedings{zucchet2025how,
  title     = {How do language models learn facts? Dynamics, curricula and hallucinations},
  author    = {Zucchet, Nicolas and Bornschein, J{\\"o}rg and Chan, Stephanie and Lampinen, Andrew and Pascanu, Razvan and
               De, Soham},
  booktitle = {Conference on Language Modeling},
  year      = {2025}
}
"""

_INTEGERS, _NUMBERS = datasets.Sequence(datasets.Value("int64")), datasets.Sequence(datasets.Value("float64"))
_DEFAULT = {"predictions": _INTEGERS, "references": _INTEGERS, "nlls": _NUMBERS, "attribute_ids": _INTEGERS}
_FEATURES = {
    "default": _DEFAULT,
    "details": _DEFAULT | {"top_probabilities": _NUMBERS, "entropies": _NUMBERS, "groups": datasets.Value("string")},
    "text": dict.fromkeys(("predictions", "references", "attributes"), datasets.Value("string")),
}


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class AttributeRecall(evaluate.Metric):  # type: ignore[misc]
    """Attribute loss, accuracy and confidence."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in _FEATURES:
            raise ValueError(f"config_name is {self.config_name!r}; it must be one of {', '.join(_FEATURES)}")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(_FEATURES[self.config_name]),
            reference_urls=["https://arxiv.org/abs/2503.21676"],
        )

    def _compute(
        self,
        *,
        predictions: Sequence[Any],
        references: Sequence[Any],
        nlls: Sequence[Any] | None = None,
        attribute_ids: Sequence[Any] | None = None,
        top_probabilities: Sequence[Any] | None = None,
        entropies: Sequence[Any] | None = None,
        groups: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        attribute_names: Sequence[str] | None = None,
        num_possible_values: Mapping[str, int] | None = None,
        auroc_groups: Sequence[str] | None = None,
    ) -> dict[str, float]:
        detailed = self.config_name == "details"
        given: dict[str, Any] = {
            "nlls": nlls,
            "attribute_ids": attribute_ids,
            "top_probabilities": top_probabilities,
            "entropies": entropies,
        }
        if not len(references):
            raise ValueError("there are no rows; predictions and references must have at least one")
        if self.config_name == "text":
            return _text_matches(predictions, references, attributes or (), attribute_names)
        names = _checked_names(attribute_names)
        pools = _checked_pools(num_possible_values, names, default_names=attribute_names is None)
        columns = {"predictions": predictions, "references": references} | {
            name: given[name]
            for name in ("nlls", "attribute_ids", "top_probabilities", "entropies")
            if name in _FEATURES[self.config_name]
        }
        labels = _checked_groups(groups) if detailed and groups is not None else [_NO_GROUP] * len(references)
        distinct = sorted(set(labels))
        if detailed and auroc_groups is not None:
            _check_auroc_groups(auroc_groups, distinct)
        totals, confidences = _totals(columns, [distinct.index(label) for label in labels], len(distinct), names)
        num_names = len(names)
        by_group = [totals[k * num_names : (k + 1) * num_names] for k in range(len(distinct))]
        summary = _summary(sum(by_group[1:], start=by_group[0]), names, pools, detailed)
        if not detailed:
            return summary
        for label, group in zip(distinct, by_group, strict=True):
            if group.num_values.any():
                summary |= {f"{label}/{key}": value for key, value in _summary(group, names, pools, detailed).items()}
        if auroc_groups is not None:
            summary["confidence_auroc"] = auroc(*(confidences[distinct.index(label)] for label in auroc_groups))
        return summary


def _totals(
    columns: Mapping[str, Sequence[Any]], group_of_row: Sequence[int], num_groups: int, names: Sequence[str]
) -> tuple[AttributeTotals, list[Any]]:
    """Totals of (group, attribute) pairs, groups outermost, and for each group the confidences of its values."""
    batches: list[AttributeTotals] = []
    confidences: list[list[Any]] = [[] for _ in range(num_groups)]
    for start in range(0, len(group_of_row), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        flat, lengths = _flattened({name: column[rows] for name, column in columns.items()}, start)
        _check_values(flat, lengths, start, len(names))
        group = np.repeat(np.array(group_of_row[rows], dtype=np.int64), lengths)
        ids = flat["attribute_ids"]
        batches.append(
            attribute_totals(
                nlls=np.maximum(flat["nlls"], 0),
                correct=flat["predictions"] == flat["references"],
                attribute_ids=np.where(ids > 0, group * len(names) + ids, 0),
                row_lengths=lengths,
                num_attributes=num_groups * len(names),
                top_probabilities=flat.get("top_probabilities"),
                entropies=flat.get("entropies"),
            )
        )
        if "top_probabilities" in flat:
            first = first_tokens(ids, lengths)
            for k in range(num_groups):
                confidences[k].append(flat["top_probabilities"][first & (group == k)])
    return functools.reduce(operator.add, batches), [np.concatenate([np.zeros(0), *arrays]) for arrays in confidences]


def _flattened(columns: Mapping[str, Sequence[Any]], start: int) -> tuple[dict[str, Any], Any]:
    """All rows of each column one after another, and the rows' lengths. `start` is the index of the first row.

    Raises:
        ValueError: if columns differ in length, or the id of a value token is None.
    """
    lengths_by_column = {
        name: np.array([-1 if row is None else len(row) for row in column], dtype=np.int64) for name, column in columns.items()
    }
    for name, lengths in lengths_by_column.items():
        if (lengths < 0).any():
            raise ValueError(f"row {start + int(np.argmin(lengths))}, column {name}: it is None; it must be a list of numbers")
    expected = lengths_by_column["references"]
    for name, lengths in lengths_by_column.items():
        if (lengths != expected).any():
            row = int(np.flatnonzero(lengths != expected)[0])
            raise ValueError(
                f"row {start + row}, column {name}: it has {lengths[row]} tokens; references has {expected[row]}, and all "
                "columns must have as many"
            )
    flat = {}
    for name, column in columns.items():
        kind = np.int64 if name in ("predictions", "references", "attribute_ids") else np.float64
        numbers_of_column, count = itertools.chain.from_iterable(column), int(expected.sum())
        try:
            flat[name] = np.fromiter(numbers_of_column, dtype=kind, count=count)  # None is NaN among floats
        except TypeError:
            tokens = [(row, token) for row, items in enumerate(column) for token in range(len(items))]
            for row, token in tokens:
                if column[row][token] is None and (name == "attribute_ids" or columns["attribute_ids"][row][token] != 0):
                    raise ValueError(f"row {start + row}, column {name}: token {token} is None; it must be a number") from None
            ids = (_NOT_SCORED if number is None else number for number in itertools.chain.from_iterable(column))
            flat[name] = np.fromiter(ids, dtype=kind, count=count)
    return flat, expected


def _check_values(flat: Mapping[str, Any], lengths: Any, start: int, num_names: int) -> None:
    """ValueError naming row, column and value of the first number that is out of range."""
    is_value = flat["attribute_ids"] > 0
    for name, wrong, expected in _conditions(flat, is_value, num_names):
        if wrong.any():
            token = int(np.flatnonzero(wrong)[0])
            row = int(np.searchsorted(np.cumsum(lengths), token, side="right"))
            raise ValueError(
                f"row {start + row}, column {name}: token {token - int(lengths[:row].sum())} is {flat[name][token]}; "
                f"it must be {expected}"
            )


def _conditions(flat: Mapping[str, Any], is_value: Any, num_names: int) -> Iterator[tuple[str, Any, str]]:
    """(column, which of its numbers are out of range, what they must be)."""
    ids = flat["attribute_ids"]
    yield "attribute_ids", (ids < 0) | (ids > num_names), f"from 0 to {num_names}"
    for name in ("predictions", "references"):
        yield name, is_value & (flat[name] < 0), f"a token id, at least 0{_IN_VALUES}"
    yield "nlls", is_value & ~(flat["nlls"] >= -_ROUNDING), _NATS
    if "top_probabilities" in flat:
        top = flat["top_probabilities"]
        yield "top_probabilities", is_value & ~((top >= 0) & (top <= 1 + _ROUNDING)), f"from 0 to 1{_IN_VALUES}"
        yield "entropies", is_value & ~(flat["entropies"] >= -_ROUNDING), _NATS


def _summary(totals: AttributeTotals, names: Sequence[str], pools: Mapping[str, int], detailed: bool) -> dict[str, float]:
    summary = totals.detailed_summary(names) if detailed else totals.summary(names)
    present = [name for k, name in enumerate(names) if totals.num_values[k]]
    losses = {name: math.log(pools[name]) for name in present if name in pools}
    if len(losses) == len(present):
        total = sum(losses[name] * summary[f"num_values/{name}"] for name in present)
        summary["pool_no_knowledge_loss"] = total / summary["num_values"]
    return summary | {f"pool_no_knowledge_loss/{name}": loss for name, loss in losses.items()}


def _checked_names(attribute_names: Sequence[str] | None) -> list[str]:
    if attribute_names is None:
        return list(BIO_FACTS_ATTRIBUTES)
    names = [attribute_names] if isinstance(attribute_names, str) else list(attribute_names)
    if not names or len(set(names)) < len(names) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"attribute_names is {attribute_names!r}; it must be a list of different names")
    return names


def _checked_pools(given: Mapping[str, int] | None, names: Sequence[str], default_names: bool) -> Mapping[str, int]:
    if given is None:
        return BIO_FACTS_ATTRIBUTES if default_names else {}
    for name, size in given.items():
        if name not in names:
            raise ValueError(f"num_possible_values names {name!r}; the attributes are {', '.join(names)}")
        if not isinstance(size, numbers.Real) or not size >= 1:
            raise ValueError(f"num_possible_values[{name!r}] is {size!r}; it must be a number of at least 1")
    return given


def _checked_strings(column: str, values: Sequence[Any]) -> list[str]:
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"row {row}, column {column}: it is {value!r}; it must be a string")
    return list(values)


def _checked_groups(groups: Sequence[Any]) -> list[str]:
    """Labels; ValueError for one whose keys in the output would be those of another metric."""
    labels = _checked_strings("groups", groups)
    for row, label in enumerate(labels):
        if not label or label in _METRICS:
            raise ValueError(f"row {row}, column groups: it is {label!r}; it must be a name, and not that of a metric")
    return labels


def _check_auroc_groups(given: Sequence[str], groups: Sequence[str]) -> None:
    if isinstance(given, str) or len(given) != 2 or given[0] == given[1] or not set(given) <= set(groups):
        raise ValueError(f"auroc_groups is {given!r}; it must be two of the groups {', '.join(map(repr, groups))}")


def _text_matches(
    predictions: Sequence[str], references: Sequence[str], attributes: Sequence[str], attribute_names: Sequence[str] | None
) -> dict[str, float]:
    columns = {"predictions": predictions, "references": references, "attributes": attributes}
    predictions, references, attributes = (_checked_strings(name, column) for name, column in columns.items())
    names = list(dict.fromkeys(attributes)) if attribute_names is None else _checked_names(attribute_names)
    for row, attribute in enumerate(attributes):
        if attribute not in names:
            raise ValueError(f"row {row}, column attributes: it is {attribute!r}; it must be one of {', '.join(names)}")
    exact = [prediction == reference for prediction, reference in zip(predictions, references, strict=True)]
    normalized_equal = [
        prediction == reference or normalized(prediction) == normalized(reference) != ""
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    summary: dict[str, float] = {}
    for suffix, rows in [("", range(len(exact)))] + [
        (f"/{name}", [k for k, attribute in enumerate(attributes) if attribute == name]) for name in names if name in attributes
    ]:
        summary[f"exact_match{suffix}"] = sum(exact[k] for k in rows) / len(rows)
        summary[f"normalized_match{suffix}"] = sum(normalized_equal[k] for k in rows) / len(rows)
        summary[f"num_values{suffix}"] = len(rows)
    return summary
