"""Judged runs on their way into the repository: results, tables of READMEs, page."""

import json
import shutil
from pathlib import Path
from typing import Any

import publish_results
import pytest
import report
from claims import claims
from conftest import ROOT, contents, run_script
from judged_claims import CLAIMS, write_judged

TITLE = "| [C1] | Language models learn facts in three phases |"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mini results of three_phases and hallucination as run_all.py writes them, on the registered seeds. Read only."""
    folder = tmp_path_factory.mktemp("judged")
    for name in ("three_phases", "hallucination"):
        write_judged(folder, name)
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository without results whose READMEs have places for their tables."""
    root = tmp_path / "repository"
    places = {root / "README.md": ("verdict", "coverage")}
    places |= {root / "train/recipes" / claim.name / "README.md": ("registration", "verdict") for claim in claims()}
    for path, names in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        tables = "Between.\n".join(f"<!-- {name} -->\nold\n<!-- end -->\n" for name in names)
        path.write_text(f"Before.\n{tables}After.\n")
    return root


def publish(root: Path, *arguments: object) -> int:
    return publish_results.main([str(argument) for argument in arguments], root)


def test_judged_runs_reach_results_readmes_and_page(judged: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(repository, judged) == 0
    for claim in ("three_phases", "hallucination"):
        for name in ("mini.json", "mini.svg", "mini.curves.jsonl"):
            assert (repository / "eval/results" / claim / name).read_bytes() == (judged / claim / name).read_bytes()
    readme = (repository / "README.md").read_text()
    assert readme.startswith("Before.\n<!-- verdict -->\n| recipe | claim |")
    assert readme.endswith("\n<!-- end -->\nAfter.\n")
    (row,) = (line for line in readme.splitlines() if line.startswith(TITLE))
    assert row.startswith(f"{TITLE} [shown][C1 mini] | 6.15 [") and row.endswith("] | 6.1 | not yet run |")
    assert "[C1]: train/recipes/three_phases\n[C1 mini]: eval/results/three_phases/mini.json\n" in readme
    assert "| 2, middle | " in readme and "| shown | " in readme
    assert "on seeds 20, 21, 22, 23, 24" in (repository / "train/recipes/three_phases/README.md").read_text()
    assert "not yet run" in (repository / "train/recipes/replay/README.md").read_text()
    assert "C1 shown" not in (repository / "runs/report.html").read_text()
    printed = capsys.readouterr().out
    assert "eval/results/three_phases/mini.json" in printed
    assert "README.md" in printed


def test_readme_of_a_recipe_has_every_measure_as_registered_and_as_measured(judged: Path) -> None:
    claim = CLAIMS["three_phases"]
    verdict = json.loads((judged / "three_phases" / "mini.json").read_text())
    measured = publish_results.recipe_text({"mini": report.Entry(claim, verdict)})
    registered = publish_results.registration_text(claim)
    assert "**shown**" in measured
    for measure in verdict["measures"]:
        word = f"**{measure['word']}**" if measure["carrying"] else f"*{measure['word']}*"
        cells = (f"`{measure['name']}`", measure["shown_if"], report.interval(measure), report.number(measure["paper"]), word)
        assert measured.count(f"| {' | '.join(cells)} |") == 1
        assert registered.count(f"`{measure['name']}`") == 2
        assert measure["description"] in " ".join(registered.split())
    assert registered.count("(carrying)") == 1


def test_results_at_paper_scale_stand_beside_those_at_mini_scale(judged: Path, repository: Path, tmp_path: Path) -> None:
    verdict = json.loads((judged / "three_phases" / "mini.json").read_text())
    (tmp_path / "three_phases").mkdir()
    (tmp_path / "three_phases" / "paper.json").write_text(json.dumps(verdict | {"scale": "paper"}))
    for suffix in (".svg", ".curves.jsonl"):
        shutil.copy(judged / "three_phases" / f"mini{suffix}", tmp_path / "three_phases" / f"paper{suffix}")
    publish(repository, judged)
    assert publish(repository, tmp_path, "--scale", "paper") == 0
    text = (repository / "train/recipes/three_phases/README.md").read_text()
    assert text.index("**Measured** on seeds 20") < text.index("**Measured** at paper scale on seeds 20")
    assert "[C1 paper]: eval/results/three_phases/paper.json\n" in (repository / "README.md").read_text()


def test_publishing_again_changes_nothing(judged: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(repository, judged)
    before = contents(repository)
    assert publish(repository, judged) == publish(repository, judged, "--check") == publish(repository, "--check") == 0
    assert contents(repository) == before
    assert capsys.readouterr().out.endswith("out of date: none\n")


def test_check_names_what_is_out_of_date_and_writes_nothing(
    judged: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(repository, judged)
    (repository / "README.md").write_text((repository / "README.md").read_text().replace("shown", "SHOWN"))
    (repository / "eval/results/three_phases/mini.svg").write_bytes(b"another picture")
    before = contents(repository)
    capsys.readouterr()
    assert publish(repository, judged, "--check") == 1
    assert capsys.readouterr().out == "out of date: eval/results/three_phases/mini.svg, README.md\n"
    assert contents(repository) == before


def test_figure_that_an_earlier_version_drew_is_published_until_a_new_one_replaces_it(
    judged: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PNG, and now SVG: the README links to the one that is there."""
    results, readme = repository / "eval/results/three_phases", repository / "train/recipes/three_phases/README.md"
    earlier = shutil.copytree(judged, tmp_path / "earlier")
    (earlier / "three_phases" / "mini.svg").rename(earlier / "three_phases" / "mini.png")
    publish(repository, earlier)
    assert {path.name for path in results.iterdir()} == {"mini.json", "mini.png", "mini.curves.jsonl"}
    assert "/mini.png)" in readme.read_text()
    capsys.readouterr()
    assert publish(repository, judged, "--check") == 1
    assert "three_phases/mini.svg, eval/results/three_phases/mini.png\n" in capsys.readouterr().out
    publish(repository, judged)
    assert {path.name for path in results.iterdir()} == {"mini.json", "mini.svg", "mini.curves.jsonl"}
    assert "/mini.svg)" in readme.read_text()


def without_picture(folder: Path) -> None:
    (folder / "three_phases" / "mini.svg").unlink()


def without_curves(folder: Path) -> None:
    (folder / "three_phases" / "mini.curves.jsonl").unlink()


def on_other_seeds(folder: Path) -> None:
    path = folder / "three_phases" / "mini.json"
    verdict = json.loads(path.read_text())
    path.write_text(json.dumps(verdict | {"seeds": [0, 1], "registration": ""}))


def of_another_claim(folder: Path) -> None:
    shutil.copy(folder / "hallucination" / "mini.json", folder / "three_phases" / "mini.json")


def of_another_scale(folder: Path) -> None:
    path = folder / "three_phases" / "mini.json"
    path.write_text(path.read_text().replace('"scale": "mini"', '"scale": "smoke"'))


def without_verdicts(folder: Path) -> None:
    for path in folder.glob("*/mini.json"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (without_picture, ["has no picture beside it", "eval/analysis/three_phases.py --results"]),
        (without_curves, ["has no curves beside it"]),
        (on_other_seeds, ["has seeds [0, 1]; expected those of train/recipes/three_phases/mini.yaml"]),
        (of_another_claim, ["is the verdict on 'hallucination'", "'three_phases'"]),
        (of_another_scale, ["has scale 'smoke'; expected 'mini'"]),
        (without_verdicts, ["has no CLAIM/mini.json", "train/run_all.py"]),
    ],
)
def test_folders_that_cannot_be_published_are_refused(
    judged: Path, repository: Path, tmp_path: Path, change: Any, fragments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, before = shutil.copytree(judged, tmp_path / "changed"), contents(repository)
    change(folder)
    with pytest.raises(SystemExit, match="2"):
        publish(repository, folder)
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert all(fragment in error for fragment in fragments), error
    assert contents(repository) == before


def test_published_verdict_without_its_picture_is_named(
    judged: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(repository, judged)
    (repository / "eval/results/three_phases/mini.svg").unlink()
    with pytest.raises(SystemExit, match="2"):
        publish(repository, "--check")
    assert "three_phases/mini.json has no picture beside it" in capsys.readouterr().err


def test_readme_without_a_place_for_its_table_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "README.md").write_text("no place")
    with pytest.raises(SystemExit, match="2"):
        publish(repository)
    assert "has 0 places between <!-- verdict --> and <!-- end -->; it must have one" in capsys.readouterr().err


def test_readmes_of_this_repository_are_up_to_date() -> None:
    done = run_script("eval/publish_results.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ROOT == publish_results.ROOT
