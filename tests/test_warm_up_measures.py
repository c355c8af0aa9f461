"""C5: its measures on the paper's numbers, and its rules."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis import warm_up
from analysis.warm_up import ARMS, CLAIM, counted_on_all, logit, recovery
from conftest import SMOKE, load_recipe
from measures import value_at
from memory_runs import SCATTER, SEEDS, learning_curve, means, run_with, words
from paper import paper_numbers, schedules, three_phases_curve, warm_up_accuracies, warm_up_losses

from bio_facts.runs.curves import Run
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_measures

MEASURES = read_measures(CLAIM.recipes)
STEPS = [0, *range(50, 3101, 50)]
P = 1200.0  # of the uniform run
SWITCH = 600  # of mini.yaml
NUMBERS = paper_numbers()
PAPER = {"uniform": "uniform", "alpha0.6": "power law", "warmup": "warm-up", "celebrities": "celebrities"}


def paper_values() -> dict[str, tuple[float, float]]:
    """Arm -> final accuracy and loss in no-knowledge losses: 64k individuals, 8k steps; `fewer`: 83k of 128k, 16k steps."""
    accuracies, losses = schedules("accuracy_64k_8k_steps"), schedules("loss_64k_8k_steps")
    values = {arm: (accuracies[name], losses[name] / NUMBERS["baseline_nats"]) for arm, name in PAPER.items()}
    longest = dict(zip(*warm_up_accuracies(8_000), strict=True))[4_000]
    return values | {"longest": (longest, 0.4), "fewer": (NUMBERS["control_uniform_on_83k"]["accuracy_on_them"], 0.02)}


def curves_of(arm: str, accuracy: float, loss: float) -> dict[str, dict[str, Any]]:
    """Curves of an arm: the warm-up has the paper's loss at the switch, and is back as soon after it as the paper's."""
    if arm == "warmup":
        peak, back = (warm_up_losses()[k][1] for k in (1, 2))
        nodes = [1, 100, 200, SWITCH, SWITCH + 0.163 * P, STEPS[-1]]
        curve = np.interp(np.log(np.maximum(STEPS, 1)), np.log(nodes), [4.0, 1.03, 1.02, peak, back, loss])
        losses = curve.tolist()
    else:
        losses = learning_curve(STEPS, P, loss)
    unseen = {"step": STEPS, "attribute_loss": 1.5, "attribute_accuracy": NUMBERS["fig5_hallucination"]["unseen_accuracy"]}
    rising = np.interp(STEPS, [0, 500, STEPS[-1]], [0, 0.01, accuracy])
    return {"validation": {"step": STEPS, "attribute_loss": losses, "attribute_accuracy": rising}, "unseen": unseen}


def arms_of_the_paper(scatter: Mapping[int, float]) -> dict[str, dict[int, Run]]:
    """The arms of mini.yaml with the paper's numbers; scatter: factor of the odds of accuracies and of losses."""
    arms: dict[str, dict[int, Run]] = {arm: {} for arm in ARMS}
    for place, (arm, (accuracy, loss)) in enumerate(paper_values().items()):
        seeds = list(scatter.items())
        for k, (seed, _) in enumerate(seeds):
            factor = seeds[(k + 2 * place) % len(seeds)][1]  # arms scatter differently
            odds = accuracy / (1 - accuracy) * factor
            if arm != "longest" or seed == 20:
                arms[arm][seed] = run_with("warm_up", arm, seed, curves_of(arm, odds / (1 + odds), loss * factor))
    return arms


@pytest.fixture(scope="module")
def paper_arms() -> dict[str, dict[int, Run]]:
    return arms_of_the_paper(dict(zip(SEEDS, SCATTER, strict=True)))


def test_measures_of_the_papers_numbers_are_the_papers() -> None:
    arms = arms_of_the_paper({20: 1.0})
    measured = means("warm_up", arms)
    assert measured.keys() == MEASURES.keys()
    for name, measure in MEASURES.items():
        if name != "gain_over_fewer_individuals":  # the paper's is of another cell than the warm-up of the other measures
            assert measured[name] == pytest.approx(measure.paper, rel=0.05), name  # "within 500 steps" is the coarsest of them


def test_gain_over_fewer_individuals_is_the_papers_with_its_own_warm_up() -> None:
    control = NUMBERS["control_uniform_on_83k"]
    counted = counted_on_all(control["accuracy_on_them"], NUMBERS["fig5_hallucination"]["unseen_accuracy"], 83 / 128)
    assert counted == pytest.approx(control["counted_on_128k"], abs=0.003)
    gain = logit(control["warm_up_on_128k"], 96_000) - logit(counted, 96_000)
    assert gain == pytest.approx(MEASURES["gain_over_fewer_individuals"].paper, abs=0.02)


def test_gain_in_the_second_cell_of_the_paper() -> None:
    accuracies = schedules("accuracy_128k_16k_steps")
    gain = logit(accuracies["warm-up"], 96_000) - logit(accuracies["power law"], 96_000)
    assert gain == pytest.approx(2.44, abs=0.01)


def test_the_paper_is_shown_by_its_own_rules(paper_arms: dict[str, dict[int, Run]]) -> None:
    expected = dict.fromkeys(MEASURES, "shown") | {"longest": ""}  # one seed, no verdict
    assert words("warm_up", paper_arms) == expected


def test_exchanged_arms_are_contradicted(paper_arms: dict[str, dict[int, Run]]) -> None:
    def exchanged(one: str, other: str) -> dict[str, str]:
        first, second = paper_arms[one], paper_arms[other]
        numbers = {  # the accuracy and loss of the other arm, in a run of this one
            name: {seed: run_with("warm_up", name, seed, plain(run)) for seed, run in runs.items()}
            for name, runs in ((one, second), (other, first))
        }
        return words("warm_up", paper_arms | numbers)

    assert exchanged("warmup", "alpha0.6")["gain"] == "contradicted"
    assert exchanged("warmup", "alpha0.6")["order"] == "contradicted"
    assert exchanged("uniform", "celebrities")["celebrities"] == "contradicted"
    weak = {seed: run_with("warm_up", "warmup", seed, plain(run)) for seed, run in paper_arms["uniform"].items()}
    found = words("warm_up", paper_arms | {"warmup": weak})
    assert {found[name] for name in ("gain", "gain_over_fewer_individuals", "rise_in_warm_up", "order")} == {"contradicted"}


def plain(run: Run) -> dict[str, dict[str, Any]]:
    """The curves of a run as columns, losses in units of the no-knowledge losses."""
    baselines = {"validation": run.loss_curve()[2], "unseen": run.curve("unseen")["pool_no_knowledge_loss"][0]}
    columns = {}
    for split, curve in run.curves.items():
        losses = [loss / baselines[split] for loss in curve["attribute_loss"]]
        columns[split] = {
            "step": curve["step"], "attribute_loss": losses, "attribute_accuracy": curve["attribute_accuracy"],
        }  # fmt: skip
    return columns


def test_arms_against_themselves_are_neither_shown_nor_a_direction(paper_arms: dict[str, dict[int, Run]]) -> None:
    factors = (1.03, 1.0, 0.94, 1.06, 0.97)
    accuracy, loss = paper_values()["alpha0.6"]

    def alike(arm: str, shift: int) -> dict[int, Run]:
        runs = {}
        for k, seed in enumerate(SEEDS):
            factor = factors[(k + shift) % 5]
            odds = accuracy / (1 - accuracy) * factor
            runs[seed] = run_with("warm_up", arm, seed, curves_of("uniform", odds / (1 + odds), loss * factor))
        return runs

    arms = paper_arms | {arm: alike(arm, shift) for shift, arm in enumerate(("uniform", "alpha0.6", "warmup", "celebrities"))}
    found = words("warm_up", arms)
    assert {found[name] for name in ("gain", "celebrities", "order")} <= {"undecided", "contradicted"}


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 0.0), (0.98, math.log(49)), (1.0, math.log(7201)), (0.0, -math.log(7201))]
)
def test_logit_is_that_of_the_odds_and_finite(share: float, expected: float) -> None:
    assert logit(share, 3600) == pytest.approx(expected, abs=0.01)


def test_individuals_not_trained_on_count_with_the_accuracy_on_unseen_ones() -> None:
    assert counted_on_all(0.9, 0.03, 0.65) == pytest.approx(0.65 * 0.9 + 0.35 * 0.03)


def test_rise_is_that_of_the_paper_above_its_default_run() -> None:
    steps, losses, baseline = three_phases_curve()
    at_switch = value_at(steps, losses, 1500)
    assert at_switch is not None
    rise = warm_up_losses()[1][1] - at_switch / baseline
    assert rise == pytest.approx(MEASURES["rise_in_warm_up"].paper, abs=0.005)


def test_recovery_is_counted_from_the_switch() -> None:
    steps, losses = [0, 100, 600, 800, 1000], [14.0, 4.1, 6.0, 3.96, 1.0]
    assert recovery(steps, losses, 4.0, switch=600) == pytest.approx(200)
    assert recovery(steps, [14.0, 4.1, 6.0, 5.0, 4.0], 4.0, switch=600) is None


@pytest.mark.parametrize("scale", ["smoke", "mini", "paper"])
def test_warm_up_ends_at_an_evaluation(scale: str) -> None:
    recipe = load_recipe(CLAIM.recipes / f"{scale}.yaml", {"seed": 20}, "warmup")
    assert recipe.data.distribution.num_warmup_biographies / recipe.batch_size in recipe.eval_steps


def test_arms_of_mini_have_the_papers_shares_of_the_individuals_and_steps() -> None:
    recipes = {arm: load_recipe(CLAIM.recipes / "mini.yaml", {"seed": 20}, arm) for arm in ARMS}
    num_individuals, num_steps = recipes["uniform"].data.num_individuals, recipes["uniform"].num_steps
    assert load_recipe(SMOKE.with_name("mini.yaml"), {"seed": 20}).data.num_individuals == num_individuals
    shares = {arm: recipes[arm].data.distribution.num_warmup_individuals / num_individuals for arm in ("warmup", "longest")}
    assert shares == {"warmup": 8 / 64, "longest": 8 / 64}
    lengths = [recipes[arm].data.distribution.num_warmup_biographies / 16 / num_steps for arm in ("warmup", "longest")]
    assert lengths == pytest.approx([1.5 / 8, 4 / 8], rel=0.05)
    assert recipes["fewer"].data.num_individuals / num_individuals == pytest.approx(83 / 128, abs=0.005)
    assert recipes["celebrities"].data.distribution.num_celebrities / num_individuals == 4 / 64
    assert {recipe.num_steps for recipe in recipes.values()} == {num_steps}


def test_rare_individuals_tells_the_same_celebrities_apart() -> None:
    """Fine-tuning there starts from the runs of `celebrities`."""
    tuned = read_recipe_file(CLAIM.recipes.parent / "rare_individuals" / "mini.yaml").settings
    celebrities = load_recipe(CLAIM.recipes / "mini.yaml", {"seed": 20}, "celebrities").data.distribution
    assert tuned["dataset_parameters"]["num_group0_individuals"] == celebrities.num_celebrities


def test_picture_is_drawn(paper_arms: dict[str, dict[int, Run]], tmp_path: Path) -> None:
    warm_up.plot(paper_arms, {}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_runs_that_learned_nothing_are_measured_and_drawn(paper_arms: dict[str, dict[int, Run]], tmp_path: Path) -> None:
    flat = {split: {"step": STEPS, "attribute_loss": 1.02, "attribute_accuracy": 0.0} for split in ("validation", "unseen")}
    arms = {arm: {seed: run_with("warm_up", arm, seed, flat) for seed in runs} for arm, runs in paper_arms.items()}
    found = words("warm_up", arms)
    assert set(found.values()) <= {"", "undecided", "contradicted"}
    warm_up.plot(arms, {}, tmp_path / "picture.png")
