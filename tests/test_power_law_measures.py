"""C4: its measures on the paper's numbers, and its rules."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from analysis import power_law
from analysis.power_law import CLAIM, own_no_knowledge_loss, plateau_end_by_knowledge
from conftest import SMOKE, load_recipe
from intervals import Values, outcome
from memory_runs import SCATTER, SEEDS, learning_curve, means, run_with, words
from paper import benefits_of_imbalance, final_losses_by_alpha, paper_numbers, plateau_ratios_by_alpha

from bio_facts.runs.curves import Run
from bio_facts.runs.registration import read_measures

MEASURES = read_measures(CLAIM.recipes)
STEPS = [0, *range(25, 1500, 25), *range(1500, 6001, 50)]
P = 1200.0  # of the uniform run
UNIFORM_LOSS = {"": 3.41 / 6.7688, "-long": 0.0111 / 6.7688}  # Fig. 4, J


def arms_of_the_paper(scatter: Mapping[int, float]) -> dict[str, dict[int, Run]]:
    """The arms of mini.yaml with the paper's plateau ends and final losses; scatter: factor of the plateaus of skewed runs."""
    ratios = dict(zip(*plateau_ratios_by_alpha(64_000), strict=True))
    short = dict(zip(*final_losses_by_alpha(), strict=True))
    benefit = dict(zip(*benefits_of_imbalance(), strict=True))[16_000]
    arms: dict[str, dict[int, Run]] = {}
    for suffix, alphas in (("", (0, 0.4, 0.6, 1)), ("-long", (0, 0.6))):
        for alpha in alphas:
            arm = f"alpha{alpha:g}{suffix}"
            final = short[alpha] if suffix == "" else UNIFORM_LOSS["-long"] + (benefit if alpha else 0)
            arms[arm] = {}
            for seed, factor in scatter.items():
                run = run_with("power_law", arm, seed, {"validation": {"step": [0], "attribute_loss": 1.0}})
                level = own_no_knowledge_loss(run) / run.loss_curve()[2]
                end = P * ratios[alpha] * (factor if alpha else 1)
                spread = (factor - 1) * (alpha - 0.5)
                steps = [step for step in STEPS if step <= run.recipe["num_steps"]]
                columns = {"step": steps, "attribute_loss": learning_curve(steps, end, max(final + spread, 0.001), level)}
                arms[arm][seed] = run_with("power_law", arm, seed, {"validation": columns | {"attribute_accuracy": 0.5}})
    return arms


@pytest.fixture(scope="module")
def paper_arms() -> dict[str, dict[int, Run]]:
    return arms_of_the_paper(dict(zip(SEEDS, SCATTER, strict=True)))


def exchanged(arms: Mapping[str, dict[int, Run]], *pairs: tuple[str, str]) -> dict[str, dict[int, Run]]:
    """The arms, those of each pair under the other's name."""
    return {**arms, **{one: arms[other] for pair in pairs for one, other in (pair, pair[::-1])}}


def test_measures_of_the_papers_numbers_are_the_papers() -> None:
    measured = means("power_law", arms_of_the_paper({20: 1.0}))
    assert measured.keys() == MEASURES.keys()
    for (
        name,
        measure,
    ) in MEASURES.items():  # read from heat maps, to two digits; evaluations are 25 to 50 steps apart
        assert measured[name] == pytest.approx(measure.paper, rel=0.03), name


def test_the_paper_is_shown_by_its_own_rules(paper_arms: dict[str, dict[int, Run]]) -> None:
    assert words("power_law", paper_arms) == dict.fromkeys(MEASURES, "shown")


def test_exchanged_arms_are_contradicted(paper_arms: dict[str, dict[int, Run]]) -> None:
    skewed = exchanged(paper_arms, ("alpha0", "alpha0.6"))
    found = words("power_law", skewed)
    assert {found[name] for name in MEASURES if name.startswith("plateau")} == {"contradicted"}
    alphas = exchanged(paper_arms, ("alpha1", "alpha0.6"))
    assert words("power_law", alphas)["too_much_imbalance"] == "contradicted"
    budgets = exchanged(paper_arms, ("alpha0", "alpha0-long"), ("alpha0.6", "alpha0.6-long"))
    assert words("power_law", budgets)["shift_with_budget"] == "contradicted"


def test_arms_against_themselves_are_neither_shown_nor_a_direction() -> None:
    one, other = (
        arms_of_the_paper(dict(zip(SEEDS, factors, strict=True))) for factors in (SCATTER, (1.0, 1.06, 0.94, 0.97, 1.03))
    )
    found = words("power_law", one | {"alpha0": other["alpha0.6"]})
    assert {found[name] for name in MEASURES if name.startswith("plateau")} <= {"undecided", "contradicted"}
    assert words("power_law", one | {"alpha1": other["alpha0.6"]})["too_much_imbalance"] in ("undecided", "contradicted")
    budgets = {"alpha0-long": other["alpha0"], "alpha0.6-long": other["alpha0.6"]}
    assert words("power_law", one | budgets)["shift_with_budget"] in ("undecided", "contradicted")


def test_first_release_candidate_is_undecided() -> None:
    """Its plateau ends of seeds 10 to 12 (commit 56c574a, eval/results/power_law/mini.json), uniform and with alpha 0.6."""
    ratios = {10: 550 / 650, 11: 550 / 650, 12: 600 / 850}
    decided = outcome(MEASURES["plateau_ratio"], Values(ratios))
    assert decided.word == "undecided"
    assert decided.mean == pytest.approx(0.797, abs=1e-3)
    assert decided.low is not None and decided.high is not None and decided.low < 0.82 < 1 < decided.high


@pytest.mark.parametrize(("arm", "excess"), [("alpha0", 0), ("alpha0.4", 0.001), ("alpha0.6", 0.0045), ("alpha1", 0.054)])
def test_skewed_statistics_have_a_level_of_their_own(arm: str, excess: float) -> None:
    run = run_with("power_law", arm, 20, {"validation": {"step": STEPS, "attribute_loss": learning_curve(STEPS, 700, 0.1)}})
    assert own_no_knowledge_loss(run) / run.loss_curve()[2] - 1 == pytest.approx(excess, abs=0.3 * excess + 1e-12)


def test_plateau_of_a_uniform_run_is_that_of_all_claims() -> None:
    run = run_with(
        "power_law", "alpha0", 20, {"validation": {"step": STEPS, "attribute_loss": learning_curve(STEPS, 700, 0.1)}}
    )
    assert plateau_end_by_knowledge(run) == pytest.approx(run.phase_ends[1], rel=1e-9)


def test_skewed_plateau_ends_where_knowledge_begins_not_where_the_loss_of_uniform_sampling_is_passed() -> None:
    run = run_with("power_law", "alpha1", 20, {"validation": {"step": [0], "attribute_loss": 1.0}})
    level = own_no_knowledge_loss(run) / run.loss_curve()[2]
    columns = {"step": STEPS, "attribute_loss": learning_curve(STEPS, 600, 0.1, level)}
    run = run_with("power_law", "alpha1", 20, {"validation": columns})
    by_knowledge, by_level_of_all = plateau_end_by_knowledge(run), plateau_end_by_knowledge(run, own_level=False)
    assert by_knowledge == pytest.approx(600, rel=0.01)
    assert by_level_of_all is not None and by_level_of_all > 620


def test_plateau_that_does_not_end_is_not_measured(paper_arms: dict[str, dict[int, Run]]) -> None:
    flat = {"validation": {"step": STEPS, "attribute_loss": np.full(len(STEPS), 1.02).tolist(), "attribute_accuracy": 0.0}}
    arms = paper_arms | {"alpha0.6": {seed: run_with("power_law", "alpha0.6", seed, flat) for seed in SEEDS}}
    assert set(CLAIM.measure(arms)["plateau_ratio"].by_seed.values()) == {None}
    assert words("power_law", arms)["plateau_ratio"] == "undecided"


def test_measure_has_the_error_of_the_grid_of_evaluations(paper_arms: dict[str, dict[int, Run]]) -> None:
    floor = CLAIM.measure(paper_arms)["plateau_ratio"].floor
    expected = np.hypot(np.log(800 / 775), np.log(1200 / 1175)) / np.sqrt(12)  # around 0.65 x 1200 x scatter, and 1200
    assert floor == pytest.approx(expected, rel=0.15)


def test_a_single_run_is_not_enough() -> None:
    run = run_with("power_law", "alpha0", 20, {"validation": {"step": STEPS, "attribute_loss": 1.0}})
    with pytest.raises(ValueError, match=r"there are runs of 'alpha0'; this claim compares several arms, expected 'alpha0.4'"):
        CLAIM.judge([run], None)


def test_longer_uniform_run_is_that_of_three_phases() -> None:
    recipe = load_recipe(CLAIM.recipes / "mini.yaml", {"seed": 20}, "alpha0-long")
    assert recipe == load_recipe(SMOKE.with_name("mini.yaml"), {"seed": 20})


@pytest.mark.parametrize(("arm", "name"), [("alpha0", "uniform"), ("alpha0.6", "alpha0.6")])
def test_runs_of_the_shorter_budget_are_those_of_warm_up(arm: str, name: str) -> None:
    recipe = load_recipe(CLAIM.recipes / "mini.yaml", {"seed": 20}, arm)
    assert recipe == load_recipe(CLAIM.recipes.parent / "warm_up" / "mini.yaml", {"seed": 20}, name)


def test_picture_is_drawn(paper_arms: dict[str, dict[int, Run]], tmp_path: Path) -> None:
    power_law.plot(paper_arms, {}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_paper_numbers_are_those_of_the_file() -> None:
    figure = paper_numbers()["fig4_plateau_end_by_alpha"]
    ratio = figure["64000"][figure["alpha"].index(0.6)] / figure["64000"][0]
    assert MEASURES["plateau_ratio"].paper == pytest.approx(ratio, abs=0.01)
