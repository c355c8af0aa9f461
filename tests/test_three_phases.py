"""C1: its measures on the paper's curve, its rule, and the command that judges runs."""

import importlib.util
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from analysis import three_phases
from arms import arms_of_one_run
from conftest import ROOT, SMOKE, assert_refused, load_recipe, run_script
from curve_files import curves_text, read_curves
from intervals import Values, outcome
from paper import three_phases_accuracy, three_phases_curve

from bio_facts.runs.curves import Curve, Run
from bio_facts.runs.phases import plateau_end, plateau_width
from bio_facts.runs.registration import read_measures

MINI = SMOKE.with_name("mini.yaml")
MEASURES = read_measures(SMOKE.parent)
SEEDS = range(20, 25)
SCATTER = (0.93, 0.97, 1.0, 1.03, 1.07)  # of P and of losses, by seed


def paper_run(seed: int = 20, time: float = 1.0, recipe: dict[str, Any] | None = None, folder: str = "runs/paper") -> Run:
    """A run of mini.yaml with the paper's curve, all steps multiplied by `time`."""
    steps, losses, baseline = three_phases_curve()
    accuracy = np.interp(steps, *three_phases_accuracy())
    lines = [
        {"step": round(step * time), "split": "validation", "attribute_loss": loss, "attribute_accuracy": float(value)}
        | {"top_probability": 0.5, "entropy": 1.0}
        | {"no_knowledge_loss": baseline, "pool_no_knowledge_loss": baseline, "seconds": float(step)}
        for step, loss, value in zip(steps, losses, accuracy, strict=True)
    ]
    settings = load_recipe(MINI, {"seed": seed}).as_dict() | (recipe or {})
    parameters = {"num_individuals": 1600, "distribution": "uniform", "population_seed": settings["seed"]}
    identity = {"dataset_fingerprint": str(seed), "data_digest": "0", "data_version": "1", "device": "abacus", "versions": {}}
    config = {"recipe": settings, "dataset_parameters": parameters, "precision": "float32"} | identity
    return Run(Path(folder), config, {"validation": Curve(lines), "unseen": Curve(lines)})


def test_measures_of_the_papers_curve_are_the_papers_numbers() -> None:
    measured = {name: values.by_seed[20] for name, values in three_phases.measure({"": {20: paper_run()}}).items()}
    assert measured.keys() == MEASURES.keys()
    for name, measure in MEASURES.items():
        assert measured[name] == pytest.approx(measure.paper, rel=0.05), (
            name
        )  # vertices of the curve are 125 to 1,000 steps apart


def test_the_paper_is_shown_by_its_own_rule() -> None:
    arms = {"": {seed: paper_run(seed, time) for seed, time in zip(SEEDS, SCATTER, strict=True)}}
    words = {name: outcome(MEASURES[name], values).word for name, values in three_phases.measure(arms).items()}
    assert words == dict.fromkeys(MEASURES, "shown")


@pytest.mark.parametrize("name", MEASURES)
def test_scattered_values_around_the_papers_number_are_shown_and_without_a_plateau_contradicted(name: str) -> None:
    measure = MEASURES[name]
    assert measure.paper is not None
    near = {seed: measure.paper * factor for seed, factor in zip(SEEDS, SCATTER, strict=True)}
    assert outcome(measure, Values(near)).word == "shown"
    none = dict(zip(SEEDS, SCATTER, strict=True))  # about 1: no time passes on the plateau
    assert outcome(measure, Values(none)).word == "contradicted"


def test_curve_without_a_plateau_is_not_shown() -> None:
    steps, losses, baseline = three_phases_curve()
    straight = np.exp(np.interp(np.log(np.maximum(steps, 1)), np.log([100, 16_000]), np.log([losses[0], losses[-1]]))).tolist()
    width = plateau_width(steps, straight, baseline)
    assert plateau_end(steps, straight, baseline) is not None
    assert width is None or width < 2


def test_width_does_not_depend_on_a_plateau_above_the_no_knowledge_loss() -> None:
    steps, losses, baseline = three_phases_curve()
    assert plateau_width(steps, losses, baseline * 1.01) == pytest.approx(plateau_width(steps, losses, baseline), rel=0.1)


def test_one_run_has_values_and_no_word() -> None:
    verdict = three_phases.CLAIM.judge([paper_run()], None)
    assert verdict["word"] == ""
    assert verdict["registration"] == ""
    assert verdict["measures"][0]["mean"] == pytest.approx(6.1, rel=0.05)
    assert verdict["measures"][0]["low"] is None


def test_other_seeds_are_judged_without_registration() -> None:
    runs = [paper_run(seed, time) for seed, time in zip(range(5), SCATTER, strict=True)]
    verdict = three_phases.CLAIM.judge(runs, "mini")
    assert (verdict["word"], verdict["registration"], verdict["seeds"]) == ("shown", "", [0, 1, 2, 3, 4])


def test_reported_seeds_without_the_registration_are_refused() -> None:
    runs = [paper_run(seed) for seed in SEEDS]
    with pytest.raises(ValueError, match="records registration None, which no claim has now"):
        three_phases.CLAIM.judge(runs, "mini")


def test_reported_seeds_carry_the_digest_of_the_registration() -> None:
    from bio_facts.runs.registration import read_registration

    digest = read_registration(SMOKE.parent, "mini").digest
    runs = [paper_run(seed, time) for seed, time in zip(SEEDS, SCATTER, strict=True)]
    for run in runs:
        run.config["registration"] = digest
    verdict = three_phases.CLAIM.judge(runs, "mini")
    assert (verdict["word"], verdict["registration"]) == ("shown", digest)


def test_run_of_no_arm_is_refused_where_the_tokenizer_of_the_papers_recipe_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "mistral_common" else find_spec(name))
    with pytest.raises(ValueError, match=r"mini\.yaml: it differs in learning_rate, which is"):
        arms_of_one_run("three_phases", paper_run(0, recipe={"learning_rate": 0.5}))


@pytest.mark.parametrize(
    ("runs", "fragment"),
    [
        ([paper_run(0), paper_run(1)], ""),
        ([paper_run(0), paper_run(0)], "with seeds [0, 0]"),
        ([paper_run(0), paper_run(1, recipe={"learning_rate": 0.5})], "it differs in learning_rate, which is 0.5"),
        ([paper_run(0), paper_run(1, recipe={"tokenizer": "bio_facts"})], "in tokenizer, which is 'bio_facts'; expected"),
    ],
)  # fmt: skip
def test_runs_that_are_not_those_of_the_recipe_are_refused(runs: list[Run], fragment: str) -> None:
    if not fragment:
        assert three_phases.CLAIM.judge(runs, "mini")["seeds"] == [0, 1]
        return
    with pytest.raises(ValueError) as refused:
        three_phases.CLAIM.judge(runs, "mini")
    assert fragment in str(refused.value)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"precision": "bf16"}, "differ in precision ('float32' and 'bf16'); expected one"),
        ({"data_version": "2"}, "differ in data_version ('1' and '2')"),
        ({"dataset_parameters": {"population_seed": 0}}, "have the same individuals (population_seed 0)"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(change: dict[str, Any], fragment: str) -> None:
    runs = [paper_run(0), paper_run(1)]
    runs[1].config.update(change)
    with pytest.raises(ValueError) as refused:
        three_phases.CLAIM.judge(runs, "mini")
    assert fragment in str(refused.value)


def test_committed_curves_give_the_same_verdict(tmp_path: Path) -> None:
    runs = [paper_run(seed, time, folder=f"runs/s{seed}") for seed, time in zip(range(5), SCATTER, strict=True)]
    (tmp_path / "mini.curves.jsonl").write_text(curves_text(runs))
    again = read_curves(tmp_path / "mini.curves.jsonl")
    verdicts = [three_phases.CLAIM.judge(given, "mini") for given in (runs, again)]
    for one, other in zip(*(verdict["measures"] for verdict in verdicts), strict=True):
        assert one["word"] == other["word"]
        assert one["mean"] == pytest.approx(other["mean"], rel=1e-3)
    assert curves_text(again) == curves_text(runs)


@pytest.mark.parametrize("text", ["", "{", '{"run": "x"}', "[1]"], ids=["empty", "broken", "no curves", "a list"])
def test_file_that_holds_no_curves_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mini.curves.jsonl").write_text(f"{text}\n")
    with pytest.raises(ValueError, match="does not hold the curves of runs"):
        read_curves(tmp_path / "mini.curves.jsonl")
    with pytest.raises(ValueError, match="which is no file"):
        read_curves(tmp_path / "other.curves.jsonl")


def test_command_judges_one_run_and_draws_it(smoke_run: Path, tmp_path: Path) -> None:
    results = tmp_path / "smoke.json"
    done = run_script("eval/analysis/three_phases.py", smoke_run, "--results", results)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(results.read_text())
    assert (verdict["claim"], verdict["scale"], verdict["word"]) == ("three_phases", "smoke", "")
    assert ElementTree.parse(results.with_suffix(".svg")).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    again = run_script("eval/analysis/three_phases.py", "--results", results)
    assert again.returncode == 0, again.stderr
    assert json.loads(results.read_text())["measures"] == verdict["measures"]


def test_command_judges_runs_of_several_files(tmp_path: Path) -> None:
    for seeds in ((0, 1), (2,)):
        runs = [paper_run(seed, SCATTER[seed], folder=f"runs/s{seed}") for seed in seeds]
        (tmp_path / f"{len(seeds)}.curves.jsonl").write_text(curves_text(runs))
    results = tmp_path / "mini.json"
    done = run_script("eval/analysis/three_phases.py", *tmp_path.glob("*.jsonl"), "--results", results)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(results.read_text())
    assert (verdict["seeds"], verdict["word"]) == ([0, 1, 2], "shown")
    assert len(read_curves(tmp_path / "mini.curves.jsonl")) == 3


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "RUN is missing"),
        ([str(ROOT / "tests"), "--results", "x/mini.json"], "holds no run of claim three_phases"),
        (["runs/a", "runs/b"], "several runs need --results SCALE.json"),
        (["runs/no-such", "--results", "x/mini.json"], "which has no config.json"),
        (["--results", "no/such.json"], "curves are 'no/such.curves.jsonl', which is no file"),
        (["--results", str(ROOT)], "a folder; it must be a file"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], fragment: str) -> None:
    assert_refused(run_script("eval/analysis/three_phases.py", *arguments), fragment)


def test_picture_shows_baseline_both_splits_and_the_papers_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    three_phases.plot({"": {20: paper_run()}}, {}, tmp_path / "picture.png")
    loss, accuracy = drawn[0].axes
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--", "-.", ":"]
    _, losses, baseline = three_phases_curve()
    assert loss.lines[3].get_ydata()[0] == baseline
    assert list(loss.lines[2].get_ydata()) == pytest.approx(losses)
    assert len([patch for patch in loss.patches if patch.get_width() > 0]) == 3
    assert len(accuracy.lines) == 3
