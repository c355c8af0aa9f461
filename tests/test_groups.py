"""Groups that are shown one after another: which samples are about which group."""

from typing import Any

import numpy as np
import pytest

from bio_facts.generate.config import CONFIGS, Config
from bio_facts.generate.distributions import Groups
from bio_facts.generate.splits import individual_ids, splits

N = 1_000


def ids_of(groups: Groups, samples: Any) -> np.ndarray:
    return individual_ids(Config(num_individuals=N, distribution=groups), "train", samples)


def groups_of(groups: Groups, samples: Any) -> list[int]:
    return (ids_of(groups, samples) // (N // groups.num_groups)).tolist()


def test_groups_come_one_after_another_and_the_last_stays() -> None:
    blocks = ids_of(Groups(4, 1_000), range(10_000)).reshape(10, 1_000) // 250
    assert [set(block) for block in blocks.tolist()] == [{0}, {1}, {2}, *[{3}] * 7]


def test_num_groups_divides_the_individuals_into_groups() -> None:
    for count in (1, 2, 5):
        size = N // count
        turns = ids_of(Groups(count, 2_000), range(2_000 * count)).reshape(count, 2_000)
        for group, ids in enumerate(turns.tolist()):
            assert set(ids) <= set(range(group * size, (group + 1) * size))
        assert all(len(set(ids)) > 0.8 * min(size, 1_000) for ids in turns.tolist())


@pytest.mark.parametrize("boundary", [1, 299, 300, 301])
def test_each_group_has_num_group_biographies_in_a_row(boundary: int) -> None:
    groups = ids_of(Groups(4, boundary), range(4 * 301)) // (N // 4)
    assert groups.tolist() == [min(sample // boundary, 3) for sample in range(4 * 301)]


def test_training_begins_with_first_group() -> None:
    assert set(ids_of(Groups(4, 10_000, 2), range(10_000)).tolist()) == set(range(500, 750))
    assert set(ids_of(Groups(4, 1_000, 3), range(10_000)).tolist()) == set(range(750, 1_000))


# Rounds


@pytest.mark.parametrize("num_rounds", [2, 4, 8])
def test_two_groups_alternate_as_often_as_there_are_rounds(num_rounds: int) -> None:
    """Paper App. F.5; the last group continues."""
    shown = groups_of(Groups(2, 50, num_rounds=num_rounds), range(100 * num_rounds + 500))
    assert shown == ([0] * 50 + [1] * 50) * num_rounds + [1] * 500


@pytest.mark.parametrize(
    ("first_group", "expected"),
    [
        (0, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 3, 3, 3]),
        (1, [1, 2, 3, 1, 2, 3, 1, 2, 3, 3, 3, 3, 3, 3, 3]),
        (2, [2, 3, 2, 3, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]),
        (3, [3] * 15),
    ],
)
def test_each_round_begins_with_first_group(first_group: int, expected: list[int]) -> None:
    groups = Groups(4, 7, first_group, num_rounds=3)
    assert groups_of(groups, range(7 * 15)) == [group for group in expected for _ in range(7)]


def test_rounds_change_nothing_but_the_train_split_after_the_first() -> None:
    """In the samples where two numbers of rounds show the same group, they draw the same individual."""
    once, thrice = (ids_of(Groups(4, 100, num_rounds=rounds), range(2_000)) for rounds in (1, 3))
    assert np.array_equal(once[:400], thrice[:400])
    same_group = once // 250 == thrice // 250
    assert same_group.sum() == 400 + 200 + 800  # the first round, group 3 in the others, and what follows them
    assert np.array_equal(once == thrice, same_group)
    config = CONFIGS["n1k-groups"]
    plain, rounds = splits(config), splits(config.replace(num_rounds=3))
    assert plain.pop("train").individuals == rounds.pop("train").individuals
    assert plain == rounds


def test_rounds_go_on_with_new_draws() -> None:
    first, second = np.split(ids_of(Groups(2, 1_000, num_rounds=2), range(4_000)), 2)
    assert (first == second).mean() < 0.01  # 1 in 500, by chance


def test_most_rounds_need_no_more_than_64_bits() -> None:
    endless = Groups(64, 1, num_rounds=10**12)
    ids = individual_ids(Config(num_individuals=64, distribution=endless), "train", [0, 63, 64, 10**12 + 5, 2**63 - 1])
    assert ids.tolist() == [0, 63, 0, (10**12 + 5) % 64, 63]


# A group 0 of another size


def test_group0_has_its_size_and_the_others_share_the_rest() -> None:
    unequal = Groups(4, 2_000, num_group0_individuals=100)
    turns = ids_of(unequal, range(8_000)).reshape(4, 2_000)
    assert [(min(ids), max(ids)) for ids in turns.tolist()] == [(0, 99), (100, 399), (400, 699), (700, 999)]
    evaluated = splits(Config(num_individuals=N, distribution=unequal))
    ranges = [evaluated[f"validation_group{group}"].individuals for group in range(4)]
    assert ranges == [(range(100),), (range(100, 400),), (range(400, 700),), (range(700, 1_000),)]
    assert evaluated["validation"].individuals == (range(1_000),)


def test_training_can_be_about_group0_alone_and_about_all_others_alone() -> None:
    """Those who were celebrities in pre-training, and the rest (paper App. F.3)."""
    celebrities = Groups(2, 20_000, num_group0_individuals=100)
    rest = Groups(2, 1, first_group=1, num_group0_individuals=100)
    assert set(ids_of(celebrities, range(20_000)).tolist()) == set(range(100))
    assert set(ids_of(rest, range(20_000)).tolist()) == set(range(100, 1_000))
    assert splits(Config(num_individuals=N, distribution=rest))["train"].individuals == (range(100, 1_000),)


def test_size_of_group0_changes_nothing_if_it_is_that_of_the_others() -> None:
    same, plain = Groups(4, 100, num_group0_individuals=250), Groups(4, 100)
    assert Config(num_individuals=N, distribution=same).fingerprint == Config(num_individuals=N, distribution=plain).fingerprint
    assert np.array_equal(ids_of(same, range(1_000)), ids_of(plain, range(1_000)))
