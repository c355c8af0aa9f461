"""What must hold of every split of every named config."""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bio_facts.config import CONFIGS
from bio_facts.records import rows
from bio_facts.splits import SPLITS, draw

NUM_ROWS = 20
EVERY_SPLIT = pytest.mark.parametrize(("config", "split"), [(config, split) for config in CONFIGS for split in SPLITS])

PROGRAM = f"""
import hashlib, json
from bio_facts import CONFIGS, SPLITS, draw, rows
print(json.dumps({{
    config + "/" + split: hashlib.sha256(repr(rows(draw(CONFIGS[config], split, range({NUM_ROWS})))).encode()).hexdigest()
    for config in CONFIGS for split in SPLITS
}}))
"""


def first_rows(config: str, split: str) -> list[dict]:
    return rows(draw(CONFIGS[config], split, range(NUM_ROWS)))


@pytest.fixture(scope="module")
def digests_elsewhere() -> list[dict[str, str]]:
    """config/split -> digest of its first rows, as two processes with other hash seeds compute them."""
    found = []
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parent.parent)}
        command = [sys.executable, "-c", PROGRAM]
        found.append(json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout))
    return found


@EVERY_SPLIT
def test_rows_do_not_depend_on_global_random_state(config: str, split: str) -> None:
    random.seed(1)
    np.random.seed(1)
    before = first_rows(config, split)
    random.seed(2)
    np.random.seed(2)
    assert first_rows(config, split) == before


@EVERY_SPLIT
def test_rows_leave_global_random_state_alone(config: str, split: str) -> None:
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    first_rows(config, split)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


@EVERY_SPLIT
def test_rows_are_the_same_in_another_process(config: str, split: str, digests_elsewhere: list[dict[str, str]]) -> None:
    digest = hashlib.sha256(repr(first_rows(config, split)).encode()).hexdigest()
    assert [digests[f"{config}/{split}"] for digests in digests_elsewhere] == [digest, digest]


@EVERY_SPLIT
def test_rows_are_the_same_in_reverse_order(config: str, split: str) -> None:
    backwards = rows(draw(CONFIGS[config], split, range(NUM_ROWS - 1, -1, -1)))
    assert backwards[::-1] == first_rows(config, split)


@EVERY_SPLIT
def test_rows_are_the_same_in_chunks(config: str, split: str) -> None:
    chunks = [range(0, 1), range(1, 8), range(8, NUM_ROWS)]
    assert [row for chunk in chunks for row in rows(draw(CONFIGS[config], split, chunk))] == first_rows(config, split)


@EVERY_SPLIT
def test_last_exported_row_exists(config: str, split: str) -> None:
    last = SPLITS[split].num_rows(CONFIGS[config]) - 1
    assert rows(draw(CONFIGS[config], split, last))[0]["biography_id"] == last


@EVERY_SPLIT
def test_spans_hold_names_and_values(config: str, split: str) -> None:
    for row in first_rows(config, split):
        person = CONFIGS[config].population.individual(row["individual_id"])
        assert {row["text"][span["start"] : span["end"]] for span in row["name_spans"]} == {person.name}
        assert {found["attribute"]: row["text"][found["start"] : found["end"]] for found in row["attributes"]} == person.values
