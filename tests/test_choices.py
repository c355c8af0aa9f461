"""Choices: which values a task offers beside the true one, and in which order."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from chi_square import p_uniform

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.choices import draw_choices
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.pools import full_pool_sizes, pools
from bio_facts.generate.splits import draw


def choices(attribute: str, ids: range, num_choices: int = 4, split: str = "unseen", **sizes: int) -> tuple[Any, Any, Any]:
    """True values of as many biographies, their choices and answers."""
    config = CONFIGS["n1k"].replace(pool_sizes=sizes)
    biographies = rows(draw(config, split, ids))
    values = [item["value"] for row in biographies for item in row["attributes"] if item["attribute"] == attribute]
    return values, *draw_choices(attribute, values, np.array(ids), split, num_choices, config.pool_sizes)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize("num_choices", [2, 4, 7])
def test_choices_are_distinct_values_of_the_pool_with_the_true_one_once(attribute: str, num_choices: int) -> None:
    values, drawn, answers = choices(attribute, range(300), num_choices)
    item_pools = [set(pools()[pool]) for pool in ATTRIBUTES[attribute].pools]
    for value, row, answer in zip(values, drawn, answers, strict=True):
        assert len(set(row)) == len(row) == num_choices
        assert row[answer] == value
        for choice in row:
            items = choice.split(" ") if len(item_pools) > 1 else [choice]
            assert all(item in pool for item, pool in zip(items, item_pools, strict=True))


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_choices_stay_within_smaller_pools(attribute: str) -> None:
    _, drawn, _ = choices(attribute, range(200), cities=6, universities=6, majors=6, companies=6, years=1, months=2, days=3)
    counts = Counter(choice for row in drawn for choice in row)
    assert len(counts) == 6
    assert "January 1, 1900" in counts or pools()[ATTRIBUTES[attribute].pools[0]][0] in counts


def test_choices_of_a_biography_depend_on_nothing_else() -> None:
    _, drawn, answers = choices("company", range(50))
    _, alone, alone_answers = choices("company", range(31, 32))
    assert (alone[0], alone_answers[0]) == (drawn[31], answers[31])


def test_choices_never_change() -> None:
    """If they do, the tasks need a new version."""
    _, drawn, answers = choices("major", range(2), split="validation")
    assert drawn == [
        ["Musicology", "Public Health", "Forestry", "Software Engineering"],
        ["Immunology", "Chemical Engineering", "Civil Engineering", "Toxicology"],
    ]
    assert answers.tolist() == [2, 0]


def test_other_values_and_positions_of_the_true_one_are_equally_likely() -> None:
    values, drawn, answers = choices("birth_place", range(9000), num_choices=3, cities=10)
    others = Counter((value, choice) for value, row in zip(values, drawn, strict=True) for choice in row if choice != value)
    assert len(others) == 90
    for value in set(values):
        assert p_uniform([count for (true_value, _), count in others.items() if true_value == value]) > 1e-4
    assert p_uniform(np.bincount(answers)) > 1e-4
    pairs = {(value, *(choice for choice in row if choice != value)) for value, row in zip(values, drawn, strict=True)}
    assert len(pairs) == 10 * 9 * 8


def test_value_outside_of_its_pool_is_named() -> None:
    with pytest.raises(ValueError, match=r"^major is 'Alchemy', which is none of the 100 values of its pool$"):
        draw_choices("major", ["Alchemy"], np.array([0]), "unseen", 4, full_pool_sizes())
