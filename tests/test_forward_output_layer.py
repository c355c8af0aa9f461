"""Logits at chosen positions are those of the model, whatever its output layer does."""

from typing import Any

import numpy as np
import pytest
import torch
from kinds import model_of, tokenizer_of
from plain_metric import NAMES
from scored_models import State, assert_scored_by_its_own_logits, llama, scored

from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.forward import fingerprint, logits_at, prove
from bio_facts.measure.modules import ROUNDING
from bio_facts.measure.scoring import token_scores


class Wrong(torch.nn.Module):
    """A causal model whose logits are not those that its output layer gives for single hidden states."""

    def __init__(self, tied_to_input: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = llama()
        self.tied_to_input = tied_to_input

    def get_input_embeddings(self) -> Any:
        return self.inner.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        return self.get_input_embeddings() if self.tied_to_input else self.inner.lm_head

    def hidden(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.inner.model(input_ids=input_ids, use_cache=False).last_hidden_state

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Tied(Wrong):
    """Weights shared with the input embedding, applied by a function; the output embedding is the input embedding."""

    def __init__(self) -> None:
        super().__init__(tied_to_input=True)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(self.hidden(input_ids), self.get_input_embeddings().weight)


class TiedAndFlat(Tied):
    """The same, for which it makes no difference whether tokens come in rows."""

    def hidden(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.get_input_embeddings()(input_ids)


class Smoothed(Wrong):
    """Logits that look back at those of the position before."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        return logits + 0.5 * torch.nn.functional.pad(logits, (0, 0, 1, 0))[:, :-1]


class TwoHeads(Wrong):
    """Logits of the output layer and, for the whole text, of a second one."""

    def __init__(self) -> None:
        super().__init__()
        self.second = torch.nn.Linear(16, len(tokenizer_of("bio_facts")))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        hidden = self.hidden(input_ids)
        return self.inner.lm_head(hidden) + self.second(hidden[:, :1])


class ByPosition(Wrong):
    """Logits with a scale that depends on the position."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        return logits * (1 + torch.arange(logits.shape[-2]) % 3)[:, None]


class OnRealTokens(Wrong):
    """Logits with a scale by position where there is a period, as in all texts and in no random tokens."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        period = tokenizer_of("bio_facts")(".").input_ids[0]
        scale = 1 + torch.arange(logits.shape[-2]) % 3
        return torch.where((input_ids == period).any(), logits * scale[:, None], logits)


class InPieces(Wrong):
    """The output layer is given longer texts piece by piece."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        pieces = self.hidden(input_ids).split(16, dim=1)
        return torch.cat([self.inner.lm_head(piece) for piece in pieces], dim=1)


@pytest.mark.parametrize("kind", [Tied, TiedAndFlat, Smoothed, TwoHeads, ByPosition, OnRealTokens, InPieces])
def test_model_with_more_than_an_output_layer_is_scored_by_its_own_logits(kind: type[Wrong]) -> None:
    assert_scored_by_its_own_logits(kind())


def test_texts_may_be_longer_than_those_of_the_trial() -> None:
    model, ids = InPieces(), torch.arange(30)[None]
    with torch.no_grad():
        for length in (8, 30):  # 8: in one piece, for which the shortcut holds
            positions = torch.arange(length)[None] % 3 == 1
            expected = model(ids[:, :length])[positions]
            torch.testing.assert_close(logits_at(model, ids[:, :length], positions), expected)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "mamba"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_output_layer_sees_chosen_positions_alone_in_any_dtype(family: str, dtype: str) -> None:
    model = model_of(family, tokenizer_of("bio_facts")).to(getattr(torch, dtype))
    seen = []
    layer = model.get_output_embeddings()
    forward = layer.forward
    layer.forward = lambda hidden: seen.append(hidden.dim()) or forward(hidden)
    ids, positions = torch.arange(12).reshape(2, 6), torch.eye(6, dtype=torch.bool)[[1, 3]]
    with torch.no_grad():
        expected = model(input_ids=ids).logits[positions].float()
        for _ in range(2):
            del seen[:]
            chosen = logits_at(model, ids, positions).float()
    assert seen == [2]
    torch.testing.assert_close(chosen, expected, rtol=0, atol=ROUNDING[dtype] * float(expected.abs().max()))


def test_trial_takes_the_same_number_of_forwards_for_every_model() -> None:
    counts = []
    for model in (llama(), Tied(), Smoothed()):
        calls: list[int] = []
        model.register_forward_pre_hook(lambda module, args, calls=calls: calls.append(1))
        for ids in (np.zeros((0, 1), dtype=np.int64), np.arange(8).reshape(2, 4)):
            token_scores(model, ids, np.zeros((len(ids), ids.shape[1] - 1), dtype=bool))
        counts.append(len(calls))
    assert counts == [6, 6, 6]


class Gated(Wrong):
    """Logits that look back at those of the position before, through a gate that is closed at first."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = torch.nn.Parameter(torch.zeros(()))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        return logits + self.gate * torch.nn.functional.pad(logits, (0, 0, 1, 0))[:, :-1]


def test_model_changed_after_its_trial_is_scored_by_its_own_logits() -> None:
    model = Gated()
    assert_scored_by_its_own_logits(model)
    model.gate.data.fill_(0.5)
    assert_scored_by_its_own_logits(model)


def test_callback_tries_a_model_at_each_evaluation() -> None:
    model, losses = Gated(), []
    callback, state = AttributeEvaluation(tokenizer_of("bio_facts"), "n1k", num_biographies=5, splits=["validation"]), State()
    for state.global_step, gate in enumerate((0, 0.5)):
        model.gate.data.fill_(gate)
        losses.append(callback.evaluate(state, model)["validation/attribute_loss"])
        assert losses[-1] == pytest.approx(scored(model).totals().summary(NAMES)["attribute_loss"], rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


class OnLongTexts(Wrong):
    """Logits with a scale that depends on the position, in long texts."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.inner.lm_head(self.hidden(input_ids))
        return logits * (1 + torch.arange(logits.shape[-2]) % 3)[:, None] if input_ids.shape[1] > 16 else logits


@pytest.mark.parametrize("prove_first", [False, True])
def test_trial_is_repeated_for_longer_texts(prove_first: bool) -> None:
    model, ids = OnLongTexts(), torch.arange(30)[None]
    if prove_first:
        prove(model, ids[:, :8])
    with torch.no_grad():
        for length in (8, 30, 8):
            positions = torch.arange(length)[None] % 3 == 1
            expected = model(ids[:, :length])[positions]
            torch.testing.assert_close(logits_at(model, ids[:, :length], positions), expected)


def test_fingerprint_differs_for_other_weights_and_adapters() -> None:
    import peft

    model = peft.get_peft_model(
        llama(), peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], init_lora_weights=False)
    ).eval()
    fingerprints = [fingerprint(model)]
    with model.disable_adapter():
        fingerprints.append(fingerprint(model))
    fingerprints.append(fingerprint(model))
    model.base_model.model.lm_head.weight.data = model.base_model.model.lm_head.weight.data * 1.01
    fingerprints.append(fingerprint(model))
    assert fingerprints[1] == fingerprint(llama())
    assert fingerprints[0] == fingerprints[2]
    assert len(set(fingerprints)) == 3


def test_trial_is_repeated_for_another_output_layer() -> None:
    model = llama()
    scored(model)

    class Shifting(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden) + torch.arange(hidden.shape[-2])[:, None]

    layer = Shifting(16, len(tokenizer_of("bio_facts")), bias=False)
    layer.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone() * 2)
    layer.register_forward_hook(lambda module, args, output: output.roll(1, dims=-2))
    model.set_output_embeddings(layer)
    # Logits of a position are those of the one before, and the first one's those of the last: not causal, but that was checked.
    ids, positions = torch.arange(6)[None], torch.tensor([[False, True, True, False, True, False]])
    with torch.no_grad():
        torch.testing.assert_close(logits_at(model, ids, positions), model(input_ids=ids).logits[positions])
