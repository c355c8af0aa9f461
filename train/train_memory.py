"""Fine-tune a key-value memory on new pairs: the collapse of fine-tuning, without language (paper App. F.4).

  python train/train_memory.py --config train/recipes/associative_memory/mini.yaml --arm new128 --seed 10 \\
      --output_dir runs/memory

A perceptron with one hidden layer of ReLU units learns which of a few values belongs to each random key; then it is trained on
new pairs alone. A matter of seconds on a CPU, so a run that was cut begins anew. Writes config.json and metrics.jsonl like the
other scripts; its steps are those of fine-tuning, its splits pretrain (the pairs learned first) and new.
"""

import json
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import needs
from bio_facts.generate.seeding import integers
from bio_facts.runs.arguments import parse_arguments
from bio_facts.runs.environment import apply_recipe
from bio_facts.runs.folder import METRICS_FILE, check_folder, lock, read_metrics, write_config
from bio_facts.runs.machine import use_cpu
from bio_facts.runs.recipe import MemoryRecipe


def main() -> None:
    """Run the recipe; exit code 2 and one line on stderr for input that cannot be used."""
    arguments = parse_arguments(__doc__ or "", kind=MemoryRecipe)
    recipe, output_dir = arguments.recipe, arguments.output_dir
    apply_recipe(recipe)
    try:
        check_folder(output_dir, recipe)
        held = lock(output_dir)  # noqa: F841 - released when the process ends
        lines = read_metrics(output_dir / METRICS_FILE)
        with needs("train", "training"):
            import torch  # noqa: F401 - fine_tune needs it, and config.json says its version
        use_cpu()
    except ValueError as error:
        print(f"train_memory.py: error: {error}", file=sys.stderr)
        sys.exit(2)
    if lines and lines[-1]["step"] == recipe.num_steps:
        print(f"{output_dir} is complete")
        return
    write_config(output_dir, recipe)
    lines = fine_tune(recipe)
    partial = output_dir / f"{METRICS_FILE}.partial"
    partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    partial.replace(output_dir / METRICS_FILE)
    print(f"{output_dir} is complete")


def unit_vectors(seed: int, stream: str, count: int, dimension: int) -> NDArray[np.float32]:
    """Uniform on the unit sphere, float32 [count, dimension]: normal draws (Box and Muller), divided by their length."""
    numbers = [
        (integers(2**32, seed, f"{stream}/{part}", np.arange(count)[:, None], np.arange(dimension)) + 0.5) / 2**32
        for part in ("radius", "angle")
    ]
    normal = np.sqrt(-2 * np.log(numbers[0])) * np.cos(2 * np.pi * numbers[1])
    found: NDArray[np.float32] = (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)
    return found


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
