import hashlib
import random

import numpy as np
import pytest
from chi_square import p_uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.checks import check_integer
from bio_facts.generate import seeding

MASK = 2**64 - 1
SEEDS = st.integers(0, 2**70)
INDICES = st.integers(0, 2**63 - 1)


def reference_sequence(key: int, index: int) -> int:
    """Element `index` of SplitMix64 from `key`, as published, in Python integers."""
    z = (key + (index + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def reference_bits(seed: int, stream: str, *indices: int) -> int:
    state = int.from_bytes(hashlib.sha256(f"bio_facts/{stream}/{seed}".encode()).digest()[:8], "little")
    for index in indices:
        state = reference_sequence(state, index)
    return state


def test_reference_gives_the_published_outputs_for_key_1234567() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [reference_sequence(1234567, k) for k in range(4)] == published


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SEEDS, st.text(max_size=20), INDICES)
def test_bits_are_splitmix64_of_the_hashed_key(seed: int, stream: str, index: int) -> None:
    assert seeding.bits(seed, stream, [index]).tolist() == [reference_bits(seed, stream, index)]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SEEDS, INDICES, INDICES)
def test_second_index_starts_a_new_sequence(seed: int, first: int, second: int) -> None:
    assert seeding.bits(seed, "s", [first], [second]).tolist() == [reference_bits(seed, "s", first, second)]


@pytest.mark.filterwarnings("error")
def test_scalar_index_is_as_good_as_an_array_of_one() -> None:
    assert seeding.bits(3, "s", 5).tolist() == seeding.bits(3, "s", [5]).tolist()


def test_indices_broadcast() -> None:
    grid = seeding.bits(3, "s", np.arange(4)[:, None], np.arange(5))
    assert grid.tolist() == [[reference_bits(3, "s", row, column) for column in range(5)] for row in range(4)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.integers(1, 1000), st.integers(1, 2**32), st.integers(2**32, 2**63)), SEEDS, INDICES)
def test_integers_are_the_floor_of_bits_times_high(high: int, seed: int, index: int) -> None:
    assert seeding.integers(high, seed, "s", [index]).tolist() == [(reference_bits(seed, "s", index) * high) >> 64]


def test_each_element_has_its_own_high() -> None:
    highs = [1, 2, 1000, 2**32, 2**32 + 1, 2**63 - 1]
    drawn = seeding.integers(highs, 0, "s", range(6)).tolist()
    assert drawn == [(reference_bits(0, "s", k) * high) >> 64 for k, high in enumerate(highs)]


@pytest.mark.parametrize("high", [2**32 - 1, 2**32, 2**32 + 1, 2**62 - 1, 2**63 - 1, 2**63])
def test_integers_are_exact_where_products_carry(high: int) -> None:
    """Of high and low halves, all ones carry the most; of a thousand draws some come near."""
    expected = [(reference_bits(0, "s", k) * high) >> 64 for k in range(1_000)]
    assert seeding.integers(high, 0, "s", range(1_000)).tolist() == expected


@pytest.mark.parametrize("bits", [0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 2**32, 2**64 - 1])
@pytest.mark.parametrize("high", [1, 3, 2**32 - 1, 2**32, 2**33 - 1, 2**63 - 1, 2**63])
def test_integers_are_exact_for_the_outermost_bits(bits: int, high: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding, "bits", lambda *_: np.array([bits], dtype=np.uint64))
    assert seeding.integers(high, 0, "s", 0).tolist() == [(bits * high) >> 64]


def test_integers_below_2_to_the_63_are_uniform() -> None:
    drawn = seeding.integers(2**63, 0, "s", range(64_000))
    assert p_uniform(np.bincount(drawn >> 57, minlength=64)) > 0.001


@pytest.mark.parametrize("size", [1, 2, 3, 5, 20, 99, 997, 1_000, 9_999, 10_000, 27_000, 30_000, 104_729, 108_000])
def test_permute_is_a_bijection(size: int) -> None:
    assert np.array_equal(np.sort(seeding.permute(np.arange(size), size, 5, "s")), np.arange(size))


def test_permute_of_one_index_needs_no_others() -> None:
    whole = seeding.permute(np.arange(30_000), 30_000, 5, "s")
    assert [int(seeding.permute([k], 30_000, 5, "s")[0]) for k in (0, 17, 29_999)] == whole[[0, 17, 29_999]].tolist()


@pytest.mark.parametrize("size", [4, 20, 997])
def test_first_half_of_a_small_permutation_has_each_index_equally_often(size: int) -> None:
    counts = np.zeros(size, dtype=np.int64)
    for seed in range(200):
        counts[seeding.permute(np.arange(size // 2), size, seed, "s")] += 1
    assert counts.sum() == 200 * (size // 2)
    assert np.abs(counts - 100).max() < 5 * 200**0.5 / 2


def test_permute_of_a_small_size_needs_no_other_indices() -> None:
    whole = seeding.permute(np.arange(997), 997, 5, "s")
    assert [int(seeding.permute([k], 997, 5, "s")[0]) for k in (0, 17, 996)] == whole[[0, 17, 996]].tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 20, 997, 10_000, 30_000, 104_729])
def test_inverse_permutation_undoes_the_permutation(size: int) -> None:
    permuted = seeding.permute(np.arange(size), size, 5, "s")
    assert np.array_equal(seeding.permute(permuted, size, 5, "s", inverse=True), np.arange(size))
    assert np.array_equal(seeding.permute(np.arange(size), size, 5, "s", inverse=True), np.argsort(permuted))


@pytest.mark.parametrize(("seed", "stream"), [(6, "s"), (5, "t")])
def test_permute_of_another_seed_or_stream_agrees_only_by_chance(seed: int, stream: str) -> None:
    indices = np.arange(30_000)
    agreements = seeding.permute(indices, 30_000, 5, "s") == seeding.permute(indices, 30_000, seed, stream)
    assert agreements.sum() < 10


def test_permute_sends_neighbours_apart() -> None:
    places = seeding.permute(np.arange(30_000), 30_000, 5, "s")
    assert np.abs(np.diff(places)).mean() == pytest.approx(10_000, rel=0.02)  # a third of the size, if independent


# Changing any of these numbers changes every data set.
@pytest.mark.parametrize(
    ("seed", "key", "bits", "of_two_indices", "integers", "permuted"),
    [
        (
            0,
            3672290849625664578,
            [2938736379938949692, 1085348240520994301, 12919938811657768403],
            2690979922724196334,
            [159, 58, 700, 666, 451],
            [9220, 24544, 14725, 24719, 19491],
        ),
        (
            1,
            3209128270233566438,
            [4486093212126194078, 8923678759056277605, 7478658617305101259],
            2481127133541365263,
            [243, 483, 405, 737, 809],
            [26384, 21831, 25499, 22206, 25954],
        ),
    ],
)
def test_golden_numbers(
    seed: int, key: int, bits: list[int], of_two_indices: int, integers: list[int], permuted: list[int]
) -> None:
    assert int(seeding.stream_key(seed, "stream")) == key
    assert seeding.bits(seed, "stream", range(3)).tolist() == bits
    assert seeding.bits(seed, "stream", [5], [7]).tolist() == [of_two_indices]
    assert seeding.integers(1000, seed, "stream", range(5)).tolist() == integers
    assert seeding.permute(range(5), 30_000, seed, "stream").tolist() == permuted


def test_draws_do_not_depend_on_global_random_state() -> None:
    before = seeding.bits(0, "s", range(10)).tolist()
    random.seed(123)
    np.random.seed(123)
    assert seeding.bits(0, "s", range(10)).tolist() == before


def test_draws_leave_global_random_state_alone() -> None:
    random.seed(123)
    np.random.seed(123)
    expected = random.random(), np.random.random()
    random.seed(123)
    np.random.seed(123)
    seeding.permute(seeding.integers(30_000, 0, "s", range(10)), 30_000, 0, "s")
    assert (random.random(), np.random.random()) == expected


@pytest.mark.parametrize("value", [True, False, 1.5, 1.0, -1, "1", None, np.float64(1), np.bool_(True), 8])
def test_check_integer_refuses_with_name_value_and_range(value: object) -> None:
    with pytest.raises(ValueError) as error:
        check_integer("count", value, minimum=0, maximum=7)
    assert str(error.value) == f"count is {value!r}; it must be an integer from 0 to 7"


def test_check_integer_without_a_maximum_says_only_the_minimum() -> None:
    with pytest.raises(ValueError, match=r"^count is 9; it must be an integer of at least 1,000$"):
        check_integer("count", 9, minimum=1000)


@pytest.mark.parametrize("value", [0, 7, np.int64(3), np.uint8(3)])
def test_check_integer_returns_a_python_int(value: int) -> None:
    checked = check_integer("count", value, minimum=0, maximum=7)
    assert (type(checked), checked) == (int, value)


@pytest.mark.parametrize("seed", [-1, True, 0.5, None])
def test_bad_seed_draws_nothing(seed: object) -> None:
    with pytest.raises(ValueError, match=r"seed is .*; it must be an integer of at least 0"):
        seeding.bits(seed, "s", [0])  # type: ignore[arg-type]
