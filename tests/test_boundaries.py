"""What the package may import. Each check has a twin that shows that it would notice."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "transformers", "datasets", "evaluate", "tokenizers", "matplotlib"}
SCRIPT_FOLDERS = ("train", "eval")
MODULES = sorted((ROOT / "bio_facts").rglob("*.py"))

IMPORT_ALL = """
import importlib, json, pkgutil, sys
import bio_facts
for module in pkgutil.walk_packages(bio_facts.__path__, "bio_facts."):
    importlib.import_module(module.name)
"""
REPORT = "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded_by(program: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `program`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program + REPORT]
    return set(json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout))


def imported_by(source: str) -> set[str]:
    """Top-level names of all modules that `source` imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else str(node.module).partition(".")[0])
    return found


def script_modules() -> set[str]:
    """Names by which something of train/ or eval/ could be imported."""
    return set(SCRIPT_FOLDERS) | {file.stem for folder in SCRIPT_FOLDERS for file in (ROOT / folder).rglob("*.py")}


def test_importing_every_module_loads_nothing_heavy() -> None:
    loaded = loaded_by(IMPORT_ALL)
    assert "bio_facts" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("module", ["tokenizers", "matplotlib"])
def test_heavy_import_would_be_noticed(module: str) -> None:
    assert loaded_by(f"{IMPORT_ALL}\nimport {module}\n") & HEAVY == {module}


@pytest.mark.parametrize("module", MODULES, ids=[str(file.relative_to(ROOT)) for file in MODULES])
def test_package_imports_nothing_from_train_or_eval(module: Path) -> None:
    assert not imported_by(module.read_text(encoding="utf-8")) & script_modules()


@pytest.mark.parametrize(
    "source", ["import train", "from train.arguments import Recipe", "def f():\n    import arguments", "import eval.analysis"]
)
def test_import_from_train_or_eval_would_be_noticed(source: str) -> None:
    assert imported_by(source) & script_modules()


@pytest.mark.parametrize("folder", SCRIPT_FOLDERS)
def test_train_and_eval_do_not_import_each_other(folder: str) -> None:
    others = {file.stem for other in SCRIPT_FOLDERS if other != folder for file in (ROOT / other).rglob("*.py")}
    others -= {file.stem for file in (ROOT / folder).rglob("*.py")}
    for file in (ROOT / folder).rglob("*.py"):
        assert not imported_by(file.read_text(encoding="utf-8")) & (others | set(SCRIPT_FOLDERS))


def test_wheel_holds_the_package_only() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert build == {"targets": {"wheel": {"packages": ["bio_facts"]}}}


@pytest.mark.parametrize("folder", [*SCRIPT_FOLDERS, "tests"])
def test_outer_folder_is_no_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
