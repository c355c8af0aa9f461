"""What the package may import. Each check has a twin that shows that it would notice."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bio_facts.files import ASSETS

ROOT = Path(__file__).parent.parent
HEAVY = {
    *("torch", "transformers", "tokenizers", "accelerate", "sentencepiece", "evaluate", "matplotlib", "safetensors"),
    *("datasets", "huggingface_hub", "datatrove", "inspect_ai", "pandas", "polars", "duckdb"),
}
TABLES = {"pyarrow", "yaml", "tqdm", "filelock"}  # needed to write and read tables and their card, not to draw biographies
# Layer -> the layers that its modules may import; each may import those of its own and of BASE.
LAYERS: dict[str, set[str]] = {
    "generate": set(),
    "measure": {"generate"},
    "publish": {"generate", "measure"},
    "runs": {"generate", "measure"},
}
BASE = {"checks", "files", "hub", "terminal"}  # import nothing of the package
# module -> the libraries that it is for
FOR_LIBRARIES = {
    "publish/datasets_builder.py": {"datasets"},
    "publish/datatrove_steps.py": {"datatrove"},
    "publish/inspect_tasks.py": {"inspect_ai"},
    "measure/callbacks.py": {"transformers", "accelerate"},
    "runs/training.py": {"torch", "transformers"},
    "runs/trainer.py": {"torch", "transformers", "accelerate"},
    "runs/evaluation.py": {"accelerate"},
    "runs/loss.py": {"torch"},
    "runs/attention_by_products.py": {"torch"},
}
SCRIPT_FOLDERS = ("train", "eval", "loading_script")
MODULES = sorted((ROOT / "bio_facts").rglob("*.py"))
SCRIPTS = {folder: sorted((ROOT / folder).rglob("*.py")) for folder in SCRIPT_FOLDERS}
EVERY_MODULE = pytest.mark.parametrize("module", MODULES, ids=[str(file.relative_to(ROOT)) for file in MODULES])

# The folders of the layers have no __init__.py, so pkgutil.walk_packages would find only the modules beside them.
NAMES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in MODULES
    if file.stem != "__init__" and file.relative_to(ROOT / "bio_facts").as_posix() not in FOR_LIBRARIES
}
IMPORT_ALL = f"""
import importlib
for name in {sorted(NAMES)}:
    importlib.import_module(name)
"""
WHAT_TRAINING_NEEDS = """
import bio_facts
from bio_facts import ATTRIBUTES, CONFIGS, Population, draw, get_config
from bio_facts.measure import baseline, metrics, tokens
from bio_facts.runs import phases
config = get_config("n1k-alpha0.6")
bio_facts.splits(config)
bio_facts.rows(draw(config, "train", range(10)))
draw(config, "unseen", range(10))
"""
REPORT = "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded_by(program: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `program`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program + REPORT]
    return set(json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout))


def imported_by(source: str, anywhere: bool = True) -> set[str]:
    """Top-level names of all modules that `source` imports, wherever the import stands, or only outside of functions."""
    packages, nodes = set(), [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            packages.add("." if node.level else str(node.module).partition(".")[0])
        if anywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes += ast.iter_child_nodes(node)
    return packages


def script_modules() -> set[str]:
    """Names by which something of the outer folders could be imported."""
    return set(SCRIPT_FOLDERS).union(*map(names_in, SCRIPT_FOLDERS))


def names_in(folder: str) -> set[str]:
    """Names by which the modules of an outer folder, and the folders in it, could be imported."""
    return {name for file in SCRIPTS[folder] for name in (file.stem, file.parent.name)}


def test_importing_every_module_loads_nothing_heavy() -> None:
    loaded = loaded_by(IMPORT_ALL)
    assert {"bio_facts", *TABLES} <= loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("module", ["tokenizers", "matplotlib", pytest.param("datasets", marks=pytest.mark.ecosystem)])
def test_heavy_import_would_be_noticed(module: str) -> None:
    assert module in loaded_by(f"{IMPORT_ALL}\nimport {module}\n") & HEAVY


def test_drawing_biographies_loads_no_library_of_tables() -> None:
    """As training does: it must run without pyarrow and datasets."""
    loaded = loaded_by(WHAT_TRAINING_NEEDS)
    assert "numpy" in loaded
    assert not loaded & (HEAVY | TABLES)


@pytest.mark.parametrize(
    ("use", "library"),
    [pytest.param("bio_facts.load_dataset", "datasets", marks=pytest.mark.ecosystem), ("import yaml", "yaml")],
)
def test_library_of_tables_would_be_noticed(use: str, library: str) -> None:
    assert library in loaded_by(f"{WHAT_TRAINING_NEEDS}\n{use}\n") & (HEAVY | TABLES)


def test_names_that_load_a_library_are_there_when_asked_for() -> None:
    import bio_facts

    assert bio_facts.rows.__module__ == "bio_facts.generate.biography"
    assert bio_facts.score.__module__ == bio_facts.Scores.__module__ == "bio_facts.measure.scoring"
    with pytest.raises(AttributeError, match=r"^module 'bio_facts' has no attribute 'row'$"):
        bio_facts.row  # noqa: B018


@pytest.mark.ecosystem
def test_load_dataset_is_there_when_asked_for() -> None:
    import bio_facts

    assert bio_facts.load_dataset.__module__ == "bio_facts.publish.datasets_builder"


def test_no_public_name_hides_a_module() -> None:
    """`import bio_facts.generate.splits; bio_facts.generate.splits.draw` must work, whatever the package exports."""
    checks = [f"import {name}\nassert {name} is sys.modules[{name!r}], {name!r}\n" for name in sorted(NAMES)]
    program = "import sys\n" + "".join(checks)
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def imported_modules(source: str) -> set[str]:
    """Full names of what `source` imports from the package, wherever the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("bio_facts.")}


def forbidden(file: Path, source: str) -> set[str]:
    """What a module of the package imports from layers that it may not import."""
    layer = file.relative_to(ROOT / "bio_facts").parts[0].removesuffix(".py")
    if layer in ("__init__", "cli", "commands"):
        return set()
    allowed = set() if layer in BASE else {layer, *BASE, *LAYERS[layer]}
    public = {"bio_facts.__version__", "bio_facts.DATA_VERSION"} if layer == "runs" else set()
    return {name for name in imported_modules(source) if name.split(".")[1] not in allowed} - public


@EVERY_MODULE
def test_layer_imports_only_the_layers_below_it(module: Path) -> None:
    assert forbidden(module, module.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("generate/splits.py", "from bio_facts.measure.metrics import AttributeTotals"),
        ("generate/splits.py", "def f():\n    import bio_facts.publish.tables"),
        ("measure/callbacks.py", "from bio_facts import rows"),
        ("publish/card.py", "from bio_facts.runs import recipe"),
        ("runs/recipe.py", "from bio_facts.publish.tables import TABLES"),
        ("files.py", "from bio_facts.checks import needs"),
        ("publish/hub.py", "from bio_facts.commands.parsers import Commands"),
    ],
)
def test_import_against_the_direction_would_be_noticed(file: str, source: str) -> None:
    assert forbidden(ROOT / "bio_facts" / file, source)


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from random import shuffle",
        "from numpy.random import default_rng",
        "import numpy as np\n\nnp.random.seed(1)",
        "import numpy as np\n\nGENERATOR = np.random.default_rng(0)",
    ],
)
@pytest.mark.parametrize(("file", "noticed"), [("bio_facts/generate/new.py", True), ("eval/analysis/new.py", False)])
def test_ruff_refuses_random_generators_in_the_package(source: str, file: str, noticed: bool) -> None:
    """`make lint` looks at every file; here, at a line that is planted in one."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", "--stdin-filename", file, "-"]
    result = subprocess.run(command, cwd=ROOT, input=source, capture_output=True, text=True)
    assert ("TID251" in result.stdout) is noticed, result.stdout + result.stderr


@pytest.mark.ecosystem
def test_every_public_name_is_there() -> None:
    import bio_facts

    assert all(hasattr(bio_facts, name) for name in bio_facts.__all__)


def test_dir_lists_every_public_name_before_it_is_asked_for() -> None:
    program = "import json, bio_facts; print(json.dumps([dir(bio_facts), bio_facts.__all__]))"
    listed, public = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert {"load_dataset", "rows", "Scores", "score"} <= set(listed)
    assert set(public) <= set(listed)
    assert listed == sorted(set(listed))


@EVERY_MODULE
def test_library_is_imported_by_the_module_that_is_for_it_alone(module: Path) -> None:
    assert imported_by(module.read_text(encoding="utf-8"), anywhere=False) & HEAVY == FOR_LIBRARIES.get(
        module.relative_to(ROOT / "bio_facts").as_posix(), set()
    )


@pytest.mark.parametrize(
    ("source", "noticed"),
    [
        ("import datasets", {"datasets"}),
        ("from datasets.features import Value", {"datasets"}),
        ("if True:\n    import datasets", {"datasets"}),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", {"torch"}),
        ("class A:\n    import datasets", {"datasets"}),
        ("def f():\n    import datasets", set()),
        ("class A:\n    def f(self):\n        import datasets", set()),
    ],
)
def test_import_at_module_level_would_be_noticed(source: str, noticed: set[str]) -> None:
    assert imported_by(source, anywhere=False) & HEAVY == noticed


@EVERY_MODULE
def test_package_imports_nothing_from_outer_folders(module: Path) -> None:
    assert not imported_by(module.read_text(encoding="utf-8")) & script_modules()


@pytest.mark.parametrize(
    "source",
    [
        "import train",
        "from train.arguments import Recipe",
        "def f():\n    import train_memory",
        "import eval.analysis",
        "from bio_facts_script import BioFactsScript",
    ],
)
def test_import_from_outer_folders_would_be_noticed(source: str) -> None:
    assert imported_by(source) & script_modules()


def imports_of_others(folder: str, source: str) -> set[str]:
    """What a script of an outer folder imports from the other ones."""
    others = set().union(*(names_in(other) for other in SCRIPT_FOLDERS if other != folder)) - names_in(folder)
    return imported_by(source) & (others | set(SCRIPT_FOLDERS))


@pytest.mark.parametrize("folder", SCRIPT_FOLDERS)
def test_outer_folders_do_not_import_each_other(folder: str) -> None:
    assert SCRIPTS[folder]
    assert {file: names for file in SCRIPTS[folder] if (names := imports_of_others(folder, file.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("train", "from claims import claims"),
        ("train", "from analysis.three_phases import CLAIM"),
        ("eval", "def f():\n    import run_all"),
        ("eval", "from eval.claims import claims"),
    ],
)
def test_import_of_another_outer_folder_would_be_noticed(folder: str, source: str) -> None:
    assert imports_of_others(folder, source)


def test_wheel_is_told_to_hold_the_package_and_its_assets() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assets = build["targets"]["wheel"].pop("force-include")
    assert build == {"targets": {"wheel": {"packages": ["bio_facts"]}}}
    assert {Path(path).relative_to("bio_facts/assets").parts[0] for path in assets.values()} == set(ASSETS)
    for source, path in assets.items():
        name, *rest = Path(path).relative_to("bio_facts/assets").parts
        assert Path(source) == Path(ASSETS[name], *rest)
    assert not (ROOT / "bio_facts" / "assets").exists()  # one copy in the repository


def test_libraries_of_table_modules_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {name.partition(">")[0] for name in project["dependencies"]}
    assert declared == {"numpy", "pyyaml", "shtab", *TABLES - {"yaml"}}


@pytest.mark.parametrize("folder", [*SCRIPT_FOLDERS, "tests"])
def test_outer_folder_is_no_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("path", ["bio_facts.py", "train/datasets.py", "eval/evaluate.py", "loading_script/bio_facts.py"])
def test_no_script_hides_a_library(path: str) -> None:
    assert not (ROOT / path).exists()
