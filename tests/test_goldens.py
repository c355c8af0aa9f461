"""Bytes are the contract: rows, digests and fingerprints as they were when DATA_VERSION was given.

A failure here means that the generated data changed. If it is meant to, raise DATA_VERSION in bio_facts/config.py, say so
in CHANGELOG and write goldens.json anew, from the repository root:

  PYTHONPATH=. python tests/test_goldens.py
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bio_facts.config import CONFIGS, DATA_VERSION
from bio_facts.records import canonical_json, content_digest, rows
from bio_facts.splits import SPLITS, draw
from bio_facts.tokenization import TOKENIZER_FILE

FILE = Path(__file__).with_name("goldens.json")
GOLDENS = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
NUM_DIGESTED_ROWS = 1_000


def digest(config: str, split: str) -> str:
    return content_digest(rows(draw(CONFIGS[config], split, range(NUM_DIGESTED_ROWS))))


def golden_row(config: str, split: str) -> str:
    return canonical_json(rows(draw(CONFIGS[config], split, 0))[0])


def tokenizer_sha256() -> str:
    return hashlib.sha256(TOKENIZER_FILE.read_bytes()).hexdigest()


def current() -> dict[str, Any]:
    return {
        "data_version": DATA_VERSION,
        "tokenizer_sha256": tokenizer_sha256(),
        "fingerprints": {name: config.fingerprint for name, config in CONFIGS.items()},
        "digests_of_rows_0_to_999": {config: {split: digest(config, split) for split in SPLITS} for config in CONFIGS},
        "first_rows": {split: json.loads(golden_row("n1k", split)) for split in SPLITS},
    }


def test_goldens_are_of_this_data_version() -> None:
    assert GOLDENS["data_version"] == DATA_VERSION


def test_goldens_cover_every_config_and_split() -> None:
    digests = GOLDENS["digests_of_rows_0_to_999"]
    assert {(config, split) for config in digests for split in digests[config]} == {
        (config, split) for config in CONFIGS for split in SPLITS
    }


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("config", CONFIGS)
def test_digest_of_the_first_thousand_rows(config: str, split: str) -> None:
    assert digest(config, split) == GOLDENS["digests_of_rows_0_to_999"][config][split]


@pytest.mark.parametrize("split", SPLITS)
def test_first_row_of_n1k(split: str) -> None:
    expected = json.dumps(GOLDENS["first_rows"][split], ensure_ascii=False, separators=(",", ":"))
    assert golden_row("n1k", split) == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_fingerprint(name: str) -> None:
    assert CONFIGS[name].fingerprint == GOLDENS["fingerprints"][name]


def test_shipped_tokenizer() -> None:
    assert tokenizer_sha256() == GOLDENS["tokenizer_sha256"]


if __name__ == "__main__":
    FILE.write_text(json.dumps(current(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
