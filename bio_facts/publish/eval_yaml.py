"""eval.yaml, which registers a dataset of the Hub as a benchmark, and makes `inspect eval hf/you/bio_facts` run it."""

from typing import Any

import yaml

from bio_facts.generate.config import ClozeConfig

EVAL_YAML = "eval.yaml"
_SPLIT = "validation"
_DESCRIPTION = (
    "Recall of facts about fictional individuals, for models that were trained on their biographies. The model continues a "
    "biography whose templates are held out for the individual, and must begin with the value; or it chooses the value among "
    "several of the same attribute. Individuals and values are drawn at random, so a model that was not trained on them can "
    "only guess."
)


def render_eval_yaml(manifest: dict[str, Any]) -> str | None:
    """eval.yaml for the export with this manifest: two tasks for each config of cloze tasks; None if it has none."""
    names = [name for name, entry in manifest["configs"].items() if entry["table"] == ClozeConfig.table]
    if not names:
        return None
    content = {
        "name": "bio_facts",
        "description": _DESCRIPTION,
        "evaluation_framework": "inspect-ai",
        "tasks": [task for name in names for task in (_generation(name), _choice(name))],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _generation(config: str) -> dict[str, Any]:
    return _task(config, config, {"target": "target"}, "generate", "match", {"location": "begin", "ignore_case": False})


def _choice(config: str) -> dict[str, Any]:
    fields = {"target": "target_index", "choices": "choices"}  # Inspect turns an index into the letter of a choice
    return _task(f"{config}_choice", config, fields, "multiple_choice", "choice", {})


def _task(
    name: str, config: str, fields: dict[str, str], solver: str, scorer: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": name,
        "config": config,
        "split": _SPLIT,
        "field_spec": {
            "input": "prompt",
            **fields,
            "metadata": ["attribute", "biography_id", "individual_id", "template_id"],
        },
        "solvers": [{"name": solver}],
        "scorers": [{"name": scorer, **({"args": arguments} if arguments else {})}],
    }
