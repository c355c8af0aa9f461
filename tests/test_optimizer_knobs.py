"""Each setting of the optimiser does to a real Trainer what it says: one step is recomputed by hand."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SMOKE, load_recipe

from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer

PLAIN = {
    "num_steps": 2,
    "eval_every": [[2, 2]],
    "save_every": 2,
    "keep_models_at": [],
    "num_eval_biographies": 1,
    "max_grad_norm": 0,
}


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
    """The recipe; and before the first and after each optimiser step: weights, and the gradients and rates of the step."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    from transformers import TrainerCallback

    from bio_facts.runs.trainer import build_trainer
    from bio_facts.runs.training import build_dataset, build_model

    recipe = load_recipe(SMOKE, PLAIN | settings)
    tokenizer = load_tokenizer("bio_facts")
    biographies = BiographyTokenizer(tokenizer)
    model = build_model(recipe, tokenizer, biographies.max_length)
    noted: list[dict[str, Any]] = [{"weights": copy.deepcopy(model.state_dict())}]

    class Notes(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            gradients = {name: item.grad.clone() for name, item in model.named_parameters()}
            rates = {group["lr"] for group in kwargs["optimizer"].param_groups}
            assert len(rates) == 1
            noted.append({"gradients": gradients, "rate": rates.pop()})

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            noted[-1]["weights"] = copy.deepcopy(model.state_dict())

    trainer = build_trainer(recipe, folder, model, tokenizer, build_dataset(recipe, biographies))
    trainer.add_callback(Notes())
    trainer.train()
    return recipe, noted


ADAM = [
    {},
    {"learning_rate": 5e-3},
    {"adam_beta1": 0.5},
    {"adam_beta2": 0.5},
    {"adam_epsilon": 1e-2},
    {"weight_decay": 0.7},
    {"weight_decay": 0.0},
]


@pytest.mark.parametrize("settings", ADAM, ids=str)
def test_two_steps_of_adamw_are_those_of_the_formula(
    settings: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, noted = trained(tmp_path, monkeypatch, lr_schedule="constant", **settings)
    rate, beta1, beta2, epsilon, decay = (
        settings.get(name, default)
        for name, default in (
            ("learning_rate", 2e-3),  # the smoke recipe's
            ("adam_beta1", 0.9),
            ("adam_beta2", 0.95),
            ("adam_epsilon", 1e-8),
            ("weight_decay", 0.1),
        )
    )
    for name, gradient in noted[1]["gradients"].items():
        weights, decayed = noted[0]["weights"][name].double(), 0.0 if "bias" in name or "norm" in name else decay
        mean = square = torch.zeros_like(gradient, dtype=torch.float64)
        for step in (1, 2):
            gradient = noted[step]["gradients"][name].double()
            mean = beta1 * mean + (1 - beta1) * gradient
            square = beta2 * square + (1 - beta2) * gradient**2
            update = (mean / (1 - beta1**step)) / ((square / (1 - beta2**step)).sqrt() + epsilon)
            weights = weights * (1 - rate * decayed) - rate * update
        torch.testing.assert_close(noted[2]["weights"][name].double(), weights, rtol=1e-5, atol=1e-6, msg=name)


def cosine(step: int) -> float:
    return 2e-4 + (2e-3 - 2e-4) * (1 + math.cos(math.pi * step / 8)) / 2


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"final_learning_rate": 2e-4}, cosine),
        ({"lr_schedule": "constant"}, lambda step: 2e-3),
        ({"lr_schedule": "constant", "lr_warmup_steps": 4}, lambda step: 2e-3 * min(step / 4, 1)),
        (
            {"lr_warmup_steps": 4, "final_learning_rate": 0},
            lambda step: 2e-3 * (step / 4 if step < 4 else (1 + math.cos(math.pi * (step - 4) / 4)) / 2),
        ),
        ({"learning_rate": 1e-3, "final_learning_rate": 1e-3}, lambda step: 1e-3),
        (
            {
                "num_steps": 10,
                "eval_every": [[10, 10]],
                "save_every": 10,
                "lr_schedule": "constant_then_linear",
                "final_learning_rate": 2e-4,
            },
            lambda step: 2e-3 if step < 8 else 2e-3 - 1.8e-3 * (step - 8) / 2,
        ),
        ({"lr_schedule": "constant", "learning_rate_factor": [3, 0.25]}, lambda step: 2e-3 if step < 3 else 5e-4),
    ],
    ids=["final", "constant", "constant with warm-up", "warm-up", "flat", "constant, then linear", "factor"],
)
def test_learning_rate_follows_the_formula(
    settings: dict[str, Any], rate: Callable[[int], float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eight = {"num_steps": 8, "eval_every": [[8, 8]], "save_every": 8}
    _, noted = trained(tmp_path, monkeypatch, **(eight | settings))
    assert [item["rate"] for item in noted[1:]] == pytest.approx(
        [rate(step) for step in range(len(noted) - 1)], rel=1e-6, abs=1e-12
    )


def test_gradients_are_clipped_to_the_norm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def first_gradients(max_grad_norm: float) -> torch.Tensor:
        _, noted = trained(tmp_path / str(max_grad_norm), monkeypatch, max_grad_norm=max_grad_norm)
        return torch.cat([item.flatten() for item in noted[1]["gradients"].values()])

    free = first_gradients(0)
    assert free.norm() > 0.1
    torch.testing.assert_close(first_gradients(0.1), free * 0.1 / free.norm(), rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(first_gradients(1e6), free)
