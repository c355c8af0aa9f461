import pytest

from bio_facts.generate.attributes import ATTRIBUTES, VALUE_PARTS
from bio_facts.generate.pools import DATA, check_pool, pools

SIZES = {
    "first_names": 900,
    "middle_names": 900,
    "last_names": 1000,
    "cities": 800,
    "universities": 200,
    "majors": 100,
    "companies": 500,
    "months": 12,
    "days": 28,
    "years": 200,
}
DATA_FILES = sorted(file.name for file in DATA.iterdir() if file.name.endswith(".txt"))


def test_pools_have_the_sizes_of_the_paper() -> None:
    assert {name: len(items) for name, items in pools().items()} == SIZES


@pytest.mark.parametrize("name", SIZES)
def test_pool_has_no_item_twice(name: str) -> None:
    assert len(set(pools()[name])) == SIZES[name]


def test_pools_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        pools()["cities"] = ()  # type: ignore[index]


def test_dates_are_made_of_the_parts_in_which_they_are_written() -> None:
    parts = (pools()["months"][2], pools()["days"][15], pools()["years"][142])
    assert " ".join(parts) == "March 16, 2042"


@pytest.mark.parametrize(
    ("name", "items", "message"),
    [
        ("cities", ("Oslo",), "pool cities has 1 items; it must have 2"),
        ("cities", ("São Paulo", "Sao Paulo"), "pool cities, line 2, 'Sao Paulo': duplicate of 'São Paulo'"),
        ("cities", ("Saint-Denis", "SAINT DENIS"), "pool cities, line 2, 'SAINT DENIS': duplicate of 'Saint-Denis'"),
        ("cities", ("Oslo", "Zu\u0308rich"), "line 2, 'Zu\u0308rich': an item must be in Unicode normal form C"),
        ("cities", ("Oslo.", "Bern"), "pool cities, line 1, 'Oslo.': an item must end in a letter or a digit"),
        ("cities", ("Oslo", " Bern"), "pool cities, line 2, ' Bern': an item must have single spaces"),
        ("cities", ("Oslo", "New  York"), "pool cities, line 2, 'New  York': an item must have single spaces"),
        ("cities", ("Oslo", "Bern\t"), r"pool cities, line 2, 'Bern\t': an item must have single spaces"),
        ("cities", ("Oslo", ""), "pool cities, line 2, '': an item must have letters or digits"),
        ("last_names", ("Smith", "Van Dyke"), "pool last_names, line 2, 'Van Dyke': a name part must be one word"),
    ],
)
def test_bad_pool_is_refused_with_pool_line_and_item(name: str, items: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError) as error:
        check_pool(name, items, 2)
    assert message in str(error.value)


def test_line_written_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="pool cities, line 2, 'Oslo': duplicate of 'Oslo'"):
        check_pool("cities", tuple("Oslo\nOslo".splitlines()), 2)


def test_one_string_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="duplicate of 'Oslo'"):
        check_pool("cities", ("Oslo", "Oslo"), 2)


def test_values_may_have_several_words() -> None:
    check_pool("cities", ("New York", "York"), 2)


@pytest.mark.parametrize("file", [*DATA_FILES, "templates/", "tokenizer/"])
def test_source_of_every_data_file_is_written_down(file: str) -> None:
    assert f"`{file}" in (DATA / "SOURCES.md").read_text(encoding="utf-8")


def test_every_pool_of_a_value_exists() -> None:
    assert {pool for _, pool in VALUE_PARTS} == SIZES.keys() - {"first_names", "middle_names", "last_names"}


def test_attribute_ids_count_from_one_in_order() -> None:
    assert [(attribute.name, attribute.attribute_id) for attribute in ATTRIBUTES.values()] == [
        ("birth_place", 1),
        ("current_location", 2),
        ("university", 3),
        ("major", 4),
        ("company", 5),
        ("birth_date", 6),
    ]


def test_attributes_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ATTRIBUTES["hobby"] = ATTRIBUTES["major"]  # type: ignore[index]
