"""Linear probes of hidden states at an individual's name: is a value stored there before anything is said about it?

The P-probe and the Q-probe of Allen-Zhu & Li, Physics of Language Models 3.1, in closed form: ridge regression on the values of
individuals that train has questions about, tested on the others. Imports torch when called.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bio_facts.generate.attributes import ATTRIBUTES, VALUE_PARTS
from bio_facts.generate.biography import NAME
from bio_facts.generate.config import Config
from bio_facts.generate.facts import names_alone, num_not_asked
from bio_facts.generate.splits import draw_about
from bio_facts.measure.modules import input_device, unwrapped
from bio_facts.measure.tokens import BiographyTokenizer

_PENALTIES = np.logspace(-4, 2, 13)  # of the ridge regression, relative to the mean variance of the states


class ProbeRows(NamedTuple):
    """What is probed about n individuals.

    texts: int64 [n, L], texts of train up to the first mention of the name. text_ends: int64 [n], its last token. names: int64
    [n, L'], the name alone. name_ends: int64 [n]. labels: int64 [n, 6], the value of each attribute. is_asked: bool [n].
    """

    texts: NDArray[np.int64]
    text_ends: NDArray[np.int64]
    names: NDArray[np.int64]
    name_ends: NDArray[np.int64]
    labels: NDArray[np.int64]
    is_asked: NDArray[np.bool_]


def probe_rows(config: Config, tokenizer: BiographyTokenizer, num_individuals: int) -> ProbeRows:
    """The rows of as many individuals without questions, and of at most as many with questions; `config` has questions."""
    num_asked = min(num_individuals, config.num_asked)
    ranks = np.append(np.arange(num_asked), config.num_asked + np.arange(min(num_individuals, num_not_asked(config))))
    ids = config.population.asked_individuals(ranks)
    texts = draw_about(config, "train", ids, ids)
    first_mention = tokenizer.prefix_lengths(texts, NAME) - 1
    names = tokenizer(names_alone(config, ids))
    parts = config.population.value_parts(ids)
    labels = [
        np.unique(parts[:, [name == attribute for name, _ in VALUE_PARTS]], axis=0, return_inverse=True)[1].ravel()
        for attribute in ATTRIBUTES
    ]
    return ProbeRows(
        tokenizer(texts).input_ids[:, : first_mention.max() + 1], first_mention, names.input_ids, names.lengths - 1,
        np.stack(labels, axis=-1), np.arange(len(ids)) < num_asked,
    )  # fmt: skip


def probe_accuracies(model: Any, rows: ProbeRows, batch_size: int) -> dict[str, list[float]]:
    """How often a probe finds the value of an individual without questions, as a mean over attributes, for each layer.

    Layer 0 is the embedding. `model` is in evaluation mode.

    Returns:
        `probe_in_text`: from the state at the end of the first mention of the name in a text; `probe_at_name`: at the end of
        the name alone; and both with `_shuffled`: with the values of other individuals, which no probe can find.
    """
    accuracies = {}
    for name, input_ids, ends in (
        ("probe_in_text", rows.texts, rows.text_ends),
        ("probe_at_name", rows.names, rows.name_ends),
    ):
        states = _hidden_states(model, input_ids, ends, batch_size)
        for suffix, labels in (("", rows.labels), ("_shuffled", np.roll(rows.labels, 1, axis=0))):
            accuracies[name + suffix] = [round(_accuracy(layer, labels, rows.is_asked), 5) for layer in states]
    return accuracies


def _hidden_states(model: Any, input_ids: NDArray[np.int64], ends: NDArray[np.int64], batch_size: int) -> NDArray[np.float64]:
    """The states at one position of each row, float64 [layers + 1, n, d]."""
    import torch

    inner = unwrapped(model)
    batches = []
    for start in range(0, len(input_ids), batch_size):
        ids = torch.from_numpy(input_ids[start : start + batch_size]).to(input_device(inner))
        last = torch.from_numpy(ends[start : start + batch_size])
        with torch.no_grad():
            states = inner.base_model(input_ids=ids, output_hidden_states=True).hidden_states
        batches.append(np.stack([layer[torch.arange(len(ids)), last].double().cpu().numpy() for layer in states]))
    return np.concatenate(batches, axis=1)


def _accuracy(states: NDArray[np.float64], labels: NDArray[np.int64], is_asked: NDArray[np.bool_]) -> float:
    """Mean over attributes of the accuracy of a probe that is trained on the individuals of is_asked, on the others."""
    accuracies = [
        ridge_accuracy(states[is_asked], attribute[is_asked], states[~is_asked], attribute[~is_asked]) for attribute in labels.T
    ]
    return float(np.mean(accuracies))


def ridge_accuracy(
    states: NDArray[np.float64], labels: NDArray[np.int64], new_states: NDArray[np.float64], new_labels: NDArray[np.int64]
) -> float:
    """Accuracy on new states of the linear map from states [n, d] to one-hot labels [n] with the least leave-one-out error."""
    classes, targets = np.unique(labels, return_inverse=True)
    one_hot = np.eye(len(classes))[targets]
    mean, target_mean = states.mean(axis=0), one_hot.mean(axis=0)
    u, s, vt = np.linalg.svd(states - mean, full_matrices=False)
    projected = u.T @ (one_hot - target_mean)
    best, weights = np.inf, np.zeros((states.shape[1], len(classes)))
    for penalty in _PENALTIES * max(float((s**2).mean()), np.finfo(float).tiny):
        shrinkage = s**2 / (s**2 + penalty)
        residuals = one_hot - target_mean - u @ (shrinkage[:, None] * projected)
        leverage = 1 / len(states) + (u**2 @ shrinkage)
        error = float(((residuals / np.maximum(1 - leverage, 1e-9)[:, None]) ** 2).mean())
        if error < best:
            best, weights = error, vt.T @ ((s / (s**2 + penalty))[:, None] * projected)
    predicted = classes[((new_states - mean) @ weights + target_mean).argmax(axis=1)]
    return float((predicted == new_labels).mean())
