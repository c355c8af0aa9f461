import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ecosystem
from plain_metric import plain_metrics
from recall_columns import CONFIGS, ROW, TEXT, of_config, plain_details

pytestmark = ecosystem("evaluate")


def test_padding_may_have_the_label_minus_100(recall: dict[str, Any]) -> None:
    columns = of_config(ROW, "default")
    padding = {"predictions": 0, "references": -100, "nlls": 0.0, "attribute_ids": 0}
    padded = {name: [[*rows[0], padding[name], padding[name]]] for name, rows in columns.items()}
    assert recall["default"].compute(**padded) == recall["default"].compute(**columns)


NAN = math.nan


def test_arrays_give_what_lists_give(recall: dict[str, Any]) -> None:
    columns = of_config(ROW, "default")
    arrays = {name: [np.array(row) for row in rows] for name, rows in columns.items()}
    assert recall["default"].compute(**arrays) == recall["default"].compute(**columns)


# Two rows, values in both; None stands for a number of a token outside of values.
UNSCORED: dict[str, list] = {
    "predictions": [[5, 7, 8, 4, 2], [5, 5, 3]],
    "references": [[5, 7, 9, 4, 2], [5, 6, 3]],
    "nlls": [[None, 0.5, 0.25, None, 3.0], [None, None, 1.0]],
    "attribute_ids": [[0, 1, 1, 0, 5], [0, 0, 2]],
    "top_probabilities": [[None, 0.875, 0.75, None, 0.125], [None, None, 0.375]],
    "entropies": [[None, 0.5, 0.6, None, 2.0], [None, None, 1.5]],
    "groups": ["seen", "unseen"],
}


def unscored(config_name: str, number: Any, make_row: Callable[[list], Any] = list) -> dict[str, list]:
    """UNSCORED with `number` where it has None, and each row of tokens made by `make_row`."""
    return {
        name: column if name == "groups" else [make_row([number if item is None else item for item in row]) for row in column]
        for name, column in of_config(UNSCORED, config_name).items()
    }


@pytest.mark.parametrize("config_name", ["default", "details"])
@pytest.mark.parametrize("number", [None, NAN, math.inf, -math.inf, -7.0], ids=repr)
def test_numbers_of_tokens_outside_of_values_have_no_effect(
    load_recall: Callable[..., Any], config_name: str, number: Any
) -> None:
    expected = plain_metrics(unscored("details", 0.3)) if config_name == "default" else plain_details(unscored("details", 0.3))
    columns = unscored(config_name, number)
    whole = load_recall(config_name).compute(**columns)
    assert {name: whole[name] for name in expected if name in whole} == pytest.approx(
        {name: value for name, value in expected.items() if name in whole}
    )
    assert whole["attribute_loss"] == pytest.approx((0.75 + 3.0 + 1.0) / 3)
    batches, rows = load_recall(config_name), load_recall(config_name)
    for k in range(2):
        batches.add_batch(**{name: column[k : k + 1] for name, column in columns.items()})
        singular = {"predictions": "prediction", "references": "reference"}
        rows.add(**{singular.get(name, name): column[k] for name, column in columns.items()})
    assert batches.compute() == rows.compute() == whole


@pytest.mark.parametrize(
    ("number", "make_row"),
    [
        (NAN, np.array),
        (math.inf, np.array),
        (None, lambda row: np.array(row, dtype=object)),
        (NAN, torch.tensor),
        (NAN, lambda row: torch.tensor(row).float() if isinstance(row[-1], float) else torch.tensor(row)),
    ],
    ids=["numpy", "infinite", "objects", "torch", "torch float32"],
)
@pytest.mark.parametrize("config_name", ["default", "details"])
def test_arrays_may_lack_numbers_outside_of_values(
    recall: dict[str, Any], config_name: str, number: Any, make_row: Callable[[list], Any]
) -> None:
    metrics = recall[config_name].compute(**unscored(config_name, number, make_row))
    assert metrics == pytest.approx(recall[config_name].compute(**unscored(config_name, 0.3)), rel=1e-6)


@pytest.mark.parametrize("names", [["predictions"], ["predictions", "references"]], ids=" ".join)
def test_token_ids_outside_of_values_may_be_none(recall: dict[str, Any], names: list[str]) -> None:
    columns = unscored("default", None)
    expected = recall["default"].compute(**columns)
    ids = columns["attribute_ids"]
    for name in names:
        columns[name] = [
            [token if number else None for token, number in zip(row, numbers, strict=True)]
            for row, numbers in zip(columns[name], ids, strict=True)
        ]
    assert recall["default"].compute(**columns) == expected


def test_loss_that_rounding_makes_negative_counts_as_zero(recall: dict[str, Any]) -> None:
    metrics = recall["default"].compute(**(of_config(ROW, "default") | {"nlls": [[0.0, -1e-7, -1e-7, 1.0]]}))
    assert metrics["attribute_loss/birth_place"] == 0
    assert metrics["first_token_probability/birth_place"] == 1


TOKENS, NATS, PROBABILITY = (
    "must be a token id, at least 0",
    "must be a number of at least 0, in nats",
    "must be from 0 to 1",
)


@pytest.mark.parametrize(
    ("config_name", "column", "row", "message"),
    [
        ("default", "predictions", [5, 7, 8], "it has 3 tokens; references has 4, and all columns must have as many"),
        ("default", "nlls", [1.0] * 5, "it has 5 tokens; references has 4"),
        ("default", "attribute_ids", [], "it has 0 tokens; references has 4"),
        ("details", "entropies", [1.0], "it has 1 tokens; references has 4"),
        ("default", "predictions", [5, 7, -1, 2], f"token 2 is -1; it {TOKENS}, wherever attribute_ids is not 0"),
        ("default", "references", [5, 7, 9, -100], f"token 3 is -100; it {TOKENS}"),
        ("default", "nlls", [2.0, -0.5, 0.25, 3.0], f"token 1 is -0.5; it {NATS}"),
        ("default", "nlls", [2.0, 0.5, NAN, 3.0], f"token 2 is nan; it {NATS}"),
        ("default", "nlls", [2.0, None, 0.25, 3.0], f"token 1 is nan; it {NATS}"),
        ("default", "nlls", [None, 0.5, -math.inf, 3.0], f"token 2 is -inf; it {NATS}"),
        ("details", "nlls", [None, 0.5, 0.25, NAN], f"token 3 is nan; it {NATS}"),
        ("default", "attribute_ids", [0, 1, 1, 7], "token 3 is 7; it must be from 0 to 6"),
        ("default", "attribute_ids", [0, -1, 1, 5], "token 1 is -1; it must be from 0 to 6"),
        ("details", "top_probabilities", [0.5, 1.1, 0, 0], f"token 1 is 1.1; it {PROBABILITY}"),
        ("details", "top_probabilities", [0.5, 0, -0.1, 0], f"token 2 is -0.1; it {PROBABILITY}"),
        ("details", "top_probabilities", [0, NAN, 0, 0], f"token 1 is nan; it {PROBABILITY}"),
        ("details", "entropies", [0, None, 0, 0], f"token 1 is nan; it {NATS}"),
        ("details", "entropies", [0, 0, 0, NAN], f"token 3 is nan; it {NATS}"),
        ("details", "entropies", [0, -1.0, 0, 0], f"token 1 is -1.0; it {NATS}"),
        ("details", "groups", None, "it is None; it must be a string"),
        ("default", "references", [5, 7, 9, None], "token 3 is None; it must be a number"),
        ("default", "references", [None, None, 9, 2], "token 1 is None; it must be a number"),
        ("default", "predictions", [None, 7, None, 2], "token 2 is None; it must be a number"),
        ("default", "attribute_ids", [None, 1, 1, 5], "token 0 is None; it must be a number"),
        ("default", "nlls", None, "it is None; it must be a list of numbers"),
    ],
)
def test_invalid_number_is_refused_with_its_row_and_column(
    recall: dict[str, Any], config_name: str, column: str, row: list | None, message: str
) -> None:
    good = of_config(ROW, config_name)
    empty = {name: ["seen"] if name == "groups" else [[]] for name in good}
    columns = {name: good[name] + empty[name] + ([row] if name == column else good[name]) + good[name] for name in good}
    with pytest.raises(ValueError, match=f"^row 2, column {column}: {re.escape(message)}"):
        recall[config_name].compute(**columns)


def test_row_in_an_error_is_counted_from_the_first_of_all(recall: dict[str, Any]) -> None:
    columns = {name: rows * 4_500 for name, rows in of_config(ROW, "default").items()}
    columns["nlls"] = [*columns["nlls"][:4321], [0.0, 0.0, 0.0, -3.0], *columns["nlls"][4322:]]
    with pytest.raises(ValueError, match=r"^row 4321, column nlls: token 3 is -3\.0;"):
        recall["default"].compute(**columns)


@pytest.mark.parametrize(
    ("config_name", "arguments", "message"),
    [
        ("default", {"attribute_names": []}, "attribute_names is []; it must be a list of different names"),
        ("default", {"attribute_names": ["a", "a"]}, "attribute_names is ['a', 'a']; it must be a list of different names"),
        ("default", {"attribute_names": ["a", 3]}, "attribute_names is ['a', 3]; it must be a list of different names"),
        ("default", {"attribute_names": ["a"]}, "row 0, column attribute_ids: token 3 is 5; it must be from 0 to 1"),
        ("default", {"num_possible_values": {"hobby": 3}}, "num_possible_values names 'hobby'; the attributes are"),
        ("default", {"num_possible_values": {"major": 0}}, "num_possible_values['major'] is 0; it must be a number of"),
        ("default", {"num_possible_values": {"major": NAN}}, "num_possible_values['major'] is nan; it must be a number"),
        ("default", {"num_possible_values": {"major": "9"}}, "num_possible_values['major'] is '9'; it must be a number"),
        (
            "details",
            {"groups": ["entropy"]},
            "row 0, column groups: it is 'entropy'; it must be a name, and not that of a metric",
        ),
        ("details", {"groups": [""]}, "row 0, column groups: it is ''; it must be a name"),
        ("details", {"auroc_groups": ("seen", "seen")}, "auroc_groups is ('seen', 'seen'); it must be two of the groups"),
        ("details", {"auroc_groups": "se"}, "auroc_groups is 'se'; it must be two of the groups"),
        ("details", {"auroc_groups": ("seen", "unseen")}, "auroc_groups is ('seen', 'unseen'); it must be two of the"),
        ("details", {"auroc_groups": ("seen",)}, "auroc_groups is ('seen',); it must be two of the groups 'seen'"),
        ("text", {"attribute_names": ["birth_place"]}, "row 3, column attributes: it is 'birth_date'; it must be one"),
        ("text", {"predictions": ["a", None, "c", "d", "e"]}, "row 1, column predictions: it is None; it must be a string"),
    ],
)
def test_invalid_option_is_refused(recall: dict[str, Any], config_name: str, arguments: dict, message: str) -> None:
    columns = TEXT if config_name == "text" else of_config(ROW, config_name)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        recall[config_name].compute(**(columns | arguments))


@CONFIGS
def test_no_rows_are_refused(recall: dict[str, Any], config_name: str) -> None:
    columns = TEXT if config_name == "text" else of_config(ROW, config_name)
    with pytest.raises(ValueError, match="there are no rows; predictions and references must have at least one"):
        recall[config_name].compute(**{name: [] for name in columns})


def test_unknown_config_is_refused(load_recall: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^config_name is 'detail'; it must be one of default, details, text$"):
        load_recall("detail")


@CONFIGS
def test_unknown_argument_is_refused(recall: dict[str, Any], config_name: str) -> None:
    columns = TEXT if config_name == "text" else of_config(ROW, config_name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'attribute_name'"):
        recall[config_name].compute(**columns, attribute_name=["a"])


def test_missing_column_is_refused(recall: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"inputs are missing: \['entropies'\]"):
        recall["details"].compute(**{name: column for name, column in ROW.items() if name != "entropies"})


def test_columns_of_different_numbers_of_rows_are_refused(recall: dict[str, Any]) -> None:
    columns = of_config(ROW, "default")
    with pytest.raises(ValueError, match=r"Mismatch in the number of predictions \(1\) and nlls \(2\)"):
        recall["default"].compute(**(columns | {"nlls": columns["nlls"] * 2}))
