"""Linear probes at the name: the positions they read, the ridge regression, and models with values in one layer alone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bio_facts import CONFIGS
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import Config
from bio_facts.measure.probing import ProbeRows, probe_accuracies, probe_rows, ridge_accuracy
from bio_facts.measure.tokens import BiographyTokenizer
from bio_facts.measure.word_tokenizer import word_tokenizer

CONFIG: Config = CONFIGS["n1k-questions"].replace(
    num_individuals=300,
    pool_sizes={"cities": 4, "universities": 4, "majors": 4, "companies": 4, "years": 2, "months": 2, "days": 1},
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return word_tokenizer(CONFIG.pool_sizes, CONFIG.formats)


@pytest.fixture(scope="module")
def probed(tokenizer: Any) -> ProbeRows:
    return probe_rows(CONFIG, BiographyTokenizer(tokenizer, CONFIG.pool_sizes, CONFIG.formats), 150)


def individuals() -> list[Any]:
    return [CONFIG.population[int(i)] for i in CONFIG.population.asked_individuals(range(300))]


def test_texts_end_with_the_first_mention_of_the_name_and_names_stand_alone(probed: ProbeRows, tokenizer: Any) -> None:
    for individual, text, end, name, name_end in zip(
        individuals(), probed.texts, probed.text_ends, probed.names, probed.name_ends, strict=True
    ):
        until = tokenizer.decode(text[: end + 1])
        assert until.endswith(individual.name)
        assert until.count(individual.last_name) == 1 or individual.last_name in individual.name.split()[:2]
        assert tokenizer.decode(name[: name_end + 1]) == individual.name


def test_labels_are_equal_for_equal_values(probed: ProbeRows) -> None:
    assert probed.is_asked.tolist() == [True] * 150 + [False] * 150
    for column, attribute in enumerate(ATTRIBUTES):
        values = [individual.values[attribute] for individual in individuals()]
        pairs = set(zip(values, probed.labels[:, column].tolist(), strict=True))
        assert len(pairs) == len(set(values)) == len(set(probed.labels[:, column].tolist()))


class Stores(torch.nn.Module):
    """Three layers of states: noise, the values of the individual in chosen rows at the last token of the name, noise."""

    def __init__(self, rows: ProbeRows, input_ids: np.ndarray) -> None:
        super().__init__()
        generator = np.random.default_rng(0)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        one_hot = np.concatenate([np.eye(label.max() + 1)[label] for label in rows.labels.T], axis=1)
        self.values = one_hot @ generator.normal(size=(one_hot.shape[1], 40))
        self.row_of = {tuple(ids.tolist()): row for row, ids in enumerate(input_ids)}
        self.generator = generator

    @property
    def base_model(self) -> Any:
        return self

    def forward(self, input_ids: torch.Tensor, output_hidden_states: bool) -> Any:
        assert output_hidden_states
        noise = [torch.tensor(self.generator.normal(size=(*input_ids.shape, 40))) for _ in range(3)]
        for index, ids in enumerate(input_ids.tolist()):
            if (row := self.row_of.get(tuple(ids))) is not None:
                noise[1][index] += 3 * torch.tensor(self.values[row])
        return SimpleNamespace(hidden_states=noise)


def test_probes_find_values_in_the_layer_and_text_that_has_them(probed: ProbeRows) -> None:
    accuracies = probe_accuracies(Stores(probed, probed.names), probed, batch_size=64)
    assert accuracies["probe_at_name"][1] > 0.95
    chance = 0.25
    for values in (
        [accuracies["probe_at_name"][0], accuracies["probe_at_name"][2]],
        accuracies["probe_at_name_shuffled"], accuracies["probe_in_text"], accuracies["probe_in_text_shuffled"],
    ):  # fmt: skip
        assert values == pytest.approx([chance] * len(values), abs=0.1)


def test_ridge_regression_is_the_one_with_the_least_leave_one_out_error() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 3, 30)
    states = np.eye(3)[labels] @ generator.normal(size=(3, 5)) + generator.normal(size=(30, 5))
    new_labels = generator.integers(0, 3, 200)
    new_states = np.eye(3)[new_labels] + 0.5 * generator.normal(size=(200, 3)) @ np.ones((3, 3))
    new_states = new_states @ generator.normal(size=(3, 5))
    scale = np.mean(np.linalg.svd(states - states.mean(axis=0), compute_uv=False) ** 2)

    def fitted(x: np.ndarray, y: np.ndarray, penalty: float, mean: np.ndarray, target: np.ndarray) -> np.ndarray:
        return np.linalg.solve((x - mean).T @ (x - mean) + penalty * np.eye(5), (x - mean).T @ (y - target))

    one_hot, errors = np.eye(3)[labels], {}
    for penalty in np.logspace(-4, 2, 13) * scale:
        left_out = []
        for index in range(30):
            kept = np.arange(30) != index
            mean, target = states[kept].mean(axis=0), one_hot[kept].mean(axis=0)
            weights = fitted(states[kept], one_hot[kept], penalty, mean, target)
            left_out.append(one_hot[index] - (states[index] - mean) @ weights - target)
        errors[penalty] = np.mean(np.square(left_out))
    best = min(errors, key=errors.__getitem__)
    mean, target = states.mean(axis=0), one_hot.mean(axis=0)
    predicted = ((new_states - mean) @ fitted(states, one_hot, best, mean, target) + target).argmax(axis=1)
    assert ridge_accuracy(states, labels, new_states, new_labels) == pytest.approx((predicted == new_labels).mean(), abs=0.03)


def test_states_without_any_variance_predict_the_most_frequent_value() -> None:
    labels = np.array([4, 4, 4, 7])
    assert ridge_accuracy(np.zeros((4, 3)), labels, np.zeros((2, 3)), np.array([4, 7])) == 0.5
