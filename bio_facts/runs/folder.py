"""The output folder of a run: config.json (which run it is), metrics.jsonl (its evaluations), and errors for other folders."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bio_facts.files import FOLDER_LOCKS, UNFINISHED, write_text
from bio_facts.runs.machine import other_machine, this_machine
from bio_facts.runs.recipe import Recipe

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"


def check_folder(output_dir: Path, config: Mapping[str, Any]) -> None:
    """ValueError unless the folder is new, empty or holds the run of this config (`Recipe.as_config`). Writes nothing."""
    try:
        names = sorted(file.name for file in output_dir.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ValueError(
            f"output_dir is {str(output_dir)!r}, which is no folder that can be read ({error.strerror})"
        ) from error
    if CONFIG_FILE in names:
        _check_same_run(output_dir, config)
        return
    foreign = [name for name in names if name not in FOLDER_LOCKS and not _is_unfinished_config(name)]
    if foreign:
        raise ValueError(
            f"output_dir {output_dir} holds {foreign[0]!r} and no {CONFIG_FILE}; it must be empty, new, or a run to resume"
        )


def _is_unfinished_config(name: str) -> bool:
    return name.startswith(f"{CONFIG_FILE}.") and name.endswith(UNFINISHED)


def _check_same_run(output_dir: Path, config: Mapping[str, Any]) -> None:
    path = output_dir / CONFIG_FILE
    expected = _identity(config)
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        settings = recorded["recipe"] | {key: recorded.get(key) for key in expected.keys() - recorded["recipe"].keys()}
        if missing := {"versions", "device"} - recorded.keys():  # runs of every version have them
            raise KeyError(*sorted(missing))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not the config.json of a run ({error!r}); choose another output_dir") from error
    if "data_digest" in expected and settings["data_digest"] is None:
        raise ValueError(f"{path} has no data_digest: an earlier version of bio_facts made it; choose another output_dir")
    for key, value in expected.items():
        if settings.get(key) != value:
            raise ValueError(
                f"output_dir {output_dir} holds another run: its {key} is {settings.get(key)!r}, not {value!r}; "
                "choose another folder or the same settings"
            )


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run the same run: its settings, and the fingerprint and digest of its data if it has any."""
    identity: dict[str, Any] = json.loads(json.dumps(config))
    identity.pop("dataset_parameters", None)
    return identity.pop("recipe") | identity  # type: ignore[no-any-return]


def write_config(output_dir: Path, config: Mapping[str, Any], resumed_step: int | None = None) -> None:
    """Write the config.json that repeats the run; to that of a resumed run, only add the machine if it is another one."""
    path, machine = output_dir / CONFIG_FILE, this_machine()
    content = {**config, **machine}
    if resumed_step is not None:
        content = json.loads(path.read_text(encoding="utf-8"))
        if other_machine(content, machine) is None:
            return
        content.setdefault("resumed_on", []).append({"step": resumed_step} | machine)
    for file in output_dir.iterdir():
        if _is_unfinished_config(file.name):  # of a process that was killed
            file.unlink()
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, none if there is no file; an incomplete last line is left out.

    Raises:
        ValueError: naming the first line that is not one of ours.
    """
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    metrics = []
    for number, line in enumerate(lines, start=1):
        try:
            metrics.append(json.loads(line))
            metrics[-1]["step"], metrics[-1]["split"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number} is {line!r}; it must be the JSON of an evaluation") from error
    return metrics


def check_metrics(output_dir: Path, metrics: Sequence[Mapping[str, Any]], recipe: Recipe, last_step: int) -> None:
    """ValueError naming the first evaluation up to `last_step` that the metrics of a run lack."""
    evaluated = {(line["step"], line["split"]) for line in metrics}
    for step in sorted(step for step in recipe.eval_steps if step <= last_step):
        for split in recipe.evaluated_splits:
            if (step, split) not in evaluated:
                raise ValueError(
                    f"{output_dir / METRICS_FILE} lacks step {step} of {split}, before the checkpoint of step {last_step}; "
                    "restore it, or choose another output_dir"
                )
