"""F2: the measures of C7 and C8 on the key-value memory, and the plane in which the language model is drawn beside it."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from analysis import associative_memory
from conftest import ROOT
from curve_files import curves_text, read_curves
from intervals import outcome
from memory_runs import B, tuned_run

from bio_facts.runs.curves import Run
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_measures

FOLDER = ROOT / "train" / "recipes" / "associative_memory"
MEASURES = read_measures(FOLDER)
SEEDS = range(20, 25)
STEPS = [0, 100, 400, 1_000, 4_000]
ARMS = tuple(read_recipe_file(FOLDER / "mini.yaml").arms)


def memory_run(arm: str, seed: int, old: Sequence[float], new: Sequence[float], losses: Sequence[float]) -> Run:
    curves = {"pretrain": {"accuracy": old, "loss": losses}, "new": {"accuracy": new, "loss": list(reversed(losses))}}
    return tuned_run("associative_memory", arm, seed, STEPS, curves)


def arms_of(lost: float = 0.4, seeds: Sequence[int] = SEEDS, exchanged: bool = False) -> dict[str, dict[int, Run]]:
    """Runs in which most new pairs cost the most, and replay removes half of the early loss and most of the final one."""
    arms: dict[str, dict[int, Run]] = {}
    for arm in ARMS:
        for index, seed in enumerate(seeds):
            fall = {"new1024": lost, "new32": 0.0}.get(arm, 0.2) * (0.9 + 0.05 * index)
            old = [1.0, 1 - fall / 2, 1 - fall, 1 - fall, 1 - fall]
            losses = [0.01, 0.3, 0.2, 0.1, 0.05] if arm.startswith("w") != exchanged else [0.01, 0.6, 0.8, 1.0, 2.0]
            arms.setdefault(arm, {})[seed] = memory_run(arm, seed, old, [0.0, 0.2, 0.5, 0.9, 1.0], losses)
    return arms


def words(arms: dict[str, dict[int, Run]]) -> dict[str, str]:
    return {name: outcome(MEASURES[name], values).word for name, values in associative_memory.measure(arms).items()}


def test_arms_are_the_papers_sizes_and_weights() -> None:
    recipe = {arm: memory_run(arm, 20, [1.0] * 5, [0.0] * 5, [1.0] * 5).recipe for arm in ARMS}
    settings = [(given["num_new_pairs"], given["replay_weight"]) for given in recipe.values()]
    sizes = [(number, 0) for number in (32, 64, 128, 256, 512, 1024)]
    assert settings == sizes + [(128, weight) for weight in (2, 1 / 2, 1 / 8, 1 / 32, 1 / 128, 1 / 512)]


def test_measures_are_those_of_the_language_model_at_most_a_direction() -> None:
    measured = {name: values.by_seed[22] for name, values in associative_memory.measure(arms_of()).items()}
    assert measured == pytest.approx(
        {
            "old_accuracy_lost": 0.4,
            "more_lost_with_more_new": 0.4,
            "final_rise_removed": 1 - 0.04 / 1.99,
            "recovery": 0.25 / 0.3,
            "early_rise_kept": 0.29 / 0.79,
        }
    )
    assert words(arms_of()) == dict.fromkeys(MEASURES, "direction")


def test_effects_of_the_other_sign_are_contradicted() -> None:
    reversed_words = words(arms_of(lost=-0.4, exchanged=True))
    assert {reversed_words[name] for name in ("old_accuracy_lost", "more_lost_with_more_new", "final_rise_removed")} == {
        "contradicted"
    }


def test_arms_that_are_equal_are_no_direction() -> None:
    arms = arms_of()
    same = words(arms | {"new32": arms["new1024"], "w0.125": arms["new128"]})
    assert {same["more_lost_with_more_new"], same["final_rise_removed"], same["recovery"]} == {"undecided"}


def test_losses_are_in_units_of_the_logarithm_of_the_number_of_values() -> None:
    tuning = associative_memory.tunings_of(arms_of()["new128"])[20]
    assert tuning.old_losses[-1] == pytest.approx(2.0 / math.log(30))


def test_claim_is_judged_and_drawn_with_the_language_model_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    runs = [run for members in arms_of(seeds=range(2)).values() for run in members.values()]
    again = tmp_path / "associative_memory" / "mini.curves.jsonl"
    again.parent.mkdir()
    again.write_text(curves_text(runs))
    verdict = associative_memory.CLAIM.judge(read_curves(again), "mini")
    arms = associative_memory.CLAIM.arms(read_curves(again), "mini")[0]
    picture = again.with_name("mini.png")
    associative_memory.plot(arms, verdict, picture)
    losses = {"attribute_loss": [B * 0.01, B], "attribute_accuracy": [1.0, 0.5]}
    curves = {"validation": losses, "pretrain_validation": losses}
    language = [tuned_run("fine_tuning", arm, seed, [0, 1600], curves) for arm in ("64th", "quarter") for seed in (0, 1)]
    (tmp_path / "fine_tuning").mkdir()
    (tmp_path / "fine_tuning" / "mini.curves.jsonl").write_text(curves_text(language))
    associative_memory.plot(arms, verdict, picture)
    alone, beside = (len(figure.axes[3].lines) for figure in drawn)
    assert beside == alone + 2 + 1  # two arms of the first seed, and the legend
    assert picture.read_bytes().startswith(b"\x89PNG")
