import dataclasses
import functools
import itertools
import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_metric import NAMES, has_values, plain_auroc, plain_metrics, uneven_batches, values_of, without_details

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.text import normalized
from bio_facts.measure.metrics import AttributeTotals, attribute_totals, auroc, first_tokens

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True)
HUNDREDTHS = st.lists(st.integers(0, 100).map(lambda k: k / 100), min_size=1, max_size=12)


def of_columns(columns: dict[str, list[list]], num_attributes: int = 6) -> AttributeTotals:
    """Totals of rows given as lists."""
    flat = {name: np.array([item for row in rows for item in row]) for name, rows in columns.items()}
    return attribute_totals(
        nlls=flat["nlls"].astype(np.float64),
        correct=flat["predictions"] == flat["references"],
        attribute_ids=flat["attribute_ids"].astype(np.int64),
        row_lengths=np.array([len(row) for row in columns["references"]], dtype=np.int64),
        num_attributes=num_attributes,
        top_probabilities=flat["top_probabilities"].astype(np.float64),
        entropies=flat["entropies"].astype(np.float64),
    )


def totals(ids: list[list[int]], nlls: list[list[float]], correct: list[list[bool]]) -> AttributeTotals:
    """Totals of rows without confidences."""
    return attribute_totals(
        nlls=np.concatenate([np.array(row, dtype=np.float64) for row in nlls]),
        correct=np.concatenate([np.array(row, dtype=bool) for row in correct]),
        attribute_ids=np.concatenate([np.array(row, dtype=np.int64) for row in ids]),
        row_lengths=np.array([len(row) for row in ids]),
        num_attributes=6,
    )


def zeros(num_attributes: int) -> AttributeTotals:
    empty = np.zeros(0)
    return attribute_totals(
        nlls=empty,
        correct=empty.astype(bool),
        attribute_ids=empty.astype(np.int64),
        row_lengths=np.zeros(0, dtype=np.int64),
        num_attributes=num_attributes,
    )


def assert_equal(actual: AttributeTotals, expected: AttributeTotals, rel: float = 1e-12) -> None:
    for field in dataclasses.fields(AttributeTotals):
        np.testing.assert_allclose(
            getattr(actual, field.name), getattr(expected, field.name), rtol=rel, atol=1e-12, err_msg=field.name
        )


@PROPERTY
@given(uneven_batches())
def test_summary_equals_that_of_plain_loops(columns: dict[str, list[list]]) -> None:
    if not has_values(columns):
        with pytest.raises(ValueError, match="there are no values"):
            of_columns(columns).detailed_summary(NAMES)
        return
    expected = plain_metrics(columns)
    assert of_columns(columns).detailed_summary(NAMES) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert of_columns(columns).summary(NAMES) == pytest.approx(without_details(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("tokens_per_value", [1, 4])
@pytest.mark.parametrize("values_per_row", [1, 1_000])
def test_rows_of_one_value_and_of_a_thousand_equal_plain_loops(values_per_row: int, tokens_per_value: int) -> None:
    random = np.random.default_rng(values_per_row)
    num_tokens = values_per_row * tokens_per_value
    columns = {
        "predictions": random.integers(0, 2, (3, num_tokens)),
        "references": random.integers(0, 2, (3, num_tokens)),
        "nlls": random.exponential(5, (3, num_tokens)),
        "attribute_ids": np.tile(np.repeat(np.arange(values_per_row) % 6 + 1, tokens_per_value), (3, 1)),
        "top_probabilities": random.random((3, num_tokens)),
        "entropies": random.exponential(1, (3, num_tokens)),
    }
    rows = {name: column.tolist() for name, column in columns.items()}
    assert [len(list(values_of({"attribute_ids": row}))) for row in rows["attribute_ids"]] == [values_per_row] * 3
    assert of_columns(rows).detailed_summary(NAMES) == pytest.approx(plain_metrics(rows), rel=1e-9)


@PROPERTY
@given(uneven_batches(), st.lists(st.integers(0, 5), max_size=3))
def test_totals_of_batches_add_up_to_those_of_all_rows(columns: dict[str, list[list]], boundaries: list[int]) -> None:
    edges = [0, *sorted(boundaries), len(columns["references"])]
    slices = [slice(*pair) for pair in itertools.pairwise(edges)]
    batches = [of_columns({name: rows[batch_rows] for name, rows in columns.items()}) for batch_rows in slices]
    assert_equal(functools.reduce(operator.add, batches), of_columns(columns))


@PROPERTY
@given(uneven_batches())
def test_padding_changes_nothing(columns: dict[str, list[list]]) -> None:
    padded = {name: [row + [0] * (14 - len(row)) for row in rows] for name, rows in columns.items()}
    assert_equal(of_columns(padded), of_columns(columns))


def test_adding_totals_of_no_rows_changes_nothing() -> None:
    some = totals([[1, 1, 0, 2]], [[1, 2, 9, 4]], [[True] * 4])
    assert_equal(some + zeros(6), some, rel=0)


def test_totals_of_other_attributes_are_not_added() -> None:
    with pytest.raises(ValueError, match=r"^totals of 6 and of 1 attributes cannot be added; they must be of the same"):
        totals([[1, 2]], [[1, 1]], [[True] * 2]) + zeros(1)


def test_slice_has_the_attributes_it_names() -> None:
    sliced = totals([[1, 1, 0, 2, 3]], [[1, 2, 9, 4, 8]], [[True] * 5])[1:3]
    assert sliced.loss_sum.tolist() == [4, 8]
    assert sliced.calibration.shape == (2, 10, 3)
    assert sliced.summary(["second", "third"])["attribute_loss/third"] == 8


def test_loss_of_a_value_is_the_sum_over_its_tokens() -> None:
    assert totals([[0, 1, 1, 1, 0]], [[9.0, 1.0, 2.0, 4.0, 9.0]], [[True] * 5]).loss_sum.tolist() == [7, 0, 0, 0, 0, 0]


def test_value_with_one_wrong_token_is_wrong_and_its_first_token_may_be_right() -> None:
    counts = totals([[1, 1, 1, 0, 2]], [[0.0] * 5], [[True, True, False, True, True]])
    assert counts.num_correct.tolist() == [0, 1, 0, 0, 0, 0]
    assert counts.num_first_correct.tolist() == [1, 1, 0, 0, 0, 0]


def test_first_token_probability_is_that_of_the_correct_token() -> None:
    single_value = totals([[1, 1, 1]], [[-math.log(0.25), 7.0, 7.0]], [[False] * 3])
    assert single_value.summary(NAMES)["first_token_probability"] == pytest.approx(0.25)


def test_adjacent_tokens_of_different_attributes_are_two_values() -> None:
    assert totals([[3, 3, 4]], [[1.0, 1.0, 1.0]], [[True] * 3]).num_values.tolist() == [0, 0, 1, 1, 0, 0]


def test_value_ends_with_its_row() -> None:
    assert totals([[0, 3], [], [3, 0]], [[1.0] * 2, [], [1.0] * 2], [[True] * 2, [], [True] * 2]).num_values[2] == 2


def test_tokens_outside_values_do_not_count_even_if_not_finite() -> None:
    assert totals([[0, 6]], [[np.nan, 3.0]], [[False, True]]).loss_sum.tolist() == [0, 0, 0, 0, 0, 3]


def test_infinite_loss_has_probability_zero() -> None:
    summary = totals([[1]], [[np.inf]], [[False]]).summary(NAMES)
    assert (summary["attribute_loss"], summary["first_token_probability"]) == (np.inf, 0)


def test_low_precision_losses_are_summed_in_float64() -> None:
    ones = np.ones(4097, dtype=np.float16)  # no float16 is 4097
    sums = attribute_totals(
        nlls=ones,
        correct=ones.astype(bool),
        attribute_ids=ones.astype(np.uint8),
        row_lengths=np.array([4097]),
        num_attributes=1,
        top_probabilities=ones,
        entropies=ones,
    )
    assert (sums.loss_sum[0], sums.top_probability_sum[0], sums.entropy_sum[0]) == (4097, 4097, 4097)


def test_summary_divides_sums_by_counts() -> None:
    sums = totals([[1, 1, 0, 2], [1, 0, 0, 0]], [[1, 2, 9, 4], [6, 9, 9, 9]], [[True, True, True, False], [False] * 4])
    first = [math.exp(-1), math.exp(-6), math.exp(-4)]
    assert sums.summary(NAMES) == pytest.approx(
        {
            "attribute_loss": 13 / 3,
            "attribute_accuracy": 1 / 3,
            "first_token_accuracy": 1 / 3,
            "first_token_probability": sum(first) / 3,
            "token_loss": 13 / 4,
            "num_values": 3,
            "attribute_loss/birth_place": 9 / 2,
            "attribute_accuracy/birth_place": 1 / 2,
            "first_token_accuracy/birth_place": 1 / 2,
            "first_token_probability/birth_place": (first[0] + first[1]) / 2,
            "token_loss/birth_place": 9 / 3,
            "num_values/birth_place": 2,
            "attribute_loss/current_location": 4,
            "attribute_accuracy/current_location": 0,
            "first_token_accuracy/current_location": 0,
            "first_token_probability/current_location": first[2],
            "token_loss/current_location": 4,
            "num_values/current_location": 1,
        }
    )


def test_plain_metric_has_the_names_of_the_attributes() -> None:
    assert tuple(ATTRIBUTES) == NAMES


def test_calibration_error_of_two_bins_by_hand() -> None:
    columns = {
        "predictions": [[1, 1, 1, 1]],
        "references": [[1, 1, 0, 0]],
        "nlls": [[1.0] * 4],
        "attribute_ids": [[1, 1, 1, 0]],  # of the last token nothing counts
        "top_probabilities": [[0.9, 1.0, 0.05, 0.5]],  # 0.9 begins the last bin, and 1.0 is in it
        "entropies": [[1.0] * 4],
    }
    expected = abs(1 - 0.95) * 2 / 3 + abs(0 - 0.05) / 3
    assert of_columns(columns).detailed_summary(NAMES)["expected_calibration_error"] == pytest.approx(expected)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [3]])
def test_summary_of_no_values_is_refused(lengths: list[int]) -> None:
    empty = totals(
        [[0] * n for n in lengths] or [[]], [[1.0] * n for n in lengths] or [[]], [[True] * n for n in lengths] or [[]]
    )
    with pytest.raises(ValueError, match=r"^there are no values to summarize: attribute_ids are 0 everywhere"):
        empty.summary(NAMES)


@pytest.mark.parametrize("missing", ["top_probabilities", "entropies"])
@pytest.mark.parametrize("merged", [False, True])
def test_detailed_summary_without_the_details_is_refused(missing: str, merged: bool) -> None:
    columns = {
        "nlls": np.array([1.0]),
        "correct": np.array([True]),
        "attribute_ids": np.array([1]),
        "row_lengths": np.array([1]),
        "top_probabilities": np.array([0.5]),
        "entropies": np.array([0.7]),
    }
    detailed = attribute_totals(**columns, num_attributes=1)
    assert detailed.detailed_summary(["one"])["entropy"] == 0.7
    found = attribute_totals(**columns | {missing: None}, num_attributes=1)
    with pytest.raises(ValueError, match=r"^there is no detailed summary without top_probabilities and entropies of all value"):
        (detailed + found if merged else found).detailed_summary(["one"])
    assert found.summary(["one"])["attribute_loss"] == 1


@pytest.mark.parametrize("row_lengths", [[2], [2, 2], []])
def test_row_lengths_that_do_not_add_up_to_the_number_of_tokens_are_refused(row_lengths: list[int]) -> None:
    message = rf"^row_lengths add up to {sum(row_lengths)}; they must add up to the number of tokens, 3$"
    with pytest.raises(ValueError, match=message):
        first_tokens(np.array([1, 1, 0]), np.array(row_lengths, dtype=np.int64))


def test_attribute_id_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^attribute_ids has 7; it must be at most num_attributes, 6$"):
        totals([[0, 7]], [[1.0, 1.0]], [[True, True]])


@PROPERTY
@given(HUNDREDTHS, HUNDREDTHS)
def test_auroc_is_the_share_of_pairs_in_order(positive: list[float], negative: list[float]) -> None:
    assert auroc(np.array(positive), np.array(negative)) == pytest.approx(plain_auroc(positive, negative), rel=1e-9)


@pytest.mark.parametrize(
    ("positive", "negative", "expected"), [([1], [0], 1), ([0], [1], 0), ([1, 1], [1], 0.5), ([0, 1], [0.5], 0.5)]
)
def test_auroc_by_hand(positive: list[float], negative: list[float], expected: float) -> None:
    assert auroc(np.array(positive), np.array(negative)) == expected


@pytest.mark.parametrize(("positive", "negative"), [([], [1]), ([1], [])])
def test_auroc_without_scores_on_one_side_is_refused(positive: list[float], negative: list[float]) -> None:
    with pytest.raises(ValueError, match=rf"^there are {len(positive)} and {len(negative)} scores; both sides must have"):
        auroc(np.array(positive), np.array(negative))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("São Paulo", "saopaulo"), ("O'Brien", "obrien"), ("STRASSE", "strasse"), ("Straße", "strasse")),
        *((" March 16, 2042. ", "march162042"), ("Sa\u0303o Paulo", "saopaulo"), ("...", ""), ("東京", "東京")),
        *(("C++", "c++"), ("की", "की"), ("Tromsø", "tromso"), ("Łódź", "lodz"), ("!!!", "")),
    ],
)
def test_normalized_leaves_letters_and_digits_without_case_and_accents(text: str, expected: str) -> None:
    assert normalized(text) == expected
