"""The pages of docs/: their links, commands and examples; and the notebook, whose code is run."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from claims import figure_file
from conftest import ROOT, SCRIPT_ENVIRONMENT

from bio_facts.cli import build_parser

DOCS = ROOT / "docs"
sys.path.append(str(DOCS))
import check_site  # noqa: E402 - scripts, not a package
import links  # noqa: E402
import notebook_page  # noqa: E402

PAGES = sorted(DOCS.glob("*.md"))
NOTEBOOK = DOCS / "three_phases.ipynb"


def blocks(page: Path, language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [content for block_language, content in fenced if block_language == language]


def commands(pattern: str) -> list[str]:
    """Commands in unlabelled blocks, one line for each, without comments."""
    lines = [
        line.split("   #")[0].strip()
        for page in PAGES
        for block in blocks(page, "")
        for line in re.sub(r"\\\n\s*", "", block).splitlines()
    ]
    return sorted({line for line in lines if re.match(pattern, line)})


# Pages

GUIDE = [page for page in PAGES if page.stem != "interpretability"]  # whose code test_interpretability.py runs
PYTHON = [(page, block) for page in GUIDE for block in blocks(page, "python")]
BASH = [(page, "\n".join(blocks(page, "bash"))) for page in GUIDE if blocks(page, "bash")]


def test_pages_have_examples() -> None:
    assert {page.stem for page, _ in PYTHON} >= {"load_data", "train", "score", "look_inside"}
    assert {page.stem for page, _ in BASH} >= {"load_data", "train", "look_inside"}


@pytest.mark.ecosystem
@pytest.mark.parametrize(("page", "block"), PYTHON, ids=[f"{page.stem}-{k}" for k, (page, _) in enumerate(PYTHON)])
def test_python_blocks_run(page: Path, block: str, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(block, encoding="utf-8")
    environment = SCRIPT_ENVIRONMENT | {"HF_HOME": str(tmp_path / "home")}
    result = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize(("page", "block"), BASH, ids=[page.stem for page, _ in BASH])
def test_bash_blocks_run(page: Path, block: str, tmp_path: Path) -> None:
    (tmp_path / "train").symlink_to(ROOT / "train")
    environment = SCRIPT_ENVIRONMENT | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-ec", block], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize("command", commands("bio-facts "))
def test_commands_are_parsed(command: str) -> None:
    arguments = shlex.split(command.replace("<you>", "me"))[1:]
    assert build_parser().parse_args(arguments).command == arguments[0]


# The notebook


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_code_of_the_notebook_runs_with_a_short_training(cells: list[dict[str, Any]], tmp_path: Path) -> None:
    """The cells as they are, but for the numbers of the cell of parameters. In place of windows, figures are files."""
    program = ["import matplotlib; matplotlib.use('Agg')"]
    for cell in cells:
        if cell["cell_type"] == "code":
            program.append("".join(cell["source"]))
            if "parameters" in cell["metadata"].get("tags", ()):
                program.append("NUM_INDIVIDUALS, NUM_STEPS, BATCH_SIZE, EVALUATED = 20, 4, 4, [0, 2, 3, 4]")
                program.append("NUM_EVAL_BIOGRAPHIES = 10")
    program.append("plt.figure(2); plt.savefig('tokens.png'); print('figures', plt.get_fignums())")
    (tmp_path / "notebook.py").write_text("\n\n".join(program), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "notebook.py"], cwd=tmp_path, env=SCRIPT_ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("figures [1, 2]\n")
    assert (tmp_path / "tokens.png").stat().st_size > 10_000


def test_notebook_was_run_from_its_first_to_its_last_cell(cells: list[dict[str, Any]]) -> None:
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    pictures = [output for cell in code for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    others = [output for cell in code for output in cell["outputs"] if output.get("name") != "stdout"]
    assert others == pictures  # no error, and nothing of stderr
    assert not any("execution" in cell["metadata"] for cell in code)


def test_pictured_run_has_three_phases(cells: list[dict[str, Any]]) -> None:
    texts = "".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", []))
    (line,) = re.findall(r"phase 1 ends at step (\d+), the plateau at step (\d+)", texts)
    assert 0 < int(line[0]) < int(line[1])


def test_notebook_names_the_extra_that_it_needs(cells: list[dict[str, Any]]) -> None:
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    strings = [node.value for node in ast.walk(ast.parse(first)) if isinstance(node, ast.Constant)]
    assert "bio-facts[train]" in strings


@pytest.mark.ecosystem
def test_saved_outputs_have_no_stderr_and_texts_in_one() -> None:
    pytest.importorskip("nbclient", reason="nbclient is not installed here: make test-ecosystem")
    from run_notebook import kept

    texts = [{"name": "stdout", "text": "a\n"}, {"name": "stderr", "text": "/home/me\n"}, {"name": "stdout", "text": "b\n"}]
    picture = {"data": {"image/png": "UE5H"}}
    assert kept([*texts, picture]) == [{"name": "stdout", "text": "a\nb\n"}, picture]


# The site


@pytest.fixture
def pages(tmp_path: Path) -> Any:
    """A repository with a page, a README, a script and a picture, and the function that makes its links."""
    for name in ("docs/index.md", "README.md", "run.py", "curve.png", "recipes/one/README.md"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text("text")
    places = {Path("docs/index.md"): Path("index.md"), Path("README.md"): Path("repository/readme.md")}
    places[Path("recipes/one/README.md")] = Path("repository/recipes/one.md")

    def make(repository: str | None = None) -> links.PageLinks:
        return links.PageLinks(tmp_path / "root", tmp_path / "pages", places, repository)

    return make


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](../README.md#part) b", "[a](repository/readme.md#part) b"),
        ("[`a`](../recipes/one)", "[`a`](repository/recipes/one.md)"),
        ("![a](../curve.png)", "![a](pictures/curve.png)"),
        ("[a](../run.py), [b](#c), [d](https://e.org)", "a, [b](#c), [d](https://e.org)"),
        ("`[a](none.md)`\n```\n[a](none.md)\n```\n", "`[a](none.md)`\n```\n[a](none.md)\n```\n"),
        ("[x][R] [R]\n\n[R]: ../recipes/one\n", "[x][R] [R]\n\n[R]: repository/recipes/one.md\n"),
        ("[x][R]\n\n[R]: ../run.py\n", "x\n\n\n"),
    ],
)
def test_links_lead_to_pages(pages: Any, text: str, expected: str) -> None:
    assert pages().rewritten(text, Path("docs/index.md"), Path("index.md")) == expected


def test_linked_pictures_are_copied(pages: Any, tmp_path: Path) -> None:
    pages().rewritten("![a](curve.png)", Path("README.md"), Path("repository/readme.md"))
    assert (tmp_path / "pages" / "pictures" / "curve.png").read_text() == "text"


def test_links_to_other_files_lead_to_the_repository(pages: Any) -> None:
    text = pages("https://e.org/r/").rewritten("[a](../run.py) [b](../recipes)", Path("docs/index.md"), Path("index.md"))
    assert text == "[a](https://e.org/r/blob/HEAD/run.py) [b](https://e.org/r/tree/HEAD/recipes)"


def test_link_to_no_file_is_refused(pages: Any) -> None:
    with pytest.raises(ValueError, match=r"^docs/index\.md links to \.\./none\.md, which is no file"):
        pages().rewritten("[a](../none.md)", Path("docs/index.md"), Path("index.md"))


def test_notebook_becomes_text_code_and_pictures(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# A\n", "b"]},
        {"cell_type": "code", "source": "c", "outputs": [{"text": ["d\n"]}, {"data": {"image/png": "UE5H"}}]},
    ]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    text = notebook_page.notebook_text(tmp_path / "n.ipynb", tmp_path / "n.md", str.upper)
    assert text == "# A\nB\n\n```python\nc\n```\n\n```text\nd\n```\n\n![Output of the code above](n-0.png)\n"
    assert (tmp_path / "n-0.png").read_bytes() == b"PNG"


def test_wrong_links_and_files_from_other_sites_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="x"><a href="#x"></a><a href="#y"></a><a href="b.html"></a><a href="sub/#z"></a><a href="https://e.org"></a>'
        '<script src="https://cdn.org/s.js"></script><link rel="stylesheet" href="https://fonts.org/f.css"><img src="c.png">'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text('<p id="z">')
    assert check_site.problems(tmp_path) == [
        "a.html loads https://cdn.org/s.js from another site",
        "a.html loads https://fonts.org/f.css from another site",
        "a.html links to #y, where there is no such anchor",
        "a.html links to b.html, which does not exist",
        "a.html links to c.png, which does not exist",
    ]


@pytest.fixture(scope="module")
def build_module() -> ModuleType:
    import build

    return build


def test_every_page_of_docs_is_in_the_navigation(build_module: ModuleType, tmp_path: Path) -> None:
    """Also one that is not in the order of the guide, before the claims."""
    for name in ("index", "another", "claims", "api", "repository/readme", "repository/train/recipes/one"):
        (tmp_path / f"{name}.md").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.md").write_text(f"# The {name}\n")
    navigation = build_module.navigation(tmp_path)
    assert re.findall(r'"([^"]+\.md)"', navigation) == [
        *("index.md", "another.md", "claims.md", "api.md", "repository/readme.md", "repository/train/recipes/one.md"),
    ]


def test_claims_have_their_measures_and_figures(build_module: ModuleType, tmp_path: Path) -> None:
    build_module.write_pages(tmp_path, None)
    text = (tmp_path / "pages" / "claims.md").read_text(encoding="utf-8")
    for verdict in (ROOT / "eval" / "results").glob("*/mini.json"):
        measures = json.loads(verdict.read_text(encoding="utf-8"))["measures"]
        assert all(f"| `{measure['name']}` |" in text for measure in measures)
        figure = figure_file(verdict)
        picture = f"pictures/eval/results/{verdict.parent.name}/{figure.name}"
        assert f"]({picture})" in text
        assert (tmp_path / "pages" / picture).read_bytes() == figure.read_bytes()


@pytest.mark.ecosystem
def test_site_is_built_and_complete(tmp_path: Path) -> None:
    """By the tool itself, strictly, with the docstrings of all names in api.md."""
    pytest.importorskip("zensical", reason="zensical is not installed here: make test-ecosystem")
    command = [sys.executable, str(DOCS / "build.py"), "--output-dir", str(tmp_path / "site")]
    result = subprocess.run(command, env=SCRIPT_ENVIRONMENT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    names = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    html = (tmp_path / "site" / "html" / "api" / "index.html").read_text(encoding="utf-8")
    assert names and [name for name in names if f'id="{name}"' not in html] == []


def test_workflow_publishes_what_make_docs_builds() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "docs.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["build"]["steps"]
    (built,) = [step["run"] for step in steps if "docs/build.py" in step.get("run", "")]
    assert built.startswith("python docs/build.py")
    (upload,) = [step for step in steps if "upload-pages-artifact" in step.get("uses", "")]
    assert upload["with"]["path"] == "site/html"
    made = subprocess.run(["make", "--dry-run", "docs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "python docs/build.py" in made
