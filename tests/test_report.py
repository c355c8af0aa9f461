"""The claims and their page: what stands in it, and the page itself in a real browser."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import report
from claims import claims
from conftest import ROOT, assert_refused, run_script
from judged_claims import write_judged


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two claims, as run_all.py writes them. Read only."""
    folder = tmp_path_factory.mktemp("results")
    for name in ("three_phases", "hallucination"):
        write_judged(folder, name)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    done = run_script("eval/report.py", folder, "--scale", "mini", "--output-file", folder / "report.html")
    assert done.returncode == 0, done.stderr
    outcomes, _, named = done.stdout.partition("; page: ")
    assert {"C1 shown", f"C6 {words(folder)['hallucination']}"} <= set(outcomes.split(", "))
    assert Path(named.strip()) == folder / "report.html"
    return folder / "report.html"


def without_results() -> list[str]:
    """Claims that have results neither in the folder nor among the committed ones."""
    judged = {path.parent.name for path in report.RESULTS.glob("*/mini.json")} | {"three_phases", "hallucination"}
    return [claim.name for claim in claims() if claim.name not in judged]


def words(folder: Path) -> dict[str, str]:
    return {
        name: json.loads((folder / name / "mini.json").read_text())["word"] or "curves"
        for name in ("three_phases", "hallucination")
    }


@pytest.fixture(scope="module")
def opened(browser: Any, page: Path) -> Any:
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.requests = []
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.goto(page.as_uri())
    return opened


def test_every_claim_has_a_place_in_the_order_of_their_numbers() -> None:
    names = [claim.name for claim in claims()]
    assert names[:4] == ["three_phases", "population_size", "attention_patching", "power_law"]
    assert names[4:8] == ["warm_up", "hallucination", "fine_tuning", "replay"]
    assert names[8:13] == ["rare_individuals", "robustness", "templates", "associative_memory", "sequential_groups"]
    assert names[13:] == ["recall", "celebrities_help", "probing"]
    letters = [letter + str(n) for letter, number in (("C", 10), ("F", 3), ("R", 3)) for n in range(1, number + 1)]
    assert [claim.label for claim in claims()] == letters


@pytest.mark.parametrize("scale", ["smoke", "mini", "paper"])
def test_every_claim_has_its_module_and_its_recipes(scale: str) -> None:
    from run_all import claims_of

    names = {claim.name for claim in claims()}
    assert names == {path.stem for path in (ROOT / "eval" / "analysis").glob("*.py")} == set(claims_of(scale))


@pytest.mark.parametrize("label", ["9", "C", "C9a", "c9", "C 9"])
def test_label_that_has_no_place_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match=f"label of claim three_phases is '{label}'"):
        _ = dataclasses.replace(claims()[0], label=label).place


def test_a_title_is_a_sentence_that_can_follow_its_label() -> None:
    assert [claim.title for claim in claims() if not claim.title[0].isupper() or claim.title.endswith(".")] == []
    assert claims()[0].heading == "C1: Language models learn facts in three phases"


def test_scale_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    result = run_script("eval/report.py", "--scale", "tiny", "--output-file", tmp_path / "report.html")
    assert_refused(result, "invalid choice: 'tiny'", "mini")


def test_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    result = run_script("eval/report.py", folder, "--scale", "smoke", "--output-file", folder)
    assert_refused(result, "output-file is", "a folder")
    result = run_script("eval/analysis/three_phases.py", "runs/one", "--results", folder)
    assert_refused(result, "results is", "a folder")


def test_page_needs_nothing_but_itself(opened: Any, page: Path) -> None:
    assert [url for url in opened.requests if not url.startswith("data:")] == [page.as_uri()]
    assert "<script" not in page.read_text(encoding="utf-8")


def test_page_shows_words_and_counts(opened: Any, folder: Path) -> None:
    body = opened.inner_text("body")
    assert "Of 16 claims and groups of figures:" in body
    number = len(without_results())
    assert f"{number} not yet run" in body
    rows = [row.inner_text().split("\t") for row in opened.query_selector_all("tbody tr")[: len(claims())]]
    by_label = {row[0].partition(":")[0]: row[1] for row in rows}
    assert by_label["C1"] == "shown"
    assert by_label["C6"] == words(folder)["hallucination"]
    assert sum(word == "not yet run" for word in by_label.values()) == number


def test_every_figure_of_the_paper_has_a_row(opened: Any) -> None:
    figures = [row.inner_text().split("\t")[0] for row in opened.query_selector_all("tbody tr")[len(claims()) :]]
    for figure in ["1", "Table 1", *(f"{number}," for number in (2, 3, 4, 5)), *"ABCDEFGHIJKLMNOPQRSW"]:
        assert any(name.startswith(figure) for name in figures), figure
    assert "S-V, X" in figures


def test_section_shows_paper_measures_seeds_device_and_time(opened: Any, folder: Path) -> None:
    section = opened.inner_text("#three_phases")
    verdict = json.loads((folder / "three_phases" / "mini.json").read_text())
    assert "The paper:" in section
    assert "abacus" in section
    assert "seeds 20, 21, 22, 23, 24" in section
    assert "of training and evaluation" in section
    assert verdict["fingerprint"] in section
    assert verdict["registration"][:16] in section
    for measure in verdict["measures"]:
        assert measure["description"] in section
    assert section.count("shown") >= len(verdict["measures"])


def test_pictures_are_drawn(opened: Any) -> None:
    program = "figures => figures.map(figure => figure.getBoundingClientRect().width)"
    widths = opened.eval_on_selector_all("section > svg, section > img", program)
    assert len(widths) == len(claims()) - len(without_results())
    assert min(widths) > 500


def test_text_of_a_picture_can_be_selected(opened: Any) -> None:
    program = "figure => { getSelection().selectAllChildren(figure); return getSelection().toString(); }"
    assert "training step" in opened.eval_on_selector("#three_phases > svg", program)


def test_page_fits_a_phone(opened: Any) -> None:
    opened.set_viewport_size({"width": 390, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.set_viewport_size({"width": 1280, "height": 800})


def test_claims_without_results_name_the_command_that_makes_them(opened: Any) -> None:
    for claim in without_results():
        assert f"python train/run_all.py --scale mini --claims {claim}" in opened.inner_text(f"#{claim}")


def test_committed_results_are_read_where_a_folder_has_none(folder: Path, tmp_path: Path) -> None:
    entries = {claim.name: report.read_entry(claim, "mini", tmp_path, results=folder) for claim in claims()}
    assert entries["three_phases"].origin == "committed results"
    assert entries["three_phases"].outcome == "shown"
    assert entries["replay"].verdict is None


def test_text_from_results_is_escaped(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "three_phases", tmp_path / "three_phases")
    path = tmp_path / "three_phases" / "mini.json"
    path.write_text(path.read_text().replace("abacus", "<script>alert(1)</script>"))
    done = run_script("eval/report.py", tmp_path, "--scale", "mini", "--output-file", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    assert "<script" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("{", ["smoke.json is not the verdict of an analysis"]),
        ('{"claim": "x"}', ["lacks word, scale", "judge the runs again"]),
    ],
)
def test_files_that_are_no_verdicts_are_refused(tmp_path: Path, text: str, fragments: list[str]) -> None:
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "smoke.json").write_text(text)
    page = tmp_path / "report.html"
    assert_refused(run_script("eval/report.py", tmp_path, "--scale", "smoke", "--output-file", page), *fragments)
    assert not page.exists()


def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = run_script("eval/report.py", tmp_path / "no", "--output-file", tmp_path / "report.html")
    assert_refused(result, "which is no folder", "train/run_all.py")
