import hashlib
import json

import numpy as np
import pytest

from bio_facts.biography import Biographies
from bio_facts.config import Config
from bio_facts.pieces import EMPTY, is_initial, piece_table, ragged_table
from bio_facts.records import canonical_json, content_digest, rows, texts
from bio_facts.resources import pools
from bio_facts.splits import draw

CONFIG = Config(num_individuals=50, seed=3, population_seed=4)
ROW = {"biography_id": 7, "individual_id": 2, "text": "Łucja São", "name_spans": [{"start": 0, "end": 5}], "attributes": []}


@pytest.fixture(scope="module")
def biographies() -> Biographies:
    return draw(CONFIG, "train", range(300))


def test_row_has_the_fields_of_the_schema_in_order(biographies: Biographies) -> None:
    row = rows(biographies)[0]
    assert list(row) == ["biography_id", "individual_id", "text", "name_spans", "attributes"]
    assert [list(span) for span in row["name_spans"]] == [["start", "end"]] * 6
    assert [list(found) for found in row["attributes"]] == [["attribute", "value", "start", "end", "template_id"]] * 6


def test_row_holds_plain_python_values(biographies: Biographies) -> None:
    row = rows(biographies)[0]
    assert type(row["biography_id"]) is type(row["individual_id"]) is int
    assert {type(value) for found in row["attributes"] for value in found.values()} == {str, int}
    assert {type(value) for span in row["name_spans"] for value in span.values()} == {int}


def test_text_is_its_pieces_one_after_another(biographies: Biographies) -> None:
    for row, pieces in zip(rows(biographies), biographies.piece_id, strict=True):
        assert row["text"] == "".join(piece_table().texts[piece] for piece in pieces.ravel())


def test_bytes_of_texts_lie_one_after_another(biographies: Biographies) -> None:
    made = texts(biographies)
    whole, offsets = made.utf8.tobytes(), made.byte_offsets
    cut = [whole[offsets[k] : offsets[k + 1]].decode() for k in range(len(biographies))]
    assert cut == [row["text"] for row in rows(biographies)]


def test_text_has_single_spaces_and_ends_in_a_period(biographies: Biographies) -> None:
    for row in rows(biographies):
        assert row["text"] == " ".join(row["text"].split())
        assert row["text"].endswith(".")


def test_canonical_json_keeps_order_and_letters_and_has_no_spaces() -> None:
    assert canonical_json(ROW) == (
        '{"biography_id":7,"individual_id":2,"text":"Łucja São","name_spans":[{"start":0,"end":5}],"attributes":[]}'
    )


def test_canonical_json_parses_to_the_row(biographies: Biographies) -> None:
    row = rows(biographies)[5]
    assert json.loads(canonical_json(row)) == row


def test_content_digest_is_sha256_of_the_joined_json() -> None:
    joined = canonical_json(ROW) + canonical_json(ROW | {"biography_id": 8})
    expected = hashlib.sha256(joined.encode("utf-8")).hexdigest()
    assert content_digest([ROW, ROW | {"biography_id": 8}]) == expected


def test_content_digest_depends_on_the_order_of_rows() -> None:
    other = ROW | {"biography_id": 8}
    assert content_digest([ROW, other]) != content_digest([other, ROW])


def test_pool_items_stand_in_the_pieces_behind_a_space() -> None:
    table = piece_table()
    for name, items in pools().items():
        start = table.pools[name]
        assert table.texts[start : start + len(items)] == tuple(f" {item}" for item in items)


def test_only_pieces_that_begin_a_text_lack_the_space() -> None:
    table = piece_table()
    initial = {table.texts[k] for k in np.flatnonzero(is_initial())}
    assert not any(text.startswith(" ") for text in initial)
    assert initial >= set(pools()["first_names"])
    assert not is_initial()[EMPTY]


def test_ragged_table_concatenates_runs() -> None:
    runs = [np.array(run, dtype=np.int64) for run in ([], [1, 2], [3], [4, 5, 6])]
    table = ragged_table(runs)
    assert table.concatenate(np.array([[3, 0], [1, 1]])).tolist() == [4, 5, 6, 1, 2, 1, 2]
    assert table.concatenate(np.array([[0]])).tolist() == []
