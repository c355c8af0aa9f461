"""C7: its measures on the paper's numbers, and its rule."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from analysis import fine_tuning
from conftest import ROOT
from curve_files import curves_text, read_curves
from forgetting import old_accuracy_lost
from intervals import Values, outcome
from memory_runs import SEEDS, SHIFTS, B, scattered, tuned_run

from bio_facts.runs.curves import Run
from bio_facts.runs.registration import read_measures

MEASURES = read_measures(ROOT / "train" / "recipes" / "fine_tuning")
NUMBERS = {"64th": 1_000, "16th": 4_000, "quarter": 16_000}  # of the paper's new individuals
ATTENTION = [[0.2, 0.5, 0.8], [0.2, 0.5, 0.83]]


def paper_run(arm: str, number: int, seed: int, shift: float = 0.0, attention: Sequence[list[float]] = ATTENTION) -> Run:
    """The paper's curves with `number` new individuals; all old accuracies but the first are `shift` higher."""
    tuning = fine_tuning.paper_tuning(number)
    first, *others = tuning.old_accuracies
    count = len(tuning.steps)
    old = {
        "attribute_loss": [B * loss for loss in tuning.old_losses],
        "attribute_accuracy": [first, *(accuracy + shift for accuracy in others)],
        "attention_value_to_name": [attention[0]] * (count - 1) + [attention[1]],
    }
    new = {"attribute_loss": [B * loss for loss in tuning.new_losses], "attribute_accuracy": list(tuning.new_accuracies)}
    return tuned_run("fine_tuning", arm, seed, tuning.steps, {"validation": new, "pretrain_validation": old})


def paper_arms(numbers: dict[str, int] = NUMBERS, seeds: Sequence[int] = SEEDS) -> dict[str, dict[int, Run]]:
    return {
        arm: {seed: paper_run(arm, number, seed, shift) for seed, shift in zip(seeds, SHIFTS, strict=True)}
        for arm, number in numbers.items()
    }


def words(arms: dict[str, dict[int, Run]]) -> dict[str, str]:
    return {name: outcome(MEASURES[name], values).word for name, values in fine_tuning.measure(arms).items()}


@pytest.mark.parametrize(("number", "expected"), [(1_000, 0.01), (2_000, 0.08), (4_000, 0.24), (8_000, 0.73), (16_000, 0.91)])
def test_accuracy_lost_in_the_papers_curves_is_the_papers(number: int, expected: float) -> None:
    assert fine_tuning.paper_accuracy_lost(number) == pytest.approx(expected, abs=0.01)  # curves are read to 0.01


def test_measures_of_the_papers_curves_are_the_papers_numbers() -> None:
    arms = {arm: {20: paper_run(arm, number, 20)} for arm, number in NUMBERS.items()}
    measured = {name: values.by_seed[20] for name, values in fine_tuning.measure(arms).items()}
    assert measured.keys() == MEASURES.keys()
    assert measured["old_accuracy_lost"] == pytest.approx(MEASURES["old_accuracy_lost"].paper, abs=0.01)
    assert measured["more_lost_with_more_new"] == pytest.approx(MEASURES["more_lost_with_more_new"].paper, abs=0.01)
    assert measured["attention_change"] == pytest.approx(0.03)


def test_the_paper_is_shown_by_its_own_rule() -> None:
    expected = dict.fromkeys(MEASURES, "shown") | {"attention_change": "direction"}  # for which the paper has no number
    assert words(paper_arms()) == expected


def test_exchanged_arms_are_contradicted() -> None:
    exchanged = words(paper_arms({"64th": 16_000, "16th": 4_000, "quarter": 1_000}))
    assert exchanged["old_accuracy_lost"] == exchanged["more_lost_with_more_new"] == "contradicted"


def test_an_arm_against_itself_is_neither_shown_nor_a_direction() -> None:
    assert words(paper_arms({"64th": 4_000, "16th": 4_000, "quarter": 4_000}))["more_lost_with_more_new"] == "contradicted"


@pytest.mark.parametrize("name", ["old_accuracy_lost", "more_lost_with_more_new"])
def test_scattered_values_around_the_papers_number_are_shown(name: str) -> None:
    assert MEASURES[name].paper is not None
    assert outcome(MEASURES[name], Values(scattered(MEASURES[name].paper or 0))).word == "shown"
    assert outcome(MEASURES[name], Values(scattered(0))).word == "contradicted"


@pytest.mark.parametrize(
    ("last", "word"), [(0.75, "direction"), (0.8, "direction"), (0.5, "contradicted"), (0.71, "undecided")]
)
def test_attention_may_change_within_the_margin(last: float, word: str) -> None:
    runs = {
        seed: paper_run("quarter", 16_000, seed, attention=[[0.8], [last + shift / 5]])
        for seed, shift in zip(SEEDS, SHIFTS, strict=True)
    }
    assert words(paper_arms() | {"quarter": runs})["attention_change"] == word


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ([0.9, 0.7, 0.1], [0.0, 0.5, 1.0], 0.2),
        ([0.9, 0.7, 0.1], [0.0, 0.25, 0.75], 0.5),
        ([0.9, 0.7, 0.1, 0.8], [0.0, 0.25, 0.75, 0.4], 0.5),  # the first time counts
        ([0.9, 0.1], [0.6, 0.7], 0.0),
        ([0.9, 0.1], [0.0, 0.49], None),
        ([0.9, 1.0], [0.0, 1.0], -0.05),
    ],
)
def test_accuracy_lost_is_interpolated_to_the_first_moment_of_half_knowledge(
    old: list[float], new: list[float], lost: float | None
) -> None:
    assert old_accuracy_lost(old, new) == (None if lost is None else pytest.approx(lost))


def test_new_individuals_that_are_never_half_known_leave_it_undecided() -> None:
    arms = paper_arms()
    arms["quarter"][20].curves["validation"].lines[-1]["attribute_accuracy"] = 0.3
    assert words(arms)["old_accuracy_lost"] == "undecided"


def test_runs_without_what_is_measured_are_refused() -> None:
    arms = paper_arms()
    with pytest.raises(ValueError, match="expected '64th' among them"):
        fine_tuning.measure({"quarter": arms["quarter"]})
    for line in arms["quarter"][21].curves["pretrain_validation"].lines:
        del line["attention_value_to_name"]
    with pytest.raises(ValueError, match="has no attention_value_to_name on pretrain_validation; expected a run with"):
        fine_tuning.measure(arms)


def test_claim_is_judged_and_drawn_also_from_its_curves(tmp_path: Path) -> None:
    runs = [run for members in paper_arms(seeds=range(5)).values() for run in members.values()]
    (tmp_path / "mini.curves.jsonl").write_text(curves_text(runs))
    again = read_curves(tmp_path / "mini.curves.jsonl")
    verdicts = [fine_tuning.CLAIM.judge(given, "mini") for given in (runs, again)]
    assert [verdict["word"] for verdict in verdicts] == ["shown", "shown"]
    fine_tuning.CLAIM.plot(fine_tuning.CLAIM.arms(again, "mini")[0], verdicts[1], tmp_path / "mini.png")
    assert (tmp_path / "mini.png").read_bytes().startswith(b"\x89PNG")
