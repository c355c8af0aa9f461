"""F3: its measures on groups that are learned and lost in chosen numbers of steps, and what happens where they are not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from analysis import sequential_groups
from analysis.sequential_groups import forgetting, later_groups, turns
from conftest import ROOT
from intervals import outcome
from memory_runs import made_run

from bio_facts.runs.curves import Run
from bio_facts.runs.registration import read_measures

MEASURES = read_measures(ROOT / "train" / "recipes" / "sequential_groups")
SEEDS = range(20, 25)
SCATTER = (0.9, 0.96, 1.0, 1.05, 1.1)  # of the steps until groups are learned, by seed
TURN = 400
PAPER = (380, 200, 160, 140, 120, 110, 100, 100)  # the first group has a plateau, the others are learned ever faster
STEPS = range(0, TURN * len(PAPER) + 1, 10)
BASELINE = 3.5  # nats per value


def loss_on(group: int, learned: float, lost: float, turn: int = TURN) -> list[float]:
    """Loss in b: 1.5 until the turn, down to 0.5 in `learned` steps and on to 0.1; then up to 0.5 in `lost` steps, and to 2."""
    losses = []
    for step in STEPS:
        since, after = step - group * turn, step - (group + 1) * turn
        at_end = max(0.1, 1.5 - turn / learned)
        if since <= 0:
            losses.append(1.5)
        elif after <= 0:
            losses.append(max(0.1, 1.5 - since / learned))
        else:
            losses.append(min(2.0, at_end + (0.5 - at_end) * after / lost) if at_end < 0.5 else at_end)
    return losses


def run_of(learned: Sequence[float] = PAPER, lost: float = 30, seed: int = 20, num_rounds: int = 1, turn: int = TURN) -> Run:
    splits = {f"validation_group{group}": loss_on(group, steps, lost, turn) for group, steps in enumerate(learned)}
    losses = {"validation": [1.0] * len(STEPS), "unseen": [1.5] * len(STEPS)} | splits
    data = {"num_groups": len(learned), "num_group_biographies": 16 * turn} | (
        {"num_rounds": num_rounds} if num_rounds > 1 else {}
    )
    curves = {split: (list(STEPS), [loss * BASELINE for loss in values], BASELINE) for split, values in losses.items()}
    return made_run(seed, curves, data=data)


def words(learned: Sequence[float] = PAPER, lost: float = 30) -> dict[str, str]:
    runs = {
        seed: run_of([steps * factor for steps in learned], lost, seed) for seed, factor in zip(SEEDS, SCATTER, strict=True)
    }
    measured = sequential_groups.measure({"groups8": runs})
    assert measured.keys() == MEASURES.keys()
    return {name: outcome(MEASURES[name], values).word for name, values in measured.items()}


def test_steps_are_counted_from_the_turn_of_a_group() -> None:
    found = turns(run_of(lost=35))
    assert [turn.steps_learned for turn in found] == pytest.approx(PAPER)
    assert [turn.steps_lost for turn in found[:-1]] == [40.0] * 7  # the first evaluation at which the group is lost


def test_ratios_are_geometric_means_without_the_first_group() -> None:
    groups = turns(run_of([380, 200, 100, 50]))
    assert later_groups(groups) == pytest.approx((0.5 * 0.25) ** 0.5)
    assert forgetting(groups) == pytest.approx((30 / 200 * 30 / 100) ** 0.5)


def test_ever_faster_groups_have_the_papers_direction_and_no_more() -> None:
    assert words() == {"later_groups": "direction", "forgetting": "direction"}


def test_order_of_groups_exchanged_contradicts_the_paper() -> None:
    assert words(PAPER[::-1])["later_groups"] == "contradicted"


def test_learning_and_losing_exchanged_contradicts_the_paper() -> None:
    assert words([30] * 8, lost=200)["forgetting"] == "contradicted"


def test_groups_that_take_equally_long_have_no_direction() -> None:
    assert words([200] * 8)["later_groups"] == "undecided"
    assert words([100] * 8, lost=100)["forgetting"] == "undecided"


def test_group_that_is_not_learned_counts_with_its_turn() -> None:
    never = 100 * TURN
    assert later_groups(turns(run_of([200, 200, never, 200]))) == pytest.approx((TURN / 200) ** 0.5)
    assert later_groups(turns(run_of([200, never, 200, 200]))) == pytest.approx(200 / TURN)
    assert later_groups(turns(run_of([never] * 4))) == 1
    assert forgetting(turns(run_of([never] * 4))) is None
    assert words([never] * 8) == {"later_groups": "undecided", "forgetting": "undecided"}


def test_group_that_is_never_lost_counts_with_all_steps_after_it() -> None:
    found = turns(run_of([200] * 8, lost=1e9))
    assert [turn.steps_lost for turn in found[1:-1]] == [6 * TURN - TURN * index for index in range(6)]
    assert words([200] * 8, lost=1e9)["forgetting"] == "contradicted"


def test_turn_of_a_group_that_is_shown_again_ends_there() -> None:
    groups = turns(run_of([100, 100], num_rounds=4))
    assert [(turn.start, turn.end, turn.stop) for turn in groups] == [(0, TURN, 2 * TURN), (TURN, 2 * TURN, 3 * TURN)]


def test_figure_is_drawn(tmp_path: Path) -> None:
    arms = {
        "groups8": {seed: run_of([steps * x for steps in PAPER], seed=seed) for seed, x in zip(SEEDS, SCATTER, strict=True)},
        "groups8-cosine": {20: run_of()},
        "groups4": {20: run_of(PAPER[:4], turn=2 * TURN)},
        "groups16": {20: run_of([100] * 16, turn=TURN // 2)},
        "alternating2": {20: run_of([300, 200], num_rounds=2, turn=2 * TURN)},
        "alternating8": {20: run_of([150, 100], num_rounds=8, turn=TURN // 2)},
    }  # fmt: skip
    sequential_groups.plot(arms, {}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
