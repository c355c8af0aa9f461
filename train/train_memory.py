"""Train a key-value memory: the collapse of fine-tuning, without language (paper App. F.4).

Pre-training: a perceptron with one hidden layer of ReLU units learns which of a few values belongs to each random key.
  python train/train_memory.py --config train/recipes/associative_memory/pretraining-mini.yaml --seed 0 --output-dir runs/memory

Fine-tuning: the model of a finished pre-training (--source) of the same seed, on new pairs, with or without replay of the old.
  python train/train_memory.py --config train/recipes/associative_memory/mini.yaml --arm new128 --seed 0 \\
      --source runs/memory --output-dir runs/memory-128

Both take seconds on a CPU, so an interrupted run starts again. The folder has config.json and metrics.jsonl like those of
pretrain.py, with the splits pretrain (the pairs learned first) and new; and, after pre-training, model.safetensors.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import Parser, exit_with_error, needs
from bio_facts.files import unfinished_file, write_text
from bio_facts.generate.distributions import FineTuning
from bio_facts.generate.population import FIRST_FINE_TUNING_INDIVIDUAL
from bio_facts.generate.seeding import integers
from bio_facts.runs.environment import apply_recipe
from bio_facts.runs.folder import METRICS_FILE, RunFolder
from bio_facts.runs.machine import use_cpu
from bio_facts.runs.memory_recipe import SHARED_WITH_SOURCE, MemoryRecipe
from bio_facts.runs.recipe_files import parse_value, read_recipe_file

MODEL_FILE = "model.safetensors"


def main() -> None:
    """Run the recipe; exit code 2 and one line on stderr for wrong input."""
    recipe, output_dir, registration = parse_arguments()
    apply_recipe(recipe)
    config = recipe.as_config() | {"registration": registration}
    folder = RunFolder(output_dir)
    try:
        folder.check_run(config)
        folder.lock()
        lines = folder.metrics
        with needs("train", "training"):
            import torch  # noqa: F401 - build_model needs it, and config.json records its version
        use_cpu()
        model = build_model(recipe)
    except ValueError as error:
        exit_with_error(error)
    if not lines or lines[-1]["step"] != recipe.num_steps:
        folder.write_config(config)
        lines = train(recipe, model)
        if recipe.source is None:
            save_model(model, output_dir)
        write_text(output_dir / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in lines))
    print(f"{output_dir} is complete")


def parse_arguments(argv: Sequence[str] | None = None) -> tuple[MemoryRecipe, Path, str | None]:
    """Recipe, output folder and registration from the command line; wrong input ends the program with one line and code 2."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="recipe (YAML), or a run's config.json")
    parser.add_argument("--arm", metavar="NAME", help="which of the arms of the recipe file, where it has several")
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--registration", metavar="DIGEST", help="written to config.json; run_all.py passes that of the claim")
    recipe_keys = parser.add_argument_group("recipe keys", MemoryRecipe.__doc__)
    for field in dataclasses.fields(MemoryRecipe):
        default = "" if field.default is dataclasses.MISSING else f"default: {field.default}"
        recipe_keys.add_argument(f"--{field.name.replace('_', '-')}", metavar="VALUE", help=default)
    arguments = vars(parser.parse_args(argv))
    texts = {field.name: arguments[field.name] for field in dataclasses.fields(MemoryRecipe)}
    try:
        overrides = {key: parse_value(key, text) for key, text in texts.items() if text is not None}
        file = read_recipe_file(arguments["config"], script="train_memory.py")
        file.check_script("train_memory.py")
        recipe = MemoryRecipe(**file.settings_of(arguments["arm"], overrides, MemoryRecipe))
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    return recipe, arguments["output_dir"], arguments["registration"]


def unit_vectors(seed: int, stream: str, count: int, dimension: int) -> NDArray[np.float32]:
    """Uniform on the unit sphere, float32 [count, dimension]: normal draws (Box and Muller), divided by their length."""
    numbers = [
        (integers(2**32, seed, f"{stream}/{name}", np.arange(count)[:, None], np.arange(dimension)) + 0.5) / 2**32
        for name in ("radius", "angle")
    ]
    normal = np.sqrt(-2 * np.log(numbers[0])) * np.cos(2 * np.pi * numbers[1])
    vectors: NDArray[np.float32] = (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)
    return vectors


def build_model(recipe: MemoryRecipe) -> Any:
    """The untrained model of pre-training, or that of the source.

    Raises:
        ValueError: if the source is no finished pre-training, or one of other pairs, sizes or seed.
    """
    import torch

    torch.manual_seed(recipe.seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(recipe.dimension, recipe.num_units),
        torch.nn.ReLU(),
        torch.nn.Linear(recipe.num_units, recipe.dimension),
    )
    if recipe.source is not None:
        model.load_state_dict(_source_weights(recipe, Path(recipe.source)))
    return model


def _source_weights(recipe: MemoryRecipe, source: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = RunFolder(source)
    try:
        settings = folder.config["recipe"]
        is_finished = bool(folder.metrics) and folder.metrics[-1]["step"] == settings["num_steps"]
        differing = next((name for name in SHARED_WITH_SOURCE if settings[name] != getattr(recipe, name)), None)
        weights = load_file(source / MODEL_FILE) if is_finished else {}
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ValueError(f"source is {str(source)!r}, which is no pre-trained memory ({error!r}); train one first") from error
    if not is_finished:
        raise ValueError(f"source is {str(source)!r}, which is not finished; it must be a finished pre-training")
    if differing is not None:
        raise ValueError(
            f"source {source} has {differing} {settings[differing]!r} and this run {getattr(recipe, differing)!r}; "
            "they must be equal"
        )
    return weights


def save_model(model: Any, folder: Path) -> None:
    """Write the weights that fine-tuning starts from, whole or not at all."""
    from safetensors.torch import save_file

    with unfinished_file(folder / MODEL_FILE) as unfinished:
        save_file(model.state_dict(), unfinished)


def drawn_pairs(recipe: MemoryRecipe, step: int) -> NDArray[np.int64]:
    """The pairs of a step, int64 [batch_size]: first those of pre-training, then the new ones."""
    samples = np.arange(step * recipe.batch_size, (step + 1) * recipe.batch_size)
    if not recipe.num_new_pairs:
        return integers(recipe.num_pairs, recipe.seed, "memory/sample/pretrain", samples)
    distribution = FineTuning(recipe.num_new_pairs, recipe.replay_weight)
    ids = distribution.individual_ids(recipe.num_pairs, recipe.seed, "memory/sample/new", samples)
    return np.where(ids < recipe.num_pairs, ids, ids - FIRST_FINE_TUNING_INDIVIDUAL + recipe.num_pairs)


def train(recipe: MemoryRecipe, model: Any) -> list[dict[str, Any]]:
    """Train the model; the metrics of each evaluated step: loss in nats per pair, accuracy, seconds."""
    import torch
    from tqdm import trange

    seed, total = recipe.seed, recipe.num_pairs + recipe.num_new_pairs
    keys = torch.from_numpy(unit_vectors(seed, "memory/key", total, recipe.dimension))
    values = torch.from_numpy(unit_vectors(seed, "memory/value", recipe.num_values, recipe.dimension))
    labels = torch.from_numpy(integers(recipe.num_values, seed, "memory/label", np.arange(total)))
    splits = {"pretrain": slice(0, recipe.num_pairs)}
    if recipe.num_new_pairs:
        splits["new"] = slice(recipe.num_pairs, None)
    cross_entropy = torch.nn.functional.cross_entropy  # 30-way classification; logits: the output's products with all values
    lines: list[dict[str, Any]] = []
    started = time.perf_counter()

    def evaluate(step: int) -> None:
        with torch.no_grad():
            logits = model(keys) @ values.T
        for split, rows in splits.items():
            loss = cross_entropy(logits[rows], labels[rows]).item()
            accuracy = (logits[rows].argmax(1) == labels[rows]).float().mean().item()
            seconds = round(time.perf_counter() - started, 3)
            lines.append({"step": step, "split": split, "loss": loss, "accuracy": accuracy, "seconds": seconds})

    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    is_cosine = recipe.lr_schedule == "cosine"
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.num_steps) if is_cosine else None
    for step in trange(recipe.num_steps, unit=" steps"):
        if step in recipe.eval_steps:
            evaluate(step)
        rows = torch.from_numpy(drawn_pairs(recipe, step))
        optimizer.zero_grad()
        cross_entropy(model(keys[rows]) @ values.T, labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if decay is not None:
            decay.step()
    evaluate(recipe.num_steps)
    return lines


if __name__ == "__main__":
    main()
