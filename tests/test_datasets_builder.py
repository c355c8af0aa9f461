import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ecosystem
from knobs import ALONGSIDE, CASES, OTHER_VALUES
from torch.utils.data import DataLoader

import bio_facts
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import CONFIGS, all_settings, get_config
from bio_facts.generate.pools import read_lines
from bio_facts.generate.population import Population
from bio_facts.publish.build import build
from bio_facts.publish.tables import num_rows, record_batch

pytestmark = ecosystem("datasets")

import datasets  # noqa: E402
from datasets import DatasetDict, IterableDatasetDict, Value  # noqa: E402

from bio_facts.publish.datasets_builder import BioFacts, BioFactsConfig  # noqa: E402

# 20,000 rows of train are two parts, which is what processes share.
NAME = "n1k-alpha0.6"
PARAMETERS: dict[str, Any] = {
    "num_individuals": 50,
    "num_biographies": 20_000,
    "alpha": 0.7,
    "seed": 3,
    "population_seed": 4,
    "pool_sizes": {"cities": 7},
}
ID, TEXT = Value("int64"), Value("string")
TEMPLATE_IDS = {name: [ID] for name in ATTRIBUTES}
FEATURES = {
    "n1k": {
        "biography_id": ID,
        "individual_id": ID,
        "text": TEXT,
        "name_spans": [{"start": ID, "end": ID}],
        "attributes": [{"attribute": TEXT, "value": TEXT, "start": ID, "end": ID, "template_id": ID}],
    },
    "individuals": {
        "individual_id": ID,
        **dict.fromkeys(("first_name", "middle_name", "last_name", "name", *ATTRIBUTES), TEXT),
        "training_template_ids": TEMPLATE_IDS,
        "evaluation_template_ids": TEMPLATE_IDS,
    },
    "templates": {"attribute": TEXT, "template_id": ID, "template": TEXT},
    "questions": {
        **dict.fromkeys(("question", "answer", "attribute"), TEXT),
        **dict.fromkeys(("individual_id", "phrasing_id"), ID),
        "answerable": Value("bool"),
    },
    "cloze": {
        **dict.fromkeys(("prompt", "target"), TEXT),
        "choices": datasets.Sequence(TEXT),
        "target_index": ID,
        "attribute": TEXT,
        **dict.fromkeys(("biography_id", "individual_id", "template_id"), ID),
    },
}


@functools.cache
def expected(split: str) -> list[dict[str, Any]]:
    config = get_config(NAME).replace(**PARAMETERS)
    return bio_facts.rows(bio_facts.draw(config, split, range(20_000 if split == "train" else 16_000)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def load(cache: Path) -> Callable[..., Any]:
    """The config of this file, made once."""
    return functools.partial(bio_facts.load_dataset, NAME, **PARAMETERS, cache_dir=cache)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of small configs. Read only."""
    folder = tmp_path_factory.mktemp("parquet") / "export"
    small = {
        "small": get_config(NAME).replace(**PARAMETERS),
        "people": get_config("individuals").replace(num_individuals=30),
        "templates": get_config("templates"),
        "asked": get_config("questions").replace(num_individuals=30),
        "cloze-small": get_config("cloze").replace(num_individuals=30),
    }
    build(small, folder, num_workers=2)
    return folder


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of rows each time the builder makes some."""
    numbers: list[int] = []

    def counting(config: Any, split: str, indices: Any) -> Any:
        numbers.append(len(indices))
        return record_batch(config, split, indices)

    monkeypatch.setattr("bio_facts.publish.datasets_builder.record_batch", counting)
    return numbers


def stream(name: str, split: str, tmp_path: Path, **parameters: Any) -> Any:
    return bio_facts.load_dataset(name, split=split, streaming=True, cache_dir=tmp_path, **parameters)


# The same rows by every way


@pytest.mark.parametrize("split", ["train", "validation", "unseen"])
def test_rows_are_those_of_the_definition(split: str, load: Callable[..., Any]) -> None:
    assert load(split=split).to_list() == expected(split)


def test_processes_make_the_same_rows(tmp_path: Path) -> None:
    data = bio_facts.load_dataset(NAME, split="train", num_proc=2, cache_dir=tmp_path, **PARAMETERS)
    assert len(data.cache_files) == 2  # one of each process
    assert data.to_list() == expected("train")


@pytest.mark.parametrize("split", ["train", "validation", "unseen"])
def test_streams_have_the_same_rows(split: str, load: Callable[..., Any]) -> None:
    assert list(load(split=split, streaming=True)) == expected(split)


@pytest.mark.parametrize("split", ["train", "validation", "unseen"])
def test_parquet_files_have_the_same_rows(split: str, export: Path, cache: Path) -> None:
    data = datasets.load_dataset(str(export), "small", split=split, cache_dir=str(cache))
    assert data.to_list() == expected(split)


def test_streamed_parquet_files_have_the_same_rows(export: Path) -> None:
    assert list(datasets.load_dataset(str(export), "small", split="train", streaming=True)) == expected("train")


@pytest.mark.parametrize("name", FEATURES)
def test_columns_and_their_types(name: str, export: Path, cache: Path, tmp_path: Path) -> None:
    wanted = datasets.Features(FEATURES[name])
    split = {"individuals": "finetune", "cloze": "unseen"}.get(name, "train")
    streamed = stream(name, split, tmp_path)
    assert streamed.features == wanted
    assert list(streamed.features) == list(wanted)
    assert (
        datasets.load_dataset(
            str(export),
            {"n1k": "small", "individuals": "people", "questions": "asked", "cloze": "cloze-small"}.get(name, name),
            split=split,
            cache_dir=str(cache),
        ).features
        == wanted
    )


def test_individuals_are_those_of_the_population(cache: Path) -> None:
    data = bio_facts.load_dataset("individuals", split="pretrain", num_individuals=30, population_seed=4, cache_dir=cache)
    assert len(data) == 30
    population = Population(num_individuals=30, population_seed=4)
    for row, person in zip(data, map(population.__getitem__, range(30)), strict=True):
        assert row == {
            "individual_id": person.individual_id,
            "first_name": person.first_name,
            "middle_name": person.middle_name,
            "last_name": person.last_name,
            "name": person.name,
            **person.values,
            "training_template_ids": {name: list(ids) for name, ids in person.training_template_ids.items()},
            "evaluation_template_ids": {name: list(ids) for name, ids in person.evaluation_template_ids.items()},
        }


@pytest.mark.parametrize(("split", "first"), [("finetune", 400_000_000), ("unseen", 600_000_000)])
def test_individuals_beside_the_population(split: str, first: int, cache: Path) -> None:
    data = bio_facts.load_dataset("individuals", split=split, num_individuals=30, population_seed=4, cache_dir=cache)
    assert data["individual_id"][:] == list(range(first, first + 16_000))


def test_templates_are_those_of_the_files(cache: Path) -> None:
    data = bio_facts.load_dataset("templates", split="train", cache_dir=cache)
    lines = {name: read_lines(f"templates/{name}.txt") for name in ATTRIBUTES}
    assert [(row["attribute"], row["template_id"], row["template"]) for row in data] == [
        (name, index, line) for name in ATTRIBUTES for index, line in enumerate(lines[name])
    ]


@pytest.mark.parametrize("split", ["train", "questions_not_asked", "questions_unseen"])
def test_questions_are_the_same_generated_streamed_and_as_parquet(
    split: str, export: Path, cache: Path, tmp_path: Path
) -> None:
    config = get_config("questions").replace(num_individuals=30)
    wanted = record_batch(config, split, range(num_rows(config)[split])).to_pylist()
    assert bio_facts.load_dataset("questions", split=split, num_individuals=30, cache_dir=cache).to_list() == wanted
    assert list(stream("questions", split, tmp_path, num_individuals=30)) == wanted
    assert datasets.load_dataset(str(export), "asked", split=split, cache_dir=str(cache)).to_list() == wanted


def test_cloze_tasks_are_the_same_generated_streamed_and_as_parquet(export: Path, cache: Path, tmp_path: Path) -> None:
    wanted = record_batch(get_config("cloze").replace(num_individuals=30), "validation", range(96_000)).to_pylist()
    given = {"split": "validation", "cache_dir": cache}
    assert bio_facts.load_dataset("cloze", num_individuals=30, **given).to_list() == wanted
    assert list(stream("cloze", "validation", tmp_path, num_individuals=30).take(6_000)) == wanted[:6_000]
    assert datasets.load_dataset(str(export), "cloze-small", split="validation", cache_dir=str(cache)).to_list() == wanted


# Splits


@pytest.mark.parametrize(
    ("split", "rows"),
    [("train[:10]", range(10)), ("train[90%:]", range(18_000, 20_000)), ("train[5:7]+train[-1:]", [5, 6, 19_999])],
)
def test_slices_are_rows_of_the_split(split: str, rows: Any, load: Callable[..., Any]) -> None:
    assert load(split=split).to_list() == [expected("train")[row] for row in rows]


@pytest.mark.parametrize(("streaming", "kind"), [(False, DatasetDict), (True, IterableDatasetDict)])
def test_all_splits_without_one_named(streaming: bool, kind: type, load: Callable[..., Any]) -> None:
    data = load(streaming=streaming)
    assert type(data) is kind
    assert list(data) == ["train", "validation", "unseen"]
    assert next(iter(data["unseen"])) == expected("unseen")[0]


def test_fine_tuning_has_the_validation_of_pretraining_too(tmp_path: Path) -> None:
    splits = bio_facts.load_dataset("n4k-finetune1k", streaming=True, cache_dir=tmp_path)
    assert list(splits) == ["train", "validation", "pretrain_validation", "unseen"]


# What is refused


@pytest.mark.parametrize(
    ("name", "options", "fragments"),
    [
        ("n3k", {}, ["'n3k'", "n4k", "bio-facts configs"]),
        (None, {}, ["None", "such as"]),
        ("n1k", {"num_people": 3}, ["'num_people'", "num_individuals", "seed"]),
        ("n1k", {"alpha": 0.5}, ["'alpha'", "uniform", "num_individuals"]),
        ("n1k", {"data_dir": "data"}, ["'data_dir'", "num_individuals"]),
        ("templates", {"seed": 1}, ["'seed'", "it has none"]),
        ("n1k", {"num_individuals": 0}, ["num_individuals is 0", "from 1 to"]),
        ("n1k", {"seed": None}, ["seed is None", "an integer"]),
        ("n1k", {"distribution": "power_law"}, ["'power_law'", "PowerLaw"]),
        ("n1k", {"split": "test"}, ["'test'", "train, validation, unseen"]),
        ("n1k", {"split": "test[:10]"}, ["'test[:10]'", "train, validation, unseen"]),
        ("n1k", {"split": "train[:10]", "streaming": True}, ["train[:10]", "'train', 'validation', 'unseen'"]),
        ("individuals", {"split": "train"}, ["'train'", "pretrain, finetune, unseen"]),
    ],
    ids=str,
)
def test_bad_input_is_a_value_error_before_a_row_is_made(
    name: Any, options: dict[str, Any], fragments: list[str], made: list[int], tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as refused:
        bio_facts.load_dataset(name, cache_dir=tmp_path, **options)
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value
    assert made == []


# Parameters


def test_builder_takes_exactly_the_parameters_that_configs_have() -> None:
    known = {field.name for field in dataclasses.fields(BioFactsConfig)}
    inherited = {field.name for field in dataclasses.fields(datasets.BuilderConfig)}
    assert known - inherited == set(all_settings())


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_parameter_reaches_the_rows(name: str, parameter: str, tmp_path: Path) -> None:
    split = {"individuals": "pretrain", "cloze": "validation"}.get(name, "train")
    small = (
        {}
        if name in ("individuals", "questions", "cloze")
        else {"num_individuals": 40, "num_biographies": 300} | ALONGSIDE.get(parameter, {})
    )
    chosen = small | {parameter: OTHER_VALUES[name][parameter]}
    config = get_config(name).replace(**chosen)
    streamed = list(stream(name, split, tmp_path, **chosen).take(100))
    assert streamed == record_batch(config, split, range(min(100, num_rows(config)[split]))).to_pylist()
    assert streamed != list(stream(name, split, tmp_path, **small).take(100))


def test_all_configs_are_configs_of_the_builder() -> None:
    assert list(BioFacts.builder_configs) == list(CONFIGS)


# Caches


def test_second_call_makes_nothing(made: list[int], tmp_path: Path) -> None:
    first = bio_facts.load_dataset("templates", split="train", cache_dir=tmp_path)
    assert made == [150]
    again = bio_facts.load_dataset("templates", split="train", cache_dir=tmp_path)
    assert made == [150]
    assert again.to_list() == first.to_list()


def test_parameters_that_change_nothing_share_a_cache(made: list[int], tmp_path: Path) -> None:
    small: dict[str, Any] = {"num_individuals": 30, "cache_dir": tmp_path}
    bio_facts.load_dataset("individuals", **small)
    already = len(made)
    bio_facts.load_dataset("individuals", **small, population_seed=0, pool_sizes={"cities": 800})
    assert len(made) == already


def test_other_data_version_is_made_anew(made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bio_facts.load_dataset("templates", cache_dir=tmp_path)
    monkeypatch.setattr("bio_facts.generate.table_configs.DATA_VERSION", "1.0.1")
    bio_facts.load_dataset("templates", cache_dir=tmp_path)
    assert made == [150, 150]


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_other_parameter_is_another_cache(name: str, parameter: str, tmp_path: Path) -> None:
    options = {"cache_dir": str(tmp_path), "dataset_name": "bio_facts", "config_name": name}
    cache_dir = BioFacts(**options).cache_dir
    other = BioFacts(**options, **ALONGSIDE.get(parameter, {}), **{parameter: OTHER_VALUES[name][parameter]}).cache_dir
    assert Path(cache_dir).is_relative_to(tmp_path)
    assert cache_dir != other


def test_no_two_configs_share_a_cache(tmp_path: Path) -> None:
    names = list(CONFIGS)[::7]
    folders = {BioFacts(cache_dir=str(tmp_path), dataset_name="bio_facts", config_name=name).cache_dir for name in names}
    assert len(folders) == len(names)


def test_interrupted_making_leaves_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(config: Any, split: str, indices: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("bio_facts.publish.datasets_builder.record_batch", interrupted)
        bio_facts.load_dataset("templates", cache_dir=tmp_path)
    assert len(bio_facts.load_dataset("templates", split="train", cache_dir=tmp_path)) == 150


# Streams


def test_first_row_of_a_stream_does_not_make_the_split(made: list[int], tmp_path: Path) -> None:
    first = next(iter(stream("n256k", "train", tmp_path)))
    assert first == bio_facts.rows(bio_facts.draw(CONFIGS["n256k"], "train", [0]))[0]
    assert sum(made) <= 16_000


def test_streams_write_no_rows(tmp_path: Path) -> None:
    list(stream("templates", "train", tmp_path))
    assert list(tmp_path.rglob("*.arrow")) == []


def test_epoch_0_is_in_the_order_of_the_rows(tmp_path: Path) -> None:
    data = stream("n1k", "train", tmp_path, num_individuals=20, num_biographies=33_000).select_columns(["biography_id"])
    data.set_epoch(0)
    assert [row["biography_id"] for row in data] == list(range(33_000))


@pytest.mark.parametrize("count", [33_000, 100], ids=["three parts", "one part"])
def test_loader_with_two_workers_yields_every_row_once(count: int, tmp_path: Path) -> None:
    data = stream("n1k", "train", tmp_path, num_individuals=20, num_biographies=count).select_columns(["biography_id"])
    batches = list(DataLoader(data, batch_size=500, num_workers=2))
    biography_ids = [biography_id for batch in batches for biography_id in batch["biography_id"].tolist()]
    assert sorted(biography_ids) == list(range(count))


def test_stream_goes_on_from_its_state(tmp_path: Path) -> None:
    data = stream("n1k", "train", tmp_path, num_individuals=20, num_biographies=200)
    rows = iter(data)
    head = [next(rows) for _ in range(70)]
    state = data.state_dict()
    fresh = stream("n1k", "train", tmp_path, num_individuals=20, num_biographies=200)
    fresh.load_state_dict(state)
    config = get_config("n1k").replace(num_individuals=20)
    assert head + list(fresh) == bio_facts.rows(bio_facts.draw(config, "train", range(200)))
