import numpy as np
import pytest
from chi_square import p_uniform

from bio_facts.generate.attributes import ATTRIBUTES, VALUE_PARTS
from bio_facts.generate.pools import NAME_POOLS, pools
from bio_facts.generate.population import Population
from bio_facts.generate.templates import template_orders

MILLION = np.arange(1_000_000)
FINE_TUNING = np.arange(400_000_000, 400_100_000)
UNSEEN = np.arange(600_000_000, 600_016_000)
NAMES = {"first_names": 50, "middle_names": 40, "last_names": 40}
PEOPLE = Population(num_individuals=1_000_000, population_seed=0)


def name_keys(ids: np.ndarray) -> np.ndarray:
    """One integer for each full name."""
    return PEOPLE.name_parts(ids) @ np.array([1_000_000, 1_000, 1])


@pytest.fixture(scope="module")
def million_names() -> np.ndarray:
    return PEOPLE.name_parts(MILLION)


@pytest.fixture(scope="module")
def million_values() -> np.ndarray:
    return PEOPLE.value_parts(MILLION)


def test_full_names_are_unique_across_a_million_people_and_those_of_other_roles() -> None:
    keys = name_keys(np.concatenate([MILLION, FINE_TUNING, UNSEEN]))
    assert len(np.unique(keys)) == 1_000_000 + 100_000 + 16_000


@pytest.mark.parametrize("column", range(3), ids=NAME_POOLS)
def test_name_parts_are_uniform(million_names: np.ndarray, column: int) -> None:
    assert p_uniform(np.bincount(million_names[:, column], minlength=len(pools()[NAME_POOLS[column]]))) > 0.001


@pytest.mark.parametrize("column", range(8), ids=["-".join(part) for part in VALUE_PARTS])
def test_value_parts_are_uniform(million_values: np.ndarray, column: int) -> None:
    size = len(pools()[VALUE_PARTS[column][1]])
    assert p_uniform(np.bincount(million_values[:, column], minlength=size)) > 0.001


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 4), (5, 6), (6, 7)])
def test_values_are_independent_of_one_another(million_values: np.ndarray, one: int, other: int) -> None:
    quarters = [million_values[:, column] * 4 // len(pools()[VALUE_PARTS[column][1]]) for column in (one, other)]
    assert p_uniform(np.bincount(quarters[0] * 4 + quarters[1])) > 0.001


def test_values_are_independent_of_names(million_names: np.ndarray, million_values: np.ndarray) -> None:
    assert p_uniform(np.bincount(million_names[:, 0] // 90 * 10 + million_values[:, 0] // 80)) > 0.001


def test_population_of_100_is_the_beginning_of_that_of_1000() -> None:
    small, large = (Population(num_individuals=n, population_seed=3) for n in (100, 1000))
    assert list(small) == [large[k] for k in range(100)]


@pytest.mark.parametrize("part", ["name_parts", "value_parts", "template_ranks"])
def test_another_population_seed_changes_everyone(part: str) -> None:
    one, other = (getattr(Population(num_individuals=1, population_seed=seed), part)(range(1000)) for seed in (0, 1))
    assert ((one == other).mean(axis=0) < 0.12).all()  # months agree once in 12


def test_pool_size_draws_only_and_all_of_the_first_items() -> None:
    few = Population(num_individuals=1, population_seed=0, pool_sizes={"cities": 3, "years": 5})
    values = few.value_parts(range(1000))
    assert [np.unique(values[:, column]).tolist() for column in (0, 1, 7)] == [[0, 1, 2], [0, 1, 2], [0, 1, 2, 3, 4]]


def test_pool_size_leaves_other_values_and_names_alone() -> None:
    few = Population(num_individuals=1, population_seed=0, pool_sizes={"cities": 3})
    assert np.array_equal(few.name_parts(range(100)), PEOPLE.name_parts(range(100)))
    assert np.array_equal(few.value_parts(range(100))[:, 2:], PEOPLE.value_parts(range(100))[:, 2:])


def test_fewer_names_are_unique_too_and_use_all_of_the_first_items() -> None:
    few = Population(num_individuals=39_506, population_seed=0, pool_sizes=NAMES)
    people = [np.arange(39_506), 400_000_000 + np.arange(16_000), 600_000_000 + np.arange(16_000)]
    names = few.name_parts(np.concatenate(people))
    assert len(np.unique(names, axis=0)) == 39_506 + 32_000
    assert [np.unique(column).tolist() for column in names.T] == [list(range(50)), list(range(40)), list(range(40))]


def test_fewer_names_leave_values_and_templates_alone() -> None:
    few = Population(num_individuals=1, population_seed=0, pool_sizes=NAMES)
    assert np.array_equal(few.value_parts(range(100)), PEOPLE.value_parts(range(100)))
    assert np.array_equal(few.template_ranks(range(100)), PEOPLE.template_ranks(range(100)))


@pytest.mark.parametrize("individual_id", [39_506, 399_999_999, 400_019_753, 600_020_741])
def test_person_without_a_name_is_refused(individual_id: int) -> None:
    few = Population(num_individuals=1, population_seed=0, pool_sizes=NAMES)
    few.name_parts([39_505, 400_019_752, 600_020_740])  # the last of each role
    with pytest.raises(ValueError) as error:
        few.individual(individual_id)
    assert f"individual_id is {individual_id}; with these pool_sizes ids 0 to 39,505, 400,000,000 to 400,019,752, " in str(
        error.value
    )


def test_pool_sizes_not_named_are_full() -> None:
    assert Population(num_individuals=1, population_seed=0, pool_sizes={"cities": 3}).pool_sizes == {
        "cities": 3,
        "universities": 200,
        "majors": 100,
        "companies": 500,
        "months": 12,
        "days": 28,
        "years": 200,
        "first_names": 900,
        "middle_names": 900,
        "last_names": 1000,
    }


def test_pool_sizes_are_a_copy_that_cannot_be_changed() -> None:
    sizes = {"cities": 3}
    few = Population(num_individuals=1, population_seed=0, pool_sizes=sizes)
    sizes["cities"] = 4
    assert few.pool_sizes["cities"] == 3
    with pytest.raises(TypeError):
        few.pool_sizes["cities"] = 4  # type: ignore[index]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_20_training_and_5_evaluation_templates_are_all_25(attribute: str) -> None:
    for person in Population(num_individuals=50, population_seed=0):
        training, evaluation = person.training_template_ids[attribute], person.evaluation_template_ids[attribute]
        assert (len(training), len(evaluation)) == (20, 5)
        assert sorted(training + evaluation) == list(range(25))


@pytest.mark.parametrize("column", range(6), ids=ATTRIBUTES)
def test_each_template_is_held_out_for_a_fifth_of_people(column: int) -> None:
    held_out = template_orders()[PEOPLE.template_ranks(range(20_000))[:, column], 20:]
    shares = np.bincount(held_out.ravel(), minlength=25) / 20_000
    assert shares == pytest.approx([0.2] * 25, abs=4 * (0.2 * 0.8 / 20_000) ** 0.5)


def test_hold_out_of_one_attribute_does_not_tell_that_of_another() -> None:
    held_out = template_orders()[PEOPLE.template_ranks(range(20_000)), 20:]
    holds_out_0 = [(held_out[:, column] == 0).any(axis=1) for column in (0, 1)]
    assert (holds_out_0[0] & holds_out_0[1]).mean() == pytest.approx(0.04, abs=0.006)


@pytest.mark.parametrize("individual_id", [0, 3, 3_000_000, 399_999_999, 400_000_000, 600_015_999, 809_999_999])
def test_individual_agrees_with_the_arrays(individual_id: int) -> None:
    person = PEOPLE.individual(individual_id)
    names = PEOPLE.name_parts(np.array([7, individual_id]))[1]
    assert person.name.split() == [pools()[pool][item] for pool, item in zip(NAME_POOLS, names, strict=True)]
    values = PEOPLE.value_parts(np.array([7, individual_id]))[1]
    parts = [pools()[pool][item] for (_, pool), item in zip(VALUE_PARTS, values, strict=True)]
    assert list(person.values.values()) == [*parts[:5], " ".join(parts[5:])]


@pytest.mark.parametrize("individual_id", [0, 399_999_999])
def test_held_out_templates_of_an_individual_agree_with_the_arrays(individual_id: int) -> None:
    orders = template_orders()[PEOPLE.template_ranks([individual_id])[0]].tolist()
    person = PEOPLE.individual(individual_id)
    assert [list(ids) for ids in person.training_template_ids.values()] == [order[:20] for order in orders]
    assert [list(ids) for ids in person.evaluation_template_ids.values()] == [order[20:] for order in orders]


def test_last_person_of_the_largest_population_is_at_hand() -> None:
    largest = Population(num_individuals=400_000_000, population_seed=0)
    assert largest[399_999_999] == PEOPLE.individual(399_999_999)


def test_length_is_the_number_of_individuals() -> None:
    assert len(Population(num_individuals=12, population_seed=0)) == 12


@pytest.mark.parametrize("index", [-1, 10, 400_000_000])
def test_index_outside_the_population_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match=f"individual {index}; this population has individuals 0 to 9"):
        Population(num_individuals=10, population_seed=0)[index]


@pytest.mark.parametrize("individual_id", [-1, 810_000_000, True, 1.0])
def test_individual_outside_the_name_space_is_refused(individual_id: object) -> None:
    with pytest.raises(ValueError) as error:
        PEOPLE.individual(individual_id)  # type: ignore[arg-type]
    assert str(error.value) == f"individual_id is {individual_id!r}; it must be an integer from 0 to 809,999,999"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_individuals": 0}, "num_individuals is 0; it must be an integer from 1 to 400,000,000"),
        ({"num_individuals": 400_000_001}, "num_individuals is 400000001; it must be an integer from 1 to 400,000,000"),
        ({"num_individuals": True}, "num_individuals is True; it must be an integer from 1 to 400,000,000"),
        ({"num_individuals": 10.0}, "num_individuals is 10.0; it must be an integer"),
        ({"population_seed": -1}, "population_seed is -1; it must be an integer of at least 0"),
        ({"population_seed": None}, "population_seed is None; it must be an integer of at least 0"),
        ({"pool_sizes": {"birth_place": 3}}, "pool_sizes names 'birth_place'; the pools are cities, universities, "),
        ({"pool_sizes": {"first_names": 901}}, "pool_sizes['first_names'] is 901; it must be an integer from 1 to 900"),
        (
            {"pool_sizes": {"first_names": 30, "middle_names": 40, "last_names": 50}},
            "the number of unseen individuals is 16,000; name pools of 30 x 40 x 50 items (pool_sizes) have names for 15,556",
        ),
        ({"pool_sizes": NAMES, "num_individuals": 39_507}, "num_individuals is 39,507; name pools of 50 x 40 x 40 items"),
        ({"pool_sizes": {"cities": 0}}, "pool_sizes['cities'] is 0; it must be an integer from 1 to 800"),
        ({"pool_sizes": {"cities": 801}}, "pool_sizes['cities'] is 801; it must be an integer from 1 to 800"),
        ({"pool_sizes": {"cities": True}}, "pool_sizes['cities'] is True; it must be an integer from 1 to 800"),
    ],
)
def test_bad_population_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Population(**({"num_individuals": 10, "population_seed": 0} | settings))  # type: ignore[arg-type]
    assert message in str(error.value)


def test_population_without_a_seed_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="population_seed"):
        Population(num_individuals=10)  # type: ignore[call-arg]


def test_misspelt_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="pool_size"):
        Population(num_individuals=10, population_seed=0, pool_size={})  # type: ignore[call-arg]
