"""The table of cloze tasks: each value of the evaluated biographies, what stands before it, and choices."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import refused, succeeds

from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS, ClozeConfig
from bio_facts.generate.pools import pools
from bio_facts.generate.splits import draw
from bio_facts.publish.tables import num_rows, record_batch

CONFIG = ClozeConfig(num_individuals=9, population_seed=4, pool_sizes={"cities": 30}, seed=3)
BIOGRAPHIES = CONFIGS["n1k"].replace(num_individuals=9, population_seed=4, pool_sizes={"cities": 30}, seed=3)
EVERY_SPLIT = pytest.mark.parametrize("split", ["validation", "unseen"])


def table_rows(split: str, indices: Any, config: ClozeConfig = CONFIG) -> list[dict[str, Any]]:
    return record_batch(config, split, indices).to_pylist()  # type: ignore[no-any-return]


@EVERY_SPLIT
def test_rows_are_the_values_of_the_biographies_in_order(split: str) -> None:
    values = [(row, entry) for row in rows(draw(BIOGRAPHIES, split, range(50))) for entry in row["attributes"]]
    for cloze, (row, entry) in zip(table_rows(split, range(300)), values, strict=True):
        assert f"{cloze['prompt']} {cloze['target']}" == row["text"][: entry["end"]]
        assert cloze["prompt"] == row["text"][: entry["start"] - 1]
        assert [cloze[key] for key in ("attribute", "template_id")] == [entry[key] for key in ("attribute", "template_id")]
        assert [cloze[key] for key in ("biography_id", "individual_id")] == [row["biography_id"], row["individual_id"]]


@pytest.mark.parametrize("num_choices", [2, 4, 9])
def test_choices_are_distinct_values_with_the_target_once(num_choices: int) -> None:
    for cloze in table_rows("validation", range(600), CONFIG.replace(num_choices=num_choices)):
        assert len(cloze["choices"]) == len(set(cloze["choices"])) == num_choices
        assert cloze["choices"][cloze["target_index"]] == cloze["target"]
        if cloze["attribute"] in ("birth_place", "current_location"):
            assert set(cloze["choices"]) <= set(pools()["cities"][:30])


def test_rows_do_not_depend_on_those_beside_them() -> None:
    for split, count in num_rows(CONFIG).items():
        indices = [count - 1, 0, 17, 17]
        alone = [table_rows(split, index)[0] for index in indices]
        assert table_rows(split, indices) == alone
        assert record_batch(CONFIG, split, []).num_rows == 0


def test_named_config_has_the_biographies_of_n64k() -> None:
    texts = [row["text"] for row in rows(draw(CONFIGS["n64k"], "validation", range(3)))]
    for place, cloze in enumerate(table_rows("validation", range(18), CONFIGS["cloze"])):
        assert texts[place // 6].startswith(f"{cloze['prompt']} {cloze['target']}")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_choices": 1}, "num_choices is 1; it must be an integer of at least 2"),
        ({"num_choices": 31}, "num_choices of birth_place is 31; it must be an integer from 2 to 30"),
        ({"pool_sizes": {"majors": 3}}, "num_choices of major is 4; it must be an integer from 2 to 3"),
        ({"seed": -1}, "seed is -1; it must be an integer of at least 0"),
    ],
)
def test_invalid_parameter_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        CONFIG.replace(**changed)
    assert str(error.value) == message


def test_export_is_built_and_verified_and_a_changed_choice_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "export"
    succeeds(capsys, "build", "cloze", "--num-individuals", "9", "--num-choices", "3", "--output-dir", folder)
    assert succeeds(capsys, "verify", folder) == f"{folder}: 192,000 rows, all correct\n"
    (path,) = folder.glob("data/*/unseen-*.parquet")
    exported = pq.read_table(path)
    changed = exported.to_pylist()
    changed[5]["choices"] = changed[5]["choices"][::-1]
    pq.write_table(exported.from_pylist(changed, schema=exported.schema), path)
    assert f"{path}, row 5 (row 5 of split unseen): choices is " in refused(capsys, "verify", folder)
