"""Extras: each is enough for the code that it is for, the pins fit one another, and a missing package names its extra."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, SCRIPT_ENVIRONMENT, SMOKE, assert_refused, load_recipe
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from written_runs import curve, write_run

import bio_facts
from bio_facts.runs.registration import read_registration

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, GROUPS = PYPROJECT["project"], PYPROJECT["dependency-groups"]
DISTRIBUTIONS = {"yaml": "pyyaml", "google": "protobuf"}  # of imports that are named otherwise
FOLDERS = ("train", "eval", "eval/analysis", "eval/attribute_recall", "eval/lm_eval", "docs", "tests")
LAZY = bio_facts._LAZY
PACKAGES = {"bio_facts": ROOT, "analysis": ROOT / "eval"}  # name -> the folder that it is imported from
# Extra -> the files whose commands and functions it is for.
PARTS = {
    "hub": ["bio_facts/publish/datasets_builder.py", "bio_facts/publish/hub.py", "loading_script/*.py"],
    "datatrove": ["bio_facts/publish/datatrove_steps.py"],
    "train": [
        "train/*.py",
        "eval/analysis/*.py",
        "eval/report.py",
        "eval/publish_results.py",
        "bio_facts/measure/callbacks.py",
        "bio_facts/measure/scoring.py",
        "bio_facts/measure/attention.py",
        "bio_facts/runs/*.py",
    ],
    "eval": ["eval/*.py", "eval/attribute_recall/*.py", "eval/analysis/*.py"],
    "harness": ["eval/lm_eval/*.py"],
    "inspect": ["bio_facts/publish/inspect_tasks.py"],
}
# What the tests and benchmarks are made of, all environments together.
EVERYTHING = ["tests/*.py", "benchmarks/*.py", "bio_facts/**/*.py", ".ci/*.py", "docs/*.py", "docs/examples/*.py"]
# Packages that make demo and make paper do without.
NOT_FOR_TRAINING = {
    "gradio",
    "playwright",
    "lm-eval",
    "inspect-ai",
    "datatrove",
    "evaluate",
    "datasets",
    "polars",
    "duckdb",
    "pandas",
    "peft",
}


def files_of(extra: str) -> list[Path]:
    return [file for pattern in PARTS[extra] for file in sorted(ROOT.glob(pattern))]


def provided(*extras: str) -> set[str]:
    """Distributions that an install with these extras asks for by name, extras of extras included."""
    names: set[str] = set()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]:
        requirement = Requirement(text)
        is_this_package = canonicalize_name(requirement.name) == "bio-facts"
        names |= provided(*requirement.extras) if is_this_package else {canonicalize_name(requirement.name)}
    return names


def imported(file: Path) -> Iterator[str]:
    """Full names of what a file imports, wherever the import stands; lazy names of bio_facts count as their modules."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
            if node.module == "bio_facts":
                yield from (f"bio_facts.{LAZY.get(alias.name, alias.name)}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "bio_facts":
            yield f"bio_facts.{LAZY.get(node.attr, node.attr)}"


def provided_to_tests() -> set[str]:
    """Distributions that .venv-ecosystem asks for by name."""
    grouped = {canonicalize_name(Requirement(text).name) for texts in GROUPS.values() for text in texts}
    return grouped | provided(*PROJECT["optional-dependencies"])


def needed(files: list[Path]) -> set[str]:
    """Distributions that these files import, and the files of this repository that they import, and so on."""
    local = {file.stem: file for folder in FOLDERS for file in (ROOT / folder).glob("*.py")}
    names, seen, left = set(), set(), list(files)
    while left:
        file = left.pop()
        if file in seen:
            continue
        seen.add(file)
        for name in imported(file):
            top = name.partition(".")[0]
            if top in PACKAGES:
                left += modules_of(name)
            elif (file.parent / f"{top}.py").is_file() or (top in local and file.parent.name in ("tests", "analysis", "docs")):
                left.append(file.parent / f"{top}.py" if (file.parent / f"{top}.py").is_file() else local[top])
            elif top not in sys.stdlib_module_names and top not in ("__main__", "app", "utils"):
                names.add(canonicalize_name(DISTRIBUTIONS.get(top, top)))
    return names


def modules_of(name: str) -> list[Path]:
    """Files of the package that importing `name`, a module or something in one, loads."""
    parts = name.split(".")
    folder = PACKAGES[parts[0]]
    paths = [folder.joinpath(*parts[:length]) for length in range(1, len(parts) + 1)]
    return [file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


def test_imports_are_followed_into_the_layers_of_the_package() -> None:
    files = {str(file.relative_to(ROOT)) for file in modules_of("bio_facts.publish.tables.rows")}
    assert files == {"bio_facts/__init__.py", "bio_facts/publish/tables.py"}


def test_lazy_names_are_those_of_the_package() -> None:
    import bio_facts

    assert LAZY == bio_facts._LAZY


def test_every_extra_is_looked_at() -> None:
    assert set(PROJECT["optional-dependencies"]) == {*PARTS, "paper"}


def test_tests_have_what_they_import() -> None:
    files = [file for pattern in EVERYTHING for file in sorted(ROOT.glob(pattern))]
    assert needed(files) - provided_to_tests() == set()


def test_training_installs_no_package_that_only_tests_and_other_extras_need() -> None:
    assert not provided("train") & NOT_FOR_TRAINING
    assert provided_to_tests() >= NOT_FOR_TRAINING


@pytest.mark.parametrize("extra", PARTS)
def test_extra_alone_has_what_its_files_import(extra: str) -> None:
    assert files_of(extra)
    assert needed(files_of(extra)) - provided(extra) == set()


@pytest.mark.parametrize(
    ("extra", "distribution"),
    [("train", "matplotlib"), ("train", "jinja2"), ("train", "torch"), ("eval", "gradio"), ("hub", "datasets")],
)
def test_package_that_is_no_longer_declared_would_be_noticed(extra: str, distribution: str) -> None:
    assert distribution in needed(files_of(extra)) - (provided(extra) - {distribution})


def test_tokenizers_of_recipes_come_with_the_extra_paper_alone() -> None:
    tokenizers = {
        yaml.safe_load(file.read_text(encoding="utf-8")).get("tokenizer") for file in ROOT.glob("train/recipes/*/*.yaml")
    }
    packages = {canonicalize_name(str(name).partition(":")[0]) for name in tokenizers if ":" in str(name)}
    assert packages == {"mistral-common"}
    assert packages <= provided("paper")
    assert provided("train") <= provided("paper")
    assert not packages & provided("hub", "datatrove", "train", "eval", "harness", "inspect")


# Pins

PINS = dict(
    line.partition("#")[0].strip().split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line
)


REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(text for texts in (*PROJECT["optional-dependencies"].values(), *GROUPS.values()) for text in texts),
]


def test_pins_are_in_the_ranges_that_are_declared() -> None:
    """And every declared package has one."""
    requirements = [Requirement(text) for text in REQUIREMENTS if not text.startswith("bio-facts")]
    assert len(requirements) > 30
    misfits = [str(one) for one in requirements if not one.specifier.contains(PINS.get(canonicalize_name(one.name), "0"))]
    assert misfits == []


def test_pins_have_no_local_version() -> None:
    """torch==2.13.0 holds for 2.13.0+cpu, the build for CUDA and that of PyPI."""
    assert PINS["torch"] == "2.13.0"
    assert not [pin for pin in PINS.values() if "+" in pin]


def test_what_pinned_packages_require_is_pinned_too() -> None:
    """As far as they are installed."""
    checked, unpinned = 0, []
    for name in PINS:
        try:
            requirements = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue
        needed_here = [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
        checked += len(needed_here)
        # The wheel of PyPI's torch requires the libraries of CUDA, in one version of each.
        unpinned += [f"{name}: {one}" for one in needed_here if canonicalize_name(one.name) not in PINS and name != "torch"]
    assert checked > 50
    assert unpinned == []


def test_pins_fit_one_another() -> None:
    """As far as they are installed: what a package at its pin requires of another one, the other one's pin is."""
    checked, misfits = 0, []
    for name, pin in PINS.items():
        try:
            if Version(version(name)).public != pin:
                continue
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, requires(name) or []):
            other = canonicalize_name(requirement.name)
            if other in PINS and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                checked += 1
                if not requirement.specifier.contains(PINS[other]):
                    misfits.append(f"{name} {pin} requires {requirement}, pinned to {PINS[other]}")
    assert checked > 20
    assert misfits == []


def test_pinned_mistral_common_is_one_that_transformers_takes() -> None:
    """transformers reads tekken files with mistral-common, and refuses an older one."""
    from transformers.utils import MISTRAL_COMMON_MIN_VERSION

    assert Version(PINS["mistral-common"]) >= Version(MISTRAL_COMMON_MIN_VERSION)


# Messages where a package is missing

BLOCK = "import sys; sys.modules.update(dict.fromkeys({packages!r}))\n"
AS_SCRIPT = "import runpy; sys.argv = {argv!r}; sys.path.insert(0, {folder!r}); runpy.run_path({script!r}, run_name='__main__')"


def run_without(packages: tuple[str, ...], program: str) -> subprocess.CompletedProcess[str]:
    environment = SCRIPT_ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BLOCK.format(packages=packages) + program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def run_script_without(packages: tuple[str, ...], script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = ROOT / script
    argv = [script, *map(str, arguments)]
    return run_without(packages, AS_SCRIPT.format(argv=argv, folder=str(path.parent), script=str(path)))


@pytest.mark.parametrize(
    ("package", "program", "extra"),
    [
        ("datasets", "import bio_facts; bio_facts.load_dataset('n1k')", "hub"),
        ("datasets", "from bio_facts import load_dataset", "hub"),
        ("datasets", "import bio_facts.publish.datasets_builder", "hub"),
        pytest.param("dill", "import bio_facts; bio_facts.load_dataset('n1k')", "hub", marks=pytest.mark.ecosystem),
        ("datatrove", "from bio_facts.publish.datatrove_steps import WriteShards", "datatrove"),
        ("transformers", "from bio_facts.measure.callbacks import AttributeEvaluation", "train"),
        ("accelerate", "import bio_facts.measure.callbacks", "train"),
        ("torch", "import bio_facts.measure.callbacks", "train"),
        ("torch", "import bio_facts; bio_facts.score(None, None, [])", "train"),
        ("transformers", "from bio_facts.measure.tokens import load_tokenizer; load_tokenizer('bio_facts')", "train"),
        ("huggingface_hub", "from bio_facts.measure.tokens import load_tokenizer; load_tokenizer('you/yours')", "train"),
        *(
            (
                package,
                "from bio_facts.measure.tokens import load_tokenizer; load_tokenizer('mistral_common:data/tokenizer.model.v1')",
                "train",
            )
            for package in ("sentencepiece", "google", "transformers")
        ),
        ("transformers", "from bio_facts.measure.attention import patch_attention; patch_attention(0, 0)", "train"),
        ("torch", "from bio_facts.measure.attention import attention_patterns; attention_patterns(0)", "train"),
        ("torch", "from bio_facts.measure.attention import attention_signatures; attention_signatures(0, 0, 0, 0)", "train"),
    ],
)
def test_function_without_its_package_names_the_extra(package: str, program: str, extra: str) -> None:
    """It can be caught as either kind of error."""
    attempts = [f"try:\n    {program}\nexcept {kind} as error:\n    print(error)" for kind in ("ImportError", "ValueError")]
    result = run_without((package,), "\n".join([*attempts, program]))
    error = result.stderr.strip().splitlines()[-1]
    assert f'needs pip install "bio-facts[{extra}]": ' in error, result.stderr
    assert package in error
    assert result.stdout.count(f"bio-facts[{extra}]") == 2


@pytest.mark.parametrize(
    ("package", "script", "arguments", "extra"),
    [
        ("huggingface_hub", "bio_facts/cli.py", ["push", "you/bio_facts", "--from", "{tmp}"], "hub"),
        ("huggingface_hub", "bio_facts/cli.py", ["push", "--canonical", "you/bio_facts", "--from", "{tmp}/canonical"], "hub"),
        ("huggingface_hub", "bio_facts/cli.py", ["push-space", "you/attribute_recall"], "hub"),
        ("huggingface_hub", "bio_facts/cli.py", ["push-run", "you/run", "--from", "{tmp}"], "train"),
        ("huggingface_hub", "bio_facts/cli.py", ["verify-run", "you/run"], "train"),
        *(
            (package, "train/pretrain.py", ["--config", SMOKE, "--output_dir", "{tmp}/run"], "train")
            for package in ("torch", "accelerate", "transformers")
        ),
        (
            "torch",
            "train/train_memory.py",
            ["--config", ROOT / "train/recipes/associative_memory/pretraining-smoke.yaml", "--output_dir", "{tmp}/run"],
            "train",
        ),
        ("torch", "train/run_all.py", ["--scale", "smoke", "--claims", "hallucination", "--output_dir", "{tmp}/all"], "train"),
        ("tokenizers", "train/train_tokenizer.py", ["--output_file", "{tmp}/tokenizer.json"], "train"),
        ("torch", "bio_facts/cli.py", ["score", "{tmp}", "--dataset", "n1k"], "eval"),
        ("transformers", "bio_facts/cli.py", ["score", "{tmp}", "--dataset", "n1k"], "eval"),
        ("torch", "eval/score_model.py", ["{tmp}", "--dataset", "n1k"], "eval"),
        ("torch", "eval/make_example.py", ["{tmp}"], "eval"),
        ("jinja2", "eval/report.py", ["--output-file", "{tmp}/report.html"], "train"),
        ("transformers", "eval/lm_eval/tokens_apart.py", ["bio_facts"], "train"),
        pytest.param("gradio", "eval/attribute_recall/app.py", [], "eval", marks=pytest.mark.ecosystem),  # after evaluate
        ("evaluate", "eval/attribute_recall/app.py", [], "eval"),
    ],
)
def test_command_without_its_package_names_the_extra_in_one_line(
    package: str, script: str, arguments: list[object], extra: str, tmp_path: Path
) -> None:
    given = [str(argument).format(tmp=tmp_path) for argument in arguments]
    result = run_script_without((package,), script, *given)
    assert_refused(result, f'pip install "bio-facts[{extra}]"', package)
    assert [path for path in tmp_path.rglob("*") if path.name in ("config.json", "report.html", "tokenizer.json")] == []


def test_tokenizer_of_the_paper_names_its_extra() -> None:
    program = "from bio_facts.measure.tokens import check_tokenizer; check_tokenizer('mistral_common:data/tokenizer.model.v1')"
    hidden = (
        "import importlib.util as u; find = u.find_spec; u.find_spec = lambda name: None if 'mistral' in name else find(name)\n"
    )
    error = run_without((), hidden + program).stderr.strip().splitlines()[-1]
    assert error.endswith("no package 'mistral_common' is installed: pip install \"bio-facts[paper]\"")


def test_tokenizer_of_another_package_names_the_package() -> None:
    program = "from bio_facts.measure.tokens import check_tokenizer; check_tokenizer('no_such_package:tokenizer.json')"
    error = run_without((), program).stderr.strip().splitlines()[-1]
    assert error.endswith("no package 'no_such_package' is installed: pip install no-such-package")


def test_verdict_is_written_and_printed_before_the_picture_is_drawn(tmp_path: Path) -> None:
    smoke = ROOT / "train/recipes/three_phases/smoke.yaml"
    steps = list(range(0, 31, 5))
    curves = {split: curve([14.0] * 7, steps=steps) for split in ("validation", "unseen")}
    run = write_run(tmp_path / "run", curves, **load_recipe(smoke, {"seed": 20}).as_dict())
    results = tmp_path / "smoke.json"
    config = json.loads((run / "config.json").read_text())
    digest = read_registration(smoke.parent, "smoke").digest
    (run / "config.json").write_text(json.dumps(config | {"registration": digest}))
    result = run_script_without(("matplotlib",), "eval/analysis/three_phases.py", run, "--results", results)
    assert result.stdout.endswith(f"three_phases: no verdict (seeds 20)\nverdict: {results}\n"), result.stderr
    assert_refused(result, 'the picture needs pip install "bio-facts[train]"', "matplotlib")
    assert json.loads(results.read_text())["registration"] == digest
    drawn = run_script_without((), "eval/analysis/three_phases.py", "--results", results)  # once matplotlib is there
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout == f"{result.stdout}picture: {results.with_suffix('.svg')}\n"
    assert results.with_suffix(".svg").stat().st_size > 10_000


def test_another_error_than_a_missing_package_stays_what_it_is() -> None:
    from bio_facts.checks import needs

    with pytest.raises(KeyError), needs("hub", "push"):
        raise KeyError("mine")


def test_every_block_that_needs_an_extra_imports_what_the_extra_provides() -> None:
    """with needs("hub", ...): import datasets - of a package that "hub" declares."""
    num_blocks = 0
    for file in [*ROOT.glob("bio_facts/**/*.py"), *ROOT.glob("train/*.py"), *ROOT.glob("eval/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            calls = [item.context_expr for item in node.items] if isinstance(node, ast.With) else []
            for call in calls:
                if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "needs"):
                    continue
                num_blocks += 1
                (extra, _) = (ast.literal_eval(argument) for argument in call.args)
                names = re.findall(r"^\s*(?:import|from) (\w+)", ast.unparse(node), flags=re.MULTILINE)
                assert names
                assert {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in names} <= provided(extra), file
    assert num_blocks > 10
