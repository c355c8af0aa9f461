import json
from pathlib import Path
from typing import Any

import pytest
from analysis import three_phases
from conftest import run_script
from written_runs import ACCURACIES, BASELINE, LOSSES, POOL_BASELINE, STEPS, UNSEEN, curve, write_run

from bio_facts.runs.curves import read_run


def with_curves(
    folder: Path, losses: list = LOSSES, accuracies: list = ACCURACIES, unseen: list = UNSEEN, **recipe: Any
) -> Path:
    steps = recipe.pop("steps", STEPS)
    curves = {"validation": curve(losses, accuracies, steps=steps), "unseen": curve(unseen, steps=steps)}
    return write_run(folder, curves, **recipe)


def scored(folder: Path) -> dict[str, bool]:
    checks = three_phases.score([read_run(folder)]).checks
    return {check.name.removeprefix("seed 10: ").split(" is ")[0].split(" (")[0]: check.passed for check in checks}


def test_three_phases_pass(tmp_path: Path) -> None:
    assert set(scored(write_run(tmp_path)).values()) == {True}


def test_phase_ends_are_those_of_the_curve(tmp_path: Path) -> None:
    assert read_run(write_run(tmp_path)).phase_ends == (50, 150)


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"accuracies": [0.0, 0.0, 0.06, *ACCURACIES[3:]]}, {"validation accuracy at phase1_end"}),
        ({"losses": [14.0, 6.0, 5.0, 4.42, *LOSSES[4:]], "steps": [0, 25, 50, 80, 105, 130, 155, 175, 200, 300]},
         {"plateau_end / phase1_end", "steps between evaluations until plateau_end"}),
        ({"accuracies": [*ACCURACIES[:5], 0.1, *ACCURACIES[6:]]}, {"highest validation accuracy before plateau_end"}),
        ({"accuracies": [*ACCURACIES[:-1], 0.9]}, {"final validation accuracy"}),
        ({"unseen": [*UNSEEN[:-1], POOL_BASELINE + 0.9]}, {"final unseen loss minus pool_no_knowledge_loss"}),
    ],
)  # fmt: skip
def test_each_check_fails_when_its_part_of_the_claim_does(tmp_path: Path, change: dict, failing: set[str]) -> None:
    assert {name for name, passed in scored(with_curves(tmp_path, **change)).items() if not passed} == failing


def test_run_that_never_learns_fails_with_no_value(tmp_path: Path) -> None:
    run = read_run(with_curves(tmp_path, losses=[14.0] * len(STEPS), accuracies=[0.0] * len(STEPS)))
    check = three_phases.score([run]).checks[0]
    assert check.value is None
    assert not check.passed


def test_curve_far_below_the_baseline_at_once_has_no_plateau(tmp_path: Path) -> None:
    losses = [14.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.3, 0.2, 0.2]
    assert not scored(with_curves(tmp_path, losses=losses))["plateau_end / phase1_end"]


def test_command_writes_verdict_and_picture_and_prints_both(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    done = run_script("eval/analysis/three_phases.py", run)
    assert done.returncode == 0, done.stderr
    runs = [read_run(run)]
    expected = three_phases.CLAIM.judge(runs, "one")
    assert json.loads((run / "three_phases.json").read_text()) == json.loads(json.dumps(expected))
    assert "three_phases: passed" in done.stdout
    assert str(run / "three_phases.png") in done.stdout
    assert (run / "three_phases.png").read_bytes().startswith(b"\x89PNG")


def test_command_exits_1_if_not_passed_and_says_why(tmp_path: Path) -> None:
    run = with_curves(tmp_path, unseen=[4.5] * len(STEPS))
    done = run_script("eval/analysis/three_phases.py", run)
    assert done.returncode == 1
    assert "FAIL  seed 10: final unseen loss" in done.stdout
    assert "NOT PASSED" in done.stdout
    assert "final unseen loss" in json.loads((run / "three_phases.json").read_text())["explanation"]


def test_picture_shows_baseline_and_both_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    runs = [read_run(write_run(tmp_path))]
    verdict = json.loads(json.dumps(three_phases.CLAIM.judge(runs, "one")))
    three_phases.plot(verdict, tmp_path / "picture.png")
    loss, accuracy = drawn[0].axes
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--", ":"]
    assert loss.lines[2].get_ydata()[0] == BASELINE
    assert list(accuracy.lines[0].get_ydata()) == ACCURACIES
    assert len([patch for patch in loss.patches if patch.get_width() > 0]) == 3


def test_results_gather_the_seeds_of_one_recipe(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / str(seed), seed=seed) for seed in (10, 11)]
    target = tmp_path / "results" / "mini.json"
    done = run_script("eval/analysis/three_phases.py", *folders, "--results", target)
    assert done.returncode == 0, done.stderr
    gathered = json.loads(target.read_text())
    assert target.with_suffix(".png").exists()
    assert (gathered["seeds"], gathered["scale"], gathered["passed"], gathered["device"]) == ([10, 11], "mini", True, "abacus")
    assert gathered["curves"]["11"]["validation"]["attribute_accuracy"] == ACCURACIES
    assert {check["name"].partition(":")[0] for check in gathered["checks"]} == {"seed 10", "seed 11"}


@pytest.mark.parametrize(
    ("second", "fragments"),
    [({"seed": 11, "learning_rate": 0.2}, ["differ in learning_rate"]), ({"seed": 10}, ["seeds [10, 10]"])],
)
def test_results_of_different_recipes_or_one_seed_twice_are_refused(tmp_path: Path, second: dict, fragments: list[str]) -> None:
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", **second)]
    done = run_script("eval/analysis/three_phases.py", *folders, "--results", tmp_path / "mini.json")
    assert done.returncode == 2
    assert all(fragment in done.stderr for fragment in fragments)
    assert not (tmp_path / "mini.json").exists()


def test_smoke_run_can_be_judged(smoke_run: Path) -> None:
    finding = three_phases.score([read_run(smoke_run)])
    assert not all(check.passed for check in finding.checks)  # seconds of training show no knowledge
