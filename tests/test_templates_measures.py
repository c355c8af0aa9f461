"""F1: its measures on the paper's final losses, and the runs that it shares."""

from pathlib import Path
from typing import Any

import pytest
from analysis import templates
from intervals import outcome
from memory_runs import RECIPES, SCATTER, SEEDS, recipe_of, run_of, words
from paper import paper_numbers
from run_all import plan_claims

from bio_facts.runs.registration import read_measures

MEASURES = read_measures(RECIPES / "templates")
BASELINE = paper_numbers()["baseline_nats"]
FINAL = {  # nats per value, Fig. A; ours have 20 templates where the paper has 16
    "all": 0.018, "one-drawn": 4.67, "two-drawn": 0.060, "four-drawn": 0.022, "all-fixed": 8.1
}  # fmt: skip


def arms(final: dict[str, float] = FINAL, scatter: tuple[float, ...] = SCATTER) -> dict[str, Any]:
    """Runs of mini.yaml that fall from the paper's plateau to a final loss."""
    runs: dict[str, Any] = {}
    for arm, loss in final.items():
        seeds = (20,) if arm in ("two-drawn", "four-drawn") else SEEDS
        runs[arm] = {}
        for seed, factor in zip(seeds, scatter, strict=False):
            losses = [38.0, 7.0, 6.7, loss * factor, loss * factor]
            runs[arm][seed] = run_of("templates", arm, seed, ([0, 200, 480, 2200, 3500], losses, BASELINE))
    return runs


def test_measures_of_the_papers_losses_are_the_papers_numbers() -> None:
    measured = templates.measure(arms(scatter=(1.0,) * 5))
    assert measured.keys() == MEASURES.keys()
    for name, measure in MEASURES.items():
        assert measured[name].by_seed[20] == pytest.approx(measure.paper, abs=0.006), name


def test_the_papers_losses_with_scatter_are_shown() -> None:
    assert words("templates", arms()) == {"one_template": "shown", "fixed_order": "shown"}


def test_exchanged_arms_are_contradicted() -> None:
    exchanged = arms({"all": 4.67, "one-drawn": 0.018, "all-fixed": 0.018})
    assert set(words("templates", exchanged).values()) == {"contradicted"}


def test_arms_against_themselves_are_contradicted() -> None:
    assert set(words("templates", arms(dict.fromkeys(FINAL, 0.5))).values()) == {"contradicted"}


def test_fixed_order_that_ends_on_the_plateau_is_shown_but_far_below_it_is_not() -> None:
    assert words("templates", arms(FINAL | {"all-fixed": 6.9}, (0.99, 0.995, 1.0, 1.005, 1.01)))["fixed_order"] == "shown"
    assert words("templates", arms(FINAL | {"all-fixed": 4.0}))["fixed_order"] == "direction"


def test_without_a_seed_of_an_arm_there_is_an_interval_of_the_others() -> None:
    runs = arms()
    del runs["one-drawn"][24]
    values = templates.measure(runs)["one_template"]
    assert [*values.by_seed] == [20, 21, 22, 23]
    assert outcome(MEASURES["one_template"], values).low is not None


def test_run_with_all_templates_is_that_of_attention_patching() -> None:
    jobs = plan_claims(["templates", "attention_patching"], "mini", Path("runs")).claims
    for seed in SEEDS:
        assert jobs["templates"]["all", seed] is jobs["attention_patching"]["half", seed]


def test_arms_differ_in_templates_and_order_alone() -> None:
    data = {arm: dict(recipe_of("templates", arm, 20).data.parameters) for arm in FINAL}
    for arm, changed in {
        "one-drawn": {"num_training_templates": 1}, "two-drawn": {"num_training_templates": 2},
        "four-drawn": {"num_training_templates": 4}, "all-fixed": {"sentence_order": "fixed"},
    }.items():  # fmt: skip
        assert data[arm] == data["all"] | changed


def test_picture_has_the_papers_final_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    drawn: list[Any] = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    templates.plot(arms(), {}, tmp_path / "picture.png")
    lines = {line.get_label(): line for line in drawn[0].axes[1].lines}
    assert list(lines["the paper, drawn order"].get_xdata()) == [1, 2, 4, 8, 16]
    assert list(lines["the paper, one order"].get_ydata()) == pytest.approx([8.1 / BASELINE])
    assert len(lines["drawn order"].get_xdata()) == 12
