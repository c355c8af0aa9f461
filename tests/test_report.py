"""The page of all claims: what stands in it, and the page itself in a real browser."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import readmes
import report
from conftest import assert_refused, run_script
from test_claims import hallucination
from written_runs import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one claim that passed and one that did not, as run_all.py writes them. Read only."""
    folder = tmp_path_factory.mktemp("results")
    run = write_run(folder / "runs" / "one")
    (quiet,) = hallucination(folder / "quiet", top=0.85)
    for claim, path, code in (("three_phases", run, 0), ("hallucination", quiet, 1)):
        done = run_script(f"eval/analysis/{claim}.py", path, "--results", folder / claim / "tiny.json")
        assert done.returncode == code, done.stderr
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    done = run_script("eval/analysis/report.py", folder, "--scale", "tiny", "--output_file", folder / "report.html")
    assert done.returncode == 0, done.stderr
    assert f"1 of 2 judged claims passed; page: {folder / 'report.html'}" in done.stdout
    return folder / "report.html"


@pytest.fixture(scope="module")
def opened(browser: Any, page: Path) -> Any:
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.requests = []
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.goto(page.as_uri())
    return opened


def test_every_claim_has_a_place_in_the_order_of_their_numbers() -> None:
    names = [module.CLAIM for module in report.claims()]
    assert names[:4] == ["three_phases", "population_size", "attention_patching", "power_law"]
    assert names[4:8] == ["warm_up", "hallucination", "fine_tuning", "replay"]
    assert set(names[8:]) == {"rare_individuals", "associative_memory", "sequential_groups"}


def test_run_all_knows_the_same_claims() -> None:
    import run_all

    assert {module.CLAIM for module in report.claims()} == set(run_all.CLAIMS)


def test_scale_without_results_is_refused(tmp_path: Path) -> None:
    result = run_script("eval/analysis/report.py", "--scale", "tiny", "--output_file", tmp_path / "report.html")
    assert_refused(result, "scale is 'tiny'", "no committed results")


def test_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    result = run_script("eval/analysis/report.py", folder, "--scale", "tiny", "--output_file", folder)
    assert_refused(result, "output_file is", "a folder")
    result = run_script("eval/analysis/three_phases.py", folder / "runs" / "one", "--results", folder)
    assert_refused(result, "results is", "a folder")


def test_readmes_say_what_the_committed_results_say() -> None:
    done = run_script("eval/analysis/readmes.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_of_a_recipe_names_every_check_and_why_one_failed(folder: Path) -> None:
    found = json.loads((folder / "hallucination" / "tiny.json").read_text())
    text = readmes.recipe_text(report.Entry("hallucination", "C6: Hallucination", "", found))
    assert "**not passed**" in text
    assert [one["name"] in text for one in found["checks"]] == [True] * len(found["checks"])
    assert text.count("**fail**") == 1
    assert found["explanation"] in text


def test_page_needs_nothing_but_itself(opened: Any, page: Path) -> None:
    assert [url for url in opened.requests if not url.startswith("data:")] == [page.as_uri()]
    assert "<script" not in page.read_text(encoding="utf-8")


def test_page_shows_verdicts_and_counts(opened: Any) -> None:
    body = opened.inner_text("body")
    assert "1 of 2 judged claims passed, 9 not yet run" in body
    verdicts = {
        row.inner_text().split("\t")[0]: row.inner_text().split("\t")[1] for row in opened.query_selector_all("tbody tr")[:11]
    }
    assert sorted(verdicts.values()) == ["not passed"] + ["not yet run"] * 9 + ["passed"]


def test_section_shows_paper_thresholds_seeds_device_and_time(opened: Any, folder: Path) -> None:
    section = opened.inner_text("#hallucination")
    found = json.loads((folder / "hallucination" / "tiny.json").read_text())
    assert "The paper:" in section
    assert "Why it did not pass:" in section
    assert "abacus" in section
    assert "seeds 10" in section
    assert "300 s of training" in section or "5 min of training" in section
    assert found["fingerprint"] in section
    for check in found["checks"]:
        assert check["name"] in section
    assert section.count("fail") == 1


def test_pictures_are_drawn(opened: Any) -> None:
    widths = opened.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) == 2
    assert min(widths) > 500


def test_page_fits_a_phone(opened: Any) -> None:
    opened.set_viewport_size({"width": 390, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.set_viewport_size({"width": 1280, "height": 800})


def test_claims_without_results_name_the_command_that_makes_them(opened: Any) -> None:
    assert "python train/run_all.py --scale tiny --claims replay" in opened.inner_text("#replay")


def test_committed_results_are_read_where_there_are_no_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "COMMITTED", folder)
    entries = {module.CLAIM: report.entry(module, tmp_path, "tiny") for module in report.claims()}
    assert entries["three_phases"].origin == "committed results"
    assert entries["three_phases"].verdict == "passed"
    assert entries["replay"].found is None


def test_text_from_results_is_escaped(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "three_phases", tmp_path / "three_phases")
    path = tmp_path / "three_phases" / "tiny.json"
    path.write_text(path.read_text().replace("abacus", "<script>alert(1)</script>"))
    done = run_script("eval/analysis/report.py", tmp_path, "--scale", "tiny", "--output_file", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    assert "<script" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("{", ["tiny.json is not the verdict of an analysis"]),
        ('{"claim": "x"}', ["lacks passed, scale", "judge the runs again"]),
    ],
)
def test_files_that_are_no_verdicts_are_refused(tmp_path: Path, text: str, fragments: list[str]) -> None:
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "tiny.json").write_text(text)
    page = tmp_path / "report.html"
    assert_refused(run_script("eval/analysis/report.py", tmp_path, "--scale", "tiny", "--output_file", page), *fragments)
    assert not page.exists()


def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = run_script("eval/analysis/report.py", tmp_path / "no", "--output_file", tmp_path / "report.html")
    assert_refused(result, "which is no folder", "train/run_all.py")
