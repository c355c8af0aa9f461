"""The metrics of attribute_recall in plain loops, from their definitions (paper App. B.3): what the fast ones must equal."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

NAMES = ("birth_place", "current_location", "university", "major", "company", "birth_date")
COLUMNS = ("predictions", "references", "nlls", "attribute_ids", "top_probabilities", "entropies")


def values_of(row: Mapping[str, list]) -> Iterator[list[int]]:
    """Token positions of each value of a row: a run of one attribute id that is not 0."""
    run: list[int] = []
    for k, attribute_id in enumerate(row["attribute_ids"]):
        if run and row["attribute_ids"][run[-1]] != attribute_id:
            yield run
            run = []
        if attribute_id != 0:
            run.append(k)
    if run:
        yield run


def rows_of(columns: Mapping[str, Sequence[list]]) -> list[dict[str, list]]:
    return [{name: column[k] for name, column in columns.items()} for k in range(len(columns["references"]))]


def plain_metrics(columns: Mapping[str, Sequence[list]], names: Sequence[str] = NAMES) -> dict[str, float]:
    """All metrics of all rows, overall and per attribute; with those of `details`."""
    metrics: dict[str, float] = {}
    for attribute_id, suffix in [(None, ""), *((k, f"/{name}") for k, name in enumerate(names, start=1))]:
        losses, rights, first_rights, first_probabilities = [], [], [], []
        token_losses, tops, entropies = [], [], []
        for row in rows_of(columns):
            for value in values_of(row):
                if attribute_id is not None and row["attribute_ids"][value[0]] != attribute_id:
                    continue
                right = [row["predictions"][k] == row["references"][k] for k in value]
                losses.append(sum(row["nlls"][k] for k in value))
                rights.append(all(right))
                first_rights.append(right[0])
                first_probabilities.append(math.exp(-row["nlls"][value[0]]))
                token_losses += [row["nlls"][k] for k in value]
                tops += [row["top_probabilities"][k] for k in value]
                entropies += [row["entropies"][k] for k in value]
        if losses:
            metrics |= {
                f"attribute_loss{suffix}": mean(losses),
                f"attribute_accuracy{suffix}": mean(rights),
                f"first_token_accuracy{suffix}": mean(first_rights),
                f"first_token_probability{suffix}": mean(first_probabilities),
                f"token_loss{suffix}": mean(token_losses),
                f"num_values{suffix}": len(losses),
                f"top_probability{suffix}": mean(tops),
                f"entropy{suffix}": mean(entropies),
            }
    return metrics | {"expected_calibration_error": plain_calibration_error(columns)}


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def plain_calibration_error(columns: Mapping[str, Sequence[list]]) -> float:
    """Ten bins of equal width, [0, .1) .. [.9, 1]: mean over value tokens of the gap in the token's bin."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(10)]
    for row in rows_of(columns):
        for k, attribute_id in enumerate(row["attribute_ids"]):
            if attribute_id:
                top = row["top_probabilities"][k]
                bins[min(math.floor(top * 10), 9)].append((top, row["predictions"][k] == row["references"][k]))
    total = sum(map(len, bins))
    gaps = (
        abs(mean([right for _, right in in_bin]) - mean([top for top, _ in in_bin])) * len(in_bin) / total
        for in_bin in bins
        if in_bin
    )
    return sum(gaps)


def plain_auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Share of pairs in which the positive is above the negative, ties half."""
    return mean([(higher > lower) + (higher == lower) / 2 for higher in positive for lower in negative])


def confidences(columns: Mapping[str, Sequence[list]]) -> list[float]:
    """Of each value, the largest probability at its first token."""
    return [row["top_probabilities"][value[0]] for row in rows_of(columns) for value in values_of(row)]


def without_details(metrics: Mapping[str, float]) -> dict[str, float]:
    left_out = ("top_probability", "entropy", "expected_calibration_error")
    return {name: value for name, value in metrics.items() if name.partition("/")[0] not in left_out}


@st.composite
def uneven_batches(draw: st.DrawFn, min_rows: int = 0) -> dict[str, list[list[Any]]]:
    """All columns of a few rows of different lengths, empty ones too, with values of one token, of several, and with none."""
    lengths = draw(st.lists(st.integers(0, 12), min_size=min_rows, max_size=5))
    # Zeros in plenty, so that there are gaps between values, and sometimes no value at all.
    ids = [draw(st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 6]), min_size=n, max_size=n)) for n in lengths]
    token = st.integers(0, 2)
    # Hundredths, which stand on the edges of bins, and are often equal.
    probability = st.integers(0, 100).map(lambda k: k / 100)
    nats = st.floats(0, 50)
    kinds = {"predictions": token, "references": token, "nlls": nats, "top_probabilities": probability, "entropies": nats}
    columns = {name: [draw(st.lists(kind, min_size=n, max_size=n)) for n in lengths] for name, kind in kinds.items()}
    return {name: columns.get(name, ids) for name in COLUMNS}


def has_values(columns: Mapping[str, Sequence[list]]) -> bool:
    return any(any(row) for row in columns["attribute_ids"])
