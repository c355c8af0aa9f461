"""What a training step costs on a CPU: tokens a second, milliseconds by part, and how near to the machine's peak it is.

  python benchmarks/train.py --output-file benchmarks/train.json      # 5 minutes on a quiet machine of two cores
  python benchmarks/train.py --rounds 1 --steps 3                     # a minute

The model of recipe.yaml (two layers of width 128), 16 biographies a step, one thread. Arms are timed in turns,
medians over the rounds are reported, and compared as ratios within one run:
  first        the step of commit 01b17f9, rebuilt here: float32, 6,036 tokens, all logits at once, biographies drawn 16 at a
               time
  shipped, words, names60
               the step of today: the 6,036-token tokenizer, the words that the recipe can produce, and those with 60 items in
               each name pool; in float32, and in bf16 where the CPU has instructions for it
  bare         a plain PyTorch loop with the model and the batches of names60
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from bio_facts.checks import Parser, whole_number
from bio_facts.generate.pools import NAME_POOLS
from bio_facts.generate.splits import draw
from bio_facts.measure.scoring import score_tokens
from bio_facts.measure.tokens import BiographyTokenizer
from bio_facts.runs.attention_by_products import attend_by_products
from bio_facts.runs.loss import TrainingLoss
from bio_facts.runs.machine import keep_freed_memory
from bio_facts.runs.precision import has_bf16_instructions, use_precision
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.trainer import build_trainer
from bio_facts.runs.training import Collator, build_dataset, build_model, build_tokenizer

RECIPE = Path(__file__).with_name("recipe.yaml")
_PRODUCTS = ("mm", "addmm", "addmm_", "bmm")
_STARTS = 3  # steps before the first that is timed


class Step:
    """A model and its data, and the parts of one training step, which can be timed one by one."""

    def __init__(
        self, tokenizer: str, names: int | None, precision: str, plain: bool = False, blocks: bool = True, **more: Any
    ) -> None:
        settings: dict[str, Any] = {"tokenizer": tokenizer, "seed": 0, "precision": precision, "num_steps": 2_000, **more}
        if names is not None:
            sizes = dict(read_recipe_file(RECIPE).recipe(None, settings).dataset_parameters["pool_sizes"])
            settings["dataset_parameters.pool_sizes"] = sizes | dict.fromkeys(NAME_POOLS, names)
        self.recipe = read_recipe_file(RECIPE).recipe(None, settings)
        self.saved_tokenizer = build_tokenizer(self.recipe)
        self.tokenizer = BiographyTokenizer(self.saved_tokenizer, self.recipe.data.pool_sizes, self.recipe.data.formats)
        self.dataset = build_dataset(self.recipe, self.tokenizer)
        self.collate = Collator(self.saved_tokenizer)
        self.model = build_model(self.recipe, self.saved_tokenizer, self.tokenizer.max_length)
        self.in_bf16, self.blocks = precision == "bf16", blocks
        if not plain:
            attend_by_products(self.model, precision)
        self.loss = None if plain else TrainingLoss(self.model, torch.bfloat16 if self.in_bf16 else torch.float32)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        self.position = 0

    @property
    def vocabulary(self) -> int:
        """Tokens of the output layer."""
        return len(self.saved_tokenizer)

    def data(self) -> dict[str, torch.Tensor]:
        """The next batch."""
        rows = list(range(self.position, self.position + self.recipe.batch_size))
        self.position += self.recipe.batch_size
        if self.blocks:
            return self.collate(self.dataset.__getitems__(rows))
        return self.collate(self.tokenizer(draw(self.recipe.data, "train", np.asarray(rows))))

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Its loss."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bf16):
            if self.loss is None:
                return self.model(**batch).loss  # type: ignore[no-any-return]
            outputs = self.model(input_ids=batch["input_ids"])
        return self.loss(outputs, batch["labels"])

    def update(self) -> None:
        """Clip the gradient, and take the step."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def run(self, steps: int, batches: list[dict[str, torch.Tensor]] | None = None) -> dict[str, float]:
        """Milliseconds a step by part, the mean of `steps` steps, and tokens."""
        parts = dict.fromkeys(("data", "forward", "backward", "optimizer"), 0.0)
        tokens = 0
        for k in range(steps):
            times = [time.perf_counter()]
            batch = self.data() if batches is None else batches[k]
            times.append(time.perf_counter())
            loss = self.forward(batch)
            times.append(time.perf_counter())
            loss.backward()  # type: ignore[no-untyped-call]
            times.append(time.perf_counter())
            self.update()
            times.append(time.perf_counter())
            for part, start, end in zip(parts, times, times[1:], strict=False):
                parts[part] += (end - start) * 1e3 / steps
            tokens += int((batch["labels"] >= 0).sum())
        return {**parts, "ms": sum(parts.values()), "tokens": tokens / steps}

    def in_products(self, steps: int) -> float:
        """Share of the time of a step that is spent in matrix products."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            self.run(steps)
        times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
        return sum(times.get(f"aten::{name}", 0.0) for name in _PRODUCTS) / sum(times.values())

    def evaluated_row(self, rows: int) -> float:
        """Milliseconds to score a row of the validation split, as evaluations during training do."""
        ids = np.argsort(self.tokenizer.lengths(draw(self.recipe.data, "validation", range(rows))))
        size = self.recipe.eval_batch_size
        batches = [self.tokenizer(draw(self.recipe.data, "validation", ids[k : k + size])) for k in range(0, rows, size)]
        self.model.eval()
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bf16):
            for batch in batches:
                score_tokens(self.model, batch)
        seconds = time.perf_counter() - start
        self.model.train()
        return seconds * 1e3 / rows

    def products(self, tokens: float) -> float:
        """Floating-point operations of the matrix products of a step: 6 for each weight and token, and those of attention."""
        config = self.model.config
        embedding = self.model.get_input_embeddings().weight.numel()
        weights = sum(weight.numel() for weight in self.model.parameters() if weight.ndim == 2) - embedding
        length = tokens / self.recipe.batch_size
        attention = 12 * config.num_hidden_layers * config.hidden_size * length * tokens
        return float(6 * (weights + self.vocabulary * config.hidden_size) * tokens + attention)


class _Times(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def trainer_ms(step: Step, steps: int) -> float:
    """Milliseconds a step of the real Trainer, without evaluations: the median over its steps."""
    recipe = dataclasses.replace(
        step.recipe,
        num_steps=steps,
        save_every=steps,
        eval_every=((steps, steps),),
        keep_models_at=(),
        num_eval_biographies=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        dataset = build_dataset(recipe, step.tokenizer)
        model = build_model(recipe, step.saved_tokenizer, step.tokenizer.max_length)
        precision = "bf16" if step.in_bf16 else "float32"
        trainer = build_trainer(recipe, Path(folder), model, step.saved_tokenizer, dataset, precision=precision)
        times = _Times()
        trainer.add_callback(times)
        trainer.train()
    return float(np.median(np.diff(times.ends[_STARTS:-1]))) * 1e3


def loop_ms(step: Step, steps: int) -> float:
    """Milliseconds a step of the loop of this file: the median over its steps."""
    return statistics.median(step.run(1)["ms"] for _ in range(steps))


def peak(dtype: torch.dtype) -> float:
    """GFLOP/s of a product of [1104, 512] and [512, 2048], the most of 20."""
    left, right = torch.randn(1104, 512).to(dtype), torch.randn(512, 2048).to(dtype)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - start)
    return 2 * 1104 * 512 * 2048 / min(times) / 1e9


def draw_ms(step: Step, rows: int) -> float:
    """Milliseconds to draw and tokenize a block of rows."""
    start = time.perf_counter()
    step.tokenizer(draw(step.recipe.data, "train", np.arange(rows)))
    return (time.perf_counter() - start) * 1e3


def side_by_side(steps: int, rounds: int) -> dict[str, float]:
    """Tokens a second of the machine: as many runs as cores with a thread each, against one run with all cores' threads."""
    cores = os.cpu_count() or 1
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, processes, threads in (("one thread a run", cores, 1), ("all threads a run", 1, cores)):
            command = [sys.executable, __file__, "--worker", str(threads), "--steps", str(steps)]
            workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
            total = sum(float(worker.communicate()[0].splitlines()[-1]) for worker in workers)
            figures.setdefault(name, []).append(total)
    return {name: statistics.median(values) for name, values in figures.items()}


def worker(threads: int, steps: int) -> None:
    """Print the tokens a second of one run of names60."""
    torch.set_num_threads(threads)
    step = Step("words", 60, use_precision("auto", "cpu"))
    step.run(_STARTS)
    figures = step.run(5 * steps)
    print(figures["tokens"] / figures["ms"] * 1e3)


def medians(rounds: list[Mapping[str, float]]) -> dict[str, float]:
    """The median over rounds of each figure."""
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def measure(rounds: int, steps: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures."""
    torch.set_num_threads(1)
    keep_freed_memory()
    precisions = ["float32", *(["bf16"] if has_bf16_instructions("cpu") else [])]
    arms = {"first": Step("bio_facts", None, "float32", plain=True, blocks=False)}
    for precision in precisions:
        for name, tokenizer, names in (("shipped", "bio_facts", None), ("words", "words", None), ("names60", "words", 60)):
            arms[f"{name} {precision}"] = Step(tokenizer, names, precision)
    best = f"names60 {precisions[-1]}"
    short = Step("words", 60, precisions[-1], batch_size=3)
    power_law = Step("words", 60, "float32", dataset="n1k-alpha0.6")
    bare = Step("words", 60, precisions[-1], plain=True)
    attend_by_products(bare.model, precisions[-1])
    batches = [bare.data() for _ in range(steps)]
    timed: dict[str, list[Mapping[str, float]]] = {}
    evaluated: dict[str, list[float]] = {}
    trainer: dict[str, list[float]] = {}
    blocks: dict[str, list[float]] = {}
    for round_ in range(-1, rounds):  # the first is not counted
        for name, step in arms.items():
            torch.set_float32_matmul_precision("highest") if name == "first" else use_precision("float32", "cpu")
            figures = step.run(_STARTS if round_ < 0 else steps)
            if round_ >= 0:
                timed.setdefault(name, []).append(figures)
                if name != "first":
                    evaluated.setdefault(name, []).append(step.evaluated_row(500))
        if round_ >= 0:
            timed.setdefault("bare", []).append(bare.run(steps, batches))
            for name, step in (("16 biographies", arms[best]), ("3 biographies", short)):
                trainer.setdefault(name, []).append(trainer_ms(step, 10 * steps) / loop_ms(step, 10 * steps))
            for name, step in (("uniform", arms[best]), ("power law", power_law)):
                blocks.setdefault(name, []).append(draw_ms(step, 4_096))
        say(f"round {round_ + 1} of {rounds}")
    peaks = {"float32": peak(torch.float32)} | ({"bf16": peak(torch.bfloat16)} if "bf16" in precisions else {})
    results: dict[str, Any] = {}
    first = medians(timed["first"])
    for name, of_arm in timed.items():
        figures = medians(of_arm)
        step = bare if name == "bare" else arms[name]
        flop = step.products(figures["tokens"])
        of_peak = peaks["bf16" if step.in_bf16 else "float32"]
        results[name] = {
            "vocabulary": step.vocabulary,
            "ms a step": figures,
            "tokens a second": figures["tokens"] / figures["ms"] * 1e3,
            "times first": (figures["tokens"] / figures["ms"]) / (first["tokens"] / first["ms"]),
            "GFLOP of products a step": flop / 1e9,
            "share of peak": flop / figures["ms"] * 1e3 / of_peak / 1e9,
        }
        if name in evaluated:
            row = statistics.median(evaluated[name])
            share = step.in_products(steps)
            results[name]["share of time in products"] = share
            results[name]["share of peak in products"] = results[name]["share of peak"] / share
            results[name]["evaluated row / trained row"] = row / (figures["ms"] / step.recipe.batch_size)
    of_best = medians(timed[best])
    return {
        "steps": results,
        "GFLOP/s of products, one thread": peaks,
        "Trainer / loop of ours": {name: statistics.median(ratios) for name, ratios in trainer.items()},
        "ms of the loop, 3 biographies": loop_ms(short, 10 * steps),
        "loop of ours / bare loop": of_best["ms"] / medians(timed["bare"])["ms"],
        "data, share of a step": of_best["data"] / of_best["ms"],
        "ms to draw and tokenize 4,096 biographies": {name: statistics.median(times) for name, times in blocks.items()},
        "tokens a second of the machine": side_by_side(steps, rounds),
    }


def machine() -> dict[str, Any]:
    """The processor and the versions."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    fields = {line.split(":")[0].strip(): line.split(":")[1].strip() for line in lines if ":" in line}
    return {
        "processor": " ".join(fields.get(key, "") for key in ("model name", "cpu family", "model")),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bf16 instructions": has_bf16_instructions("cpu"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=whole_number("rounds", 1), default=5, metavar="R", help="default: 5")
    parser.add_argument("--steps", type=whole_number("steps", 1), default=12, metavar="S", help="a round (default: 12)")
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="JSON file to write the figures to")
    parser.add_argument("--worker", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["ACCELERATE_USE_CPU"] = "true"
    if arguments.worker is not None:
        worker(arguments.worker, arguments.steps)
        return
    figures = {"machine": machine()} | measure(arguments.rounds, arguments.steps, lambda line: print(line, file=sys.stderr))
    text = json.dumps(figures, indent=1, default=float)
    print(text)
    if arguments.output_file is not None:
        arguments.output_file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
