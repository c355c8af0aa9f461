"""Rows of other libraries, and of other forms."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from aligned_words import marked, row_of, words
from kinds import tokenizer_of

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.splits import draw
from bio_facts.measure.alignment import align

ROWS = rows(draw(CONFIGS["n1k"], "validation", range(4)))


def from_pandas(given: list[dict], path: Path) -> Any:
    return pd.read_parquet(path).to_dict("records")


def from_duckdb(given: list[dict], path: Path) -> Any:
    import duckdb

    return duckdb.sql(f"select * from '{path}'").df().to_dict("records")


def from_polars(given: list[dict], path: Path) -> Any:
    import polars

    return polars.read_parquet(path).to_dicts()


def in_format(name: str) -> Callable[[list[dict], Path], Any]:
    def rows_of_datasets(given: list[dict], path: Path) -> Any:
        import datasets

        return list(datasets.Dataset.from_list(given).with_format(name))

    return rows_of_datasets


def with_scalars(scalar: Callable[[int], Any], collection: Callable[[list], Any]) -> Callable[[list[dict], Path], Any]:
    def of_span(span: dict) -> dict:
        return {key: scalar(item) if isinstance(item, int) else item for key, item in span.items()}

    return lambda given, path: [
        row | {name: collection([of_span(span) for span in row[name]]) for name in ("attributes", "name_spans")}
        for row in given
    ]


@pytest.mark.parametrize(
    "make",
    [
        *(
            pytest.param(make, marks=pytest.mark.ecosystem)
            for make in (from_pandas, from_duckdb, from_polars, in_format("numpy"), in_format("torch"))
        ),
        with_scalars(np.uint16, tuple),
        with_scalars(np.array, lambda items: np.array(items, dtype=object)),
        with_scalars(torch.tensor, deque),
        with_scalars(int, iter),
    ],
    ids=["pandas", "duckdb", "polars", "numpy", "torch", "NumPy scalars", "arrays", "PyTorch scalars", "iterators"],
)
def test_rows_of_other_libraries_have_the_tokens_of_plain_ones(make: Callable[[list[dict], Path], Any], tmp_path: Path) -> None:
    given = [dict(row) for row in ROWS]
    pq.write_table(pa.Table.from_pylist(given), tmp_path / "rows.parquet")
    actual, expected = (
        align(tokenizer_of("bio_facts"), make(given, tmp_path / "rows.parquet"), 0),
        align(tokenizer_of("bio_facts"), given, 0),
    )
    for name in ("input_ids", "attribute_ids"):
        assert [ids.tolist() for ids in getattr(actual, name)] == [ids.tolist() for ids in getattr(expected, name)]
    assert actual.num_rows_apart == expected.num_rows_apart == 0


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        "London",
        5,
        {"start": [2], "end": [8]},
        ["London"],
        [{"attribute": "major", "start": 2}],
        float("nan"),
        np.array(5),
    ],
)
def test_attributes_other_than_a_list_of_spans_are_refused(attributes: object) -> None:
    with pytest.raises(
        ValueError, match=r"^row 0: attributes is .*; it must be a list of mappings with attribute, start and end"
    ):
        align(words(), [{"text": "x London", "attributes": attributes}], 0)


@pytest.mark.parametrize("start", [2.0, "2", True, None, np.bool_(True), np.float64(2), torch.tensor(2.0), torch.tensor(True)])
def test_edges_other_than_integers_are_refused(start: object) -> None:
    row = {"text": "x London", "attributes": [{"attribute": "major", "start": start, "end": 8}]}
    with pytest.raises(ValueError, match=r"^row 0: attributes is "):
        align(words(), [row], 0)


def test_names_other_than_a_list_of_spans_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^row 0: name_spans is 'Ada'; it must be a list of mappings with start and end"):
        align(words(), [row_of("x London", major="London") | {"name_spans": "Ada"}], 0)
    assert align(words(), [row_of("x London", major="London") | {"name_spans": None}], 0).input_ids[0].tolist()


def test_text_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^row 0: text has a NUL at character 1; it must be text without NUL characters$"):
        align(tokenizer_of("bio_facts"), [row_of("x\0 London", major="London")], 0)


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_values_and_names_that_pandas_filled_are_not_compared(missing: Any) -> None:
    row = row_of("x London", major="London") | {"name_spans": missing}
    row["attributes"][0]["value"] = missing
    assert marked(tokenizer_of("bio_facts"), row) == marked(tokenizer_of("bio_facts"), row_of("x London", major="London"))
    row["attributes"][0]["value"] = 3.0
    with pytest.raises(ValueError, match=r"^row 0: major is 3\.0, but its span 2\.\.8 holds 'London'$"):
        align(tokenizer_of("bio_facts"), [row], 0)


def test_values_missing_in_a_data_frame_are_not_compared() -> None:
    spans = [{"attribute": "major", "start": 2, "end": 8, "value": "London"}, {"attribute": "company", "start": 9, "end": 12}]
    filled = pd.DataFrame(spans).to_dict("records")
    assert filled[1]["value"] != filled[1]["value"]  # NaN; otherwise the test would show nothing
    aligned = align(tokenizer_of("bio_facts"), [{"text": "x London IBM", "attributes": filled}], 0)
    assert set(aligned.attribute_ids[0].tolist()) == {0, *(ATTRIBUTES[name].attribute_id for name in ("major", "company"))}
