"""C3: its measures on the paper's numbers, exchanged, against themselves, and on an earlier release's results."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from analysis import attention_patching
from analysis.attention_patching import change_over_plateau, time_to_knowledge
from conftest import ROOT
from intervals import Values, outcome
from memory_runs import made_run
from paper import attention_curves, patched_final_losses, patched_loss_curve, three_phases_curve

from bio_facts.runs.curves import Run
from bio_facts.runs.registration import read_measures

MEASURES = read_measures(ROOT / "train" / "recipes" / "attention_patching")
SEEDS = range(20, 25)
SCATTER = (0.9, 0.96, 1.0, 1.05, 1.1)  # of times, and of 1 + losses and shares, by seed
TOLERANCES = {"time_to_knowledge": 0.01, "frozen": 0.03}  # digitizing: the curve has four points there, and no reference at P
EXCHANGED = {"after": "normal", "phase1": "untrained", "frozen-plateau-end": "frozen-phase1", "uniform-third": "groups-third"}

Arms = dict[str, dict[int, Run]]


def paper_attention(exchanged: bool = False) -> dict[str, list[list[float]]]:
    """The paper's shares of attention by layer at the steps of its loss curve; exchanged: they fall as much as they rose."""
    steps, _, _ = three_phases_curve()
    in_last = np.interp(steps, *attention_curves("value_to_name"))
    in_first = np.interp(steps, [1000, 3000], [0.49, 0.90])  # read before and after the plateau only
    if exchanged:
        in_last, in_first = 1 - in_last, 1 - in_first
    text = np.interp(steps, *attention_curves("value_to_text"))
    return {
        "attention_value_to_name": [[0.3, float(x)] for x in in_last],
        "attention_value_to_text": [[0.6, float(x)] for x in text],
        "attention_name_to_name": [[float(x), 0.2] for x in in_first],
        "attention_entropy": [[0.5, 0.5] for _ in steps],
    }


def paper_arms(scatter: Mapping[int, float] | None = None, exchanged: bool = False, itself: bool = False) -> Arms:
    """Runs of the paper's numbers. exchanged: the arms in each other's place. itself: both arms of each comparison are one."""
    scatter = scatter or dict(zip(SEEDS, SCATTER, strict=True))
    references, losses = patched_final_losses(frozen=False)
    start = dict(zip(references, losses, strict=True))
    frozen = dict(zip(*patched_final_losses(frozen=True), strict=True))
    at_plateau_end = float(np.interp(math.log(3085), np.log([2000, 4000]), [frozen[2000], frozen[4000]]))
    finals = {
        "untrained": start[0], "phase1": start[500], "uniform-third": start[1000],
        "groups-third": patched_final_losses(frozen=None)[1][0],
        "frozen-phase1": frozen[500], "frozen-plateau-end": at_plateau_end,
    }  # fmt: skip
    reference_steps = {"untrained": 0, "phase1": 500, "frozen-phase1": 500, "frozen-plateau-end": 3000}
    arms: Arms = {}
    for seed, factor in scatter.items():
        steps, values, baseline = three_phases_curve()
        curve = [step * math.sqrt(factor) for step in steps], values, baseline
        columns = {
            key: [[share * factor for share in layers] for layers in column]
            for key, column in paper_attention(exchanged).items()
        }
        patched_steps, patched_values, _ = patched_loss_curve()
        patched = [step * factor**1.5 for step in patched_steps], patched_values, baseline
        arms.setdefault("normal", {})[seed] = made_run(seed, {"validation": curve}, **columns)
        arms.setdefault("half", {})[seed] = made_run(seed, {"validation": (steps, values, baseline)})
        for arm in ("after", "after-next"):
            attention = {"reference_step": 16_000, "start_step": 0}
            recipe = {"attention": attention, "stop_below": 0.8}
            arms.setdefault(arm, {})[seed] = made_run(seed, {"validation": patched}, recipe)
        for arm, final in finals.items():
            step = reference_steps.get(arm, 1000)
            attention = {"reference_step": step, "start_step": step if arm.startswith("frozen") else 0}
            last = (1 + final) * factor * baseline - baseline
            lines = [0, 15_000, 20_000], [5.0 * baseline, last, last], baseline
            arms.setdefault(arm, {})[seed] = made_run(seed, {"validation": lines}, {"attention": attention})
    original = dict(arms)
    for a, b in EXCHANGED.items():
        if exchanged:
            arms[a], arms[b] = original[b], original[a]
        elif itself:
            arms[a] = arms[b]
    if exchanged:  # the normal run is that of attention, too
        for run in arms["normal"].values():
            lines = run.curves["validation"].lines
            for line in lines:
                line.update({key: column[0] for key, column in paper_attention(exchanged).items()})
    return arms


def words(arms: Arms) -> dict[str, str]:
    return {name: outcome(MEASURES[name], values).word for name, values in attention_patching.measure(arms).items()}


def test_measures_of_the_papers_runs_are_the_papers_numbers() -> None:
    measured = attention_patching.measure(paper_arms({20: 1.0}))
    assert measured.keys() == MEASURES.keys()
    for name, measure in MEASURES.items():
        if measure.paper is not None:
            assert measured[name].by_seed[20] == pytest.approx(measure.paper, abs=TOLERANCES.get(name, 0.01)), name


def test_the_paper_is_shown_by_its_own_rules() -> None:
    expected = {name: "direction" if measure.paper is None else "shown" for name, measure in MEASURES.items()}
    assert words(paper_arms()) == expected


@pytest.mark.parametrize("name", [name for name, measure in MEASURES.items() if measure.paper is not None])
def test_scattered_values_around_the_papers_number_are_shown(name: str) -> None:
    paper = MEASURES[name].paper
    assert paper is not None
    near = {seed: paper * factor for seed, factor in zip(SEEDS, SCATTER, strict=True)}
    assert outcome(MEASURES[name], Values(near)).word == "shown"


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"value_to_name", "name_to_name", "time_to_knowledge_next"}))
def test_exchanged_arms_contradict_the_paper(name: str) -> None:
    assert words(paper_arms(exchanged=True))[name] == "contradicted"


@pytest.mark.parametrize("name", ["value_to_name", "name_to_name"])
def test_attention_that_falls_contradicts_the_paper(name: str) -> None:
    steps, losses, baseline = three_phases_curve()
    layer = {"value_to_name": -1, "name_to_name": 0}[name]
    column = paper_attention(exchanged=True)[f"attention_{name}"]
    fall = change_over_plateau(steps, losses, baseline, [layers[layer] for layers in column])
    assert fall is not None
    values = Values({seed: fall * factor for seed, factor in zip(SEEDS, SCATTER, strict=True)})
    assert outcome(MEASURES[name], values).word == "contradicted"


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"value_to_name", "name_to_name", "time_to_knowledge_next"}))
def test_arm_against_itself_is_neither_shown_nor_a_direction(name: str) -> None:
    assert words(paper_arms(itself=True))[name] in ("contradicted", "undecided")


def test_early_patterns_of_the_first_release_candidate_have_no_effect_of_the_papers_size() -> None:
    """Final losses in commit 56c574a, eval/results/attention_patching/mini.json: patterns of steps 0 and 100, three seeds."""
    untrained, phase1 = (3.3023, 3.3120, 3.3240), (3.3679, 3.3982, 3.3552)
    baseline = 3.5663
    differences = {seed: (b - a) / baseline for seed, a, b in zip((10, 11, 12), untrained, phase1, strict=True)}
    result = outcome(MEASURES["early_patterns"], Values(differences))
    assert result.low is not None and result.high is not None
    assert result.low < 0 < result.high < 0.33  # none of it could be told from nothing, all of it from the paper's half effect
    assert result.word == "contradicted"


def test_time_to_knowledge_of_the_first_release_candidate() -> None:
    """The same file, seed 10: runs with the patterns of step 1,000, and without."""
    steps = [150, 175, 200, 225, 250, 275, 300]
    patched = [3.6535, 3.6094, 3.565, 3.4823, 3.4362, 3.3831, 3.3206]
    normal_steps = [500, 525, 550, 575, 600, 800]
    normal = [3.5557, 3.511, 3.4739, 3.4108, 3.3622, 2.7943]
    a, b = time_to_knowledge(steps, patched, 3.5663), time_to_knowledge(normal_steps, normal, 3.5663)
    assert a is not None and b is not None
    assert 225 < a < 250
    assert 550 < b < 575
    assert a / b == pytest.approx(0.43, abs=0.01)


def test_time_counts_from_where_the_loss_stays_below() -> None:
    assert time_to_knowledge([0, 10, 20, 40], [9.0, 0.9, 0.98, 0.96], 1.0) == pytest.approx(20 * 2**0.5)
    assert time_to_knowledge([0, 10, 20, 40], [9.0, 0.9, 0.96, 0.98], 1.0) is None


def test_run_that_comes_to_no_knowledge_leaves_its_measure_undecided() -> None:
    arms = paper_arms()
    flat = [0, 100, 16_000], [9.0, 6.9, 6.8], 6.7688
    arms["after"][22] = made_run(22, {"validation": flat}, {"attention": {"reference_step": 16_000, "start_step": 0}})
    assert words(arms)["time_to_knowledge"] == "undecided"


def test_seeds_of_all_arms_of_a_measure_are_compared() -> None:
    arms = paper_arms()
    arms["groups-third"] = {20: arms["groups-third"][20]}
    measured = attention_patching.measure(arms)
    assert set(measured["groups_as_reference"].by_seed) == {20}
    assert set(measured["early_patterns"].by_seed) == set(SEEDS)


def test_missing_arm_and_missing_attention_are_named() -> None:
    arms = paper_arms({20: 1.0})
    for line in arms["normal"][20].curves["validation"].lines:
        del line["attention_value_to_name"]
    with pytest.raises(
        ValueError, match="has no attention_value_to_name; expected a run with num_attention_biographies above 0"
    ):
        attention_patching.measure(arms)
    with pytest.raises(ValueError, match="there are runs of 'normal'; this claim compares several arms, expected 'untrained'"):
        attention_patching.measure({"normal": arms["normal"]})


@pytest.mark.parametrize("scatter", [None, {20: 1.0}])
def test_figure_is_drawn_with_and_without_further_seeds(tmp_path: Path, scatter: dict[int, float] | None) -> None:
    attention_patching.plot(paper_arms(scatter), {}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
