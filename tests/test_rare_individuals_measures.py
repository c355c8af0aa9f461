"""C9: its measures on the paper's numbers, and its rule."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from analysis import rare_individuals
from conftest import ROOT
from intervals import Values, outcome
from memory_runs import SEEDS, SHIFTS, B, scattered, tuned_run
from paper import rare_individuals_accuracies

from bio_facts.runs.curves import Run
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_measures

FOLDER = ROOT / "train" / "recipes" / "rare_individuals"
MEASURES = read_measures(FOLDER)
PAPER = rare_individuals_accuracies()
CHANGES = {arm: {group: PAPER[arm].get(group, (1.0, 1.0)) for group in ("rest", "celebrities")} for arm in PAPER}


def arms_of(changes: dict = CHANGES, seeds: Sequence[int] = SEEDS) -> dict[str, dict[int, Run]]:
    """Runs with these accuracies before and after, the latter scattered by up to a twentieth of their change, and 0.01."""
    arms: dict[str, dict[int, Run]] = {}
    for arm, groups in changes.items():
        for seed, shift in zip(seeds, SHIFTS, strict=True):
            curves = {}
            for group, split in rare_individuals.SPLITS.items():
                before, after = groups[group]
                last = after + shift * (after - before) + shift / 7
                curves[split] = {"attribute_accuracy": [before, (before + last) / 2, last], "attribute_loss": [B] * 3}
            curves["validation"] = curves["validation_group1"]
            arms.setdefault(arm, {})[seed] = tuned_run("rare_individuals", arm, seed, [0, 400, 800], curves)
    return arms


def words(arms: dict[str, dict[int, Run]]) -> dict[str, str]:
    return {name: outcome(MEASURES[name], values).word for name, values in rare_individuals.measure(arms).items()}


def test_measures_of_the_papers_accuracies_are_the_papers_numbers() -> None:
    measured = {name: values.by_seed[22] for name, values in rare_individuals.measure(arms_of()).items()}
    assert measured.keys() == MEASURES.keys()
    for name, measure in MEASURES.items():
        assert measured[name] == pytest.approx(measure.paper, abs=0.002), name  # accuracies are read to 0.001


def test_the_paper_is_shown_by_its_own_rule() -> None:
    assert words(arms_of()) == dict.fromkeys(MEASURES, "shown")


def test_exchanged_arms_are_contradicted() -> None:
    exchanged = words(arms_of({"rest": CHANGES["celebrities"], "celebrities": CHANGES["rest"]}))
    assert exchanged["mean_change"] == exchanged["rare_fall"] == "contradicted"


def test_fine_tuning_that_changes_nothing_is_neither_shown_nor_a_direction() -> None:
    same = {group: (0.5, 0.5) for group in ("rest", "celebrities")}
    unchanged = words(arms_of({"rest": same, "celebrities": same}))
    assert unchanged == {"mean_change": "contradicted", "celebrity_fall": "shown", "rare_fall": "contradicted"}


def test_celebrities_that_are_forgotten_are_seen() -> None:
    forgotten = CHANGES | {"rest": CHANGES["rest"] | {"celebrities": (1.0, 0.4)}}
    assert words(arms_of(forgotten))["celebrity_fall"] == "contradicted"


@pytest.mark.parametrize("name", ["mean_change", "rare_fall"])
def test_scattered_values_around_the_papers_number_are_shown(name: str) -> None:
    near = {seed: value / 2 + MEASURES[name].paper for seed, value in scattered(0).items()}  # type: ignore[operator]
    assert outcome(MEASURES[name], Values(near)).word == "shown"


def test_everyone_is_the_mean_of_both_groups_by_their_sizes() -> None:
    assert rare_individuals.weighted(0.226, -0.012, 1 / 16) == pytest.approx(0.211, abs=0.001)
    assert rare_individuals.celebrity_share(arms_of()["rest"][20]) == 1 / 16


@pytest.mark.parametrize("scale", ["smoke", "mini", "paper"])
def test_group_0_is_the_celebrities_of_pretraining(scale: str) -> None:
    file = read_recipe_file(FOLDER / f"{scale}.yaml")
    for arm in file.arms:
        path, source_arm = file.source_of(arm) or (Path(), "")
        source = read_recipe_file(path).recipe(source_arm, {"seed": 0}).data.parameters
        tuned = file.recipe(arm, {"seed": 0, "source": "run"}).data.parameters
        assert tuned["num_group0_individuals"] == source["num_celebrities"]
        assert (source["celebrity_weight"], tuned["num_groups"]) == (8, 2)
        for name in ("num_individuals", "population_seed", "pool_sizes"):
            assert tuned[name] == source[name]


def test_claim_is_judged_and_drawn(tmp_path: Path) -> None:
    runs = [run for members in arms_of(seeds=range(5)).values() for run in members.values()]
    verdict = rare_individuals.CLAIM.judge(runs, "mini")
    assert verdict["word"] == "shown"
    rare_individuals.CLAIM.plot(rare_individuals.CLAIM.arms(runs, "mini")[0], verdict, tmp_path / "mini.png")
    assert (tmp_path / "mini.png").read_bytes().startswith(b"\x89PNG")
