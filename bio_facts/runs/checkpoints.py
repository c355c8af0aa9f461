"""The models of a run: checkpoints that it resumes from, models that it keeps, and the model of a source run."""

import copy
import hashlib
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bio_facts.files import write_text
from bio_facts.generate.config import Config, config_from
from bio_facts.generate.splits import data_digest
from bio_facts.measure.models import only_errors
from bio_facts.runs.folder import RunFolder
from bio_facts.runs.recipe import Recipe

MODELS_FOLDER = "models"
DIGESTS = "weights_sha256"  # in lines of metrics: weight_digests of the model that was kept
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def checkpoint_folder(output_dir: Path, step: int) -> Path:
    """Where the Trainer writes the checkpoint of a step."""
    return output_dir / f"checkpoint-{step}"


def checkpoint_step(checkpoint: Path) -> int:
    """The step of a checkpoint, from its name."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def latest_checkpoint(output_dir: Path) -> Path | None:
    """The last complete checkpoint, None if there is none."""
    complete = [folder for folder in _checkpoints(output_dir) if _is_complete(folder)]
    return max(complete, key=checkpoint_step, default=None)


def remove_incomplete_checkpoints(output_dir: Path) -> None:
    """Remove the checkpoints that a process was writing or removing when it was killed."""
    for folder in _checkpoints(output_dir):
        if not _is_complete(folder):
            print(f"removing {folder}: the run was interrupted while it was written or removed", file=sys.stderr)
            shutil.rmtree(folder)


def _checkpoints(output_dir: Path) -> list[Path]:
    return [folder for folder in output_dir.glob("checkpoint-*") if _CHECKPOINT.fullmatch(folder.name)]


def _is_complete(folder: Path) -> bool:
    """Whether a checkpoint has all files and they can be read.

    Trainer writes trainer_state.json last, but removes the files of a checkpoint in any order.
    """
    from safetensors import SafetensorError, safe_open

    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        with safe_open(folder / "model.safetensors", framework="numpy"):
            pass
    except (OSError, ValueError, SafetensorError):
        return False
    return (
        state.get("global_step") == checkpoint_step(folder)
        and all((folder / name).exists() for name in ("config.json", "tokenizer.json"))
        and all(zipfile.is_zipfile(folder / name) for name in ("optimizer.pt", "scheduler.pt"))
    )


def load_weights(checkpoint: Path, model: Any) -> None:
    """Give a model the weights of a checkpoint.

    Some models save weights under other names and in other shapes than they have in memory. from_pretrained converts them; the
    Trainer does not, and only warns that it left such weights unchanged.

    Raises:
        ValueError: naming the first tensor that only the model or only the checkpoint has, or whose shape differs.
    """
    with only_errors():
        loaded, info = type(model).from_pretrained(
            checkpoint, config=copy.deepcopy(model.config), output_loading_info=True, ignore_mismatched_sizes=True
        )
    differences = [f"lacks {name}, which the recipe's model has" for name in sorted(info["missing_keys"])]
    differences += [f"has {name}, which the recipe's model lacks" for name in sorted(info["unexpected_keys"])]
    differences += [
        f"has {name} of shape {tuple(shape)}, the recipe's model {tuple(expected)}"
        for name, shape, expected in sorted(info["mismatched_keys"])
    ]
    if differences:
        raise ValueError(f"checkpoint {checkpoint} {differences[0]}; use the recipe it was made with, or another output_dir")
    model.load_state_dict(loaded.state_dict())


def keep_model(model: Any, tokenizer: Any, output_dir: Path, step: int) -> dict[str, str]:
    """Save the model and its tokenizer, without optimizer, as models/step-K; returns weight_digests of it.

    The folder is in a form that transformers 4 reads too.
    """
    folder = output_dir / MODELS_FOLDER / f"step-{step}"
    unfinished = folder.with_name(f"{folder.name}.partial")
    for stale in (unfinished, folder):
        shutil.rmtree(stale, ignore_errors=True)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    _add_keys_of_transformers_4(unfinished)
    unfinished.rename(folder)
    return weight_digests(folder)


def weight_digests(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of each weight file in the folder of a model."""
    digests = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _add_keys_of_transformers_4(folder: Path) -> None:
    """Rotary settings and the tokenizer's class under their names in transformers 4, which ignores those of version 5."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type") == "default":  # the same for all layers, and not scaled
        names = {"rope_theta": "rope_theta", "partial_rotary_factor": "partial_rotary_factor"}
        if config["model_type"] == "gpt_neox":
            names = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}
        config |= {old: rope[name] for name, old in names.items() if name in rope}
        write_text(path, json.dumps(config, indent=2, sort_keys=True) + "\n")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":
        write_text(path, json.dumps(settings | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2, sort_keys=True) + "\n")


def kept_model(run: Path, step: int) -> Path:
    """The folder of the model that a run kept at a step.

    Raises:
        ValueError: if there is none; lists the steps whose models are kept.
    """
    folder = run / MODELS_FOLDER / f"step-{step}"
    if not folder.is_dir():
        kept = sorted(int(other.name.removeprefix("step-")) for other in folder.parent.glob("step-*") if other.suffix == "")
        known = ", ".join(map(str, kept)) or "none"
        raise ValueError(f"source {run} keeps no model of step {step}; it has {known} (recipe key keep_models_at)")
    return folder


def source_model(recipe: Recipe) -> Path | None:
    """The folder of the model that a run starts from, None if it starts from a fresh one. Writes and removes nothing.

    Raises:
        ValueError: if the source is no finished run, was trained on other rows than this version of bio_facts makes, or keeps
            no model of a step that attention patching needs.
    """
    if recipe.source is None:
        return None
    source, folder = Path(recipe.source), RunFolder(Path(recipe.source))
    try:
        num_steps, _, seed = (folder.config["recipe"][key] for key in ("num_steps", "stop_below", "seed"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"source is {recipe.source!r}, which is no run ({error!r}); it must be the folder of a finished one"
        ) from error
    if recipe.source_seed is None and seed != recipe.seed:
        raise ValueError(f"source {source} has seed {seed} and this run seed {recipe.seed}; they must be equal")
    if recipe.source_seed is not None and seed != recipe.source_seed:
        raise ValueError(f"source {source} has seed {seed}; expected source_seed, {recipe.source_seed}")
    if recipe.tokenizer != (tokenizer := folder.config["recipe"].get("tokenizer")):
        raise ValueError(
            f"tokenizer is {recipe.tokenizer!r}, but source {source} has tokenizer {tokenizer!r}; they must be equal"
        )
    checkpoint = latest_checkpoint(source)
    step = 0 if checkpoint is None else checkpoint_step(checkpoint)
    if not folder.is_finished(step):
        raise ValueError(f"source {source} is at step {step} of {num_steps}; it must be a finished run")
    recorded_data(folder.config, f"source {source}")
    if recipe.attention:
        kept_model(source, recipe.attention["reference_step"])
        return kept_model(source, recipe.first_step)
    return checkpoint


def recorded_data(config: Mapping[str, Any], what: str) -> Config:
    """The data of a run's config.json; ValueError, in which the run is `what`, if this version makes other rows."""
    data, recorded = config_from(Config.table, config["dataset_parameters"]), config.get("data_digest")
    assert isinstance(data, Config)
    if recorded != (current := data_digest(data)):
        raise ValueError(
            f"{what} was trained on rows with data_digest {recorded}; this version of bio_facts makes rows with {current}; "
            "train it again"
        )
    return data
