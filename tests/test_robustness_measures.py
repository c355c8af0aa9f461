"""C10: its measures on curves of the paper's shape, and where an arm has no plateau or another one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from analysis import robustness
from analysis.robustness import CHANGED, DEFAULT, largest_deviation
from memory_runs import RECIPES, LossCurve, paper_curve, recipe_of, run_of, words
from paper import paper_numbers

from bio_facts.runs.recipe import plain
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_measures

MEASURES = read_measures(RECIPES / "robustness")
END = 1_250 * 16  # biographies until plateau_end of the default
RATIOS = dict.fromkeys(CHANGED, 1.0) | {"batch-quarter": 1.0, "wider": 0.9, "batch-x4": 1.4}
FALLING = ([0, 50, 100, 200, 400, 800, 1600, 3200], [38.0, 9, 7.4, 6.9, 6, 4, 2, 0], 6.77)  # no plateau
SLOW = ([0, 100], [30.0, 7.0], 6.77)  # nothing is learned
SEEDS, SCATTER = (20, 21, 22), (0.98, 1.0, 1.02)


def arms(changed: dict[str, LossCurve] | None = None, ratios: dict[str, float] = RATIOS) -> dict[str, Any]:
    """Runs of mini.yaml with the paper's curve, its plateau at END times the arm's ratio; `changed`: other curves."""
    runs: dict[str, Any] = {}
    for arm in (DEFAULT, *CHANGED):
        end = END * ratios.get(arm, 1.0) / recipe_of("robustness", arm, 20).batch_size
        curves = {seed: (changed or {}).get(arm) or paper_curve(end * time) for seed, time in zip(SEEDS, SCATTER, strict=True)}
        runs[arm] = {seed: run_of("robustness", arm, seed, curve) for seed, curve in curves.items()}
    return runs


def test_measures_of_curves_with_the_papers_plateaus_are_the_papers_numbers() -> None:
    """Plateau ends are read from other grids than the default's, up to 10 % of the step wide."""
    measured = robustness.measure(arms())
    assert measured.keys() == MEASURES.keys()
    for arm in CHANGED:
        assert measured[f"plateau_end_{arm}"].by_seed[20] == pytest.approx(RATIOS[arm], rel=0.05), arm
    for arm in ("batch-quarter", "wider"):
        assert MEASURES[f"plateau_end_{arm}"].paper == RATIOS[arm]
    assert measured["smallest_plateau_width"].by_seed[20] == pytest.approx(6.1, rel=0.1)
    assert measured["largest_deviation"].by_seed[20] == pytest.approx(1.4, rel=0.05)


def test_papers_plateaus_lie_in_the_direction() -> None:
    """More than that they cannot, for the paper has no number."""
    assert words("robustness", arms())["largest_deviation"] == "direction"


@pytest.mark.parametrize(("arm", "ratio"), [("batch-x4", 3.0), ("rate-half", 3.0), ("recurrent", 3.0)])
def test_plateau_three_times_as_long_in_one_arm_is_contradicted(arm: str, ratio: float) -> None:
    assert words("robustness", arms(ratios=RATIOS | {arm: ratio}))["largest_deviation"] == "contradicted"


def test_arm_without_a_plateau_of_its_own_is_not_in_the_direction() -> None:
    measured = robustness.measure(arms({"recurrent": FALLING}))
    assert measured["smallest_plateau_width"].by_seed[20] is None or measured["smallest_plateau_width"].by_seed[20] < 3
    assert words("robustness", arms({"recurrent": FALLING}))["largest_deviation"] in ("undecided", "contradicted")


def test_arm_that_learns_nothing_is_undecided() -> None:
    judged = words("robustness", arms({"weight-decay-1": SLOW}))
    assert judged["largest_deviation"] == judged["plateau_end_weight-decay-1"] == "undecided"


@pytest.mark.parametrize(
    ("ratios", "widths", "expected"),
    [
        ([1.0, 1.5], [6.0, 6.0], 1.5),
        ([1.0, 0.5], [6.0, 6.0], 2.0),
        ([1.0, 1.1], [6.0, 3.0], 2.0),
        ([1.0, 1.1], [6.0, 2.0], 3.0),
        ([1.0, None], [6.0, 6.0], None),
        ([1.0, 1.0], [6.0, None], None),
    ],
)
def test_largest_deviation(ratios: list[float | None], widths: list[float | None], expected: float | None) -> None:
    assert largest_deviation(ratios, widths) == expected


def test_runs_stop_beyond_what_is_measured() -> None:
    """At half of the no-knowledge loss, far below the 3 % below the plateau's level that W ends at."""
    for arm, runs in arms().items():
        steps, losses, baseline = runs[20].loss_curve()
        assert losses[-1] < 0.5 * baseline < losses[-2], arm
        assert runs[20].phase_ends[1] < steps[-1] / 1.3, arm


def test_every_arm_changes_one_setting_of_the_default() -> None:
    default = recipe_of("robustness", DEFAULT, 20)
    for arm in CHANGED:
        recipe = recipe_of("robustness", arm, 20)
        assert recipe.num_steps * recipe.batch_size == default.num_steps * default.batch_size
        changed = {key for key, value in recipe.as_dict().items() if value != default.as_dict()[key]}
        assert changed == {"batch_size", "num_steps", "eval_every", "save_every"} or len(changed) == 1, arm


@pytest.mark.parametrize("scale", ["smoke", "mini", "paper"])
def test_recurrent_model_has_the_shape_of_the_default_and_about_as_many_weights(scale: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    configs = [plain(recipe_of("robustness", arm, 20, scale).model_config) for arm in (DEFAULT, "recurrent")]
    for key in ("num_hidden_layers", "hidden_size"):
        assert configs[0][key] == configs[1][key]
    with torch.device("meta"):
        models = [AutoModelForCausalLM.from_config(AutoConfig.for_model(vocab_size=770, **config)) for config in configs]
    sizes = [sum(weight.numel() for weight in model.parameters()) for model in models]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.15)
    assert not any(hasattr(module, "q_proj") for module in models[1].modules())


@pytest.mark.parametrize("scale", ["smoke", "mini", "paper"])
def test_every_scale_has_the_arms_that_are_measured(scale: str) -> None:
    file = read_recipe_file(RECIPES / "robustness" / f"{scale}.yaml")
    assert {DEFAULT, *CHANGED} <= set(file.arms)
    assert set(file.arms) <= set(robustness.PAPER_FINAL_LOSSES)
    figc = paper_numbers()["figC_robustness"]
    assert all(row in figc[table] for table, row in robustness.PAPER_FINAL_LOSSES.values())


@pytest.mark.parametrize("changed", [None, {"recurrent": SLOW}], ids=["all stop", "one runs to the end"])
def test_final_losses_are_drawn_where_a_run_reaches_its_end(
    changed: dict[str, LossCurve] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import pyplot

    drawn: list[Any] = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    robustness.plot(arms(changed), {}, tmp_path / "picture.png")
    assert len(drawn[0].axes) == (3 if changed is None else 4)
