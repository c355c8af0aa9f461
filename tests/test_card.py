import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from huggingface_hub import DatasetCard

from bio_facts import files
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import CONFIGS, DATA_VERSION, Config, TemplatesConfig
from bio_facts.publish.build import build
from bio_facts.publish.card import render_card
from bio_facts.publish.manifest import specification
from bio_facts.publish.tables import record_batch

NUM_BYTES = 1_000
SMALL = CONFIGS["n1k"].replace(num_individuals=40, num_biographies=60)
TUNED = CONFIGS["n1k-finetune1k"].replace(num_individuals=40, num_biographies=70)
SOURCE = (ROOT / "dataset_card.md").read_text(encoding="utf-8")


def card_of(*names: str, **configs: Any) -> DatasetCard:
    manifest = specification({name: CONFIGS[name] for name in names} | configs)
    for entry in manifest["configs"].values():
        for split in entry["splits"].values():
            split["num_bytes"] = NUM_BYTES
    return DatasetCard(render_card(manifest))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with two configs. Read only."""
    folder = tmp_path_factory.mktemp("card") / "export"
    build({"tuned": TUNED, "templates": TemplatesConfig()}, folder, 1)
    return folder


def test_card_of_an_export_is_its_readme(built: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    assert (built / "README.md").read_text(encoding="utf-8") == render_card(manifest)


def test_data_files_of_each_split_are_the_files_that_were_written(built: Path) -> None:
    data_files = {
        (entry["config_name"], files["split"]): [path.name for path in built.glob(files["path"])]
        for entry in DatasetCard.load(built / "README.md").data["configs"]
        for files in entry["data_files"]
    }
    assert data_files == {
        ("tuned", split): [f"{split}-00000-of-00001.parquet"]
        for split in ("train", "validation", "pretrain_validation", "unseen")
    } | {("templates", "train"): ["train-00000-of-00001.parquet"]}


def test_each_file_belongs_to_one_split_only(built: Path) -> None:
    patterns = [
        files["path"] for entry in DatasetCard.load(built / "README.md").data["configs"] for files in entry["data_files"]
    ]
    matched = Counter(path for pattern in patterns for path in built.glob(pattern))
    assert matched == Counter((built / "data").rglob("*.parquet"))


def test_dataset_info_has_the_number_of_rows(built: Path) -> None:
    info = {
        entry["config_name"]: {split["name"]: split["num_examples"] for split in entry["splits"]}
        for entry in yaml.safe_load((built / "README.md").read_text(encoding="utf-8").split("---\n")[1])["dataset_info"]
    }
    assert info == {
        "tuned": {"train": 70, "validation": 16_000, "pretrain_validation": 16_000, "unseen": 16_000},
        "templates": {"train": 150},
    }


@pytest.mark.parametrize(
    ("names", "default"),
    [
        (("n1k", "n64k", "templates"), "n64k"),
        (("individuals", "n4k", "n8k", "templates"), "n4k"),
        (("individuals", "questions", "templates"), "individuals"),
        (("templates",), "templates"),
    ],
)
def test_one_config_is_the_default(names: tuple[str, ...], default: str) -> None:
    entries = card_of(*names).data["configs"]
    assert [entry["config_name"] for entry in entries if entry.get("default")] == [default]
    assert sorted(entry["config_name"] for entry in entries) == sorted(names)


@pytest.mark.parametrize(
    ("num_biographies", "category"),
    [(67_999, "10K<n<100K"), (68_000, "100K<n<1M"), (967_999, "100K<n<1M"), (968_000, "1M<n<10M"), (20_000_000, "10M<n<100M")],
)
def test_size_category_counts_all_rows(num_biographies: int, category: str) -> None:
    assert card_of(c=SMALL.replace(num_biographies=num_biographies)).data["size_categories"] == [category]


def test_size_category_of_a_small_export() -> None:
    assert card_of("templates").data["size_categories"] == ["n<1K"]


def test_card_keeps_what_the_source_says() -> None:
    wanted = DatasetCard(SOURCE).data.to_dict()
    metadata = card_of("n1k").data.to_dict()
    assert wanted["license"] == "cc-by-4.0"
    assert {key: metadata[key] for key in wanted} == wanted
    assert set(metadata) - set(wanted) == {"size_categories", "configs", "dataset_info"}


def test_text_is_that_of_the_source_but_for_the_tables() -> None:
    before, after = DatasetCard(SOURCE).text.split("<!-- parameters -->\n\n<!-- built configs -->")
    text = card_of("n1k").text
    assert text.startswith(before)
    assert text.endswith(after)
    assert "<!--" not in text


def test_card_explains_every_parameter_of_every_config() -> None:
    text = card_of("n1k").text
    for parameter in set().union(*(config.parameter_names for config in CONFIGS.values())):
        assert text.count(f"\n| `{parameter}` | ") == 1


def test_card_says_its_data_version() -> None:
    assert f"This copy has data version {DATA_VERSION} and these configs:" in card_of("n1k").text


def table_lines(card: DatasetCard) -> dict[str, list[str]]:
    """First cell -> the others, of the lines below 'This copy has ...'."""
    table = card.text.split("This copy has data version")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")]
    return {first: others for first, *others in cells[1:]}


def entropy(values: list[str]) -> float:
    return -sum(count / len(values) * math.log(count / len(values)) for count in Counter(values).values())


def test_table_has_loss_rows_parameters_and_fingerprint() -> None:
    people = record_batch(CONFIGS["individuals"].replace(num_individuals=40), "pretrain", range(40)).to_pylist()
    month, day, year = ([row["birth_date"].replace(",", "").split()[part] for row in people] for part in range(3))
    others = [[row[name] for row in people] for name in ATTRIBUTES if name != "birth_date"]
    loss = sum(entropy(values) for values in [month, day, year, *others]) / len(ATTRIBUTES)
    assert table_lines(card_of("templates", small=SMALL)) == {
        "small": [
            f"{loss:.4f}",
            "train 60, validation 16,000, unseen 16,000",
            "num_individuals 40, population_seed 0, num_biographies 60, seed 0, distribution uniform",
            f"`{SMALL.fingerprint}`",
        ],
        "templates": ["", "train 150", "", f"`{CONFIGS['templates'].fingerprint}`"],
    }


def test_loss_of_fine_tuning_is_that_of_the_new_people() -> None:
    config = CONFIGS["n1k-finetune1k"].replace(num_fine_tuning_individuals=30)
    people = record_batch(CONFIGS["individuals"], "finetune", range(30)).to_pylist()
    month, day, year = ([row["birth_date"].replace(",", "").split()[part] for row in people] for part in range(3))
    others = [[row[name] for row in people] for name in ATTRIBUTES if name != "birth_date"]
    loss = sum(entropy(values) for values in [month, day, year, *others]) / len(ATTRIBUTES)
    assert table_lines(card_of(new=config))["new"][0] == f"{loss:.4f}"


def test_table_tells_parameters() -> None:
    cell = table_lines(card_of(other=CONFIGS["n1k-alpha0.6"].replace(alpha=3, pool_sizes={"cities": 9})))["other"][2]
    assert "alpha 3.0" in cell
    assert "cities 9" in cell
    assert "majors" not in cell


def test_table_tells_parameters_that_are_left_out_at_their_defaults() -> None:
    phases = [[60, {"biographies": 1, "questions": 2}]]
    changed = {"num_training_templates": 2, "num_wordings": 1, "wordings_for": "not_asked", "sentence_order": "fixed"}
    changed |= {"phases": phases, "num_phrasings": 2}
    lines = table_lines(card_of(plain=SMALL, other=SMALL.replace(**changed)))
    assert (
        "num_training_templates 2, num_wordings 1, wordings_for not_asked, sentence_order fixed, "
        "phases [[60, {'biographies': 1, 'questions': 2}]], num_asked_individuals 20, num_phrasings 2, distribution uniform"
    ) in lines["other"][2]
    assert "questions_asked 16,000, questions_not_asked 16,000, questions_unseen 16,000" in lines["other"][1]
    assert not any(name in lines["plain"][2] for name in changed)


def test_example_is_about_a_config_of_the_copy() -> None:
    assert 'load_dataset("<you>/bio_facts", "n4k", split="validation"' in card_of("n4k", "templates").text


@pytest.mark.parametrize(
    ("names", "config", "split"),
    [
        (("templates",), "templates", "train"),
        (("individuals", "templates"), "individuals", "pretrain"),
        (("questions",), "questions", "train"),
    ],
)
def test_example_of_a_copy_without_biographies_prints_a_row(names: tuple[str, ...], config: str, split: str) -> None:
    text = card_of(*names).text
    assert f'load_dataset("<you>/bio_facts", "{config}", split="{split}", revision="v{DATA_VERSION}")\nprint(data[0])\n' in text
    assert 'row["attributes"]' not in text


def test_table_has_no_loss_for_a_config_without_biographies() -> None:
    config = CONFIGS["individuals"].replace(num_individuals=1_234)
    assert table_lines(card_of(people=config))["people"][0] == ""


def test_card_of_every_named_config_can_be_made() -> None:
    names = [name for name in CONFIGS if name.startswith("n1k") or not isinstance(CONFIGS[name], Config)]
    rendered = card_of(*names)
    assert sorted(table_lines(rendered)) == sorted(names)


def test_card_in_the_wheel_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "dataset_card.md").write_text(
        "---\nlicense: mit\n---\nFrom the wheel.\n<!-- parameters -->\n<!-- built configs -->\n"
    )
    monkeypatch.setattr(files, "_PACKAGE", tmp_path)
    packaged = card_of("templates")
    assert packaged.text.strip().startswith("From the wheel.")
    assert packaged.data.license == "mit"
