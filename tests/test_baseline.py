import itertools
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import Biographies
from bio_facts.generate.config import Config, get_config
from bio_facts.generate.distributions import DISTRIBUTIONS, Celebrities, FineTuning, Groups, PowerLaw, Uniform, WarmUp
from bio_facts.generate.pools import pools
from bio_facts.generate.population import Population
from bio_facts.generate.splits import individual_ids, splits
from bio_facts.measure import baseline
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.metrics import AttributeTotals, attribute_totals
from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer

MINI = Path(__file__).parent.parent / "train" / "recipes" / "three_phases" / "mini.yaml"
SMALL_POOLS = {"cities": 7, "universities": 5, "majors": 3, "companies": 2, "months": 12, "days": 28, "years": 20}


def entropy(counts: Counter) -> float:
    return math.log(counts.total()) - sum(n * math.log(n) for n in counts.values()) / counts.total()


def date_parts(date: str) -> list[str]:
    """The parts of "March 16, 2042"; other values are one part, themselves."""
    parts = date.split(" ")
    return parts if len(parts) == 3 and parts[1].endswith(",") else [date]


def test_pool_loss_is_that_of_the_protocol() -> None:
    assert baseline.pool_no_knowledge_loss() == pytest.approx(6.767, abs=5e-4)


def test_pool_loss_is_the_mean_of_the_logs_of_the_numbers_of_values() -> None:
    expected = sum(map(math.log, (800, 800, 200, 100, 500, 12 * 28 * 200))) / 6
    assert baseline.pool_no_knowledge_loss() == pytest.approx(expected, rel=1e-14)


def test_pool_losses_are_given_for_each_attribute() -> None:
    expected = {"birth_place": 800, "current_location": 800, "university": 200, "major": 100, "company": 500}
    expected["birth_date"] = 67_200
    assert baseline.pool_no_knowledge_losses() == pytest.approx({k: math.log(n) for k, n in expected.items()}, rel=1e-14)


def test_pool_loss_follows_pool_sizes() -> None:
    expected = sum(map(math.log, (7, 7, 200, 100, 500, 12 * 28 * 20))) / 6
    assert baseline.pool_no_knowledge_loss({"cities": 7, "years": 20}) == pytest.approx(expected, rel=1e-14)


def test_pool_loss_refuses_a_pool_size_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"pool_sizes\['cities'\] is 801; it must be an integer from 1 to 800"):
        baseline.pool_no_knowledge_loss({"cities": 801})


@pytest.mark.parametrize("pool_sizes", [{}, {"cities": 3, "years": 2}], ids=["full pools", "small pools"])
def test_population_losses_are_the_entropies_of_the_values_of_its_people(pool_sizes: dict[str, int]) -> None:
    population = Population(num_individuals=50, population_seed=1, pool_sizes=pool_sizes)
    expected = {}
    for attribute in ATTRIBUTES:
        columns = zip(*(date_parts(person.values[attribute]) for person in population), strict=True)
        expected[attribute] = sum(entropy(Counter(column)) for column in columns)
    assert baseline.no_knowledge_losses(population) == pytest.approx(expected, rel=1e-12)
    assert baseline.no_knowledge_loss(population) == pytest.approx(sum(expected.values()) / 6, rel=1e-12)


def test_population_loss_does_not_depend_on_the_chunks_it_is_counted_in(monkeypatch: pytest.MonkeyPatch) -> None:
    population = Population(num_individuals=50, population_seed=1)
    whole = baseline.no_knowledge_loss(population)
    monkeypatch.setattr(baseline, "_CHUNK", 7)
    assert baseline.no_knowledge_loss(population) == whole


def test_thousand_people_fall_short_of_the_pools_as_thousand_draws_do() -> None:
    random, sizes = np.random.default_rng(0), (800, 800, 200, 100, 500, 12, 28, 200)
    draws = [sum(entropy(Counter(random.integers(k, size=1_000).tolist())) for k in sizes) / 6 for _ in range(20)]
    population = Population(num_individuals=1_000, population_seed=0)
    assert baseline.no_knowledge_loss(population) == pytest.approx(np.mean(draws), abs=0.02)  # 3 standard deviations
    assert baseline.no_knowledge_loss(population) < 0.99 * baseline.pool_no_knowledge_loss()


def test_one_person_has_no_uncertainty() -> None:
    assert baseline.no_knowledge_loss(Population(num_individuals=1, population_seed=0)) == 0


def test_pools_and_population_agree_for_the_mini_recipe() -> None:
    recipe = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    sizes = recipe["dataset_parameters"]["pool_sizes"]
    num_individuals = recipe["dataset_parameters"]["num_individuals"]
    population = Population(num_individuals=num_individuals, population_seed=0, pool_sizes=sizes)
    pool_loss = baseline.pool_no_knowledge_loss(sizes)
    assert baseline.no_knowledge_loss(population) == pytest.approx(pool_loss, rel=0.01)


def totals_of_guessing(population: Population, weights: dict[tuple[str, str], Counter]) -> AttributeTotals:
    """Score a model over each person once; it guesses a part of a value by `weights` of (attribute, part)'s texts.

    It is a language model: it spreads the weight of a part over the tokens that could come next.
    """
    tokenizer = load_tokenizer("bio_facts")
    ids = np.arange(len(population))
    order = np.tile(np.arange(6), (len(ids), 1))
    batch = BiographyTokenizer(tokenizer)(Biographies.assemble(ids, ids, population, order, order))
    prefix_weights: dict[tuple[str, int], Counter] = {}
    for key, counts in weights.items():
        prefix_weights[key] = Counter()
        for text, weight in counts.items():
            run = tuple(tokenizer(f" {text}").input_ids)
            for length in range(len(run) + 1):
                prefix_weights[key][run[:length]] += weight

    nlls = np.full(batch.input_ids.shape, np.nan)
    for row, person in enumerate(population):
        for attribute in ATTRIBUTES.values():
            losses: list[float] = []
            for part, text in enumerate(date_parts(person.values[attribute.name])):
                seen, run = prefix_weights[attribute.name, part], tuple(tokenizer(f" {text}").input_ids)
                losses += [math.log(seen[run[:k]] / seen[run[: k + 1]]) for k in range(len(run))]
            nlls[row, batch.attribute_ids[row] == attribute.attribute_id] = losses
    return attribute_totals(
        nlls=nlls.ravel(),
        correct=np.zeros(nlls.size, dtype=bool),
        attribute_ids=batch.attribute_ids.ravel(),
        row_lengths=np.full(len(nlls), nlls.shape[1]),
        num_attributes=len(ATTRIBUTES),
    )


@pytest.mark.parametrize("pool_sizes", [{}, SMALL_POOLS], ids=["full pools", "small pools"])
def test_model_that_knows_the_pools_scores_the_pool_loss(pool_sizes: dict[str, int]) -> None:
    population = Population(num_individuals=50, population_seed=1, pool_sizes=pool_sizes)
    weights = {
        (attribute.name, part): Counter(pools()[pool][: population.pool_sizes[pool]])
        for attribute in ATTRIBUTES.values()
        for part, pool in enumerate(attribute.pools)
    }
    summary = totals_of_guessing(population, weights).summary(tuple(ATTRIBUTES))
    assert summary["attribute_loss"] == pytest.approx(baseline.pool_no_knowledge_loss(pool_sizes), rel=1e-12)
    for attribute, loss in baseline.pool_no_knowledge_losses(pool_sizes).items():
        assert summary[f"attribute_loss/{attribute}"] == pytest.approx(loss, rel=1e-12)


def test_model_that_knows_the_frequencies_of_values_scores_the_population_loss() -> None:
    population = Population(num_individuals=50, population_seed=1, pool_sizes=SMALL_POOLS)
    weights = {
        (attribute.name, part): Counter(date_parts(person.values[attribute.name])[part] for person in population)
        for attribute in ATTRIBUTES.values()
        for part in range(len(attribute.pools))
    }
    summary = totals_of_guessing(population, weights).summary(tuple(ATTRIBUTES))
    assert summary["attribute_loss"] == pytest.approx(baseline.no_knowledge_loss(population), rel=1e-12)


@pytest.mark.parametrize("pool_sizes", [{}, SMALL_POOLS], ids=["full pools", "small pools"])
def test_model_that_knows_skewed_frequencies_scores_the_weighted_loss(pool_sizes: dict[str, int]) -> None:
    population = Population(num_individuals=50, population_seed=1, pool_sizes=pool_sizes)
    individual_weights = [9, 9, *[1 + individual % 3 for individual in range(48)]]
    weights: dict[tuple[str, int], Counter] = {}
    for individual, weight in zip(population, individual_weights, strict=True):
        for attribute in ATTRIBUTES.values():
            for part, text in enumerate(date_parts(individual.values[attribute.name])):
                weights.setdefault((attribute.name, part), Counter())[text] += weight
    summary = totals_of_guessing(population, weights).summary(tuple(ATTRIBUTES))
    weighted = baseline.weighted_no_knowledge_loss(population, np.array(individual_weights, dtype=float))
    assert summary["attribute_loss"] == pytest.approx(weighted, rel=1e-12)
    assert weighted > 1.001 * baseline.no_knowledge_loss(population)


def test_weighted_loss_of_equal_weights_is_that_of_the_population() -> None:
    population = Population(num_individuals=50, population_seed=1)
    weighted = baseline.weighted_no_knowledge_loss(population, np.full(50, 3.0))
    assert weighted == pytest.approx(baseline.no_knowledge_loss(population), rel=1e-14)


@pytest.mark.parametrize("weights", [np.ones(49), np.arange(50.0)])
def test_weights_must_be_above_0_and_one_for_each_individual(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"weights, the least is [01]; expected 50 weights above 0"):
        baseline.weighted_no_knowledge_loss(Population(num_individuals=50, population_seed=1), weights)


# Of a split


def own_entropies(config: Config, people: Iterable[int]) -> dict[str, float]:
    """From the values that people have, one by one; parts of a date by themselves."""
    values = [config.population.individual(person).values for person in people]
    return {
        name: sum(entropy(Counter(parts)) for parts in zip(*(date_parts(value[name]) for value in values), strict=True))
        for name in ATTRIBUTES
    }


NEW, SMALL = 400_000_000, Config(num_individuals=24)
SPLITS = [
    (Uniform(), "train", [range(24)]),
    (Uniform(), "validation", [range(24)]),
    (Uniform(), "unseen", [range(24)]),
    (PowerLaw(1.0), "train", [range(24)]),
    (Celebrities(), "validation", [range(24)]),
    (WarmUp(), "train", [range(24)]),
    (FineTuning(5), "train", [range(NEW, NEW + 5)]),
    (FineTuning(5), "validation", [range(NEW, NEW + 5)]),
    (FineTuning(5), "pretrain_validation", [range(24)]),
    (FineTuning(5), "unseen", [range(24)]),
    (FineTuning(5, 0.5), "train", [range(24), range(NEW, NEW + 5)]),
    (FineTuning(5, 0.5), "validation", [range(NEW, NEW + 5)]),
    (Groups(3), "train", [range(24)]),
    (Groups(3), "validation", [range(24)]),
    (Groups(3), "validation_group0", [range(8)]),
    (Groups(3), "validation_group2", [range(16, 24)]),
    (Groups(3), "unseen", [range(24)]),
    (Groups(3, first_group=2), "train", [range(16, 24)]),
    (Groups(3, first_group=1, num_rounds=3), "train", [range(8, 24)]),
    (Groups(3, first_group=1, num_group0_individuals=4), "train", [range(4, 24)]),
    (Groups(3, first_group=1, num_group0_individuals=4), "validation_group0", [range(4)]),
    (Groups(3, first_group=1, num_group0_individuals=4), "validation_group2", [range(14, 24)]),
]


@pytest.mark.parametrize(("distribution", "split", "people"), SPLITS)
def test_loss_of_a_split_is_the_entropy_of_its_own_people(distribution: Any, split: str, people: list[range]) -> None:
    config = SMALL.replace(distribution=distribution)
    expected = own_entropies(config, itertools.chain(*people))
    assert baseline.split_no_knowledge_losses(config, split) == pytest.approx(expected, rel=1e-12)
    assert baseline.split_no_knowledge_loss(config, split) == pytest.approx(sum(expected.values()) / 6, rel=1e-12)


@pytest.mark.parametrize("distribution", {distribution: None for distribution, *_ in SPLITS})
def test_people_of_a_split_are_those_that_its_rows_are_about(distribution: Any) -> None:
    config = SMALL.replace(distribution=distribution)
    for name, split in splits(config).items():
        rows = range(2_000) if split.num_individuals <= 24 else range(16_000)
        drawn = set(individual_ids(config, name, rows).tolist())
        people = set(itertools.chain(*split.individuals))
        assert drawn <= people if name == "unseen" else drawn == people
        assert set(itertools.chain(*split.learned_individuals)) == (set(range(24)) if name == "unseen" else people)


def test_every_kind_of_split_is_tried() -> None:
    names = {name for distribution, *_ in SPLITS for name in splits(SMALL.replace(distribution=distribution))}
    assert {split for _, split, _ in SPLITS} == names - {"validation_group1"}
    assert {distribution.name for distribution, *_ in SPLITS} == set(DISTRIBUTIONS)


@pytest.mark.parametrize(
    ("name", "parameters", "split", "expected"),
    [
        ("n1k-finetune1k", {"num_fine_tuning_individuals": 50}, "validation", 4.646),
        ("n1k-groups", {}, "validation_group0", 5.927),
    ],
)
def test_losses_of_the_command_the_card_and_the_callback_are_one(
    name: str, parameters: dict[str, Any], split: str, expected: float
) -> None:
    config = get_config(name).replace(**parameters)
    assert baseline.split_no_knowledge_loss(config, split) == pytest.approx(expected, abs=5e-4)
    callback = AttributeEvaluation(load_tokenizer("bio_facts"), config, splits=[split])
    assert callback.baselines[split]["no_knowledge_loss"] == baseline.split_no_knowledge_loss(config, split)


def test_config_may_be_given_by_its_name() -> None:
    losses = baseline.split_no_knowledge_losses("n1k", "validation")
    assert losses == baseline.split_no_knowledge_losses(get_config("n1k"), "validation")
    assert baseline.split_no_knowledge_loss("n1k", "validation") == sum(losses.values()) / 6
    with pytest.raises(ValueError, match="config is 'n3k'; it must be one of"):
        baseline.split_no_knowledge_loss("n3k", "validation")
