"""C8: its measures on the paper's numbers, and its rule."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from analysis import replay
from conftest import ROOT
from forgetting import early_rise, early_rise_kept, final_rise_removed, recovery
from intervals import Values, outcome
from memory_runs import SEEDS, SHIFTS, B, scattered, tuned_run
from paper import early_peak_without_replay, fine_tuning_curve, replay_losses

from bio_facts.runs.curves import Run
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_measures

MEASURES = read_measures(ROOT / "train" / "recipes" / "replay")
WEIGHTS = {"none": 0.0, "w2": 2.0, "w0.125": 0.125, "w0.03125": 0.03125}


def paper_losses(weight: float) -> dict[int, float]:
    """Step -> old loss / b with 4k new individuals; the worst loss is between steps 100 and 200."""
    without = dict(zip(*fine_tuning_curve(4_000)["old loss"], strict=True))
    if not weight:
        step, peak = early_peak_without_replay()
        return dict(sorted((without | {step: peak}).items()))
    worst, last, _ = replay_losses()[weight]
    return {0: without[0], 150: worst, 4_000: last}


def paper_arms(weights: Mapping[str, float] = WEIGHTS, seeds: Sequence[int] = SEEDS) -> dict[str, dict[int, Run]]:
    """Runs with the paper's losses, scattered by up to 7 %."""
    arms: dict[str, dict[int, Run]] = {}
    for number, (arm, weight) in enumerate(weights.items()):
        losses = paper_losses(weight)
        for index, seed in enumerate(seeds):
            factor = 1 + SHIFTS[(index * (number + 2)) % len(SHIFTS)]
            old = {"attribute_loss": [B * factor * loss for loss in losses.values()], "attribute_accuracy": [0.9] * len(losses)}
            new = {"attribute_loss": [B] * len(losses), "attribute_accuracy": [0.5] * len(losses)}
            run = tuned_run("replay", arm, seed, list(losses), {"validation": new, "pretrain_validation": old})
            arms.setdefault(arm, {})[seed] = run
    return arms


def words(arms: Mapping[str, Mapping[int, Run]]) -> dict[str, str]:
    return {name: outcome(MEASURES[name], values).word for name, values in replay.measure(arms).items()}


def test_measures_of_the_papers_losses_are_the_papers_numbers() -> None:
    measured = {name: values.by_seed[22] for name, values in replay.measure(paper_arms()).items()}
    exact = replay.measure({arm: {20: runs[20]} for arm, runs in paper_arms(seeds=range(20, 21)).items()})
    assert measured.keys() == exact.keys() == MEASURES.keys()
    for name, tolerance in (("final_rise_removed", 0.002), ("recovery", 0.01), ("early_rise_kept", 0.01)):
        assert exact[name].by_seed[20] == pytest.approx(MEASURES[name].paper, abs=tolerance)  # losses are read to 1 %


def test_the_paper_is_shown_by_its_own_rule() -> None:
    assert words(paper_arms()) == dict.fromkeys(MEASURES, "shown")


def test_exchanged_arms_are_contradicted() -> None:
    exchanged = words(paper_arms(WEIGHTS | {"none": 0.125, "w0.125": 0.0}))
    assert exchanged["final_rise_removed"] == exchanged["recovery"] == "contradicted"


def test_an_arm_against_itself_is_neither_shown_nor_a_direction() -> None:
    arms = paper_arms()
    itself = words(arms | {"w0.125": arms["none"]})
    assert itself["final_rise_removed"] == itself["recovery"] == "contradicted"


@pytest.mark.parametrize("name", MEASURES)
def test_scattered_values_around_the_papers_number_are_shown(name: str) -> None:
    paper = MEASURES[name].paper
    assert paper is not None
    near = {seed: paper * (1 + shift) for seed, shift in zip(SEEDS, SHIFTS, strict=True)}
    assert outcome(MEASURES[name], Values(near)).word == "shown"
    assert outcome(MEASURES[name], Values({seed: value and value / 10 for seed, value in scattered(0).items()})).word in (
        "contradicted",
    )


def test_arithmetic() -> None:
    assert final_rise_removed([0.1, 0.5, 0.2], [0.1, 0.9, 1.1]) == pytest.approx(0.9)
    assert final_rise_removed([0.1, 0.2], [0.1, 0.1]) is None
    assert recovery([0.1, 0.8, 0.2]) == pytest.approx(0.75)
    assert early_rise([0, 10, 100, 800], [0.1, 0.4, 0.5, 9.0]) == pytest.approx(0.4)
    assert early_rise([0, 10, 101, 800], [0.1, 0.4, 0.5, 9.0]) == pytest.approx(0.3)
    assert early_rise_kept(0.1, 0.4) == pytest.approx(0.25)
    assert early_rise_kept(0.1, 0.0) is None


def test_claim_is_judged_and_drawn(tmp_path: Path) -> None:
    file = read_recipe_file(ROOT / "train" / "recipes" / "replay" / "mini.yaml")
    runs = [
        members[seed] for arm, members in paper_arms(seeds=range(5)).items() for seed in range(len(file.seeds_of(arm)))
    ]  # fmt: skip
    verdict = replay.CLAIM.judge(runs, "mini")
    assert verdict["word"] == "shown"
    replay.CLAIM.plot(replay.CLAIM.arms(runs, "mini")[0], verdict, tmp_path / "mini.png")
    assert (tmp_path / "mini.png").read_bytes().startswith(b"\x89PNG")
