import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from bio_facts import baseline
from bio_facts.attributes import ATTRIBUTES
from bio_facts.biography import Biographies
from bio_facts.metrics import AttributeTotals, attribute_totals
from bio_facts.population import Population
from bio_facts.resources import pools
from bio_facts.tokenization import BiographyTokenizer, load_tokenizer

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


def test_pool_losses_are_told_by_attribute() -> None:
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
