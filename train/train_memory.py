"""Fine-tune a key-value memory on new pairs: the collapse of fine-tuning, without language (paper App. F.4).

  python train/train_memory.py --config train/recipes/associative_memory/mini.yaml --arm new128 --seed 10 \\
      --output-dir runs/memory

A perceptron with one hidden layer of ReLU units learns which of a few values belongs to each random key; then it is trained on
new pairs alone. This takes seconds on a CPU, so an interrupted run starts again. Writes config.json and metrics.jsonl like
pretrain.py; the steps are those of fine-tuning, the splits pretrain (the pairs learned first) and new.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import Parser, exit_with_error, needs
from bio_facts.files import write_text
from bio_facts.generate.seeding import integers
from bio_facts.runs.environment import apply_recipe
from bio_facts.runs.folder import METRICS_FILE, RunFolder
from bio_facts.runs.machine import use_cpu
from bio_facts.runs.memory_recipe import MemoryRecipe
from bio_facts.runs.recipe_files import parse_value, read_recipe_file


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
            import torch  # noqa: F401 - fine_tune needs it, and config.json records its version
        use_cpu()
    except ValueError as error:
        exit_with_error(error)
    if not lines or lines[-1]["step"] != recipe.num_steps:
        folder.write_config(config)
        write_text(output_dir / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in fine_tune(recipe)))
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


def fine_tune(recipe: MemoryRecipe) -> list[dict[str, Any]]:
    """Pre-train, then fine-tune; the metrics of each evaluated step: loss in nats per pair, accuracy, seconds."""
    import torch
    from tqdm import trange

    torch.manual_seed(recipe.seed)
    seed, total = recipe.seed, recipe.num_pairs + recipe.num_new_pairs
    keys = torch.from_numpy(unit_vectors(seed, "memory/key", total, recipe.dimension))
    values = torch.from_numpy(unit_vectors(seed, "memory/value", recipe.num_values, recipe.dimension))
    labels = torch.from_numpy(integers(recipe.num_values, seed, "memory/label", np.arange(total)))
    model = torch.nn.Sequential(
        torch.nn.Linear(recipe.dimension, recipe.num_units),
        torch.nn.ReLU(),
        torch.nn.Linear(recipe.num_units, recipe.dimension),
    )
    cross_entropy = torch.nn.functional.cross_entropy  # 30-way classification; logits: the output's products with all values
    lines: list[dict[str, Any]] = []
    started = time.perf_counter()

    def evaluate(step: int) -> None:
        with torch.no_grad():
            logits = model(keys) @ values.T
        for split, rows in (("pretrain", slice(0, recipe.num_pairs)), ("new", slice(recipe.num_pairs, None))):
            loss = cross_entropy(logits[rows], labels[rows]).item()
            accuracy = (logits[rows].argmax(1) == labels[rows]).float().mean().item()
            seconds = round(time.perf_counter() - started, 3)
            lines.append({"step": step, "split": split, "loss": loss, "accuracy": accuracy, "seconds": seconds})

    for stage, first, count, num_steps, learning_rate in (
        ("pretrain", 0, recipe.num_pairs, recipe.num_pretraining_steps, recipe.pretraining_learning_rate),
        ("new", recipe.num_pairs, recipe.num_new_pairs, recipe.num_steps, recipe.learning_rate),
    ):
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=recipe.weight_decay)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps) if stage == "pretrain" else None
        for step in trange(num_steps, desc=stage, unit=" steps"):
            if stage == "new" and step % recipe.eval_every == 0:
                evaluate(step)
            samples = np.arange(step * recipe.batch_size, (step + 1) * recipe.batch_size)
            rows = torch.from_numpy(first + integers(count, seed, f"memory/sample/{stage}", samples))
            optimizer.zero_grad()
            cross_entropy(model(keys[rows]) @ values.T, labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if decay is not None:
                decay.step()
    evaluate(recipe.num_steps)
    return lines


if __name__ == "__main__":
    main()
