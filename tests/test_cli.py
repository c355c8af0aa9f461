import json

import pytest

import bio_facts
from bio_facts.cli import main
from bio_facts.config import CONFIGS, Config
from bio_facts.records import rows
from bio_facts.splits import SPLITS, draw


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("split", SPLITS)
def test_sample_json_prints_the_rows(split: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = output(capsys, "sample", "n1k", "--split", split, "--num", "3", "--json")
    assert [json.loads(line) for line in printed.splitlines()] == rows(draw(CONFIGS["n1k"], split, range(3)))


def test_sample_prints_one_row_of_train_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    printed = output(capsys, "sample", "n64k", "--json")
    assert [json.loads(line) for line in printed.splitlines()] == rows(draw(CONFIGS["n64k"], "train", 0))


def test_sample_begins_at_start(capsys: pytest.CaptureFixture[str]) -> None:
    printed = output(capsys, "sample", "n1k", "--start", "15", "--num", "2", "--json")
    assert [json.loads(line) for line in printed.splitlines()] == rows(draw(CONFIGS["n1k"], "train", [15, 16]))


def test_sample_prints_more_rows_than_are_made_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    printed = output(capsys, "sample", "n1k", "--start", "5", "--num", "2001", "--json")
    assert [json.loads(line)["biography_id"] for line in printed.splitlines()] == list(range(5, 2_006))


def test_sample_reaches_the_last_row(capsys: pytest.CaptureFixture[str]) -> None:
    printed = output(capsys, "sample", "n1k", "--start", "127999", "--json")
    assert json.loads(printed)["biography_id"] == 127_999


def test_sample_seed_stands_in_for_that_of_the_config(capsys: pytest.CaptureFixture[str]) -> None:
    printed = output(capsys, "sample", "n1k", "--seed", "5", "--json")
    assert json.loads(printed) == rows(draw(Config(num_individuals=1_000, seed=5), "train", 0))[0]


def test_sample_for_reading_shows_text_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    row = rows(draw(CONFIGS["n1k"], "train", 0))[0]
    heading, text, values, empty = output(capsys, "sample", "n1k").split("\n", 3)
    assert heading == f"biography 0, individual {row['individual_id']}"
    assert text == row["text"]
    assert values == "  ".join(f"{found['attribute']}={found['value']}" for found in row["attributes"])
    assert empty.strip() == ""


def test_configs_json_lists_every_config(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {entry["name"]: entry for entry in json.loads(output(capsys, "configs", "--json"))}
    assert list(listed) == list(CONFIGS)
    assert listed["n1k"] == {
        "name": "n1k",
        "splits": {"train": 128_000, "validation": 16_000, "unseen": 16_000},
        "num_individuals": 1_000,
        "seed": 0,
        "population_seed": 0,
        "distribution": "uniform",
        "fingerprint": CONFIGS["n1k"].fingerprint,
    }


def test_configs_has_a_heading_and_a_line_for_each_config(capsys: pytest.CaptureFixture[str]) -> None:
    heading, *lines = output(capsys, "configs").splitlines()
    assert heading.split() == ["config", "individuals", *SPLITS, "fingerprint"]
    fields = [line.split() for line in lines]
    assert [(line[0], line[1], line[-1]) for line in fields] == [
        (name, f"{config.num_individuals:,}", config.fingerprint) for name, config in CONFIGS.items()
    ]


def test_version_names_package_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"bio-facts {bio_facts.__version__}, data {bio_facts.DATA_VERSION}\n"


CONFIG_NAMES = "n1k, n4k, n8k, n16k, n32k, n64k, n128k, n256k"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("sample n2k", f"config is 'n2k'; it must be one of {CONFIG_NAMES}"),
        ("sample n1k --split test", "split is 'test'; it must be one of train, validation, unseen"),
        ("sample n1k --num -1", "argument --num: it is '-1'; it must be an integer of at least 0"),
        ("sample n1k --num many", "argument --num: it is 'many'; it must be an integer of at least 0"),
        ("sample n1k --num 1.5", "argument --num: it is '1.5'; it must be an integer of at least 0"),
        ("sample n1k --start -1", "argument --start: it is '-1'; it must be an integer of at least 0"),
        ("sample n1k --seed -1", "argument --seed: it is '-1'; it must be an integer of at least 0"),
        (
            "sample n1k --start 128000",
            "start + num is 128,001, beyond the 128,000 rows of n1k/train; it must be at most that",
        ),
        (
            "sample n1k --split unseen --num 16001",
            "start + num is 16,001, beyond the 16,000 rows of n1k/unseen; it must be at most that",
        ),
        ("sample n1k --num 99999999999999999999", "beyond the 128,000 rows of n1k/train"),
        ("sample", "the following arguments are required: CONFIG"),
        ("sample n1k --num", "argument --num: expected one argument"),
        ("sample n1k --sed 5", "unrecognized arguments: --sed 5"),
        ("sample n1k --js", "unrecognized arguments: --js"),
        ("configs --num 3", "unrecognized arguments: --num 3"),
        ("smaple n1k", "invalid choice: 'smaple' (choose from"),
        ("", "the following arguments are required: {configs,sample}"),
    ],
)
def test_bad_input_is_one_line_on_stderr(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())
    captured = capsys.readouterr()
    assert exit_.value.code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("bio-facts")
    assert said in captured.err
