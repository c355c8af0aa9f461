import json
import math
import re
from collections import Counter
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from huggingface_hub import DatasetCard

from bio_facts import files
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import CONFIGS, DATA_VERSION, Config, TemplatesConfig
from bio_facts.generate.splits import draw
from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer
from bio_facts.publish import card
from bio_facts.publish.build import build
from bio_facts.publish.card import render_card
from bio_facts.publish.manifest import specification
from bio_facts.publish.row_tokens import TOKENS_OF_BIOGRAPHY, TOKENS_OF_QUESTION, TOKENS_OF_QUESTIONS, num_tokens
from bio_facts.publish.tables import record_batch

NUM_BYTES = 1_000  # of JSON, of each split
FILE_BYTES = 1_250_000  # of Parquet, of each config
SMALL = CONFIGS["n1k"].replace(num_individuals=40, num_biographies=60)
TUNED = CONFIGS["n1k-finetune1k"].replace(num_individuals=40, num_biographies=70)
SOURCE = (ROOT / "dataset_card.md").read_text(encoding="utf-8")


def card_of(*names: str, **configs: Any) -> DatasetCard:
    manifest = specification({name: CONFIGS[name] for name in names} | configs)
    for entry in manifest["configs"].values():
        for split in entry["splits"].values():
            split["num_bytes"] = NUM_BYTES
    return DatasetCard(render_card(manifest, dict.fromkeys(manifest["configs"], FILE_BYTES)))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with two configs. Read only."""
    folder = tmp_path_factory.mktemp("card") / "export"
    build({"tuned": TUNED, "templates": TemplatesConfig()}, folder, 1)
    return folder


def test_card_of_an_export_is_its_readme(built: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    sizes = {name: sum(file.stat().st_size for file in (built / "data" / name).iterdir()) for name in manifest["configs"]}
    assert (built / "README.md").read_text(encoding="utf-8") == render_card(manifest, sizes)


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
        (("cloze", "individuals", "questions", "templates"), "cloze"),
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


def test_text_is_that_of_the_source_but_for_what_is_filled_in() -> None:
    pieces = re.split("<!-- [a-z ]+ -->", DatasetCard(SOURCE).text)
    text = card_of("n1k").text
    assert len(pieces) == 5
    assert re.fullmatch(".*".join(map(re.escape, pieces)), text, flags=re.DOTALL)
    assert "<!--" not in text


def test_card_explains_every_parameter_of_every_config() -> None:
    text = card_of("n1k").text
    for parameter in set().union(*(config.parameter_names for config in CONFIGS.values())):
        assert text.count(f"\n| `{parameter}` | ") == 1


def test_card_says_its_data_version() -> None:
    assert f"This copy has data version {DATA_VERSION} and these configs, 1.2 MB in all:" in card_of("n1k").text


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
            "1.2 MB",
            "2.25 million",
            "num_individuals 40, population_seed 0, num_biographies 60, seed 0, distribution uniform",
            f"`{SMALL.fingerprint}`",
        ],
        "templates": ["", "train 150", "1.2 MB", "", "", f"`{CONFIGS['templates'].fingerprint}`"],
    }


def test_loss_of_fine_tuning_is_that_of_the_new_people() -> None:
    config = CONFIGS["n1k-finetune1k"].replace(num_fine_tuning_individuals=30)
    people = record_batch(CONFIGS["individuals"], "finetune", range(30)).to_pylist()
    month, day, year = ([row["birth_date"].replace(",", "").split()[part] for row in people] for part in range(3))
    others = [[row[name] for row in people] for name in ATTRIBUTES if name != "birth_date"]
    loss = sum(entropy(values) for values in [month, day, year, *others]) / len(ATTRIBUTES)
    assert table_lines(card_of(new=config))["new"][0] == f"{loss:.4f}"


def test_table_tells_parameters() -> None:
    cell = table_lines(card_of(other=CONFIGS["n1k-alpha0.6"].replace(alpha=3, pool_sizes={"cities": 9})))["other"][4]
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
    ) in lines["other"][4]
    assert "questions_asked 16,000, questions_not_asked 16,000, questions_unseen 16,000" in lines["other"][1]
    assert not any(name in lines["plain"][4] for name in changed)


def test_example_is_about_a_config_of_the_copy() -> None:
    assert 'load_dataset("<you>/bio_facts", "n4k", split="validation"' in card_of("n4k", "templates").text


@pytest.mark.parametrize(
    ("names", "config", "split"),
    [
        (("templates",), "templates", "train"),
        (("individuals", "templates"), "individuals", "pretrain"),
        (("questions",), "questions", "train"),
        (("cloze",), "cloze", "validation"),
    ],
)
def test_example_of_a_copy_without_biographies_prints_a_row(names: tuple[str, ...], config: str, split: str) -> None:
    text = card_of(*names).text
    assert f'load_dataset("<you>/bio_facts", "{config}", split="{split}", revision="v{DATA_VERSION}")\nprint(data[0])\n' in text
    assert 'row["attributes"]' not in text


def test_table_has_no_loss_for_a_config_without_biographies() -> None:
    config = CONFIGS["individuals"].replace(num_individuals=1_234)
    assert table_lines(card_of(people=config))["people"][0] == ""


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(5_862, "6 kB"), (99_400, "99 kB"), (100_000, "0.1 MB"), (2_345_678_901, "2,345.7 MB")]
)
def test_size_has_a_unit_that_fits(num_bytes: int, text: str) -> None:
    manifest = specification({"templates": CONFIGS["templates"]})
    manifest["configs"]["templates"]["splits"]["train"]["num_bytes"] = NUM_BYTES
    assert table_lines(DatasetCard(render_card(manifest, {"templates": num_bytes})))["templates"][2] == text


def test_dataset_info_has_the_bytes_of_files_and_rows() -> None:
    (info,) = card_of("n1k").data["dataset_info"]
    assert (info["download_size"], info["dataset_size"]) == (FILE_BYTES, 3 * NUM_BYTES)


@pytest.mark.parametrize(
    ("configs", "name", "split"),
    [
        ({"small": SMALL}, "small", "validation"),
        ({"people": CONFIGS["individuals"]}, "people", "pretrain"),
        ({"asked": CONFIGS["questions"]}, "asked", "train"),
    ],
)
def test_card_has_one_whole_record(configs: dict[str, Any], name: str, split: str) -> None:
    section = card_of(**configs).text.partition("\n## A record\n")[2].partition("\n## ")[0]
    assert section.strip().startswith(f"The first row of {name}/{split}:")
    (record,) = re.findall(r"^```json\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)
    assert json.loads(record) == record_batch(configs[name], split, [0]).to_pylist()[0]
    assert max(map(len, record.splitlines())) < 600


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        (SMALL, 70.1 * 32_060),
        (CONFIGS["n1k-questions"], 70.1 * (128_000 + 32_000) + 169.8 * 128_000 + 27.6 * 48_000),
        (CONFIGS["questions"].replace(num_individuals=4), 27.6 * 6 * (2 * 8 + 2 * 2 + 2 * 2 + 16_000 * 2)),
        (CONFIGS["individuals"], None),
        (SMALL.replace(pool_sizes={"cities": 9}), None),
    ],
)
def test_tokens_are_counted_for_each_kind_of_row(config: Any, tokens: float | None) -> None:
    assert num_tokens(config) == (None if tokens is None else pytest.approx(tokens))


def test_means_of_tokens_are_those_of_the_tokenizer() -> None:
    config = CONFIGS["n64k-questions"]
    tokenize = BiographyTokenizer(load_tokenizer("bio_facts"), formats=config.formats)
    train = tokenize.lengths(draw(config, "train", range(16_000)))
    assert train[0::2].mean() == pytest.approx(TOKENS_OF_BIOGRAPHY, abs=0.1)
    assert train[1::2].mean() == pytest.approx(TOKENS_OF_QUESTIONS, abs=0.1)
    assert tokenize.lengths(draw(config, "questions_asked", range(16_000))).mean() == pytest.approx(TOKENS_OF_QUESTION, abs=0.1)


def test_repository_is_linked_once_the_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_urls(*urls: str) -> str:
        headers = Message()
        for url in urls:
            headers["Project-URL"] = url
        monkeypatch.setattr(card.metadata, "metadata", lambda name: headers)
        return card_of("templates").text

    assert "their results: [repository](https://example.org/a)\n" in with_urls("Repository, https://example.org/a")
    assert "their results\n" in with_urls("Paper, https://example.org/b")


RAI = {  # of Croissant RAI 1.0
    *("annotationsPerItem", "annotatorDemographics", "dataAnnotationAnalysis", "dataAnnotationPlatform"),
    *("dataAnnotationProtocol", "dataBiases", "dataCollection", "dataCollectionMissingData", "dataCollectionRawData"),
    *("dataCollectionTimeframe", "dataCollectionType", "dataImputationProtocol", "dataLimitations"),
    *("dataManipulationProtocol", "dataPreprocessingProtocol", "dataReleaseMaintenancePlan", "dataSocialImpact"),
    *("dataUseCases", "machineAnnotationTools", "personalSensitiveInformation"),
}


def test_fields_of_croissant_are_of_its_vocabulary() -> None:
    fields = re.findall(r"^\| `rai:(\w+)` \| .+ \|$", SOURCE, flags=re.MULTILINE)
    assert len(fields) == len(set(fields)) >= 12
    assert set(fields) <= RAI


def test_card_of_every_named_config_can_be_made() -> None:
    names = [name for name in CONFIGS if name.startswith("n1k") or not isinstance(CONFIGS[name], Config)]
    rendered = card_of(*names)
    assert sorted(table_lines(rendered)) == sorted(names)


def test_card_in_the_wheel_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "dataset_card.md").write_text(
        "---\nlicense: mit\n---\nFrom the wheel.\n<!-- parameters --><!-- built configs --><!-- record --><!-- repository -->\n"
    )
    monkeypatch.setattr(files, "_PACKAGE", tmp_path)
    packaged = card_of("templates")
    assert packaged.text.strip().startswith("From the wheel.")
    assert packaged.data.license == "mit"
