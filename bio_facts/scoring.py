"""Any causal language model x tokenised biographies -> attribute totals. Imports torch when it is called."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bio_facts.metrics import AttributeTotals, attribute_totals
from bio_facts.tokenization import TokenBatch


def score_tokens(model: Any, batch: TokenBatch) -> AttributeTotals:
    """Attribute totals of a causal language model on one batch, teacher-forced, at value tokens only.

    No attention mask is needed: padding stands on the right, where a causal model does not look. Logits are computed
    for the positions that predict value tokens alone, so memory is value tokens x vocabulary, in float32.
    """
    import torch

    device = next(model.parameters()).device
    input_ids = torch.from_numpy(batch.input_ids)
    predicts_value = torch.from_numpy(batch.attribute_ids[:, 1:] > 0)
    with torch.inference_mode(), _logits_only_at(model, predicts_value.to(device)):
        logits = model(input_ids=input_ids[:, :-1].to(device), use_cache=False).logits.float()
        log_probabilities = torch.log_softmax(logits, dim=-1)
        targets = input_ids[:, 1:][predicts_value].to(device)
        top_log_probability, predictions = log_probabilities.max(dim=-1)
        nlls = -log_probabilities.gather(-1, targets[:, None])[:, 0]
        entropies = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)

    def scattered(at_values: Any) -> Any:
        whole = np.zeros(predicts_value.shape, dtype=at_values.cpu().numpy().dtype)
        whole[predicts_value.numpy()] = at_values.cpu().numpy()
        return whole

    return attribute_totals(
        nlls=scattered(nlls),
        correct=scattered(predictions == targets),
        attribute_ids=batch.attribute_ids[:, 1:],
        top_probabilities=scattered(top_log_probability.exp()),
        entropies=scattered(entropies),
    )


@contextmanager
def _logits_only_at(model: Any, positions: Any) -> Iterator[None]:
    """Let the output embedding of a model see only the hidden states at `positions`, bool [B, L]: logits become [n, V]."""
    handle = model.get_output_embeddings().register_forward_pre_hook(lambda module, args: (args[0][positions],))
    try:
        yield
    finally:
        handle.remove()
