"""The committed results, their pictures, and what the READMEs say of them."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claims import claims
from conftest import ROOT, assert_refused, run_script
from verdicts import explanation

CLAIMS = {claim.name: claim for claim in claims()}
RESULTS = ROOT / "eval" / "results"
MATPLOTLIB = next(
    line.strip().partition("==")[2]
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line.startswith("matplotlib==")
)


def committed(claim: str) -> dict[str, Any]:
    return json.loads((RESULTS / claim / "mini.json").read_text(encoding="utf-8"))


def text_of(path: str) -> str:
    """A README with single spaces between words."""
    return " ".join((ROOT / path).read_text(encoding="utf-8").split())


def curve(claim: str, split: str, key: str, seed: int = 10, label: str | None = None) -> dict[int, float]:
    """Step -> value of a committed curve."""
    curves = committed(claim)["curves"]
    columns = (curves if label is None else curves[label])[str(seed)][split]
    return dict(zip(columns["step"], columns[key], strict=True))


@pytest.mark.skipif(version("matplotlib") != MATPLOTLIB, reason="pictures are drawn alike by one version of matplotlib alone")
@pytest.mark.parametrize("claim", CLAIMS)
def test_committed_picture_is_the_one_that_the_committed_verdict_gives(claim: str, tmp_path: Path) -> None:
    from matplotlib.image import imread

    CLAIMS[claim].plot(committed(claim), tmp_path / "drawn.png")
    drawn, kept = imread(tmp_path / "drawn.png"), imread(RESULTS / claim / "mini.png")
    assert drawn.shape == kept.shape
    assert np.array_equal(drawn, kept)


@pytest.mark.parametrize("claim", CLAIMS)
def test_committed_explanation_is_the_one_of_the_analysis(claim: str) -> None:
    verdict = committed(claim)
    failed = [check["name"] for check in verdict["checks"] if not check["passed"]]
    expected = explanation(failed, CLAIMS[claim].misses) if failed else None
    assert verdict.get("explanation") == expected


def test_verdict_without_runs_is_printed_and_drawn_again(tmp_path: Path) -> None:
    results = tmp_path / "mini.json"
    results.write_bytes((RESULTS / "replay" / "mini.json").read_bytes())
    done = run_script("eval/analysis/replay.py", "--results", results)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"replay: passed\nverdict: {results}\npicture: {tmp_path / 'mini.png'}\n")
    assert results.read_bytes() == (RESULTS / "replay" / "mini.json").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ([], ["RUN is missing"]),
        (["--results", "no/such.json"], ["verdict is 'no/such.json', which is no file"]),
        (["--results", RESULTS / "warm_up" / "mini.json"], ["is the verdict on 'warm_up'; it must be one on 'replay'"]),
        (["--results", ROOT / "pyproject.toml"], ["is not the verdict of an analysis"]),
    ],
)
def test_what_cannot_be_drawn_again_is_refused(arguments: list[object], fragments: list[str]) -> None:
    assert_refused(run_script("eval/analysis/replay.py", *arguments), *fragments)


# Numbers in READMEs


def test_readme_says_what_its_picture_shows() -> None:
    verdict, loss = committed("three_phases"), curve("three_phases", "validation", "attribute_loss")
    accuracy = curve("three_phases", "validation", "attribute_accuracy")
    start, end = verdict["phase_ends"]["10"]
    assert (
        f"the loss falls from {loss[start] + 1e-9:.2f} to {loss[end]:.2f} nats per value between steps {start} and {end}, and "
        f"crosses the no-knowledge loss of {verdict['no_knowledge_loss']:.2f}"
    ) in text_of("README.md")
    rise = f"Accuracy then rises from {accuracy[end]:.2f} and reaches {accuracy[1600]:.2f} at step 1,600."
    assert rise in text_of("README.md")


def test_recipe_of_rare_individuals_says_what_frequent_people_lose() -> None:
    table = committed("rare_individuals")["table"]
    losses = [row["frequent_start"] - row["frequent_final"] for row in table]
    text = text_of("train/recipes/rare_individuals/README.md")
    assert f"frequent individuals lose {min(losses):.2f} to {max(losses):.2f}," in text
    fallen = []
    for row in table:
        frequent = curve("rare_individuals", "validation_group0", "attribute_accuracy", row["seed"])
        fallen.append(next(step for step, value in frequent.items() if value <= frequent[0] - 0.2))
    assert f"It has decreased by 0.2 after {min(fallen)} to {max(fallen)} of 600 steps" in text
    assert "without a collapse" not in text


def test_recipe_of_replay_says_what_the_beginning_shows() -> None:
    seeds = committed("replay")["seeds"]
    at = {
        weight: [
            float(np.mean([curve("replay", "pretrain_validation", "attribute_loss", seed, weight)[step] for seed in seeds]))
            for step in (60, 600)
        ]
        for weight in ("0.0", "0.125", "1.0")
    }
    early, late = ([at["0.0"][k] / at[weight][k] for weight in ("0.125", "1.0")] for k in (0, 1))
    assert (
        f"is {at['0.0'][0]:.2f} nats per value without replay (0.12 at the start; means over seeds). Replay divides it by "
        f"{early[0]:.1f} with weight 1/8, and by {early[1]:.0f} with weight 1. At the end it is {at['0.0'][1]:.2f} nats per "
        f"value without replay, and replay divides it by {late[0]:.0f} and by {late[1]:.0f}."
    ) in text_of("train/recipes/replay/README.md")


def test_recipe_of_warm_up_says_how_the_other_warm_ups_ended() -> None:
    accuracies = {row["arm"]: row["accuracies"][0] for row in committed("warm_up")["table"]}  # of seed 10
    assert (
        "250 individuals for 300 steps end level with alpha 0.6 "
        f"(accuracy {accuracies['250 people for 4.8 epochs']:.2f} against {accuracies['alpha 0.6']:.2f}), "
        f"and 500 individuals for 400 steps end below it ({accuracies['500 people for 6.4 epochs']:.2f})."
    ) in text_of("train/recipes/warm_up/README.md")
