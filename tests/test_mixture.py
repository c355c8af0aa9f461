"""Mixtures: which format each sample of train has, and which row of that format it is."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.generate.mixture import Mixture

WEIGHTS = st.dictionaries(st.sampled_from(["biographies", "questions"]), st.integers(1, 12), min_size=1)
PHASES = st.lists(st.tuples(st.integers(1, 60), WEIGHTS), min_size=1, max_size=4).map(
    lambda phases: [[sum(length for length, _ in phases[: index + 1]), weights] for index, (_, weights) in enumerate(phases)]
)


def formats_of(mixture: Mixture) -> str:
    """A letter for each sample: b or q."""
    is_question, _ = mixture.locate(np.arange(mixture.num_samples))
    return "".join("q" if question else "b" for question in is_question)


@pytest.mark.parametrize(
    ("phases", "formats"),
    [
        ([[4, {"biographies": 1}]], "bbbb"),
        ([[3, {"questions": 7}]], "qqq"),
        ([[6, {"biographies": 1, "questions": 1}]], "bqbqbq"),
        ([[8, {"biographies": 1, "questions": 3}]], "bqqqbqqq"),
        ([[8, {"questions": 1, "biographies": 3}]], "bbbqbbbq"),
        ([[10, {"biographies": 3, "questions": 2}]], "bbqbqbbqbq"),
        ([[3, {"biographies": 1}], [5, {"questions": 1}], [9, {"biographies": 1, "questions": 1}]], "bbbqqbqbq"),
        ([[3, {"biographies": 1, "questions": 1}], [6, {"biographies": 1, "questions": 1}]], "bqbbqb"),
    ],
)
def test_formats_alternate(phases: Any, formats: str) -> None:
    assert formats_of(Mixture.of(phases)) == formats


@settings(max_examples=100, deadline=None, derandomize=True)
@given(PHASES)
def test_every_period_of_a_phase_has_the_exact_counts_spread_evenly(phases: Any) -> None:
    formats, start = formats_of(Mixture.of(phases)), 0
    for until, weights in phases:
        num_biographies, num_questions = weights.get("biographies", 0), weights.get("questions", 0)
        period, in_phase = num_biographies + num_questions, formats[start:until]
        for first in range(0, len(in_phase) - period + 1):  # wherever it begins
            assert in_phase[first : first + period].count("q") == num_questions
        for length in range(len(in_phase) + 1):
            assert -1 < in_phase[:length].count("q") - length * num_questions / period <= 0
        start = until


@settings(max_examples=100, deadline=None, derandomize=True)
@given(PHASES)
def test_index_counts_the_samples_of_each_format_over_all_phases(phases: Any) -> None:
    mixture = Mixture.of(phases)
    is_question, index = mixture.locate(np.arange(mixture.num_samples))
    for of_format in (is_question, ~is_question):
        assert index[of_format].tolist() == list(range(of_format.sum()))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(PHASES, st.data())
def test_samples_are_located_alone_and_in_any_order(phases: Any, data: st.DataObject) -> None:
    mixture = Mixture.of(phases)
    indices = data.draw(st.lists(st.integers(0, mixture.num_samples - 1), max_size=10))
    whole = mixture.locate(np.arange(mixture.num_samples))
    for all_of_it, located in zip(whole, mixture.locate(np.array(indices, dtype=np.int64)), strict=True):
        assert located.tolist() == all_of_it[indices].tolist()


def test_samples_far_away_are_located_exactly() -> None:
    end = 10**12
    mixture = Mixture.of([[7, {"biographies": 1}], [end, {"biographies": 999, "questions": 1_000}]])
    is_question, index = mixture.locate(np.arange(end - 3_000, end))
    before = [(k - 7) * 1_000 // 1_999 for k in range(end - 3_000, end + 1)]
    assert is_question.tolist() == [after > now for now, after in itertools.pairwise(before)]
    assert index[is_question].tolist() == [now for now, after in itertools.pairwise(before) if after > now]


def test_equal_ratios_are_equal_mixtures() -> None:
    one, other = (Mixture.of([[9, {"questions": 2 * k, "biographies": 3 * k}]]) for k in (1, 300))
    assert one == other and hash(one) == hash(other)
    assert one != Mixture.of([[9, {"questions": 3, "biographies": 2}]])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(PHASES)
def test_mixture_comes_back_from_its_plain_form_and_from_itself(phases: Any) -> None:
    mixture = Mixture.of(phases)
    assert Mixture.of(mixture.as_json()) == mixture == Mixture.of(mixture) == Mixture.of(tuple(map(tuple, phases)))
    assert mixture.has_questions == any("questions" in weights for _, weights in phases)


def test_mixture_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Mixture.of([[5, {"questions": 1}]]).phases = ()  # type: ignore[misc]


EXAMPLE = "[[1000, {'biographies': 1}], [2000, {'biographies': 1, 'questions': 3}]]"


@pytest.mark.parametrize(
    "phases", [[], (), 5, "questions", {"questions": 1}, [5], [[5]], [[5, {}]], [[5, "questions"]], [[5, {"questions": 1}, 3]]]
)
def test_other_forms_are_refused(phases: Any) -> None:
    with pytest.raises(ValueError) as error:
        Mixture.of(phases)
    assert str(error.value) == f"phases is {phases!r}; it must be a list of [until_sample, weights], such as {EXAMPLE}"


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([[5, {"poems": 1}]], "phases[0] names format 'poems'; the formats are biographies, questions"),
        (
            [[5, {"questions": 1}], [6, {"questions": 1, 3: 1}]],
            "phases[1] names format 3; the formats are biographies, questions",
        ),
        *(
            (
                [[5, {"biographies": weight}]],
                f"weight of biographies in phases[0] is {weight!r}; it must be an integer from 1 to 1,000",
            )
            for weight in (0, -1, 1.5, 1.0, True, "1", None, 1_001)
        ),
        *(
            ([[until, {"questions": 1}]], f"until_sample of phases[0] is {until!r}; it must be an integer from 1 to {10**12:,}")
            for until in (0, -1, 1.5, True, "5", None, 10**12 + 1)
        ),
        *(
            (
                [[5, {"questions": 1}], [until, {"biographies": 1}]],
                f"until_sample of phases[1] is {until}; it must be an integer from 6 to {10**12:,}",
            )
            for until in (5, 4)
        ),
    ],
)
def test_wrong_values_are_refused_with_what_is_expected(phases: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        Mixture.of(phases)
    assert str(error.value) == message


@settings(max_examples=50, deadline=None, derandomize=True)
@given(PHASES)
def test_number_of_questions_among_the_first_samples(phases: Any) -> None:
    mixture = Mixture.of(phases)
    formats = formats_of(mixture)
    assert [mixture.num_questions(n) for n in range(len(formats) + 1)] == [
        formats[:n].count("q") for n in range(len(formats) + 1)
    ]
