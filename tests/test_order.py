import csv
import errno
import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SMOKE, load_recipe, refused
from numpy.typing import ArrayLike

from bio_facts.cli import main
from bio_facts.generate.biography import rows
from bio_facts.generate.config import Config, get_config
from bio_facts.generate.splits import draw, individual_ids
from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer
from bio_facts.publish.order import order

COLUMNS = ["step", "slot", "biography_id", "individual_id", "exposure"]
SMALL: dict[str, Any] = {"num_individuals": 40, "num_biographies": 1_003, "seed": 3}
CONFIGS: dict[str, Config] = {
    "uniform": get_config("n1k").replace(**SMALL),
    "alpha": get_config("n1k-alpha1.0").replace(**SMALL),
    "celebrities": get_config("n1k-celebrities").replace(**SMALL),
    "warm-up": get_config("n1k-warmup").replace(**SMALL, num_warmup_individuals=3, num_warmup_biographies=500),
    "groups": get_config("n1k-groups").replace(**SMALL, num_groups=5, num_group_biographies=150, first_group=1),
    "rounds": get_config("n1k-groups").replace(**SMALL, num_groups=4, num_group_biographies=50, first_group=2, num_rounds=4),
    "fine-tuning": get_config("n1k-finetune1k").replace(**SMALL, num_fine_tuning_individuals=9),
    "questions": get_config("n1k-questions").replace(**SMALL, phases=[[300, {"biographies": 1}], [1_003, {"questions": 1}]]),
    "phases of biographies": get_config("n1k-alpha1.0").replace(**SMALL, phases=[[2_000, {"biographies": 1}]]),
    "mixed": get_config("n1k-questions").replace(**SMALL, phases=[[2_000, {"biographies": 2, "questions": 3}]]),
    "replay": get_config("n64k-finetune4k-replay0.5").replace(**SMALL, num_fine_tuning_individuals=9),
}
WRITE = [
    "order",
    "n1k",
    "--num-individuals",
    "40",
    "--num-biographies",
    "1003",
    "--seed",
    "3",
    "--batch-size",
    "16",
    "--output-file",
]


def table(config: Config, batch_size: int) -> pa.Table:
    return pa.Table.from_batches(order(config, batch_size))


def recount(config: Config, batch_size: int) -> list[dict[str, Any]]:
    exposures, order_rows = Counter[tuple[int, str]](), []
    batch = draw(config, "train", range(config.num_biographies))
    formats = ["questions" if ids[0] >= 25 else "biographies" for ids in batch.template_id.tolist()]
    for index, key in enumerate(zip(batch.individual_id.tolist(), formats, strict=True)):
        exposures[key] += 1
        order_rows.append(
            {
                "step": 1 + index // batch_size,
                "slot": index % batch_size,
                "biography_id": index,
                "individual_id": key[0],
                "exposure": exposures[key],
            }
            | ({} if config.phases is None else {"format": key[1]})
        )
    return order_rows


def test_columns_are_64_bit_integers() -> None:
    assert table(CONFIGS["uniform"], 16).schema == pa.schema([(name, pa.int64()) for name in COLUMNS])


def test_configs_with_phases_have_a_column_with_the_format() -> None:
    columns = table(CONFIGS["mixed"], 16).schema
    assert columns == pa.schema([*((name, pa.int64()) for name in COLUMNS), ("format", pa.string())])


@pytest.mark.parametrize("name", CONFIGS)
def test_rows_equal_a_plain_recount(name: str) -> None:
    assert table(CONFIGS[name], 17).to_pylist() == recount(CONFIGS[name], 17)  # 1,003 = 59 * 17: all batches full


def test_exposures_count_biographies_and_rows_of_questions_of_an_individual_apart() -> None:
    seen: dict[tuple[int, str], list[int]] = {}
    for row in table(CONFIGS["mixed"], 16).to_pylist():
        seen.setdefault((row["individual_id"], row["format"]), []).append(row["exposure"])
    assert {len({key for key in seen if key[1] == name}) for name in ("biographies", "questions")} == {40, 20}
    assert all(exposures == list(range(1, len(exposures) + 1)) for exposures in seen.values())


@pytest.mark.parametrize("batch_size", [1, 16, 1_003, 5_000])
def test_steps_have_batch_size_rows(batch_size: int) -> None:
    assert table(CONFIGS["uniform"], batch_size).to_pylist() == recount(CONFIGS["uniform"], batch_size)


def test_replay_counts_exposures_of_old_and_new_individuals_apart() -> None:
    last = {row["individual_id"]: row["exposure"] for row in table(CONFIGS["replay"], 16).to_pylist()}
    assert {individual_id >= 400_000_000 for individual_id in last} == {False, True}
    assert sum(last.values()) == 1_003


@pytest.mark.parametrize("name", ["uniform", "replay"])
@pytest.mark.parametrize("size", [1, 100, 1_002, 1_003])
def test_rows_do_not_depend_on_how_many_are_made_at_a_time(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bio_facts.publish.order._BIOGRAPHIES_PER_BATCH", size)
    batches = list(order(CONFIGS[name], 16))
    assert [len(batch) for batch in batches] == [size] * (1_003 // size) + [1_003 % size] * (1_003 % size > 0)
    assert pa.Table.from_batches(batches).to_pylist() == recount(CONFIGS[name], 16)


def test_text_is_about_the_individual_of_the_row() -> None:
    config = CONFIGS["alpha"]
    texts = [row["text"] for row in rows(draw(config, "train", range(200)))]
    for row in table(config, 16).slice(0, 200).to_pylist():
        assert texts[row["biography_id"]].count(config.population[row["individual_id"]].name) == 6


def test_pretraining_feeds_the_biographies_in_this_order(tmp_path: Path) -> None:
    from bio_facts.runs.trainer import build_trainer
    from bio_facts.runs.training import build_dataset, build_model

    recipe = load_recipe(SMOKE, {"batch_size": 6})
    tokenizer = load_tokenizer(recipe.tokenizer)
    tokenize = BiographyTokenizer(tokenizer)
    model = build_model(recipe, tokenizer, tokenize.max_length)
    trainer = build_trainer(recipe, tmp_path, model, tokenizer, build_dataset(recipe, tokenize))
    wanted = table(recipe.data.replace(num_biographies=recipe.num_steps * recipe.batch_size), recipe.batch_size).to_pylist()
    fed = [batch["input_ids"].tolist() for batch in trainer.get_train_dataloader()]
    assert len(fed) == recipe.num_steps == wanted[-1]["step"]
    for step, input_ids in enumerate(fed, start=1):
        chosen = sorted((row for row in wanted if row["step"] == step), key=lambda row: row["slot"])
        tokens = tokenize(draw(recipe.data, "train", [row["biography_id"] for row in chosen]))
        assert input_ids == tokens.input_ids.tolist()


def test_csv_and_parquet_hold_the_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = recount(CONFIGS["uniform"], 16)
    for name in ("order.csv", "order.parquet"):
        assert main([*WRITE, str(tmp_path / name)]) == 0
        assert capsys.readouterr().out == f"{tmp_path / name}: 1,003 biographies in 63 steps\n"
    assert pq.read_table(tmp_path / "order.parquet").to_pylist() == wanted
    with (tmp_path / "order.csv").open(newline="") as file:
        assert [{name: int(value) for name, value in row.items()} for row in csv.DictReader(file)] == wanted


def test_csv_begins_with_the_column_names(tmp_path: Path) -> None:
    main([*WRITE, str(tmp_path / "order.csv")])
    first = (tmp_path / "order.csv").read_text().splitlines()[0]
    assert first.replace('"', "").split(",") == COLUMNS


def test_existing_file_is_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "order.csv").write_text("mine")
    assert "which exists" in refused(capsys, *WRITE, tmp_path / "order.csv")
    assert (tmp_path / "order.csv").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (
            ["order", "n1k", "--batch-size", "16", "--output-file", "order.json"],
            "'order.json'; its name must end in .parquet or .csv",
        ),
        (["order", "n1k", "--batch-size", "16", "--output-file", "order"], "'order'; its name must end in .parquet or .csv"),
        (["order", "n1k", "--batch-size", "0", "--output-file", "order.csv"], "it is '0'; it must be an integer of at least 1"),
        (
            ["order", "n1k", "--batch-size", "-4", "--output-file", "order.csv"],
            "it is '-4'; it must be an integer of at least 1",
        ),
        (
            ["order", "n1k", "--batch-size", "1.5", "--output-file", "order.csv"],
            "it is '1.5'; it must be an integer of at least 1",
        ),
        (
            ["order", "individuals", "--batch-size", "16", "--output-file", "order.csv"],
            "'individuals', which has no biographies",
        ),
        (["order", "templates", "--batch-size", "16", "--output-file", "order.csv"], "'templates', which has no biographies"),
        (["order", "n3k", "--batch-size", "16", "--output-file", "order.csv"], "config is 'n3k'"),
        (["order", "n1k", "--alpha", "1", "--batch-size", "16", "--output-file", "order.csv"], "unknown parameter 'alpha'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], fragment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fragment in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("batch_size", [0, True, 2.0, "16"])
def test_bad_batch_size_is_a_value_error(batch_size: Any) -> None:
    with pytest.raises(ValueError, match="batch_size is"):
        order(CONFIGS["uniform"], batch_size)


@pytest.mark.parametrize("name", ["order.csv", "order.parquet"])
def test_full_disk_leaves_no_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = itertools.count()

    def full_after_three_batches(config: Config, split: str, indices: ArrayLike) -> object:
        if next(asked) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return individual_ids(config, split, indices)

    monkeypatch.setattr("bio_facts.publish.order._BIOGRAPHIES_PER_BATCH", 100)
    monkeypatch.setattr("bio_facts.publish.order.individual_ids", full_after_three_batches)
    assert "No space left on device" in refused(capsys, *WRITE, tmp_path / name)
    assert next(asked) == 4  # some had been written
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["order.csv", "order.parquet"])
def test_killed_write_leaves_no_file_of_that_name_and_is_repeated(name: str, tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
import bio_facts.publish.order, bio_facts.cli
bio_facts.publish.order._BIOGRAPHIES_PER_BATCH = 100
made = []
def kill(config, split, indices, individual_ids=bio_facts.publish.order.individual_ids):
    made.append(indices)
    if len(made) == 6:
        os.kill(os.getpid(), signal.{signal.SIGKILL.name})
    return individual_ids(config, split, indices)
bio_facts.publish.order.individual_ids = kill
bio_facts.cli.main(sys.argv[1:])
"""
    killed = subprocess.run([sys.executable, "-c", program, *WRITE, str(tmp_path / name)], env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    left = list(tmp_path.iterdir())
    assert left and all(path.name.endswith(".unfinished") for path in left)
    assert main([*WRITE, str(tmp_path / name)]) == 0
    assert (tmp_path / name).exists()
