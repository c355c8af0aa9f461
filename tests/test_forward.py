"""A model is left as it was, and runs wherever it stands."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from kinds import model_of, tokenizer_of
from scored_models import State, llama, scored

from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.causality import check_causal
from bio_facts.measure.modules import evaluation_mode, input_device

# Modes


def evaluate(model: Any) -> None:
    AttributeEvaluation(tokenizer_of("bio_facts"), "n1k", num_biographies=2).evaluate(State(), model)


@pytest.mark.parametrize("run", [scored, check_causal, evaluate], ids=["score", "check_causal", "callback"])
@pytest.mark.parametrize("fails", [False, True])
def test_every_module_keeps_its_mode(run: Callable[[Any], object], fails: bool) -> None:
    model = model_of("gpt2", tokenizer_of("bio_facts")).train()
    model.transformer.h[0].eval()
    model.transformer.h[1].attn.eval()
    model.transformer.h[1].attn.c_proj.train()
    before = [module.training for module in model.modules()]
    if fails:
        model.transformer.h[1].register_forward_hook(lambda module, args, output: 1 / 0)
        with pytest.raises((ValueError, ZeroDivisionError)):
            run(model)
    else:
        run(model)
    assert [module.training for module in model.modules()] == before


def test_modules_that_act_on_a_change_of_mode_act_both_ways() -> None:
    class Merging(torch.nn.Linear):
        """As LoRA layers of some libraries: the weights are merged in evaluation mode."""

        merged = False

        def train(self, mode: bool = True) -> Any:
            self.merged = not mode
            return super().train(mode)

    model = torch.nn.Sequential(Merging(2, 2), Merging(2, 2)).train()
    with evaluation_mode(model):
        assert [layer.merged for layer in model] == [True, True]
    assert [layer.merged for layer in model] == [False, False]


def test_mode_is_kept_by_a_model_whose_eval_fails_halfway() -> None:
    class Stubborn(torch.nn.Module):
        def train(self, mode: bool = True) -> Any:
            if not mode:
                raise RuntimeError("no")
            return super().train(mode)

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), Stubborn()).train()
    with pytest.raises(RuntimeError, match="no"), evaluation_mode(model):
        pass
    assert all(module.training for module in model.modules())


# What a forward leaves behind


def test_model_that_caches_in_its_first_forward_can_be_trained_afterwards() -> None:
    class Caching(torch.nn.Module):
        """Keeps rotations as attributes, as much remote code does."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(len(tokenizer_of("bio_facts")), 8)
            self.head = torch.nn.Linear(8, len(tokenizer_of("bio_facts")))
            self.rotations: torch.Tensor | None = None

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            if self.rotations is None:
                self.rotations = torch.arange(1000.0).cos()
            return self.head(self.embedding(input_ids) * self.rotations[: input_ids.shape[1], None])

    model = Caching()
    scored(model)
    model(torch.zeros((1, 4), dtype=torch.int64)).sum().backward()
    assert model.embedding.weight.grad is not None


def test_trial_does_not_keep_its_model_alive() -> None:
    model = llama()
    scored(model)
    there = weakref.ref(model)
    del model
    gc.collect()
    assert there() is None


# Other devices


class Elsewhere(torch.Tensor):
    """Behaves as a tensor of another device: it works with no tensor of the CPU except weights, and has no float64."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            return torch.device("mps:0")
        with torch._C.DisableTorchFunctionSubclass():
            if function is torch.Tensor.cpu:
                return args[0].as_subclass(torch.Tensor)
        if function is torch.Tensor.double or any(argument is torch.float64 for argument in args):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        if function is torch.Tensor.numpy:
            raise TypeError("can't convert mps:0 device type tensor to numpy")
        for argument in torch.utils._pytree.tree_leaves((args, kwargs)):
            if isinstance(argument, torch.Tensor) and not isinstance(argument, Elsewhere | torch.nn.Parameter):
                raise RuntimeError("Expected all tensors to be on the same device")
        return super().__torch_function__(function, types, args, kwargs)


def send(tensor: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
    if str(arguments[:1]) == str((torch.device("mps:0"),)):
        return tensor.as_subclass(Elsewhere)
    return plain_to(tensor, *arguments, **named)


plain_to = torch.Tensor.to


def test_last_layers_may_be_on_another_device_without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, model = scored(llama()), llama()
    model.model.norm.register_forward_hook(lambda module, args, hidden: hidden.as_subclass(Elsewhere))
    monkeypatch.setattr(torch.Tensor, "to", send)
    scores = scored(model)
    for name in ("nlls", "top_probabilities", "entropies", "predictions"):
        for row, expected_row in zip(getattr(scores, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(row, expected_row, atol=1e-5)


def test_input_goes_to_the_device_of_the_embedding() -> None:
    model = llama()
    assert input_device(model) == torch.device("cpu")
    model.model.layers.to("meta")
    assert input_device(model) == torch.device("cpu")
    model.to("meta")  # as offloaded weights stand, whose hooks take ids from the CPU
    assert input_device(model) == torch.device("cpu")
    assert input_device(torch.nn.Identity()) == torch.device("cpu")
