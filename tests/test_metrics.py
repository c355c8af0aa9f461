import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.attributes import ATTRIBUTES
from bio_facts.metrics import AttributeTotals, attribute_totals

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True)


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """nlls, correct, attribute_ids, top_probabilities, entropies of a batch, [B, L]; either may be 0."""
    rows, length = draw(st.integers(0, 5)), draw(st.integers(0, 12))
    # Zeros in plenty, so that there are values of one token, of several, and rows with no value at all.
    ids = draw(st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 6]), min_size=rows * length, max_size=rows * length))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (rows, length)
    return (
        random.exponential(5, shape),
        random.random(shape) < 0.7,
        np.array(ids, dtype=np.int64).reshape(shape),
        random.random(shape),
        random.exponential(1, shape),
    )


def reference(
    nlls: np.ndarray, correct: np.ndarray, ids: np.ndarray, top: np.ndarray, entropies: np.ndarray
) -> AttributeTotals:
    """From the definition: a value is a run of tokens of one row with one attribute id."""
    loss, num_correct, num_values = [0.0] * 6, [0] * 6, [0] * 6
    top_sum = entropy_sum = num_tokens = 0
    for row in range(len(ids)):
        for attribute_id, run in itertools.groupby(range(ids.shape[1]), key=lambda k, row=row: ids[row, k]):
            tokens = list(run)
            if attribute_id == 0:
                continue
            loss[attribute_id - 1] += sum(nlls[row, k] for k in tokens)
            num_correct[attribute_id - 1] += all(correct[row, k] for k in tokens)
            num_values[attribute_id - 1] += 1
            top_sum += sum(top[row, k] for k in tokens)
            entropy_sum += sum(entropies[row, k] for k in tokens)
            num_tokens += len(tokens)
    return AttributeTotals(np.array(loss), np.array(num_correct), np.array(num_values), top_sum, entropy_sum, num_tokens)


def assert_equal(one: AttributeTotals, other: AttributeTotals) -> None:
    assert one.loss_sum == pytest.approx(other.loss_sum, rel=1e-9)
    assert one.num_correct.tolist() == other.num_correct.tolist()
    assert one.num_values.tolist() == other.num_values.tolist()
    assert one.top_probability_sum == pytest.approx(other.top_probability_sum, rel=1e-9)
    assert one.entropy_sum == pytest.approx(other.entropy_sum, rel=1e-9)
    assert one.num_tokens == other.num_tokens


def totals(ids: list[list[int]], nlls: list[list[float]], correct: list[list[bool]]) -> AttributeTotals:
    ones = np.ones(np.shape(ids))
    return attribute_totals(np.array(nlls), np.array(correct), np.array(ids), 0.5 * ones, 2 * ones)


@PROPERTY
@given(batches())
def test_totals_equal_those_of_plain_loops(batch: tuple[np.ndarray, ...]) -> None:
    assert_equal(attribute_totals(*batch), reference(*batch))


@PROPERTY
@given(batches(), st.integers(0, 5))
def test_totals_of_parts_add_up_to_those_of_the_whole(batch: tuple[np.ndarray, ...], cut: int) -> None:
    parts = (attribute_totals(*(array[rows] for array in batch)) for rows in (slice(cut), slice(cut, None)))
    one, other = parts
    assert_equal(one + other, attribute_totals(*batch))


def test_loss_of_a_value_is_the_sum_over_its_tokens() -> None:
    assert totals([[0, 1, 1, 1, 0]], [[9.0, 1.0, 2.0, 4.0, 9.0]], [[True] * 5]).loss_sum.tolist() == [7, 0, 0, 0, 0, 0]


def test_value_with_one_wrong_token_is_wrong() -> None:
    correct = [[True, True, False, True, True]]
    assert totals([[1, 1, 1, 0, 2]], [[0.0] * 5], correct).num_correct.tolist() == [0, 1, 0, 0, 0, 0]


def test_values_that_touch_are_two_if_their_attributes_differ() -> None:
    assert totals([[3, 3, 4]], [[1.0, 1.0, 1.0]], [[True] * 3]).num_values.tolist() == [0, 0, 1, 1, 0, 0]


def test_value_does_not_go_on_in_the_next_row() -> None:
    assert totals([[0, 3], [3, 0]], [[1.0] * 2] * 2, [[True] * 2] * 2).num_values.tolist() == [0, 0, 2, 0, 0, 0]


def test_tokens_outside_values_do_not_count_even_if_not_finite() -> None:
    assert totals([[0, 6]], [[np.nan, 3.0]], [[False, True]]).loss_sum.tolist() == [0, 0, 0, 0, 0, 3]


def test_low_precision_losses_are_summed_in_float64() -> None:
    ones = np.ones((1, 4097), dtype=np.float16)  # no float16 is 4097
    found = attribute_totals(ones, ones.astype(bool), ones.astype(np.int64), ones, ones)
    assert (found.loss_sum[0], found.top_probability_sum, found.entropy_sum) == (4097, 4097, 4097)


def test_summary_divides_sums_by_counts() -> None:
    found = totals([[1, 1, 0, 2], [1, 0, 0, 0]], [[1, 2, 9, 4], [6, 9, 9, 9]], [[True, True, True, False], [False] * 4])
    assert found.summary() == pytest.approx(
        {
            "attribute_loss": 13 / 3,
            "attribute_accuracy": 1 / 3,
            "attribute_loss/birth_place": 9 / 2,
            "attribute_loss/current_location": 4,
            "attribute_accuracy/birth_place": 1 / 2,
            "attribute_accuracy/current_location": 0,
            "top_probability": 0.5,
            "entropy": 2,
        }
    )


def test_summary_has_loss_and_accuracy_overall_and_of_every_attribute() -> None:
    found = totals([[1, 2, 3, 4, 5, 6]], [[1.0] * 6], [[True] * 6]).summary()
    by_attribute = {f"{key}/{name}" for key in ("attribute_loss", "attribute_accuracy") for name in ATTRIBUTES}
    assert found.keys() == by_attribute | {"attribute_loss", "attribute_accuracy", "top_probability", "entropy"}


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0)])
def test_summary_of_no_values_is_refused(shape: tuple[int, int]) -> None:
    zeros = np.zeros(shape)
    with pytest.raises(ValueError, match=r"no value tokens to summarise \(num_tokens is 0\); score at least one biography"):
        attribute_totals(zeros, zeros.astype(bool), zeros.astype(np.int64), zeros, zeros).summary()
