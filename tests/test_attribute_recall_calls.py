import doctest
import importlib
import inspect
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, ecosystem
from recall_columns import CONFIGS, POOLS, ROW, TEXT, of_config, random_columns

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.pools import full_pool_sizes

pytestmark = ecosystem("evaluate")

import evaluate  # noqa: E402

FOLDER = ROOT / "eval" / "attribute_recall"


def columns_of(config_name: str) -> dict[str, list]:
    if config_name == "text":
        return {name: column * 20 for name, column in TEXT.items()}
    return of_config(random_columns(100, seed=2), config_name)


OPTIONS = {"default": {}, "details": {"auroc_groups": ("seen", "unseen")}, "text": {}}


@CONFIGS
def test_batches_give_what_one_call_gives(load_recall: Callable[..., Any], config_name: str) -> None:
    columns, options = columns_of(config_name), OPTIONS[config_name]
    expected = load_recall(config_name).compute(**columns, **options)
    metric = load_recall(config_name)
    for start in range(0, 100, 7):
        metric.add_batch(**{name: column[start : start + 7] for name, column in columns.items()})
    assert metric.compute(**options) == pytest.approx(expected, rel=1e-12, abs=0)


@CONFIGS
def test_single_rows_give_what_one_call_gives(load_recall: Callable[..., Any], config_name: str) -> None:
    columns, options = columns_of(config_name), OPTIONS[config_name]
    expected = load_recall(config_name).compute(**columns, **options)
    metric = load_recall(config_name)
    singular = {"predictions": "prediction", "references": "reference"}
    for k in range(100):
        metric.add(**{singular.get(name, name): column[k] for name, column in columns.items()})
    assert metric.compute(**options) == pytest.approx(expected, rel=1e-12, abs=0)


def test_combined_with_another_gives_what_one_call_gives(load_recall: Callable[..., Any]) -> None:
    columns = random_columns(100, seed=2)
    both = evaluate.combine({"plain": load_recall("default"), "full": load_recall("details")}, force_prefix=True)
    for start in range(0, 100, 30):
        both.add_batch(**{name: column[start : start + 30] for name, column in columns.items()})
    expected = {
        f"{prefix}_{key}": value
        for prefix, config_name in (("plain", "default"), ("full", "details"))
        for key, value in load_recall(config_name).compute(**of_config(columns, config_name)).items()
    }
    assert both.compute() == pytest.approx(expected, rel=1e-12, abs=0)


def test_combined_configs_each_take_their_columns_of_one_call(load_recall: Callable[..., Any]) -> None:
    columns = random_columns(20, seed=3)
    both = evaluate.combine({"plain": load_recall("default"), "full": load_recall("details")}, force_prefix=True)
    metrics = both.compute(**columns)
    expected = load_recall("details").compute(**columns)
    assert {key: metrics[f"full_{key}"] for key in expected} == expected
    assert metrics["plain_attribute_loss"] == pytest.approx(expected["attribute_loss"], rel=1e-12)


PROCESS_OF_TWO = """
import json, sys
import evaluate
folder, cache, process_id, file = sys.argv[1:]
metrics = {}
for name, (columns, options) in json.load(open(file)).items():
    process = {"num_process": 2, "process_id": int(process_id), "experiment_id": name}
    metric = evaluate.load(folder, name, cache_dir=cache, **process)
    for start in (0, 11, 22) if process_id == "0" else (33, 44, 55, 66, 77, 88, 99):
        metric.add_batch(**{column: rows[start : start + 11] for column, rows in columns.items()})
    metrics[name] = metric.compute(**options)
print(json.dumps(metrics))
"""


def test_two_processes_give_what_one_call_gives(load_recall: Callable[..., Any], tmp_path: Path) -> None:
    inputs = {name: (columns_of(name), options) for name, options in OPTIONS.items()}
    file = tmp_path / "inputs.json"
    file.write_text(json.dumps(inputs))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS_OF_TWO, str(FOLDER), str(tmp_path / "cache"), str(k), str(file)],
            env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / f"modules{k}"), "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    first, second = (json.loads(output.splitlines()[-1]) for output, _ in outputs)
    for name, (columns, options) in inputs.items():
        assert second[name] is None
        assert first[name] == pytest.approx(load_recall(name).compute(**columns, **options), rel=1e-12, abs=0)


WITHOUT_BIO_FACTS = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bio_facts":
            raise ImportError("bio_facts is not installed here")
sys.meta_path.insert(0, Blocker())
sys.path += {paths!r}
try:
    import bio_facts
except ImportError:
    pass
else:
    raise SystemExit("bio_facts can be imported")
import json, evaluate
print(json.dumps([evaluate.load({folder!r}, name).compute(**columns) for name, columns in {inputs!r}.items()]))
"""


def test_module_works_where_the_package_is_not_installed(recall: dict[str, Any], tmp_path: Path) -> None:
    inputs = {"default": of_config(ROW, "default"), "details": ROW, "text": TEXT}
    paths = [path for path in sys.path if path.endswith("site-packages")]
    program = WITHOUT_BIO_FACTS.format(paths=paths, folder=str(FOLDER), inputs=inputs)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-S", "-c", program]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == [recall[name].compute(**columns) for name, columns in inputs.items()]


@pytest.mark.parametrize("module", ["measure/metrics.py", "generate/text.py"])
def test_formulas_are_copies_of_those_of_the_package(module: str) -> None:
    file = ROOT / "bio_facts" / module
    assert (FOLDER / file.name).read_bytes() == file.read_bytes()


def test_constants_are_those_of_the_package(recall: dict[str, Any]) -> None:
    ours = sys.modules[recall["default"].__module__].BIO_FACTS_ATTRIBUTES
    sizes = full_pool_sizes()
    assert ours == {name: math.prod(sizes[pool] for pool in attribute.pools) for name, attribute in ATTRIBUTES.items()}
    assert list(ours) == list(ATTRIBUTES)
    assert ours == POOLS


def test_examples_in_the_documentation_run(recall: dict[str, Any], load_recall: Callable[..., Any]) -> None:
    """As the tests of evaluate itself ask of its modules."""
    module = importlib.import_module(recall["default"].__module__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "load", lambda name, *config: {"attribute_recall": load_recall}[name](*config))
        results = doctest.testmod(module, raise_on_error=True)
    assert results.failed == 0
    assert results.attempted >= 2


def test_compute_takes_arguments_by_name_alone(recall: dict[str, Any]) -> None:
    """As the tests of evaluate itself ask of its modules."""
    parameters = inspect.signature(recall["default"]._compute).parameters.values()
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}


def test_documentation_names_every_input_and_option(recall: dict[str, Any]) -> None:
    for name in inspect.signature(recall["default"]._compute).parameters:
        assert f"\n    {name}: " in recall["default"].inputs_description
