import math
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ecosystem
from hypothesis import given, settings
from plain_metric import confidences, has_values, plain_auroc, plain_metrics, uneven_batches, without_details
from recall_columns import ROW, TEXT, of_config, plain_details, plain_pools, random_columns, rows_where

from bio_facts.measure.baseline import pool_no_knowledge_loss, pool_no_knowledge_losses

pytestmark = ecosystem("evaluate")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(uneven_batches(min_rows=1))
def test_random_rows_agree_with_plain_loops(recall: dict[str, Any], columns: dict[str, list]) -> None:
    columns = columns | {"groups": [("seen", "unseen", "other")[k % 3] for k in range(len(columns["references"]))]}
    if not has_values(columns):
        for name in ("default", "details"):
            with pytest.raises(ValueError, match="there are no values to summarize: attribute_ids are 0 everywhere"):
                recall[name].compute(**of_config(columns, name))
        return
    plain = plain_metrics(columns)
    expected = without_details(plain) | plain_pools(plain)
    assert recall["default"].compute(**of_config(columns, "default")) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert recall["details"].compute(**columns) == pytest.approx(plain_details(columns), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("num_rows", [1, 3, 4_100])  # 2,000 rows are taken at a time
def test_any_number_of_rows_agrees_with_plain_loops(recall: dict[str, Any], num_rows: int) -> None:
    columns = random_columns(num_rows, seed=3)
    assert recall["details"].compute(**columns) == pytest.approx(plain_details(columns), rel=1e-9)


@pytest.mark.parametrize("ordered", [("seen", "unseen"), ("unseen", "seen")])
def test_auroc_compares_the_confidences_of_two_groups(recall: dict[str, Any], ordered: tuple) -> None:
    columns = random_columns(60, seed=1)
    metrics = recall["details"].compute(**columns, auroc_groups=ordered)
    positive, negative = (confidences(rows_where(columns, group)) for group in ordered)
    assert len(positive) != len(negative)
    assert metrics["confidence_auroc"] == pytest.approx(plain_auroc(positive, negative), rel=1e-9)


def test_auroc_of_a_more_confident_group_is_1(recall: dict[str, Any]) -> None:
    columns = {name: column * 2 for name, column in ROW.items()} | {"groups": ["sure", "unsure"]}
    columns["top_probabilities"] = [[0.0, 0.9, 0.0, 0.8], [1.0, 0.7, 1.0, 0.1]]  # of the first tokens of values alone
    assert recall["details"].compute(**columns, auroc_groups=["sure", "unsure"])["confidence_auroc"] == 1
    assert recall["details"].compute(**columns, auroc_groups=["unsure", "sure"])["confidence_auroc"] == 0


def test_text_matches_are_shares_overall_and_per_attribute(recall: dict[str, Any]) -> None:
    assert recall["text"].compute(**TEXT) == {
        "exact_match": 2 / 5,
        "normalized_match": 4 / 5,
        "num_values": 5,
        "exact_match/birth_place": 1 / 3,
        "normalized_match/birth_place": 2 / 3,
        "num_values/birth_place": 3,
        "exact_match/birth_date": 1,
        "normalized_match/birth_date": 1,
        "num_values/birth_date": 1,
        "exact_match/city": 0,
        "normalized_match/city": 1,
        "num_values/city": 1,
    }


def test_config_without_a_name_is_the_default(load_recall: Callable[..., Any]) -> None:
    assert load_recall().compute(**of_config(ROW, "default")) == load_recall("default").compute(**of_config(ROW, "default"))


def balanced() -> dict[str, list]:
    return {name: [[0, *[1] * 6]] * 2 for name in ("predictions", "references")} | {
        "nlls": [[0.0, *[1.0] * 6]] * 2,
        "attribute_ids": [[0, 1, 2, 3, 4, 5, 6]] * 2,
    }


def test_no_knowledge_loss_of_balanced_values_is_that_of_the_paper(recall: dict[str, Any]) -> None:
    metrics = recall["default"].compute(**balanced())
    assert round(metrics["pool_no_knowledge_loss"], 3) == 6.767
    assert metrics["pool_no_knowledge_loss"] == pytest.approx(pool_no_knowledge_loss(), rel=1e-12)
    for name, loss in pool_no_knowledge_losses().items():
        assert metrics[f"pool_no_knowledge_loss/{name}"] == pytest.approx(loss, rel=1e-12)


def test_other_attributes_have_their_names_and_their_pools(recall: dict[str, Any]) -> None:
    columns = of_config(ROW, "default") | {"attribute_ids": [[0, 1, 1, 2]]}
    metrics = recall["default"].compute(
        **columns, attribute_names=["colour", "size"], num_possible_values={"colour": 9, "size": 4}
    )
    assert metrics["attribute_loss/colour"] == 0.75
    assert metrics["attribute_loss/size"] == 3
    assert metrics["pool_no_knowledge_loss"] == pytest.approx((math.log(9) + math.log(4)) / 2)
    assert not any("birth_place" in key for key in metrics)


def test_groups_of_other_attributes_stay_apart(recall: dict[str, Any]) -> None:
    columns = {name: column * 3 for name, column in ROW.items()}
    columns |= {"attribute_ids": [[0, 1, 1, 2], [0, 2, 2, 1], [2, 0, 0, 0]], "groups": ["a", "b", "c"]}
    metrics = recall["details"].compute(**columns, attribute_names=["colour", "size"])
    losses = {key: value for key, value in metrics.items() if "/attribute_loss/" in key}
    expected = {"a": {"colour": 0.75, "size": 3}, "b": {"colour": 3, "size": 0.75}, "c": {"size": 2}}
    assert losses == {
        f"{group}/attribute_loss/{name}": loss for group, by_name in expected.items() for name, loss in by_name.items()
    }
    assert not any("no_knowledge" in key for key in metrics)


def test_unknown_pools_have_no_no_knowledge_loss(recall: dict[str, Any]) -> None:
    columns = of_config(ROW, "default") | {"attribute_ids": [[0, 1, 1, 2]]}
    metrics = recall["default"].compute(**columns, attribute_names=["colour", "size"])
    assert not any("no_knowledge" in key for key in metrics)
    metrics = recall["default"].compute(**columns, attribute_names=["colour", "size"], num_possible_values={"size": 4})
    assert {key for key in metrics if "no_knowledge" in key} == {"pool_no_knowledge_loss/size"}


def test_pools_of_the_datasets_attributes_may_be_smaller(recall: dict[str, Any]) -> None:
    metrics = recall["default"].compute(**of_config(ROW, "default"), num_possible_values={"birth_place": 2, "company": 8})
    assert metrics["pool_no_knowledge_loss"] == pytest.approx((math.log(2) + math.log(8)) / 2)


def test_group_without_values_is_left_out_and_has_no_auroc(recall: dict[str, Any]) -> None:
    columns = {name: column * 2 for name, column in ROW.items()}
    columns |= {"attribute_ids": [[0, 1, 1, 5], [0, 0, 0, 0]], "groups": ["seen", "unseen"]}
    metrics = recall["details"].compute(**columns)
    assert "seen/num_values" in metrics
    assert not any(key.startswith("unseen/") for key in metrics)
    with pytest.raises(ValueError, match="there are 2 and 0 scores; both sides must have at least one"):
        recall["details"].compute(**columns, auroc_groups=("seen", "unseen"))
