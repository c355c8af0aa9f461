"""R1: recall from counts of facts, its arms, and its rule on the numbers of Allen-Zhu & Li 3.1."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis import celebrities_help, probing, recall
from conftest import ROOT
from intervals import Values, outcome
from memory_runs import SEEDS, SHIFTS, recipe_of, run_with
from run_all import plan_claims

from bio_facts import draw, rows
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.splits import formats
from bio_facts.runs.curves import Run
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_measures

FOLDER = ROOT / "train" / "recipes" / "recall"
MEASURES = read_measures(FOLDER)
ARMS = tuple(read_recipe_file(FOLDER / "mini.yaml").arms)
NUM_FACTS = 200  # of each attribute


def counts(stored: float, recalled: float) -> list[list[int]]:
    """Counts of facts of each attribute, with as much overlap as there can be."""
    in_text, answered = round(stored * NUM_FACTS), round(recalled * NUM_FACTS)
    both = min(in_text, answered)
    return [[both, in_text - both, answered - both, NUM_FACTS - max(in_text, answered)]] * len(ATTRIBUTES)


def run(
    arm: str,
    seed: int,
    steps: Sequence[int],
    stored: Sequence[float],
    recalled: Sequence[float],
    for_selection: Sequence[float] | None = None,
) -> Run:
    data = recipe_of("recall", arm, seed).data
    columns = {
        "step": steps,
        "facts": [counts(*pair) for pair in zip(stored, recalled, strict=True)],
        "facts_selection": [counts(1, share) for share in for_selection or recalled],
        "num_questions": [data.phases.num_questions(step * 32) for step in steps],
        "num_biographies": [step * 32 - data.phases.num_questions(step * 32) for step in steps],
    }
    return run_with("recall", arm, seed, {"questions_not_asked": columns})


def test_recall_is_the_share_of_stored_facts_above_the_best_constant_answer() -> None:
    single = run("fresh-drawn-third", 20, [0, 700, 2_100], [0, 0.9, 1.0], [0, 0, 0.6])
    chance = recall.chance_accuracy(single)
    assert recall.recall(single) == pytest.approx((0.6 - chance) / (1 - chance))


def test_chance_is_the_most_frequent_value_of_the_scored_individuals() -> None:
    single = run("fresh-drawn-third", 20, [0, 2_100], [0, 1], [0, 1])
    data = recipe_of("recall", "fresh-drawn-third", 20).data
    asked = set(rows_of_ids(draw(data, "questions_asked", range(16_000))))
    ids = [int(i) for i in data.population.asked_individuals(range(300, 600)) if int(i) not in asked]
    scored = [data.population[i].values for index, i in enumerate(ids) if index % 3]
    shares = []
    for attribute in ATTRIBUTES:
        values = [individual[attribute] for individual in scored]
        shares.append(max(values.count(value) for value in values) / len(values))
    assert recall.chance_accuracy(single) == pytest.approx(np.mean(shares))
    assert 0.03 < np.mean(shares) < 0.1


def rows_of_ids(biographies: Any) -> list[int]:
    return [row["individual_id"] for row in rows(biographies)]


def test_the_step_is_chosen_on_other_individuals_and_after_the_onset() -> None:
    # The best step of the scored individuals is 1,400, that of the others is 2,100. Questions begin after step 700.
    curve = ([0, 700, 1_400, 2_100], [0, 1, 1, 1], [0, 0.9, 0.7, 0.5])
    single = run("fresh-drawn-third", 20, *curve, for_selection=[0, 1.0, 0.2, 0.3])
    assert recall.best_line(single)["step"] == 2_100


def test_a_run_that_stores_too_little_has_no_recall() -> None:
    assert recall.recall(run("one-fixed-mixed", 20, [0, 2_100], [0, 0.89], [0, 0.5])) is None


def test_two_stage_training_is_judged_by_what_was_stored_when_biographies_ended() -> None:
    steps, recalled = [0, 980, 1_050, 1_120, 2_100], [0, 0, 0, 0.3, 0.2]
    forgot = run("fresh-drawn-two-stage", 20, steps, [0, 0.8, 0.95, 0.5, 0.1], recalled)
    assert recall.stored_accuracy(forgot) == pytest.approx(0.95)
    chance = recall.chance_accuracy(forgot)
    assert recall.recall(forgot) == pytest.approx((0.3 - chance) / (0.95 - chance))
    assert recall.recall(run("fresh-drawn-two-stage", 20, steps, [0, 1, 0.8, 1, 1], recalled)) is None


def test_what_returns_is_counted_from_the_end_of_the_questions() -> None:
    single = run("fresh-drawn-sandwich", 20, [0, 525, 1_500, 1_575, 2_100], [1] * 5, [0, 0, 0.2, 0.3, 0.8])
    assert recall.recall_that_returns(single) == pytest.approx(0.5)


def accuracies_of_31(shift: float) -> dict[str, float]:
    """Accuracy on questions, by arm: what 3.1 has measured, and otherwise a number that stands for no effect."""
    measured = {"fresh-drawn-third": 0.966, "one-fixed-third": 0.044, "one-drawn-third": 0.7, "fresh-fixed-third": 0.41}
    measured |= {"one-fixed-mixed": 0.866}
    return {arm: min(1.0, max(0.0, measured.get(arm, 0.5) + shift)) for arm in ARMS}


def arms_of_31(exchange: dict[str, str] | None = None) -> dict[str, dict[int, Run]]:
    made: dict[str, dict[int, Run]] = {arm: {} for arm in ARMS}
    for index, seed in enumerate(SEEDS):
        shares = accuracies_of_31(SHIFTS[index] / 2)
        for number, arm in enumerate(ARMS):
            share = shares[(exchange or {}).get(arm, arm)] + SHIFTS[(index * (number + 2)) % len(SHIFTS)] / 4
            share = min(1.0, max(0.0, share))
            onset = 1_575 if "sandwich" in arm else 1_050
            made[arm][seed] = run(arm, seed, [0, onset, 2_100], [0, 1, 1], [0, share, share])
    return made


@pytest.mark.parametrize(
    ("name", "effect"), [("text", 0.966 - 0.044), ("mixing", 0.866 - 0.044), ("wording", 0.41 - 0.044), ("order", 0.7 - 0.044)]
)
def test_rule_finds_the_effects_of_the_numbers_of_31(name: str, effect: float) -> None:
    result = outcome(MEASURES[name], recall.measure(arms_of_31())[name])
    assert result.word == "shown"
    assert result.mean == pytest.approx(effect, abs=0.08)  # above chance and scattered


def test_rule_contradicts_exchanged_arms_and_says_nothing_about_an_arm_against_itself() -> None:
    pair = {"fresh-drawn-third": "one-fixed-third", "one-fixed-third": "fresh-drawn-third"}
    assert outcome(MEASURES["text"], recall.measure(arms_of_31(pair))["text"]).word == "contradicted"
    same = {"fresh-drawn-third": "one-fixed-third"}
    assert outcome(MEASURES["text"], recall.measure(arms_of_31(same))["text"]).word in ("undecided", "contradicted")


def test_a_seed_without_recall_leaves_the_measure_undecided() -> None:
    runs = arms_of_31()
    runs["one-fixed-third"][21] = run("one-fixed-third", 21, [0, 1_050, 2_100], [0, 0.5, 0.5], [0, 0, 0])
    values: Values = recall.measure(runs)["text"]
    assert values.by_seed[21] is None
    assert outcome(MEASURES["text"], values).word == "undecided"


def test_runs_of_unequal_length_are_refused() -> None:
    runs = arms_of_31()
    runs["one-drawn-third"][22] = run("one-drawn-third", 22, [0, 1_050, 1_400], [0, 1, 1], [0, 1, 1])
    message = "one-drawn-third-s22 has num_biographies 28,000, another run 33,600; expected the same rows of each format"
    with pytest.raises(ValueError, match=message):
        recall.measure(runs)


def test_arms_of_the_smoke_recipe_have_the_same_rows() -> None:
    file = read_recipe_file(FOLDER / "smoke.yaml")
    for arm in file.arms:
        recipe = file.recipe(arm, {"seed": 20})
        assert recipe.data.phases.num_questions(recipe.num_steps * recipe.batch_size) == 48, arm


def test_all_arms_have_the_same_rows_and_texts_of_their_name() -> None:
    for arm in ARMS:
        recipe = recipe_of("recall", arm, 20)
        kinds = formats(recipe.data, "train", range(recipe.num_steps * recipe.batch_size))
        assert (kinds == "questions").sum() == (kinds == "biographies").sum() == 33_600, arm
        wordings, order = arm.split("-")[:2]
        assert recipe.data.num_wordings == {"one": 1, "four": 4, "fresh": None}[wordings]
        texts = rows(draw(recipe.data, "train", np.flatnonzero(kinds == "biographies")[:2_000]))
        orders: dict[int, set[tuple[str, ...]]] = {}
        for row in texts:
            orders.setdefault(row["individual_id"], set()).add(tuple(item["attribute"] for item in row["attributes"]))
        largest = max(map(len, orders.values()))
        assert (largest == 1) == (order == "fixed"), arm


def test_celebrities_gain_is_the_difference_of_recall_and_its_rule_finds_that_of_31() -> None:
    arms: dict[str, dict[int, Run]] = {"one-text": {}, "celebrities": {}}
    for arm, share in (("one-text", 0.044), ("celebrities", 0.868)):
        for shift, seed in zip(SHIFTS, SEEDS, strict=True):
            accuracy = share + shift / 2
            arms[arm][seed] = run("one-fixed-third", seed, [0, 2_100], [0, 1], [0, accuracy])
    values = celebrities_help.measure(arms)["celebrities_gain"]
    chance = recall.chance_accuracy(arms["celebrities"][20])
    assert values.by_seed[20] == pytest.approx((0.868 - 0.044) / (1 - chance), abs=0.01)
    measure = read_measures(FOLDER.parent / "celebrities_help")["celebrities_gain"]
    assert outcome(measure, values).word == "shown"


def test_run_without_celebrities_is_shared_with_recall_and_celebrities_alone_have_new_texts() -> None:
    jobs = plan_claims(["recall", "celebrities_help"], "mini", Path("runs")).claims
    assert jobs["recall"]["one-fixed-third", 20] is jobs["celebrities_help"]["one-text", 20]
    data = recipe_of("celebrities_help", "celebrities", 20).data
    texts: dict[int, set[str]] = {}
    for row in rows(draw(data, "train", range(6_000))):
        texts.setdefault(row["individual_id"], set()).add(row["text"])
    asked = set(data.population.asked_individuals(range(300)).tolist())
    assert {len(versions) > 1 for individual, versions in texts.items() if individual in asked} == {True}
    assert {len(versions) for individual, versions in texts.items() if individual not in asked} == {1}


def test_probes_are_read_in_the_last_layer_when_biographies_end() -> None:
    arms: dict[str, dict[int, Run]] = {"fresh": {}, "one": {}}
    for arm, high in (("fresh", 0.9), ("one", 0.1)):
        for shift, seed in zip(SHIFTS, SEEDS, strict=True):
            value = high + shift
            columns = {"step": [0, 1_050, 2_100], "probe_at_name": [[0.5, 0.0], [0.5, value / 2], [0.5, 0.7]]}
            columns |= {"probe_in_text": [[0.5, 0.05], [0.5, value], [0.5, 0.7]], "probe_in_text_shuffled": [[0.5, 0.04]] * 3}
            columns |= {"probe_at_name_shuffled": [[0.5, 0.04]] * 3}
            arms[arm][seed] = run_with("probing", arm, seed, {"questions_not_asked": columns})
    values = probing.measure(arms)
    assert values["stored_at_name"].by_seed[20] == pytest.approx(0.8)
    assert values["stored_at_name_alone"].by_seed[20] == pytest.approx(0.4)
    assert values["untrained"].by_seed[24] == pytest.approx(0.01)
    measures = read_measures(FOLDER.parent / "probing")
    assert [outcome(measures[name], values[name]).word for name in measures] == ["shown", "direction", "direction"]


def test_runs_of_probing_are_those_of_recall() -> None:
    jobs = plan_claims(["recall", "probing"], "mini", Path("runs")).claims
    assert jobs["recall"]["fresh-drawn-two-stage", 20] is jobs["probing"]["fresh", 20]
    assert jobs["recall"]["one-fixed-two-stage", 20] is jobs["probing"]["one", 20]


def test_picture_has_a_panel_for_each_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    drawn: list[Any] = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    recall.plot(arms_of_31(), {}, tmp_path / "picture.png")
    labels = [ax.get_xlabel() for ax in drawn[0].axes]
    assert [label for label in labels if label.startswith("training step")] == [
        f"training step ({name})" for name in ("mixed", "third", "two-stage", "sandwich")
    ]
