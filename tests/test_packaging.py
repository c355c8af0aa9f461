"""The wheel: what is in it, what works without the clone, its page on PyPI; and the public workflow of the tests."""

import ast
import configparser
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from conftest import ROOT, SCRIPT_ENVIRONMENT

import bio_facts
from bio_facts.files import ASSETS, asset

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def files_below(path: Path) -> dict[str, bytes]:
    """Relative path -> content of a file, or of all files of a folder."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files if "__pycache__" not in file.parts}


def test_wheel_has_the_package_its_data_assets_and_py_typed(installed: Path) -> None:
    assert {path.name for path in installed.iterdir()} == {"bio_facts", f"bio_facts-{bio_facts.__version__}.dist-info"}
    names = {name for name in files_below(installed / "bio_facts") if not name.startswith("assets/")}
    assert names == set(files_below(ROOT / "bio_facts"))
    assert "py.typed" in names
    assert {path.name for path in (installed / "bio_facts" / "assets").iterdir()} == set(ASSETS)
    (metadata,) = installed.glob("*.dist-info/METADATA")
    extras = re.findall(r"^Provides-Extra: (.+)$", metadata.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(extras) == set(PROJECT["optional-dependencies"])


def test_wheel_tells_inspect_where_its_tasks_are(installed: Path) -> None:
    (file,) = installed.glob("*.dist-info/entry_points.txt")
    entry_points = configparser.ConfigParser()
    entry_points.read(file, encoding="utf-8")
    module = entry_points["inspect_ai"]["bio_facts"]
    tree = ast.parse((installed / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    assert {"cloze", "cloze_generate"} <= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_wheel_is_small(wheel: Path) -> None:
    """The committed results and pictures, more than two megabytes, are not in it."""
    assert wheel.stat().st_size < 500_000


@pytest.mark.parametrize("name", ASSETS)
def test_asset_is_found_in_an_installed_wheel_and_in_a_clone(name: str, installed: Path) -> None:
    program = f"from bio_facts.files import asset; print(asset({name!r}))"
    places = {}
    for root in (installed, ROOT):  # an editable install puts the clone on the path, too
        environment = SCRIPT_ENVIRONMENT | {"PYTHONPATH": str(root)}
        result = subprocess.run(
            [sys.executable, "-c", program], cwd=installed.parent, env=environment, capture_output=True, text=True, check=True
        )
        places[root] = Path(result.stdout.strip())
    assert places == {installed: installed / "bio_facts" / "assets" / name, ROOT: ROOT / ASSETS[name]}
    in_clone = files_below(places[ROOT])
    assert in_clone
    in_clone.pop("page.png", None)  # a picture for README.md
    assert files_below(places[installed]) == in_clone


def test_unknown_asset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^asset is 'results'; it must be one of dataset_card\.md, recipes, "):
        asset("results")


# Without the clone


@pytest.fixture(scope="module")
def by_pip(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip installs the wheel, with its command; dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("by_pip")
    options = ["--quiet", "--no-deps", "--no-index", "--target", folder]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, wheel], check=True)
    return folder


def run_installed(folder: Path, *arguments: str) -> str:
    environment = SCRIPT_ENVIRONMENT | {"PYTHONPATH": str(folder)}
    command = [str(folder / "bin" / "bio-facts"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def test_installed_command_prints_the_rows_without_the_clone(by_pip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from bio_facts.cli import main

    printed = run_installed(by_pip, "sample", "n64k", "--num", "2")
    assert main(["sample", "n64k", "--num", "2"]) == 0
    assert printed == capsys.readouterr().out


def test_installed_command_finds_the_tasks_of_the_harness(by_pip: Path) -> None:
    """And is that of the wheel, not of the clone."""
    folder = Path(run_installed(by_pip, "lm-eval-path").strip())
    assert folder == by_pip / "bio_facts" / "assets" / "lm_eval"
    assert {file.stem for file in folder.glob("*.yaml")} >= {"bio_facts_recall", "bio_facts_choice"}


# The page on PyPI


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pypi_readme", ROOT / ".ci" / "pypi_readme.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MARKDOWN = (
    "[paper](https://arxiv.org) and [here](#files), [card](dataset_card.md).\n\n![A curve](eval/demo.png)\n\n"
    "| [C1] | [shown][C1 mini] |\n\n[C1]: train/recipes/three_phases\n[C1 mini]: eval/results/mini.json\n"
)


def test_links_lead_to_the_repository(hook: ModuleType) -> None:
    address = "https://example.org/someone/bio_facts"
    assert hook.pypi_text(MARKDOWN, address) == (
        f"[paper](https://arxiv.org) and [here](#files), [card]({address}/blob/HEAD/dataset_card.md).\n\n"
        f"![A curve]({address}/raw/HEAD/eval/demo.png)\n\n| [C1] | [shown][C1 mini] |\n\n"
        f"[C1]: {address}/blob/HEAD/train/recipes/three_phases\n[C1 mini]: {address}/blob/HEAD/eval/results/mini.json\n"
    )


def test_links_are_text_without_a_repository(hook: ModuleType) -> None:
    expected = "[paper](https://arxiv.org) and [here](#files), card.\n\n\n\n| [C1] | shown |\n\n"
    assert hook.pypi_text(MARKDOWN, None) == expected


def test_page_of_the_wheel_is_readme_with_absolute_links_alone(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info/METADATA")
    headers, page = metadata.read_text(encoding="utf-8").split("\n\n", 1)
    assert "\nDescription-Content-Type: text/markdown" in headers
    assert page.startswith("# bio_facts\n")
    assert "## Citation\n" in page
    targets = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", page, flags=re.MULTILINE)
    assert targets
    assert [target for pair in targets for target in pair if target and not target.startswith(("https://", "#"))] == []


# Citation and workflow


def test_citation_has_the_version_and_license_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (bio_facts.__version__, PROJECT["license"])
    assert citation["keywords"] == PROJECT["keywords"]


def test_workflow_runs_the_unit_tests_of_make_on_three_systems() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    unit = workflow["jobs"]["unit"]
    assert {name.partition("-")[0] for name in unit["strategy"]["matrix"]["os"]} == {"ubuntu", "macos", "windows"}
    assert str(PROJECT["requires-python"]).removeprefix(">=") in unit["strategy"]["matrix"]["python"]
    commands = [step["run"] for step in unit["steps"] if "run" in step]
    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", "test-fast"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    (marks,) = re.findall(r'-m pytest .* -m ("[^"]+")', recipe)
    assert f"-m pytest --numprocesses auto --dist loadfile -r s -m {marks}" in commands[-1]
    extras, group = re.findall(r'pip install --editable "(\.\[\w+\])" --group (\w+)', recipe)[0]
    assert f'--editable "{extras}" --group {group}' in "\n".join(commands)
