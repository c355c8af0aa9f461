"""eval.yaml: a benchmark of the Hub, whose tasks are about configs, splits and columns that the export has."""

from typing import Any

import yaml

from bio_facts.generate.config import CONFIGS
from bio_facts.publish.eval_yaml import render_eval_yaml
from bio_facts.publish.manifest import specification
from bio_facts.publish.tables import TABLES

MANIFEST = specification({name: CONFIGS[name] for name in ("n1k", "cloze")} | {"tiny": CONFIGS["cloze"].replace(seed=5)})


def content() -> dict[str, Any]:
    text = render_eval_yaml(MANIFEST)
    assert text is not None
    return yaml.safe_load(text)  # type: ignore[no-any-return]


def test_benchmark_has_what_the_hub_requires() -> None:
    assert list(content()) == ["name", "description", "evaluation_framework", "tasks"]
    assert content()["evaluation_framework"] == "inspect-ai"
    assert [task["id"] for task in content()["tasks"]] == ["cloze", "cloze_choice", "tiny", "tiny_choice"]


def test_tasks_are_about_splits_and_columns_that_there_are() -> None:
    for task in content()["tasks"]:
        entry, fields = MANIFEST["configs"][task["config"]], dict(task["field_spec"])
        assert task["split"] in entry["splits"]
        columns = [*fields.pop("metadata"), *fields.values()]
        assert set(columns) <= set(TABLES[entry["table"]].schema.names)
        assert {"input", "target"} <= fields.keys()


def test_export_without_cloze_tasks_is_no_benchmark() -> None:
    assert render_eval_yaml(specification({"n1k": CONFIGS["n1k"], "questions": CONFIGS["questions"]})) is None
