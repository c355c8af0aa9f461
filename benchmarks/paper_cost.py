"""What the recipes at the paper's scale need, computed from their settings, not measured: operations, hours on a GPU, memory.

  python benchmarks/paper_cost.py --output-file benchmarks/paper_cost.json      # a minute; needs the extra `paper`

Operations: 6 for each weight of a matrix product and trained token (2 for an evaluated one), and those of attention; the output
layer counts, the embedding does not. Evaluations count the output layer at all tokens, more than they compute, and not the
tests of facts (num_fact_individuals). Hours: at 40 % of the dense bf16 peak of an H100, 989 TFLOP/s. Memory: weights, gradients
and the optimizer's two averages in float32, and the activations of a forward with fused attention, 34 bytes a token, layer and
unit of width (Korthikanti et al. 2022).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForCausalLM

from bio_facts.checks import Parser
from bio_facts.generate.splits import draw
from bio_facts.measure.tokens import BiographyTokenizer
from bio_facts.runs.recipe import Recipe, plain
from bio_facts.runs.recipe_files import DEFAULT_SCRIPT, RecipeFile, read_recipe_file
from bio_facts.runs.training import build_tokenizer

RECIPES = Path(__file__).parent.parent / "train" / "recipes"
PEAK, SHARE = 989e12, 0.4
_NUM_ROWS = 2_000  # whose tokens are counted, evenly spaced over a run
_BYTES_OF_ACTIVATIONS = 34


def fresh_recipe(file: RecipeFile, arm: str, seed: int) -> Recipe:
    """The recipe of an arm; of one with a source, that of the run at the beginning of its chain, whose model it trains on."""
    while (source := file.source_of(arm)) is not None:
        file, arm = read_recipe_file(source[0]), source[1]
    return file.recipe(arm, {"seed": seed})


class Cost:
    """Tokens of a biography and weights of a model, each computed once."""

    def __init__(self) -> None:
        self._weights: dict[str, tuple[int, int]] = {}
        self._tokenizers: dict[str, Any] = {}
        self._tokens: dict[str, float] = {}

    def of(self, recipe: Recipe, trained: Recipe) -> dict[str, float]:
        """Operations of a run of `recipe`, which trains the model of `trained`, and its memory in bytes."""
        products, parameters = self._sizes(trained)
        per_biography = self._tokens_of(recipe, trained)
        layers, width = trained.model_config["num_hidden_layers"], trained.model_config["hidden_size"]
        steps = recipe.num_steps - recipe.first_step
        tokens = per_biography * recipe.batch_size * steps
        evaluated = per_biography * recipe.num_eval_biographies * len(recipe.evaluated_splits) * len(recipe.eval_steps)
        each = products + 2 * layers * width * per_biography  # halves of the operations a token in a forward
        forwards = 2 if recipe.attention else 1  # the reference of attention patching runs too
        a_forward = per_biography * recipe.batch_size / recipe.gradient_accumulation_steps
        return {
            "training FLOP": (6 + 2 * (forwards - 1)) * each * tokens,
            "evaluation FLOP": 2 * forwards * each * evaluated,
            "bytes": 16.0 * parameters + _BYTES_OF_ACTIVATIONS * layers * width * a_forward + 4 * 2**27 * 2,
        }

    def _sizes(self, recipe: Recipe) -> tuple[int, int]:
        """Weights in matrix products, and parameters."""
        key = json.dumps([recipe.as_dict()["model_config"], recipe.tokenizer])
        if key not in self._weights:
            fields = {"vocab_size": len(self._tokenizer(recipe))} | plain(recipe.model_config)
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields))
            parameters = sum(weight.numel() for weight in model.parameters())
            embedding = model.get_input_embeddings().weight
            products = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)
            if not is_tied(model):
                products -= embedding.numel()
            self._weights[key] = products, parameters
        return self._weights[key]

    def _tokenizer(self, recipe: Recipe) -> Any:
        key = json.dumps([recipe.tokenizer, dict(recipe.data.pool_sizes)])
        if key not in self._tokenizers:
            self._tokenizers[key] = build_tokenizer(recipe)
        return self._tokenizers[key]

    def _tokens_of(self, recipe: Recipe, trained: Recipe) -> float:
        key = json.dumps([trained.tokenizer, recipe.data.parameters])
        if key not in self._tokens:
            tokenize = BiographyTokenizer(self._tokenizer(trained), recipe.data.pool_sizes, recipe.data.formats)
            indices = np.linspace(0, recipe.num_steps * recipe.batch_size - 1, _NUM_ROWS).astype(np.int64)
            self._tokens[key] = float(tokenize.lengths(draw(recipe.data, "train", indices)).mean())
        return self._tokens[key]


def is_tied(model: Any) -> bool:
    """Whether the output layer shares its weights with the embedding."""
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def main() -> None:
    """Compute and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="JSON file to write the figures to")
    arguments = parser.parse_args()
    cost, claims = Cost(), {}
    for path in tqdm(sorted(RECIPES.glob("*/paper.yaml")), unit=" recipes", disable=None):
        file = read_recipe_file(path)
        if file.script != DEFAULT_SCRIPT:
            continue
        costs = []
        for arm in file.arms:
            seed = file.seeds_of(arm)[0]
            settings: dict[str, Any] = {"seed": seed}
            if file.source_of(arm) is not None:
                source_seed = file.source_seed_of(arm, seed, file.seeds_of(arm))
                settings |= {"source": "source", "model_config": {}, "source_seed": source_seed}
            figures = cost.of(file.recipe(arm, settings), fresh_recipe(file, arm, seed))
            costs += [figures] * len(file.seeds_of(arm))
        flop = [figures["training FLOP"] + figures["evaluation FLOP"] for figures in costs]
        claims[path.parent.name] = {
            "runs": len(costs),
            "PFLOP, largest run": max(flop) / 1e15,
            "PFLOP, all runs": sum(flop) / 1e15,
            "share of evaluations": sum(figures["evaluation FLOP"] for figures in costs) / sum(flop),
            "hours of an H100 at 40 %, largest run": max(flop) / PEAK / SHARE / 3600,
            "hours of an H100 at 40 %, all runs": sum(flop) / PEAK / SHARE / 3600,
            "GB, largest run": max(figures["bytes"] for figures in costs) / 1e9,
        }
    text = json.dumps({"computed, not measured": claims}, indent=1, default=float)
    print(text)
    if arguments.output_file is not None:
        arguments.output_file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
