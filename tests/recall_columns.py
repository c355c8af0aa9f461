"""Inputs of attribute_recall and, from plain_metric, what it must give for them."""

import math

import numpy as np
import pytest
from plain_metric import NAMES, has_values, plain_metrics

DEFAULT = ("predictions", "references", "nlls", "attribute_ids")
DETAILS = (*DEFAULT, "top_probabilities", "entropies", "groups")
POOLS = {"birth_place": 800, "current_location": 800, "university": 200, "major": 100, "company": 500, "birth_date": 67_200}

# One row of four tokens, of which two are a birth place and one a company.
ROW = {
    "predictions": [[5, 7, 8, 2]],
    "references": [[5, 7, 9, 2]],
    "nlls": [[2.0, 0.5, 0.25, 3.0]],
    "attribute_ids": [[0, 1, 1, 5]],
    "top_probabilities": [[0.5, 0.9, 0.8, 0.1]],
    "entropies": [[1.0, 0.5, 0.6, 2.0]],
    "groups": ["seen"],
}
TEXT = {
    "predictions": ["paris", "Paris", "Rome", "March 16, 2042", "São Paulo "],
    "references": ["Paris", "Paris", "London", "March 16, 2042", "Sao Paulo"],
    "attributes": ["birth_place", "birth_place", "birth_place", "birth_date", "city"],
}


def of_config(columns: dict[str, list], config_name: str) -> dict[str, list]:
    return {name: columns[name] for name in (DEFAULT if config_name == "default" else DETAILS)}


def random_columns(num_rows: int, seed: int = 0, num_tokens: int = 30) -> dict[str, list]:
    """Rows of up to num_tokens tokens, one value of each attribute in most, in groups seen and unseen."""
    random = np.random.default_rng(seed)
    columns: dict[str, list] = {name: [] for name in DETAILS}
    for k in range(num_rows):
        length = int(random.integers(0, num_tokens + 1))
        columns["predictions"].append(random.integers(0, 3, length).tolist())
        columns["references"].append(random.integers(0, 3, length).tolist())
        columns["nlls"].append(random.exponential(3, length).tolist())
        columns["attribute_ids"].append((np.arange(length) // 3 % 7).tolist())
        columns["top_probabilities"].append((random.integers(0, 101, length) / 100).tolist())
        columns["entropies"].append(random.exponential(1, length).tolist())
        columns["groups"].append("seen" if k % 3 else "unseen")
    return columns


def rows_where(columns: dict[str, list], group: str) -> dict[str, list]:
    indices = [k for k, label in enumerate(columns["groups"]) if label == group]
    return {name: [column[k] for k in indices] for name, column in columns.items()}


def plain_pools(metrics: dict[str, float]) -> dict[str, float]:
    """no_knowledge_loss of the pools, of the values that there are."""
    counts = {name: metrics[f"num_values/{name}"] for name in NAMES if f"num_values/{name}" in metrics}
    mean = sum(math.log(POOLS[name]) * count for name, count in counts.items()) / sum(counts.values())
    return {"pool_no_knowledge_loss": mean} | {f"pool_no_knowledge_loss/{name}": math.log(POOLS[name]) for name in counts}


def plain_details(columns: dict[str, list]) -> dict[str, float]:
    expected = plain_metrics(columns)
    expected |= plain_pools(expected)
    for group in dict.fromkeys(columns["groups"]):
        group_columns = rows_where(columns, group)
        if has_values(group_columns):
            metrics = plain_metrics(group_columns)
            expected |= {f"{group}/{name}": value for name, value in (metrics | plain_pools(metrics)).items()}
    return expected


CONFIGS = pytest.mark.parametrize("config_name", ["default", "details", "text"])
