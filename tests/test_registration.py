"""Registrations: what they refuse, what their digest covers, and that all claims have one."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from bio_facts.runs.registration import Measure, check_committed, read_measures, read_registration

RECIPES = ROOT / "train" / "recipes"
CLAIMS = sorted(path.parent.name for path in RECIPES.glob("*/mini.yaml"))


def fields(**changed: Any) -> dict[str, Any]:
    given = {"name": "m", "description": "text", "figure": "1", "none": 0, "threshold": 1} | changed
    return {key: value for key, value in given.items() if value is not ...}


@pytest.mark.parametrize(
    ("changed", "fragment"),
    [
        ({"none": "zero"}, "none of measure 'm' is 'zero'; expected a number"),
        ({"threshold": True}, "threshold of measure 'm' is True; expected a number"),
        ({"paper": float("nan")}, "paper of measure 'm' is nan"),
        ({"scale": "square"}, "scale of measure 'm' is 'square'; expected one of linear, log"),
        ({"inside": [1, 0], "none": ..., "threshold": ...}, "inside of measure 'm' is [1, 0]; expected two growing numbers"),
        ({"inside": [0, 1]}, "has inside; it must have neither none, threshold nor sign"),
        ({"none": ...}, "has no value without the effect"),
        ({"sign": 1}, "must have a threshold or, if the paper has no number, a sign"),
        ({"threshold": ...}, "must have a threshold or"),
        ({"threshold": ..., "sign": 2}, "sign of measure 'm' is 2; expected 1 or -1"),
        ({"threshold": 0}, "threshold of measure 'm' is 0, the value without the effect"),
    ],
)
def test_measure_that_cannot_be_judged_is_refused(changed: dict[str, Any], fragment: str) -> None:
    with pytest.raises(ValueError) as refused:
        Measure(**fields(**changed))
    assert fragment in str(refused.value)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "is not well formed"),
        ("measures: [1]", "is not well formed"),
        ("measures: {m: {figure: '1'}}", "is not well formed"),
        ("measures: {m: {description: a, figure: '1', none: 0, threshold: 1, colour: red}}", "colour"),
        ("measures: {m: {description: a, figure: '1', none: 0}}", "registration.yaml: measure 'm' must have a threshold"),
        (
            "measures: {a: &m {description: a, figure: '1', none: 0, threshold: 1, carrying: true}, b: *m}",
            "has several carrying measures",
        ),
    ],
)
def test_file_that_is_no_registration_is_refused(tmp_path: Path, text: str, fragment: str) -> None:
    (tmp_path / "registration.yaml").write_text(text)
    with pytest.raises(ValueError) as refused:
        read_measures(tmp_path)
    assert fragment in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_measures(tmp_path)


@pytest.mark.parametrize("scale", ["smoke", "mini", "paper"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_is_registered(claim: str, scale: str) -> None:
    registration = read_registration(RECIPES / claim, scale)
    assert registration.measures
    assert len(registration.digest) == 64


def test_families_of_holm_have_one_carrying_measure_of_each_claim() -> None:
    from claims import claims
    from intervals import NUM_CARRYING

    carrying = {claim.label: read_registration(claim.recipes, "mini").carrying for claim in claims()}
    expected = {f"{letter}{n}" for letter, number in NUM_CARRYING.items() for n in range(1, number + 1)}
    assert {label for label, measure in carrying.items() if measure is not None} == expected


def copied(tmp_path: Path, claim: str) -> Path:
    """The recipes of all claims, to change."""
    return shutil.copytree(RECIPES, tmp_path / "recipes") / claim


def change(path: Path, *keys: str, to: Any) -> None:
    content = yaml.safe_load(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("claim", "file", "keys", "to"),
    [
        ("three_phases", "registration.yaml", ("measures", "plateau_width", "threshold"), 3.4),
        ("three_phases", "mini.yaml", ("seeds",), [20, 21]),
        ("three_phases", "mini.yaml", ("num_steps",), 4000),
        ("hallucination", "../three_phases/mini.yaml", ("learning_rate",), 0.003),
        ("fine_tuning", "../three_phases/mini.yaml", ("weight_decay",), 0.2),
        ("attention_patching", "mini.yaml", ("arms", "after-next", "source_seed"), None),
    ],
    ids=["threshold", "seeds", "a setting", "a setting of the base", "a setting of the source", "the seed of the source"],
)
def test_digest_changes_with_everything_that_decides(
    tmp_path: Path, claim: str, file: str, keys: tuple[str, ...], to: Any
) -> None:
    folder = copied(tmp_path, claim)
    assert read_registration(folder, "mini").digest == read_registration(RECIPES / claim, "mini").digest
    change(folder / file, *keys, to=to)
    assert read_registration(folder, "mini").digest != read_registration(RECIPES / claim, "mini").digest


def test_uncommitted_change_is_named(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@x", *words], check=True)

    git("init", "--quiet")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "rule.yaml").write_text("x")
    (tmp_path / "other").write_text("x")
    with pytest.raises(ValueError, match=r"a/ differs from the last commit"):
        check_committed(tmp_path, "a")
    git("add", ".")
    git("commit", "--quiet", "-m", "all")
    check_committed(tmp_path, "a")
    (tmp_path / "other").write_text("y")
    check_committed(tmp_path, "a")
    (tmp_path / "a" / "rule.yaml").write_text("y")
    with pytest.raises(ValueError, match=r"a/rule.yaml differs from the last commit"):
        check_committed(tmp_path, "a")


def test_folder_outside_a_checkout_is_not_checked(tmp_path: Path) -> None:
    check_committed(tmp_path, "a")
