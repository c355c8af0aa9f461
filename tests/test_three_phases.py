import json
from pathlib import Path

import pytest
import three_phases
from conftest import run_script
from runs import Run, read_run

BASELINE, POOL_BASELINE = 4.40, 4.45
STEPS = [0, 25, 50, 75, 100, 125, 150, 175, 200, 300]
LOSSES = [14.0, 6.0, 4.5, 4.42, 4.40, 4.38, 4.2, 3.0, 1.0, 0.2]  # phase 1 ends at 50, the plateau at 150
ACCURACIES = [0.0, 0.0, 0.03, 0.03, 0.04, 0.04, 0.12, 0.3, 0.8, 0.97]


def write_run(
    folder: Path,
    losses: list[float] = LOSSES,
    accuracies: list[float] = ACCURACIES,
    steps: list[int] = STEPS,
    unseen_excess: float = 3.0,
    num_steps: int = 300,
    claim: str = "three_phases",
    seed: int = 0,
    learning_rate: float = 0.1,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"claim": claim, "num_steps": num_steps, "dataset": "n1k", "num_individuals": 7, "batch_size": 2, "seed": seed}
    config = {"recipe": recipe | {"learning_rate": learning_rate}, "data_version": "1", "device": "abacus", "versions": {}}
    (folder / "config.json").write_text(json.dumps(config))
    shared = {"no_knowledge_loss": BASELINE, "pool_no_knowledge_loss": POOL_BASELINE}
    lines = []
    for step, loss, accuracy in zip(steps, losses, accuracies, strict=True):
        line = shared | {"step": step, "seconds": float(step)}
        lines.append(line | {"split": "validation", "attribute_loss": loss, "attribute_accuracy": accuracy})
        unseen = max(loss, POOL_BASELINE + unseen_excess)
        lines.append(line | {"split": "unseen", "attribute_loss": unseen, "attribute_accuracy": 0.03})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def scored(folder: Path) -> dict[str, bool]:
    found = three_phases.score(read_run(folder, "three_phases"))
    assert found["passed"] == all(check["passed"] for check in found["checks"])
    return {check["name"].split(" is ")[0].split(" (")[0]: check["passed"] for check in found["checks"]}


def test_three_phases_pass(tmp_path: Path) -> None:
    assert set(scored(write_run(tmp_path)).values()) == {True}


def test_phase_ends_are_those_of_the_curve(tmp_path: Path) -> None:
    assert three_phases.phase_ends(read_run(write_run(tmp_path), "three_phases")) == (50, 150)


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"accuracies": [0.0, 0.0, 0.06, *ACCURACIES[3:]]}, {"validation accuracy at phase1_end"}),
        ({"losses": [14.0, 6.0, 5.0, 4.42, *LOSSES[4:]], "steps": [0, 25, 50, 80, 105, 130, 155, 175, 200, 300]},
         {"plateau_end / phase1_end", "steps between evaluations until plateau_end"}),
        ({"accuracies": [*ACCURACIES[:5], 0.1, *ACCURACIES[6:]]}, {"highest validation accuracy before plateau_end"}),
        ({"accuracies": [*ACCURACIES[:-1], 0.9]}, {"final validation accuracy"}),
        ({"unseen_excess": 0.9}, {"final unseen loss minus pool_no_knowledge_loss"}),
    ],
)  # fmt: skip
def test_each_check_fails_when_its_part_of_the_claim_does(tmp_path: Path, change: dict, failing: set[str]) -> None:
    assert {name for name, passed in scored(write_run(tmp_path, **change)).items() if not passed} == failing


def test_run_that_never_learns_fails_with_no_value(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, losses=[14.0] * len(STEPS), accuracies=[0.0] * len(STEPS)), "three_phases")
    checks = three_phases.score(run)["checks"]
    assert checks[0]["value"] is None
    assert not checks[0]["passed"]


def test_curve_far_below_the_baseline_at_once_has_no_plateau(tmp_path: Path) -> None:
    losses = [14.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.3, 0.2, 0.2]
    assert not scored(write_run(tmp_path, losses=losses))["plateau_end / phase1_end"]


def test_command_writes_verdict_and_picture_and_prints_both(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    result = run_script("eval/analysis/three_phases.py", run)
    assert result.returncode == 0, result.stderr
    assert json.loads((run / "verdict.json").read_text()) == three_phases.score(read_run(run, "three_phases"))
    assert "three_phases: passed" in result.stdout
    assert str(run / "three_phases.png") in result.stdout
    assert (run / "three_phases.png").read_bytes().startswith(b"\x89PNG")


def test_command_exits_1_if_not_passed(tmp_path: Path) -> None:
    result = run_script("eval/analysis/three_phases.py", write_run(tmp_path, unseen_excess=0.0))
    assert result.returncode == 1
    assert "FAIL  final unseen loss" in result.stdout
    assert "NOT PASSED" in result.stdout


def test_picture_shows_baseline_and_both_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    three_phases.plot(read_run(write_run(tmp_path), "three_phases"), tmp_path / "picture.png")
    loss, accuracy = drawn[0].axes
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--", ":"]
    assert loss.lines[2].get_ydata()[0] == BASELINE
    assert list(accuracy.lines[0].get_ydata()) == ACCURACIES
    assert len([patch for patch in loss.patches if patch.get_width() > 0]) == 3


def test_results_gather_the_seeds_of_one_recipe(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / str(seed), seed=seed) for seed in (10, 11)]
    target = tmp_path / "results" / "mini.json"
    result = run_script("eval/analysis/three_phases.py", *folders, "--results", target)
    assert result.returncode == 0, result.stderr
    gathered = json.loads(target.read_text())
    assert target.with_suffix(".png").exists()
    assert (gathered["seeds"], gathered["scale"], gathered["passed"], gathered["device"]) == ([10, 11], "mini", True, "abacus")
    assert gathered["curves"]["11"]["validation"]["attribute_accuracy"] == ACCURACIES
    assert {check["seed"] for check in gathered["checks"]} == {10, 11}


@pytest.mark.parametrize(
    ("second", "fragments"),
    [({"seed": 1, "learning_rate": 0.2}, ["differ in learning_rate"]), ({"seed": 0}, ["seeds [0, 0]"])],
)
def test_results_of_different_recipes_or_one_seed_twice_are_refused(tmp_path: Path, second: dict, fragments: list[str]) -> None:
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", **second)]
    result = run_script("eval/analysis/three_phases.py", *folders, "--results", tmp_path / "mini.json")
    assert result.returncode == 2
    assert all(fragment in result.stderr for fragment in fragments)
    assert not (tmp_path / "mini.json").exists()


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ({"claim": "replay"}, ["'replay'", "'three_phases'"]),
        ({"num_steps": 400}, ["validation up to step 300", "finished, up to step 400"]),
    ],
)
def test_runs_that_cannot_be_judged_are_refused(tmp_path: Path, change: dict, fragments: list[str]) -> None:
    with pytest.raises(ValueError) as refused:
        read_run(write_run(tmp_path, **change), "three_phases")
    assert all(fragment in str(refused.value) for fragment in fragments)


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no config\.json; it must be the output_dir"):
        read_run(tmp_path, "three_phases")


def test_smoke_run_can_be_judged(smoke_run: Path) -> None:
    run: Run = read_run(smoke_run, "three_phases")
    assert not three_phases.score(run)["passed"]  # seconds of training show no knowledge


@pytest.mark.parametrize(
    ("name", "text", "fragments"),
    [
        ("config.json", "{}", ["config.json", "'recipe'"]),
        ("metrics.jsonl", "{\n", ["metrics.jsonl", "'step'"]),
        ("metrics.jsonl", "", ["on validation up to step None"]),
    ],
)
def test_damaged_runs_are_refused(tmp_path: Path, name: str, text: str, fragments: list[str]) -> None:
    (write_run(tmp_path) / name).write_text(text)
    with pytest.raises(ValueError) as refused:
        read_run(tmp_path, "three_phases")
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value


def test_run_that_lacks_its_last_line_is_not_finished(tmp_path: Path) -> None:
    path = write_run(tmp_path) / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match="on unseen up to step 200"):
        read_run(tmp_path, "three_phases")
