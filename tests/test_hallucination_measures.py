"""C6: its measures on the paper's numbers, and its rules."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis import hallucination
from analysis.hallucination import CLAIM, onsets
from memory_runs import SCATTER, SEEDS, means, run_with, words
from paper import confidence_curve, three_phases_curve, unseen_loss_curve

from bio_facts.runs.curves import Run
from bio_facts.runs.registration import read_measures

MEASURES = read_measures(CLAIM.recipes)
SHOWN = dict.fromkeys(MEASURES, "shown")


STEPS = [0, 25, 50, *range(100, 5300, 50), 5333]


def curves_of_the_paper(factor: float = 1.0, delay: float = 1.0) -> dict[str, dict[str, Any]]:
    """The paper's curves at a third of its steps, interpolated in the logarithm of the step.

    factor: of the steps at which the unseen loss is where the paper's is, of its excess at the end and of the entropy. delay:
    a further factor of these steps.
    """
    (steps, losses, baseline), (unseen_steps, unseen_losses, _) = three_phases_curve(), unseen_loss_curve()
    stretched = [step * factor * delay for step in unseen_steps]
    at_end = unseen_losses[-1] + (factor - 1) * baseline
    curves: dict[str, dict[str, Any]] = {
        "validation": {"attribute_loss": at_thirds(steps, losses) / baseline},
        "unseen": {"attribute_loss": at_thirds(stretched, [*unseen_losses[:-1], at_end]) / baseline, "confidence_auroc": 0.7},
    }
    for split, name in (("validation", "seen"), ("unseen", "unseen")):
        for key in ("top_probability", "entropy"):
            curves[split][key] = at_thirds(*confidence_curve(f"{key}_{name}"))
    curves["unseen"]["entropy"] = curves["unseen"]["entropy"] * factor
    return {split: {"step": STEPS} | columns for split, columns in curves.items()}


def at_thirds(steps: Sequence[float], values: Sequence[float]) -> np.ndarray:
    """A curve of the paper at 3 x STEPS."""
    return np.interp(np.log(np.maximum(np.array(STEPS) * 3, 1)), np.log(np.maximum(steps, 1)), values)


def runs_of_the_paper(factors: Mapping[int, float], **change: float) -> dict[int, Run]:
    return {
        seed: run_with("hallucination", "", seed, curves_of_the_paper(factor, **change)) for seed, factor in factors.items()
    }


def scattered(**change: float) -> dict[int, Run]:
    return runs_of_the_paper(dict(zip(SEEDS, SCATTER, strict=True)), **change)


def test_measures_of_the_papers_curves_are_the_papers_numbers() -> None:
    measured = means("hallucination", {"": runs_of_the_paper({20: 1.0})})
    assert measured.keys() == MEASURES.keys()
    for name, measure in MEASURES.items():
        # The unseen loss is read at 10 steps, 1,000 apart where it rises.
        assert measured[name] == pytest.approx(measure.paper, rel=0.05 if measure.carrying else 0.02), name


def test_the_paper_is_shown_by_its_own_rules() -> None:
    assert words("hallucination", {"": scattered()}) == SHOWN


def test_seen_and_unseen_exchanged_are_contradicted() -> None:
    runs = {}
    for seed, run in scattered().items():
        curves = run.curves
        runs[seed] = Run(run.folder, run.config, {"validation": curves["unseen"], "unseen": curves["validation"]})
    found = words("hallucination", {"": runs})
    assert found.pop("ratio_of_onsets") == "undecided"  # there is no plateau
    assert set(found.values()) == {"contradicted"}


@pytest.mark.parametrize("delay", [0.45, 2.0])
def test_hallucination_at_another_time_than_knowledge_is_contradicted(delay: float) -> None:
    assert words("hallucination", {"": scattered(delay=delay)})["ratio_of_onsets"] == "contradicted"


def test_seen_individuals_as_if_they_were_unseen_are_neither_shown_nor_a_direction() -> None:
    runs = {}
    for seed, run in scattered().items():
        unseen = Run(run.folder, run.config, {"validation": run.curves["validation"], "unseen": run.curves["validation"]})
        runs[seed] = unseen
    assert set(words("hallucination", {"": runs}).values()) <= {"undecided", "contradicted"}


def test_levels_are_those_of_each_loss() -> None:
    """An unseen loss that lies higher on the plateau leaves its level at the same step."""
    seen, (steps, losses, baseline) = three_phases_curve(), unseen_loss_curve()
    higher = [loss + 0.05 * baseline for loss in losses]
    assert onsets(seen, (steps, higher, baseline)) == pytest.approx(onsets(seen, (steps, losses, baseline)))


def test_onsets_by_hand() -> None:
    """Both levels are 1 on the plateau from step 100 to 1,600; the losses move by 0.02 at steps 2,000 and 2,400."""
    steps = [0, 50, 100, 1600, 2000, 2400, 3200]
    seen = [5.0, 2.0, 1.0, 1.0, 0.98, 0.9, 0.1]
    unseen = [5.0, 2.0, 1.0, 1.0, 1.0, 1.02, 1.5]
    assert onsets((steps, seen, 1.0), (steps, unseen, 1.0)) == pytest.approx((2000, 2400), rel=1e-9)
    assert onsets((steps, [5.0] * 7, 1.0), (steps, unseen, 1.0)) == (None, None)
    assert onsets((steps, seen, 1.0), (steps, [5.0, 2.0, *[1.0] * 5], 1.0)) == (pytest.approx(2000), None)


def test_loss_that_never_rises_is_not_measured() -> None:
    curves = curves_of_the_paper()
    curves["unseen"]["attribute_loss"] = 1.03
    found = CLAIM.measure({"": {20: run_with("hallucination", "", 20, curves)}})
    assert found["ratio_of_onsets"].by_seed == {20: None}


def test_one_run_has_values_and_no_word() -> None:
    verdict = CLAIM.judge([run_with("hallucination", "", 20, curves_of_the_paper())], None)
    assert (verdict["word"], verdict["measures"][1]["mean"]) == ("", pytest.approx(1.36, abs=0.01))


@pytest.mark.parametrize("has_auroc", [True, False])
def test_picture_is_drawn(tmp_path: Path, has_auroc: bool) -> None:
    runs = scattered()
    if not has_auroc:
        for run in runs.values():
            for line in run.curves["unseen"].lines:
                del line["confidence_auroc"]
    hallucination.plot({"": runs}, {}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
