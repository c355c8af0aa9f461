"""The output folder of a run: whose it is, which of its checkpoints are whole, and where to go on from."""

import copy
import errno
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from bio_facts.generate.config import Config, config_from
from bio_facts.generate.splits import data_digest
from bio_facts.measure.models import only_errors
from bio_facts.runs.machine import described_machine, other_machine
from bio_facts.runs.phases import ends_run
from bio_facts.runs.recipe import Recipe

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
MODELS_FOLDER = "models"
_LOCK_FILE, _SOFT_LOCK_FILE = ".lock", ".soft-lock"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def check_folder(output_dir: Path, recipe: Any) -> None:
    """ValueError unless the folder is new, empty or a run of this very recipe. Writes nothing."""
    try:
        found = sorted(file.name for file in output_dir.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ValueError(
            f"output_dir is {str(output_dir)!r}, which is no folder that can be read ({error.strerror})"
        ) from error
    if CONFIG_FILE in found:
        _check_same_run(output_dir, recipe)
        return
    foreign = [name for name in found if name not in (_LOCK_FILE, _SOFT_LOCK_FILE, f"{CONFIG_FILE}.partial")]
    if foreign:
        raise ValueError(
            f"output_dir {output_dir} holds {foreign[0]!r} and no {CONFIG_FILE}; it must be empty, new, or a run to resume"
        )


def _check_same_run(output_dir: Path, recipe: Any) -> None:
    path = output_dir / CONFIG_FILE
    wanted = _flat(recipe)
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
        settings = theirs["recipe"] | {key: theirs.get(key) for key in wanted.keys() - theirs["recipe"].keys()}
        if missing := {"versions", "device"} - theirs.keys():  # runs of every version have them
            raise KeyError(*sorted(missing))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not the config.json of a run ({error!r}); choose another output_dir") from error
    if "data_digest" in wanted and settings["data_digest"] is None:
        raise ValueError(f"{path} has no data_digest: an earlier version of bio_facts made it; choose another output_dir")
    for key, value in wanted.items():
        if settings.get(key) != value:
            raise ValueError(
                f"output_dir {output_dir} holds another run: its {key} is {settings.get(key)!r}, not {value!r}; "
                "choose another folder or the same settings"
            )


def _flat(recipe: Any) -> dict[str, Any]:
    """What makes a run the same run: its settings, and the fingerprint of its data if it has any."""
    described: dict[str, Any] = json.loads(json.dumps(recipe.described()))
    described.pop("dataset_parameters", None)
    return described.pop("recipe") | described  # type: ignore[no-any-return]


def lock(output_dir: Path) -> BaseFileLock:
    """Take the folder, made if it is not there, for this process; the lock goes with the process, however it ends.

    Raises:
        ValueError: if another process trains there, or the folder cannot be written.
    """
    taken: BaseFileLock = FileLock(output_dir / _LOCK_FILE, timeout=0)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        try:
            taken.acquire()
        except OSError as error:  # Timeout is one
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
            taken = SoftFileLock(output_dir / _SOFT_LOCK_FILE, timeout=0)  # a network file system that has no locks
            taken.acquire()
    except Timeout as error:
        raise ValueError(
            f"output_dir {output_dir} is in use by another process; wait for it or choose another folder"
        ) from error
    except OSError as error:
        raise ValueError(f"output_dir is {str(output_dir)!r}, which cannot be written ({error.strerror})") from error
    return taken


def write_config(output_dir: Path, recipe: Any, resumed_step: int | None = None) -> None:
    """Write the config.json that repeats the run; that of a resumed one only gets the machine, if it is another one."""
    path = output_dir / CONFIG_FILE
    whole = json.loads(json.dumps(recipe.described())) | described_machine()
    if resumed_step is not None:
        here, whole = described_machine(), json.loads(path.read_text(encoding="utf-8"))
        if other_machine(whole, here) is None:
            return
        whole.setdefault("resumed_on", []).append({"step": resumed_step} | here)
    partial = path.with_name(f"{CONFIG_FILE}.partial")
    partial.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def latest_checkpoint(output_dir: Path) -> Path | None:
    """The last checkpoint that is whole, None if there is none; those that a kill left incomplete are removed.

    Trainer writes trainer_state.json last, and removes files in any order: a checkpoint is whole if it has all files and
    the state can be read.
    """
    checkpoints = _checkpoints(output_dir)
    for folder in [folder for step, folder in checkpoints.items() if not _is_whole(folder, step)]:
        print(f"removing {folder}: the run was cut while it was written or removed", file=sys.stderr)
        shutil.rmtree(folder)
        checkpoints.pop(checkpoint_step(folder))
    return checkpoints[max(checkpoints)] if checkpoints else None


def _checkpoints(output_dir: Path) -> dict[int, Path]:
    """Step -> folder."""
    found = output_dir.glob("checkpoint-*")
    return {checkpoint_step(folder): folder for folder in found if _CHECKPOINT.fullmatch(folder.name)}


def source_model(recipe: Recipe) -> Path | None:
    """The folder of the model that a run starts from, None if it starts from a fresh one. Writes and removes nothing.

    Raises:
        ValueError: if the source is no finished run, or keeps no model of a step that attention patching needs.
    """
    if recipe.source is None:
        return None
    source = Path(recipe.source)
    try:
        theirs = json.loads((source / CONFIG_FILE).read_text(encoding="utf-8"))["recipe"]
        num_steps, stop_below, seed = theirs["num_steps"], theirs["stop_below"], theirs["seed"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"source is {recipe.source!r}, which is no run ({error!r}); it must be the folder of a finished one"
        ) from error
    if seed != recipe.seed:
        raise ValueError(f"source {source} has seed {seed} and this run seed {recipe.seed}; they must be equal")
    step = max((step for step, folder in _checkpoints(source).items() if _is_whole(folder, step)), default=0)
    if not _has_ended(source, step, num_steps, stop_below):
        raise ValueError(f"source {source} is at step {step} of {num_steps}; it must be a finished run")
    _check_source_data(source)
    if recipe.attention:
        kept_model(source, recipe.attention["reference_step"])
        return kept_model(source, recipe.first_step)
    return source / f"checkpoint-{step}"


def _check_source_data(source: Path) -> None:
    """ValueError if this version of bio_facts makes other rows for the dataset of a source than it was trained on."""
    theirs = json.loads((source / CONFIG_FILE).read_text(encoding="utf-8"))
    config, recorded = config_from(Config.table, theirs["dataset_parameters"]), theirs.get("data_digest")
    assert isinstance(config, Config)
    if recorded != (made := data_digest(config)):
        raise ValueError(
            f"source {source} was trained on rows with data_digest {recorded}; this version of bio_facts makes rows with "
            f"{made}; train the source anew"
        )


def _is_whole(folder: Path, step: int) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        with safe_open(folder / "model.safetensors", framework="numpy"):
            pass
    except (OSError, ValueError, SafetensorError):
        return False
    return (
        state.get("global_step") == step
        and all((folder / name).exists() for name in ("config.json", "tokenizer.json"))
        and all(zipfile.is_zipfile(folder / name) for name in ("optimizer.pt", "scheduler.pt"))
    )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line that was cut in the middle is left out.

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


def checkpoint_step(checkpoint: Path) -> int:
    """The step of a checkpoint, from its name."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def is_finished(output_dir: Path, recipe: Recipe, step: int) -> bool:
    """Whether the run has nothing to do after its checkpoint of `step`."""
    return _has_ended(output_dir, step, recipe.num_steps, recipe.stop_below)


def _has_ended(output_dir: Path, step: int, num_steps: int, stop_below: float | None) -> bool:
    lines = read_metrics(output_dir / METRICS_FILE)
    last = next((line for line in lines if (line["step"], line["split"]) == (step, "validation")), None)
    return last is not None and ends_run(last, num_steps, stop_below)


def kept_model(run: Path, step: int) -> Path:
    """The folder of the model that a run kept at a step.

    Raises:
        ValueError: if there is none, naming those that there are.
    """
    folder = run / MODELS_FOLDER / f"step-{step}"
    if not folder.is_dir():
        kept = sorted(int(other.name.removeprefix("step-")) for other in folder.parent.glob("step-*") if other.suffix == "")
        known = ", ".join(map(str, kept)) or "none"
        raise ValueError(f"source {run} keeps no model of step {step}; it has {known} (recipe key keep_models_at)")
    return folder


def check_metrics(output_dir: Path, recipe: Recipe, last_step: int) -> None:
    """ValueError naming the first evaluation up to `last_step` that metrics.jsonl lacks."""
    found = {(line["step"], line["split"]) for line in read_metrics(output_dir / METRICS_FILE)}
    for step in sorted(step for step in recipe.eval_steps if step <= last_step):
        for split in recipe.evaluated_splits:
            if (step, split) not in found:
                raise ValueError(
                    f"{output_dir / METRICS_FILE} lacks step {step} of {split}, before the checkpoint of step {last_step}; "
                    "restore it, or choose another output_dir"
                )


def load_weights(checkpoint: Path, model: Any) -> None:
    """Give a model the weights of a checkpoint.

    In a checkpoint, the weights of some models have other names and shapes than in the model. from_pretrained knows them, the
    Trainer does not: it leaves such weights as they are, with a warning.

    Raises:
        ValueError: naming the first tensor that the checkpoint lacks, has too many, or has in another shape than `model`.
    """
    with only_errors():
        loaded, found = type(model).from_pretrained(
            checkpoint, config=copy.deepcopy(model.config), output_loading_info=True, ignore_mismatched_sizes=True
        )
    different = [f"lacks {name}, which the recipe's model has" for name in sorted(found["missing_keys"])]
    different += [f"has {name}, which the recipe's model lacks" for name in sorted(found["unexpected_keys"])]
    different += [
        f"has {name} of shape {tuple(shape)}, the recipe's model {tuple(expected)}"
        for name, shape, expected in sorted(found["mismatched_keys"])
    ]
    if different:
        raise ValueError(f"checkpoint {checkpoint} {different[0]}; use the recipe it was made with, or another output_dir")
    model.load_state_dict(loaded.state_dict())
