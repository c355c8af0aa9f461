"""Bytes are the contract: what the code makes is what goldens.json holds. How to write it anew stands in goldens.py."""

import json
from typing import Any

import goldens
import numpy as np
import pytest
from goldens import EVERY_SPLIT, WHOLE_CONFIG

from bio_facts.generate.config import CONFIGS, DATA_VERSION
from bio_facts.publish.tables import num_rows

GOLDENS = goldens.load()


def test_goldens_are_of_this_data_version() -> None:
    assert GOLDENS["data_version"] == DATA_VERSION


def test_goldens_cover_every_config_and_split() -> None:
    assert GOLDENS["fingerprints"].keys() == CONFIGS.keys()
    assert GOLDENS["digests_of_3000_rows"].keys() == {f"{config}/{split}" for config, split in EVERY_SPLIT}
    assert GOLDENS["whole_digests"].keys() == {"train", "validation", "unseen"}


@pytest.mark.parametrize("config", CONFIGS)
def test_digests_of_3000_rows_of_each_split(config: str) -> None:
    names = [f"{config}/{split}" for split in num_rows(CONFIGS[config])]
    expected = {name: GOLDENS["digests_of_3000_rows"][name] for name in names}
    assert {name: goldens.sampled_digest(*name.split("/")) for name in names} == expected


@pytest.mark.parametrize("split", num_rows(CONFIGS[WHOLE_CONFIG]))
def test_digest_of_a_whole_split_of_n1k(split: str) -> None:
    assert goldens.whole_digest(split) == GOLDENS["whole_digests"][split]


@pytest.mark.parametrize("name", GOLDENS["first_rows"])
def test_first_row(name: str) -> None:
    expected = json.dumps(GOLDENS["first_rows"][name], ensure_ascii=False, separators=(",", ":"))
    assert goldens.first_row(*name.split("/")) == expected


def test_fingerprints() -> None:
    assert {name: config.fingerprint for name, config in CONFIGS.items()} == GOLDENS["fingerprints"]


def test_shipped_tokenizer() -> None:
    assert goldens.tokenizer_sha256() == GOLDENS["tokenizer_sha256"]


def test_digested_rows_are_the_first_and_last_thousand_and_a_thousand_between() -> None:
    sampled = goldens.sampled_rows("n64k", "train")
    assert np.array_equal(sampled[:1_000], np.arange(1_000))
    assert np.array_equal(sampled[2_000:], np.arange(2_047_000, 2_048_000))
    between = sampled[1_000:2_000]
    assert 0 <= between.min() < 100_000 and 1_948_000 < between.max() < 2_048_000
    assert len(set(between.tolist())) > 990


def test_split_of_few_rows_is_digested_whole() -> None:
    assert set(goldens.sampled_rows("templates", "train").tolist()) == set(range(150))


@pytest.mark.parametrize(
    ("keys", "difference"),
    [
        (("data_version",), "data_version"),
        (("fingerprints", "n4k"), "fingerprints[n4k]"),
        (("digests_of_3000_rows", "n8k/unseen"), "digests_of_3000_rows[n8k/unseen]"),
        (("first_rows", "templates/train"), "first_rows[templates/train]"),
    ],
)
def test_check_names_what_differs(keys: tuple[str, ...], difference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed: dict[str, Any] = goldens.load()
    place = changed
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = "changed"
    monkeypatch.setattr(goldens, "current", lambda: changed)
    with pytest.raises(SystemExit) as exit_:
        goldens.current_matches()
    assert str(exit_.value) == f"not as in goldens.json: {difference}"
