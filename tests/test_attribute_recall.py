import doctest
import importlib
import inspect
import itertools
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ecosystem
from hypothesis import given, settings
from plain_metric import (
    NAMES,
    confidences,
    has_values,
    plain_auroc,
    plain_metrics,
    uneven_batches,
    without_details,
)

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.pools import full_pool_sizes
from bio_facts.measure.baseline import pool_no_knowledge_loss, pool_no_knowledge_losses

pytestmark = ecosystem("evaluate")
evaluate = pytest.importorskip("evaluate")
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "eval" / "attribute_recall"
DEFAULT = ("predictions", "references", "nlls", "attribute_ids")
DETAILS = (*DEFAULT, "top_probabilities", "entropies", "groups")
POOLS = {"birth_place": 800, "current_location": 800, "university": 200, "major": 100, "company": 500, "birth_date": 67_200}

# One row of four tokens, of which two are a birth place and one a company.
ROW = {
    "predictions": [[5, 7, 8, 2]],
    "references": [[5, 7, 9, 2]],
    "nlls": [[2.0, 0.5, 0.25, 3.0]],
    "attribute_ids": [[0, 1, 1, 5]],
    "top_probabilities": [[0.5, 0.9, 0.8, 0.1]],
    "entropies": [[1.0, 0.5, 0.6, 2.0]],
    "groups": ["seen"],
}
TEXT = {
    "predictions": ["paris", "Paris", "Rome", "March 16, 2042", "São Paulo "],
    "references": ["Paris", "Paris", "London", "March 16, 2042", "Sao Paulo"],
    "attributes": ["birth_place", "birth_place", "birth_place", "birth_date", "city"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where evaluate keeps copies of modules, and its data."""
    path = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", path / "modules")
        yield path


@pytest.fixture(scope="module")
def load(folder: Path) -> Callable[..., Any]:
    numbers, evaluate_load = itertools.count(), evaluate.load

    def loaded(config_name: str | None = None, **options: Any) -> Any:
        return evaluate_load(str(FOLDER), config_name, cache_dir=str(folder / f"cache{next(numbers)}"), **options)

    return loaded


@pytest.fixture(scope="module")
def modules(load: Callable[..., Any]) -> dict[str, Any]:
    """One of each config, for calls of compute alone; in memory, where an error leaves no lock behind."""
    return {name: load(name, keep_in_memory=True) for name in ("default", "details", "text")}


def of_config(columns: dict[str, list], config_name: str) -> dict[str, list]:
    return {name: columns[name] for name in (DEFAULT if config_name == "default" else DETAILS)}


def random_columns(num_rows: int, seed: int = 0, num_tokens: int = 30) -> dict[str, list]:
    """Rows of up to num_tokens tokens, one value of each attribute in most, in groups seen and unseen."""
    random = np.random.default_rng(seed)
    columns: dict[str, list] = {name: [] for name in DETAILS}
    for k in range(num_rows):
        length = int(random.integers(0, num_tokens + 1))
        columns["predictions"].append(random.integers(0, 3, length).tolist())
        columns["references"].append(random.integers(0, 3, length).tolist())
        columns["nlls"].append(random.exponential(3, length).tolist())
        columns["attribute_ids"].append((np.arange(length) // 3 % 7).tolist())
        columns["top_probabilities"].append((random.integers(0, 101, length) / 100).tolist())
        columns["entropies"].append(random.exponential(1, length).tolist())
        columns["groups"].append("seen" if k % 3 else "unseen")
    return columns


def rows_where(columns: dict[str, list], group: str) -> dict[str, list]:
    chosen = [k for k, label in enumerate(columns["groups"]) if label == group]
    return {name: [column[k] for k in chosen] for name, column in columns.items()}


def plain_pools(found: dict[str, float]) -> dict[str, float]:
    """Loss of a model that knows the pools and nobody, of the values that there are."""
    counts = {name: found[f"num_values/{name}"] for name in NAMES if f"num_values/{name}" in found}
    mean = sum(math.log(POOLS[name]) * count for name, count in counts.items()) / sum(counts.values())
    return {"pool_no_knowledge_loss": mean} | {f"pool_no_knowledge_loss/{name}": math.log(POOLS[name]) for name in counts}


def plain_details(columns: dict[str, list]) -> dict[str, float]:
    found = plain_metrics(columns)
    found |= plain_pools(found)
    for group in dict.fromkeys(columns["groups"]):
        own = rows_where(columns, group)
        if has_values(own):
            metrics = plain_metrics(own)
            found |= {f"{group}/{name}": value for name, value in (metrics | plain_pools(metrics)).items()}
    return found


@settings(max_examples=40, deadline=None, derandomize=True)
@given(uneven_batches(min_rows=1))
def test_random_rows_give_what_plain_loops_give(modules: dict[str, Any], columns: dict[str, list]) -> None:
    columns = columns | {"groups": [("seen", "unseen", "other")[k % 3] for k in range(len(columns["references"]))]}
    if not has_values(columns):
        for name in ("default", "details"):
            with pytest.raises(ValueError, match="there are no values to summarize: attribute_ids are 0 everywhere"):
                modules[name].compute(**of_config(columns, name))
        return
    plain = plain_metrics(columns)
    expected = without_details(plain) | plain_pools(plain)
    assert modules["default"].compute(**of_config(columns, "default")) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert modules["details"].compute(**columns) == pytest.approx(plain_details(columns), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("num_rows", [1, 3, 4_100])  # 2,000 rows are taken at a time
def test_rows_of_every_number_give_what_plain_loops_give(modules: dict[str, Any], num_rows: int) -> None:
    columns = random_columns(num_rows, seed=3)
    assert modules["details"].compute(**columns) == pytest.approx(plain_details(columns), rel=1e-9)


@pytest.mark.parametrize("ordered", [("seen", "unseen"), ("unseen", "seen")])
def test_auroc_is_that_of_the_confidences_of_the_values_of_two_groups(modules: dict[str, Any], ordered: tuple) -> None:
    columns = random_columns(60, seed=1)
    found = modules["details"].compute(**columns, auroc_groups=ordered)
    positive, negative = (confidences(rows_where(columns, group)) for group in ordered)
    assert len(positive) != len(negative)
    assert found["confidence_auroc"] == pytest.approx(plain_auroc(positive, negative), rel=1e-9)


def test_confident_group_is_told_from_the_other(modules: dict[str, Any]) -> None:
    columns = {name: column * 2 for name, column in ROW.items()} | {"groups": ["sure", "unsure"]}
    columns["top_probabilities"] = [[0.0, 0.9, 0.0, 0.8], [1.0, 0.7, 1.0, 0.1]]  # of the first tokens of values alone
    assert modules["details"].compute(**columns, auroc_groups=["sure", "unsure"])["confidence_auroc"] == 1
    assert modules["details"].compute(**columns, auroc_groups=["unsure", "sure"])["confidence_auroc"] == 0


def test_text_matches_are_shares_overall_and_per_attribute(modules: dict[str, Any]) -> None:
    assert modules["text"].compute(**TEXT) == {
        "exact_match": 2 / 5,
        "normalized_match": 4 / 5,
        "num_values": 5,
        "exact_match/birth_place": 1 / 3,
        "normalized_match/birth_place": 2 / 3,
        "num_values/birth_place": 3,
        "exact_match/birth_date": 1,
        "normalized_match/birth_date": 1,
        "num_values/birth_date": 1,
        "exact_match/city": 0,
        "normalized_match/city": 1,
        "num_values/city": 1,
    }


def test_default_config_is_the_one_without_a_name(load: Callable[..., Any]) -> None:
    assert load().compute(**of_config(ROW, "default")) == load("default").compute(**of_config(ROW, "default"))


def columns_of(config_name: str) -> dict[str, list]:
    if config_name == "text":
        return {name: column * 20 for name, column in TEXT.items()}
    return of_config(random_columns(100, seed=2), config_name)


CONFIGS = pytest.mark.parametrize("config_name", ["default", "details", "text"])
OPTIONS = {"default": {}, "details": {"auroc_groups": ("seen", "unseen")}, "text": {}}


@CONFIGS
@pytest.mark.parametrize("size", [1, 7, 99])
def test_batches_give_what_one_call_gives(load: Callable[..., Any], config_name: str, size: int) -> None:
    columns, options = columns_of(config_name), OPTIONS[config_name]
    expected = load(config_name).compute(**columns, **options)
    recall = load(config_name)
    for start in range(0, 100, size):
        recall.add_batch(**{name: column[start : start + size] for name, column in columns.items()})
    assert recall.compute(**options) == pytest.approx(expected, rel=1e-12, abs=0)


@CONFIGS
def test_single_rows_give_what_one_call_gives(load: Callable[..., Any], config_name: str) -> None:
    columns, options = columns_of(config_name), OPTIONS[config_name]
    expected = load(config_name).compute(**columns, **options)
    recall = load(config_name)
    singular = {"predictions": "prediction", "references": "reference"}
    for k in range(100):
        recall.add(**{singular.get(name, name): column[k] for name, column in columns.items()})
    assert recall.compute(**options) == pytest.approx(expected, rel=1e-12, abs=0)


def test_combined_with_another_gives_what_one_call_gives(load: Callable[..., Any]) -> None:
    columns = random_columns(100, seed=2)
    both = evaluate.combine({"plain": load("default"), "full": load("details")}, force_prefix=True)
    for start in range(0, 100, 30):
        both.add_batch(**{name: column[start : start + 30] for name, column in columns.items()})
    expected = {
        f"{prefix}_{key}": value
        for prefix, config_name in (("plain", "default"), ("full", "details"))
        for key, value in load(config_name).compute(**of_config(columns, config_name)).items()
    }
    assert both.compute() == pytest.approx(expected, rel=1e-12, abs=0)


def test_combined_configs_each_take_their_columns_of_one_call(load: Callable[..., Any]) -> None:
    columns = random_columns(20, seed=3)
    found = evaluate.combine({"plain": load("default"), "full": load("details")}, force_prefix=True).compute(**columns)
    expected = load("details").compute(**columns)
    assert {key: found[f"full_{key}"] for key in expected} == expected
    assert found["plain_attribute_loss"] == pytest.approx(expected["attribute_loss"], rel=1e-12)


ONE_OF_TWO = """
import json, sys
import evaluate
folder, cache, process_id, file = sys.argv[1:]
found = {}
for name, (columns, options) in json.load(open(file)).items():
    process = {"num_process": 2, "process_id": int(process_id), "experiment_id": name}
    recall = evaluate.load(folder, name, cache_dir=cache, **process)
    for start in (0, 11, 22) if process_id == "0" else (33, 44, 55, 66, 77, 88, 99):
        recall.add_batch(**{column: rows[start : start + 11] for column, rows in columns.items()})
    found[name] = recall.compute(**options)
print(json.dumps(found))
"""


def test_two_processes_give_what_one_call_gives(load: Callable[..., Any], tmp_path: Path) -> None:
    inputs = {name: (columns_of(name), options) for name, options in OPTIONS.items()}
    file = tmp_path / "inputs.json"
    file.write_text(json.dumps(inputs))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_OF_TWO, str(FOLDER), str(tmp_path / "cache"), str(k), str(file)],
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
        assert first[name] == pytest.approx(load(name).compute(**columns, **options), rel=1e-12, abs=0)


WITHOUT_US = """
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


def test_module_works_where_the_package_is_not_installed(modules: dict[str, Any], tmp_path: Path) -> None:
    inputs = {"default": of_config(ROW, "default"), "details": ROW, "text": TEXT}
    paths = [path for path in sys.path if path.endswith("site-packages")]
    program = WITHOUT_US.format(paths=paths, folder=str(FOLDER), inputs=inputs)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-S", "-c", program]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == [modules[name].compute(**columns) for name, columns in inputs.items()]


@pytest.mark.parametrize("module", ["measure/metrics.py", "generate/text.py"])
def test_its_formulas_are_copies_of_those_of_the_package(module: str) -> None:
    file = ROOT / "bio_facts" / module
    assert (FOLDER / file.name).read_bytes() == file.read_bytes()


def test_its_constants_are_those_of_the_package(modules: dict[str, Any]) -> None:
    ours = sys.modules[modules["default"].__module__].BIO_FACTS_ATTRIBUTES
    sizes = full_pool_sizes()
    assert ours == {name: math.prod(sizes[pool] for pool in attribute.pools) for name, attribute in ATTRIBUTES.items()}
    assert list(ours) == list(ATTRIBUTES)
    assert ours == POOLS


def test_examples_in_its_documentation_run(modules: dict[str, Any], load: Callable[..., Any]) -> None:
    """As the tests of evaluate itself ask of its modules."""
    module = importlib.import_module(modules["default"].__module__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "load", lambda name, *config: {"attribute_recall": load}[name](*config))
        found = doctest.testmod(module, raise_on_error=True)
    assert found.failed == 0
    assert found.attempted >= 2


def test_compute_takes_arguments_by_name_alone(modules: dict[str, Any]) -> None:
    """As the tests of evaluate itself ask of its modules."""
    parameters = inspect.signature(modules["default"]._compute).parameters.values()
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}


def test_documentation_names_every_input_and_option(modules: dict[str, Any]) -> None:
    for name in inspect.signature(modules["default"]._compute).parameters:
        assert f"\n    {name}: " in modules["default"].inputs_description


def balanced() -> dict[str, list]:
    return {name: [[0, *[1] * 6]] * 2 for name in ("predictions", "references")} | {
        "nlls": [[0.0, *[1.0] * 6]] * 2,
        "attribute_ids": [[0, 1, 2, 3, 4, 5, 6]] * 2,
    }


def test_baseline_of_balanced_values_is_that_of_the_paper(modules: dict[str, Any]) -> None:
    found = modules["default"].compute(**balanced())
    assert round(found["pool_no_knowledge_loss"], 3) == 6.767
    assert found["pool_no_knowledge_loss"] == pytest.approx(pool_no_knowledge_loss(), rel=1e-12)
    for name, loss in pool_no_knowledge_losses().items():
        assert found[f"pool_no_knowledge_loss/{name}"] == pytest.approx(loss, rel=1e-12)


def test_other_attributes_have_their_names_and_their_pools(modules: dict[str, Any]) -> None:
    columns = of_config(ROW, "default") | {"attribute_ids": [[0, 1, 1, 2]]}
    found = modules["default"].compute(
        **columns, attribute_names=["colour", "size"], num_possible_values={"colour": 9, "size": 4}
    )
    assert found["attribute_loss/colour"] == 0.75
    assert found["attribute_loss/size"] == 3
    assert found["pool_no_knowledge_loss"] == pytest.approx((math.log(9) + math.log(4)) / 2)
    assert not any("birth_place" in key for key in found)


def test_groups_of_other_attributes_stay_apart(modules: dict[str, Any]) -> None:
    columns = {name: column * 3 for name, column in ROW.items()}
    columns |= {"attribute_ids": [[0, 1, 1, 2], [0, 2, 2, 1], [2, 0, 0, 0]], "groups": ["a", "b", "c"]}
    found = modules["details"].compute(**columns, attribute_names=["colour", "size"])
    losses = {key: value for key, value in found.items() if "/attribute_loss/" in key}
    expected = {"a": {"colour": 0.75, "size": 3}, "b": {"colour": 3, "size": 0.75}, "c": {"size": 2}}
    assert losses == {f"{group}/attribute_loss/{name}": loss for group, own in expected.items() for name, loss in own.items()}
    assert not any("no_knowledge" in key for key in found)


def test_pools_that_are_not_known_have_no_baseline(modules: dict[str, Any]) -> None:
    columns = of_config(ROW, "default") | {"attribute_ids": [[0, 1, 1, 2]]}
    found = modules["default"].compute(**columns, attribute_names=["colour", "size"])
    assert not any("no_knowledge" in key for key in found)
    found = modules["default"].compute(**columns, attribute_names=["colour", "size"], num_possible_values={"size": 4})
    assert {key for key in found if "no_knowledge" in key} == {"pool_no_knowledge_loss/size"}


def test_pools_of_our_attributes_may_be_smaller(modules: dict[str, Any]) -> None:
    found = modules["default"].compute(**of_config(ROW, "default"), num_possible_values={"birth_place": 2, "company": 8})
    assert found["pool_no_knowledge_loss"] == pytest.approx((math.log(2) + math.log(8)) / 2)


def test_padding_may_be_marked_as_usual(modules: dict[str, Any]) -> None:
    columns = of_config(ROW, "default")
    padding = {"predictions": 0, "references": -100, "nlls": 0.0, "attribute_ids": 0}
    padded = {name: [[*rows[0], padding[name], padding[name]]] for name, rows in columns.items()}
    assert modules["default"].compute(**padded) == modules["default"].compute(**columns)


NAN = math.nan


def test_arrays_are_as_good_as_lists(modules: dict[str, Any]) -> None:
    columns = of_config(ROW, "default")
    arrays = {name: [np.array(row) for row in rows] for name, rows in columns.items()}
    assert modules["default"].compute(**arrays) == modules["default"].compute(**columns)


# Two rows, values in both; None stands where a number is of a token in no value.
UNSCORED: dict[str, list] = {
    "predictions": [[5, 7, 8, 4, 2], [5, 5, 3]],
    "references": [[5, 7, 9, 4, 2], [5, 6, 3]],
    "nlls": [[None, 0.5, 0.25, None, 3.0], [None, None, 1.0]],
    "attribute_ids": [[0, 1, 1, 0, 5], [0, 0, 2]],
    "top_probabilities": [[None, 0.875, 0.75, None, 0.125], [None, None, 0.375]],
    "entropies": [[None, 0.5, 0.6, None, 2.0], [None, None, 1.5]],
    "groups": ["seen", "unseen"],
}


def unscored(config_name: str, number: Any, make_row: Callable[[list], Any] = list) -> dict[str, list]:
    """UNSCORED with `number` where it has None, and each row of tokens made by `make_row`."""
    return {
        name: column if name == "groups" else [make_row([number if item is None else item for item in row]) for row in column]
        for name, column in of_config(UNSCORED, config_name).items()
    }


@pytest.mark.parametrize("config_name", ["default", "details"])
@pytest.mark.parametrize("number", [None, NAN, math.inf, -math.inf, -7.0], ids=repr)
def test_numbers_of_tokens_in_no_value_have_no_effect(load: Callable[..., Any], config_name: str, number: Any) -> None:
    expected = plain_metrics(unscored("details", 0.3)) if config_name == "default" else plain_details(unscored("details", 0.3))
    columns = unscored(config_name, number)
    whole = load(config_name).compute(**columns)
    assert {name: whole[name] for name in expected if name in whole} == pytest.approx(
        {name: value for name, value in expected.items() if name in whole}
    )
    assert whole["attribute_loss"] == pytest.approx((0.75 + 3.0 + 1.0) / 3)
    batches, rows = load(config_name), load(config_name)
    for k in range(2):
        batches.add_batch(**{name: column[k : k + 1] for name, column in columns.items()})
        singular = {"predictions": "prediction", "references": "reference"}
        rows.add(**{singular.get(name, name): column[k] for name, column in columns.items()})
    assert batches.compute() == rows.compute() == whole


@pytest.mark.parametrize(
    ("number", "make_row"),
    [
        (NAN, np.array),
        (math.inf, np.array),
        (None, lambda row: np.array(row, dtype=object)),
        (NAN, torch.tensor),
        (NAN, lambda row: torch.tensor(row).float() if isinstance(row[-1], float) else torch.tensor(row)),
    ],
    ids=["numpy", "infinite", "objects", "torch", "torch float32"],
)
@pytest.mark.parametrize("config_name", ["default", "details"])
def test_arrays_may_have_no_numbers_outside_of_values(
    modules: dict[str, Any], config_name: str, number: Any, make_row: Callable[[list], Any]
) -> None:
    found = modules[config_name].compute(**unscored(config_name, number, make_row))
    assert found == pytest.approx(modules[config_name].compute(**unscored(config_name, 0.3)), rel=1e-6)


@pytest.mark.parametrize("names", [["predictions"], ["predictions", "references"]], ids=" ".join)
def test_token_ids_outside_of_values_may_be_none(modules: dict[str, Any], names: list[str]) -> None:
    columns = unscored("default", None)
    expected = modules["default"].compute(**columns)
    ids = columns["attribute_ids"]
    for name in names:
        columns[name] = [
            [token if number else None for token, number in zip(row, numbers, strict=True)]
            for row, numbers in zip(columns[name], ids, strict=True)
        ]
    assert modules["default"].compute(**columns) == expected


def test_loss_that_rounding_makes_negative_is_none(modules: dict[str, Any]) -> None:
    found = modules["default"].compute(**(of_config(ROW, "default") | {"nlls": [[0.0, -1e-7, -1e-7, 1.0]]}))
    assert found["attribute_loss/birth_place"] == 0
    assert found["first_token_probability/birth_place"] == 1


TOKENS, NATS, PROBABILITY = (
    "must be a token id, at least 0",
    "must be a number of at least 0, in nats",
    "must be from 0 to 1",
)


@pytest.mark.parametrize(
    ("config_name", "column", "row", "message"),
    [
        ("default", "predictions", [5, 7, 8], "it has 3 tokens; references has 4, and all columns must have as many"),
        ("default", "nlls", [1.0] * 5, "it has 5 tokens; references has 4"),
        ("default", "attribute_ids", [], "it has 0 tokens; references has 4"),
        ("details", "entropies", [1.0], "it has 1 tokens; references has 4"),
        ("default", "predictions", [5, 7, -1, 2], f"token 2 is -1; it {TOKENS}, wherever attribute_ids is not 0"),
        ("default", "references", [5, 7, 9, -100], f"token 3 is -100; it {TOKENS}"),
        ("default", "nlls", [2.0, -0.5, 0.25, 3.0], f"token 1 is -0.5; it {NATS}"),
        ("default", "nlls", [2.0, 0.5, NAN, 3.0], f"token 2 is nan; it {NATS}"),
        ("default", "nlls", [2.0, None, 0.25, 3.0], f"token 1 is nan; it {NATS}"),
        ("default", "nlls", [None, 0.5, -math.inf, 3.0], f"token 2 is -inf; it {NATS}"),
        ("details", "nlls", [None, 0.5, 0.25, NAN], f"token 3 is nan; it {NATS}"),
        ("default", "attribute_ids", [0, 1, 1, 7], "token 3 is 7; it must be from 0 to 6"),
        ("default", "attribute_ids", [0, -1, 1, 5], "token 1 is -1; it must be from 0 to 6"),
        ("details", "top_probabilities", [0.5, 1.1, 0, 0], f"token 1 is 1.1; it {PROBABILITY}"),
        ("details", "top_probabilities", [0.5, 0, -0.1, 0], f"token 2 is -0.1; it {PROBABILITY}"),
        ("details", "top_probabilities", [0, NAN, 0, 0], f"token 1 is nan; it {PROBABILITY}"),
        ("details", "entropies", [0, None, 0, 0], f"token 1 is nan; it {NATS}"),
        ("details", "entropies", [0, 0, 0, NAN], f"token 3 is nan; it {NATS}"),
        ("details", "entropies", [0, -1.0, 0, 0], f"token 1 is -1.0; it {NATS}"),
        ("details", "groups", None, "it is None; it must be a string"),
        ("default", "references", [5, 7, 9, None], "token 3 is None; it must be a number"),
        ("default", "references", [None, None, 9, 2], "token 1 is None; it must be a number"),
        ("default", "predictions", [None, 7, None, 2], "token 2 is None; it must be a number"),
        ("default", "attribute_ids", [None, 1, 1, 5], "token 0 is None; it must be a number"),
        ("default", "nlls", None, "it is None; it must be a list of numbers"),
    ],
)
def test_number_that_cannot_be_is_refused_with_its_place(
    modules: dict[str, Any], config_name: str, column: str, row: list | None, message: str
) -> None:
    good = of_config(ROW, config_name)
    empty = {name: ["seen"] if name == "groups" else [[]] for name in good}
    columns = {name: good[name] + empty[name] + ([row] if name == column else good[name]) + good[name] for name in good}
    with pytest.raises(ValueError, match=f"^row 2, column {column}: {re.escape(message)}"):
        modules[config_name].compute(**columns)


def test_place_is_counted_over_all_rows(modules: dict[str, Any]) -> None:
    columns = {name: rows * 4_500 for name, rows in of_config(ROW, "default").items()}
    columns["nlls"] = [*columns["nlls"][:4321], [0.0, 0.0, 0.0, -3.0], *columns["nlls"][4322:]]
    with pytest.raises(ValueError, match=r"^row 4321, column nlls: token 3 is -3\.0;"):
        modules["default"].compute(**columns)


@pytest.mark.parametrize(
    ("config_name", "arguments", "message"),
    [
        ("default", {"attribute_names": []}, "attribute_names is []; it must be a list of different names"),
        ("default", {"attribute_names": ["a", "a"]}, "attribute_names is ['a', 'a']; it must be a list of different names"),
        ("default", {"attribute_names": ["a", 3]}, "attribute_names is ['a', 3]; it must be a list of different names"),
        ("default", {"attribute_names": ["a"]}, "row 0, column attribute_ids: token 3 is 5; it must be from 0 to 1"),
        ("default", {"num_possible_values": {"hobby": 3}}, "num_possible_values names 'hobby'; the attributes are"),
        ("default", {"num_possible_values": {"major": 0}}, "num_possible_values['major'] is 0; it must be a number of"),
        ("default", {"num_possible_values": {"major": NAN}}, "num_possible_values['major'] is nan; it must be a number"),
        ("default", {"num_possible_values": {"major": "9"}}, "num_possible_values['major'] is '9'; it must be a number"),
        (
            "details",
            {"groups": ["entropy"]},
            "row 0, column groups: it is 'entropy'; it must be a name, and not that of a metric",
        ),
        ("details", {"groups": [""]}, "row 0, column groups: it is ''; it must be a name"),
        ("details", {"auroc_groups": ("seen", "seen")}, "auroc_groups is ('seen', 'seen'); it must be two of the groups"),
        ("details", {"auroc_groups": "se"}, "auroc_groups is 'se'; it must be two of the groups"),
        ("details", {"auroc_groups": ("seen", "unseen")}, "auroc_groups is ('seen', 'unseen'); it must be two of the"),
        ("details", {"auroc_groups": ("seen",)}, "auroc_groups is ('seen',); it must be two of the groups 'seen'"),
        ("text", {"attribute_names": ["birth_place"]}, "row 3, column attributes: it is 'birth_date'; it must be one"),
        ("text", {"predictions": ["a", None, "c", "d", "e"]}, "row 1, column predictions: it is None; it must be a string"),
    ],
)
def test_option_that_cannot_be_is_refused(modules: dict[str, Any], config_name: str, arguments: dict, message: str) -> None:
    columns = TEXT if config_name == "text" else of_config(ROW, config_name)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        modules[config_name].compute(**(columns | arguments))


@CONFIGS
def test_no_rows_are_refused(modules: dict[str, Any], config_name: str) -> None:
    columns = TEXT if config_name == "text" else of_config(ROW, config_name)
    with pytest.raises(ValueError, match="there are no rows; predictions and references must have at least one"):
        modules[config_name].compute(**{name: [] for name in columns})


def test_group_without_values_is_left_out_and_has_no_auroc(modules: dict[str, Any]) -> None:
    columns = {name: column * 2 for name, column in ROW.items()}
    columns |= {"attribute_ids": [[0, 1, 1, 5], [0, 0, 0, 0]], "groups": ["seen", "unseen"]}
    found = modules["details"].compute(**columns)
    assert "seen/num_values" in found
    assert not any(key.startswith("unseen/") for key in found)
    with pytest.raises(ValueError, match="there are 2 and 0 scores; both sides must have at least one"):
        modules["details"].compute(**columns, auroc_groups=("seen", "unseen"))


def test_unknown_config_is_refused(load: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^config_name is 'detail'; it must be one of default, details, text$"):
        load("detail")


@CONFIGS
def test_unknown_argument_is_refused(modules: dict[str, Any], config_name: str) -> None:
    columns = TEXT if config_name == "text" else of_config(ROW, config_name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'attribute_name'"):
        modules[config_name].compute(**columns, attribute_name=["a"])


def test_missing_column_is_refused(modules: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"inputs are missing: \['entropies'\]"):
        modules["details"].compute(**{name: column for name, column in ROW.items() if name != "entropies"})


def test_columns_of_different_numbers_of_rows_are_refused(modules: dict[str, Any]) -> None:
    columns = of_config(ROW, "default")
    with pytest.raises(ValueError, match=r"Mismatch in the number of predictions \(1\) and nlls \(2\)"):
        modules["default"].compute(**(columns | {"nlls": columns["nlls"] * 2}))
