"""Bytes are the contract: digests, fingerprints and rows as they were when DATA_VERSION was given, in goldens.json.

python tests/goldens.py --check     compare, with the installed packages (numpy and pyarrow are enough)
python tests/goldens.py --write     write goldens.json anew: only with a new DATA_VERSION and a line in CHANGELOG
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.generate import seeding
from bio_facts.generate.config import CONFIGS, DATA_VERSION
from bio_facts.generate.pools import DATA
from bio_facts.publish.canonical_json import canonical_json, content_digest
from bio_facts.publish.tables import num_rows, record_batch

FILE = Path(__file__).with_name("goldens.json")
EVERY_SPLIT = [(name, split) for name, config in CONFIGS.items() for split in num_rows(config)]
WHOLE_CONFIG = "n1k"
NUM_ROWS = 1_000


def sampled_rows(config: str, split: str) -> NDArray[np.int64]:
    """Indices of the first 1,000 rows, 1,000 random ones and the last 1,000; all, where there are fewer."""
    count = num_rows(CONFIGS[config])[split]
    random = seeding.integers(count, 0, "goldens", np.arange(NUM_ROWS))
    return np.concatenate([np.arange(min(NUM_ROWS, count)), random, np.arange(max(0, count - NUM_ROWS), count)])


def sampled_digest(config: str, split: str) -> str:
    return content_digest([record_batch(CONFIGS[config], split, sampled_rows(config, split))])


def whole_digest(split: str) -> str:
    count = num_rows(CONFIGS[WHOLE_CONFIG])[split]
    starts = range(0, count, NUM_ROWS)
    return content_digest(record_batch(CONFIGS[WHOLE_CONFIG], split, np.arange(start, start + NUM_ROWS)) for start in starts)


def first_row(config: str, split: str) -> str:
    return canonical_json(record_batch(CONFIGS[config], split, 0))[0].as_py()  # type: ignore[no-any-return]


def tokenizer_sha256() -> str:
    return hashlib.sha256((DATA / "tokenizer" / "tokenizer.json").read_bytes()).hexdigest()


def current() -> dict[str, Any]:
    """What the installed code makes, in the form of goldens.json."""
    return {
        "data_version": DATA_VERSION,
        "tokenizer_sha256": tokenizer_sha256(),
        "fingerprints": {name: config.fingerprint for name, config in CONFIGS.items()},
        "digests_of_3000_rows": {f"{config}/{split}": sampled_digest(config, split) for config, split in EVERY_SPLIT},
        "whole_digests": {split: whole_digest(split) for split in num_rows(CONFIGS[WHOLE_CONFIG])},
        "first_rows": {
            f"{config}/{split}": json.loads(first_row(config, split))
            for config in (WHOLE_CONFIG, "individuals", "templates", "questions", "cloze")
            for split in num_rows(CONFIGS[config])
        },
    }


def load() -> dict[str, Any]:
    """The committed goldens."""
    return json.loads(FILE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def current_matches() -> None:
    """SystemExit naming what differs from the committed goldens."""
    actual, wanted = _flat(current()), _flat(load())
    differing = [key for key in actual | wanted if actual.get(key) != wanted.get(key)]
    if differing:
        raise SystemExit(f"not as in {FILE.name}: {', '.join(differing)}")
    print(f"{len(EVERY_SPLIT)} splits as in {FILE.name}")


def _flat(goldens: dict[str, Any]) -> dict[str, Any]:
    parts = {key: part if isinstance(part, dict) else {"": part} for key, part in goldens.items()}
    return {f"{key}[{name}]" if name else key: value for key, part in parts.items() for name, value in part.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true")
    action.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        FILE.write_text(json.dumps(current(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    else:
        current_matches()


if __name__ == "__main__":
    main()
