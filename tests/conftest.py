import itertools
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from forked_scripts import run_forked

from bio_facts.runs.machine import NUMERIC_VARIABLES

for name in NUMERIC_VARIABLES:  # recorded in config.json, and compared
    os.environ.pop(name, None)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: threads of several test processes wait for each other
ROOT = Path(__file__).parent.parent
SMOKE = ROOT / "train" / "recipes" / "three_phases" / "smoke.yaml"
# Of bio-facts.
COMMANDS = (
    *("configs", "sample", "build", "verify", "push", "order", "score", "plot", "lm-eval-path"),
    *("verify-run", "push-run", "push-space"),
)

# Files that start no training and take seconds: make test-fast.
UNIT = {
    *("test_alignment", "test_attention", "test_baseline", "test_boundaries", "test_card", "test_chi_square", "test_cli"),
    *("test_config", "test_distributions", "test_goldens", "test_invariants", "test_metrics"),
    *("test_models", "test_order", "test_phases", "test_population", "test_recipes", "test_tables", "test_pools"),
    *("test_runs", "test_seeding", "test_settings", "test_shards", "test_splits", "test_templates", "test_verify"),
    *("test_build", "test_build_disk", "test_build_existing_folder", "test_distribution_settings", "test_locks"),
    *("test_loss", "test_precision", "test_attention_by_products", "test_word_tokenizer", "test_groups", "test_sentence_knobs"),
    *("test_mixture", "test_questions", "test_question_table", "test_facts", "test_recall_measures", "test_probing"),
    *("test_retention", "test_roles", "test_choices", "test_cloze_table", "test_eval_yaml"),
    *("test_fine_tuning_measures", "test_replay_measures", "test_rare_individuals_measures"),
    *("test_associative_memory_measures",),
    *("test_population_size_measures", "test_robustness_measures", "test_templates_measures"),
    *("test_attention_patching_measures", "test_sequential_groups_measures"),
    *("test_power_law_measures", "test_warm_up_measures", "test_hallucination_measures"),
    *("test_alignment_rows", "test_alignment_spaces", "test_manifest", "test_power_law"),
    *("test_completion", "test_terminal", "test_plot", "test_page_figures"),
}

for folder in ("train", "eval"):  # scripts, not packages: their modules are imported as the scripts do
    sys.path.append(str(ROOT / folder))


@pytest.hookimpl(tryfirst=True)  # before pytest selects by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker("ecosystem")
        if item.path.stem in UNIT:
            item.add_marker(pytest.mark.unit)


def ecosystem(*packages: str) -> Any:
    """The mark of a file that `make test-ecosystem` runs. Where a package is missing, the file is skipped and says so."""
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed here: make test-ecosystem")
    return pytest.mark.ecosystem


def load_recipe(path: Path, overrides: dict[str, Any], arm: str | None = None) -> Any:
    from bio_facts.runs.recipe_files import read_recipe_file

    return read_recipe_file(path).recipe(arm, overrides)


def script_command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


SCRIPT_ENVIRONMENT = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run_command(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=SCRIPT_ENVIRONMENT, capture_output=True, text=True, timeout=300)


def run_script(script: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What a script does in a new process, without the time that its imports take."""
    command = script_command(script, *arguments)
    return run_forked(command, SCRIPT_ENVIRONMENT, cwd) if sys.platform == "linux" else run_command(command, cwd)


def assert_refused(result: subprocess.CompletedProcess[str], *fragments: str) -> None:
    """Exit code 2 and one line on stderr that holds all fragments."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for fragment in fragments:
        assert fragment in result.stderr


def succeeds(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command of bio-facts prints that ends without error or warning."""
    from bio_facts.cli import main

    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on stderr of a command of bio-facts that ends with exit code 2."""
    from bio_facts.cli import main

    with pytest.raises(SystemExit) as error:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert error.value.code == 2
    assert captured.out == ""
    assert re.match(r"bio-facts( \w+)?: error: ", captured.err)
    assert len(captured.err.splitlines()) == 1, captured.err
    return captured.err


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> content of every file in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextmanager
def other_process_holding(folder: Path, shared: bool = False) -> Iterator[None]:
    """Another process that builds an export in a folder, or is one of several tasks that write to it."""
    code = (
        "import sys; from pathlib import Path; from bio_facts.files import locked\n"
        f"with locked(Path({str(folder)!r}), shared={shared}): print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        yield
        process.communicate("")


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Any:
    """The model that the fixture `checkpoint` of a test file has saved."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(checkpoint).eval()


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> Any:
    """The tokenizer that is saved with it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real browser, without a window; tests that ask for it are skipped where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((path for name in names if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]  # as root and in containers it does not start otherwise
        chromium = started.chromium.launch(executable_path=executable, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of three configs in shards of 7,000 rows. Read only."""
    from exports import BUILT

    from bio_facts.publish import shards
    from bio_facts.publish.build import build

    folder = tmp_path_factory.mktemp("built") / "export"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROWS_PER_SHARD", 7_000)
        patch.setattr(shards, "ROWS_PER_BATCH", 3_000)
        build(BUILT, folder, 2)
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 150 rows of templates in shards of 60, 60 and 30."""
    from bio_facts.publish import shards

    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 60)
    monkeypatch.setattr(shards, "ROWS_PER_BATCH", 40)


@pytest.fixture
def export(tmp_path: Path, small_shards: None) -> Path:
    """A complete export of templates in three shards."""
    from exports import TEMPLATES

    from bio_facts.publish.build import build

    folder = tmp_path / "export"
    build(TEMPLATES, folder, 2)
    return folder


@pytest.fixture(scope="module")
def load_recall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Loads eval/attribute_recall as users do, with a temporary cache."""
    import evaluate

    folder, numbers = tmp_path_factory.mktemp("evaluate"), itertools.count()

    def load(config_name: str | None = None, **options: Any) -> Any:
        cache = folder / f"cache{next(numbers)}"
        return evaluate_load(str(ROOT / "eval" / "attribute_recall"), config_name, cache_dir=str(cache), **options)

    evaluate_load = evaluate.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", folder / "modules")
        yield load


@pytest.fixture(scope="module")
def recall(load_recall: Callable[..., Any]) -> dict[str, Any]:
    """Config name -> metric, for calls of compute alone; in memory, where an error leaves no lock behind."""
    return {name: load_recall(name, keep_in_memory=True) for name in ("default", "details", "text")}


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished, unbroken run of the smoke recipe. Read only."""
    folder = tmp_path_factory.mktemp("smoke") / "run"
    result = run_command(script_command("train/pretrain.py", "--config", SMOKE, "--output-dir", folder))
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    from hatchling.builders.wheel import WheelBuilder

    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return Path(path)


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel is installed. Read only."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder)
    return folder
