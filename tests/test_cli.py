import json
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMANDS, refused, succeeds
from knobs import ALONGSIDE, CASES, OTHER_VALUES

import bio_facts
from bio_facts.cli import main
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS, IndividualsConfig, all_settings
from bio_facts.generate.splits import draw
from bio_facts.publish.tables import num_rows, record_batch

EVERY_KIND_OF_SPLIT = [
    *(("n1k", split) for split in ("train", "validation", "unseen")),
    ("n4k-alpha0.6", "train"),
    *(("n1k-finetune1k", split) for split in ("train", "validation", "pretrain_validation", "unseen")),
    *(("individuals", split) for split in ("pretrain", "finetune", "unseen")),
    ("templates", "train"),
    *(("questions", split) for split in ("train", "questions_asked", "questions_not_asked", "questions_unseen")),
    *(("cloze", split) for split in ("validation", "unseen")),
]


def printed_rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in succeeds(capsys, "sample", *arguments, "--json").splitlines()]


# sample


@pytest.mark.parametrize(("config", "split"), EVERY_KIND_OF_SPLIT)
def test_sample_json_prints_the_rows(config: str, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = succeeds(capsys, "sample", config, "--split", split, "--num", "3", "--json")
    expected = record_batch(CONFIGS[config], split, range(3)).to_pylist()
    assert printed == "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in expected)


@pytest.mark.parametrize(
    ("config", "first"),
    [
        ("n64k", "train"),
        ("n1k-finetune1k", "train"),
        ("individuals", "pretrain"),
        ("templates", "train"),
        ("questions", "train"),
        ("cloze", "validation"),
    ],
)
def test_sample_prints_one_row_of_the_first_split_by_default(
    config: str, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed_rows(capsys, config) == record_batch(CONFIGS[config], first, 0).to_pylist()


def test_sample_begins_at_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed_rows(capsys, "n1k", "--start", "15", "--num", "2") == rows(draw(CONFIGS["n1k"], "train", [15, 16]))


def test_sample_prints_more_rows_than_are_made_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    printed = printed_rows(capsys, "n1k", "--start", "5", "--num", "2001")
    assert [row["biography_id"] for row in printed] == list(range(5, 2_006))


@pytest.mark.parametrize(
    ("config", "split", "last", "ids"),
    [
        ("n1k", "train", 127_999, {"biography_id": 127_999}),
        ("n1k", "unseen", 15_999, {"biography_id": 15_999}),
        ("individuals", "pretrain", 255_999, {"individual_id": 255_999}),
        ("individuals", "finetune", 15_999, {"individual_id": 400_015_999}),
        ("templates", "train", 149, {"attribute": "birth_date", "template_id": 24}),
        ("questions", "questions_unseen", 191_999, {"attribute": "birth_date", "individual_id": 600_015_999}),
        ("cloze", "unseen", 95_999, {"biography_id": 15_999}),
    ],
)
def test_sample_reaches_the_last_row(
    config: str, split: str, last: int, ids: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = printed_rows(capsys, config, "--split", split, "--start", str(last))
    assert row == row | ids


def test_sample_of_no_rows_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert succeeds(capsys, "sample", "n1k", "--num", "0") == ""


def flag_text(value: Any) -> str:
    if isinstance(value, list):
        return json.dumps(value)
    return ",".join(f"{pool}={size}" for pool, size in value.items()) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("name", "parameter"), [case for case in CASES if case[1] != "distribution"])
def test_flag_replaces_the_parameter_of_the_config(name: str, parameter: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {parameter: OTHER_VALUES[name][parameter]} | ALONGSIDE.get(parameter, {})
    config, split = CONFIGS[name].replace(**given), next(iter(num_rows(CONFIGS[name])))
    flags = [text for key, value in given.items() for text in (f"--{key.replace('_', '-')}", flag_text(value))]
    printed = printed_rows(capsys, name, *flags, "--num", "20")
    assert printed == record_batch(config, split, range(20)).to_pylist()


def test_num_biographies_is_where_train_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed_rows(capsys, "n1k", "--num-biographies", "12", "--num", "12")) == 12
    with pytest.raises(SystemExit):
        main(["sample", "n1k", "--num-biographies", "12", "--num", "13"])
    assert "beyond the 12 rows of n1k/train" in capsys.readouterr().err


def test_parameters_of_individuals_can_be_changed_too(capsys: pytest.CaptureFixture[str]) -> None:
    config = IndividualsConfig(num_individuals=30, population_seed=2, pool_sizes={"majors": 1})
    given = "individuals --num-individuals 30 --population-seed 2 --pool-sizes majors=1 --num 30"
    assert printed_rows(capsys, *given.split()) == record_batch(config, "pretrain", range(30)).to_pylist()


def test_sample_for_reading_shows_text_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    row = rows(draw(CONFIGS["n1k"], "train", 0))[0]
    heading, text, values, empty = succeeds(capsys, "sample", "n1k").split("\n", 3)
    assert heading == f"biography 0, individual {row['individual_id']}"
    assert text == row["text"]
    assert values == "  ".join(f"{value['attribute']}={value['value']}" for value in row["attributes"])
    assert empty.strip() == ""


def test_sample_of_individuals_for_reading_shows_names_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    person = CONFIGS["individuals"].population.individual(400_000_000)
    printed = succeeds(capsys, "sample", "individuals", "--split", "finetune")
    assert printed.startswith(f"individual_id=400000000  first_name={person.first_name}  ")
    assert f"  name={person.name}  " in printed
    for attribute, value in person.values.items():
        assert f"  {attribute}={value}" in printed
    assert "template_ids" not in printed


def test_sample_of_questions_for_reading_shows_question_and_answer(capsys: pytest.CaptureFixture[str]) -> None:
    row = record_batch(CONFIGS["questions"], "questions_asked", 3).to_pylist()[0]
    printed = succeeds(capsys, "sample", "questions", "--split", "questions_asked", "--start", "3")
    assert printed.startswith(f"question={row['question']}  answer={row['answer']}  attribute=major  ")


def test_sample_of_templates_for_reading_shows_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    template = record_batch(CONFIGS["templates"], "train", 3).to_pylist()[0]["template"]
    expected = f"attribute=birth_place  template_id=3  template={template}\n\n"
    assert succeeds(capsys, "sample", "templates", "--start", "3") == expected


# build


def test_build_names_a_config_by_its_fingerprint_where_a_parameter_has_another_value(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Also for parameters that `parameters` leaves out at their defaults, and only in configs that have them."""
    folder = tmp_path / "export"
    given = ("--num-individuals", "40", "--num-biographies", "60", "--sentence-order", "fixed", "--num-rounds", "2")
    succeeds(capsys, "build", "n1k", "n1k-groups", "templates", "--output-dir", folder, *given)
    small = {"num_individuals": 40, "num_biographies": 60, "sentence_order": "fixed"}
    configs = {"n1k": CONFIGS["n1k"].replace(**small), "n1k-groups": CONFIGS["n1k-groups"].replace(**small, num_rounds=2)}
    names = {f"{name}-{config.fingerprint[:8]}": config.parameters for name, config in configs.items()}
    written = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["configs"]
    assert {name: entry["parameters"] for name, entry in written.items()} == names | {"templates": {}}
    assert succeeds(capsys, "verify", folder).endswith("rows, all correct\n")


# configs


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in json.loads(succeeds(capsys, "configs", "--json"))}


POOL_SIZES = dict(cities=800, universities=200, majors=100, companies=500, months=12, days=28, years=200)
EVALUATION = {"validation": 16_000, "unseen": 16_000}


def test_configs_json_lists_every_config(listed: dict[str, dict[str, Any]]) -> None:
    assert list(listed) == list(CONFIGS)
    assert {name: entry["fingerprint"] for name, entry in listed.items()} == {
        name: config.fingerprint for name, config in CONFIGS.items()
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "n1k",
            {
                "table": "biographies",
                "splits": {"train": 128_000} | EVALUATION,
                "num_individuals": 1_000,
                "num_biographies": 128_000,
                "seed": 0,
                "population_seed": 0,
                "pool_sizes": POOL_SIZES,
                "distribution": "uniform",
            },
        ),
        (
            "n64k-finetune4k-replay0.5",
            {
                "table": "biographies",
                "splits": {"train": 512_000, "pretrain_validation": 16_000} | EVALUATION,
                "num_individuals": 64_000,
                "num_biographies": 512_000,
                "seed": 0,
                "population_seed": 0,
                "pool_sizes": POOL_SIZES,
                "distribution": "fine_tuning",
                "num_fine_tuning_individuals": 4_000,
                "replay_weight": 0.5,
            },
        ),
        (
            "individuals",
            {
                "table": "individuals",
                "splits": {"pretrain": 256_000, "finetune": 16_000, "unseen": 16_000},
                "num_individuals": 256_000,
                "population_seed": 0,
                "pool_sizes": POOL_SIZES,
            },
        ),
        ("templates", {"table": "templates", "splits": {"train": 150}}),
        (
            "questions",
            {
                "table": "questions",
                "splits": {
                    "train": 32_000 * 48,
                    "questions_asked": 32_000 * 12,
                    "questions_not_asked": 32_000 * 12,
                    "questions_unseen": 16_000 * 12,
                },
                "num_individuals": 64_000,
                "population_seed": 0,
                "pool_sizes": POOL_SIZES,
            },
        ),
        (
            "cloze",
            {
                "table": "cloze",
                "splits": {"validation": 96_000, "unseen": 96_000},
                "num_individuals": 64_000,
                "population_seed": 0,
                "pool_sizes": POOL_SIZES,
                "seed": 0,
                "num_choices": 4,
            },
        ),
    ],
)
def test_configs_json_has_all_parameters(name: str, expected: dict[str, Any], listed: dict[str, dict[str, Any]]) -> None:
    assert listed[name] == {"name": name, "fingerprint": CONFIGS[name].fingerprint} | expected


def test_configs_has_a_heading_and_a_line_for_each_config(capsys: pytest.CaptureFixture[str]) -> None:
    heading, *lines = succeeds(capsys, "configs").splitlines()
    assert heading.split() == ["config", "individuals", "distribution", "fingerprint", "rows"]
    assert [line.split()[0] for line in lines] == list(CONFIGS)
    for line, config in zip(lines, CONFIGS.values(), strict=True):
        assert f"  {config.fingerprint}  " in line
        assert all(f"{split} {count:,}" in line for split, count in num_rows(config).items())


def test_configs_has_columns_that_stand_below_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    heading, *lines = succeeds(capsys, "configs").splitlines()
    by_name = {line.split()[0]: line for line in [heading, *lines]}
    start = heading.index("fingerprint")
    assert {line[start : start + 16] for line in lines} == {config.fingerprint for config in CONFIGS.values()}
    end = heading.index("individuals") + len("individuals")
    assert by_name["n256k-alpha0.6"][:end].split() == ["n256k-alpha0.6", "256,000"]
    assert by_name["n256k-alpha0.6"][end:].split()[0] == "power_law"
    assert by_name["templates"].split() == ["templates", CONFIGS["templates"].fingerprint, "train", "150"]


# Whole program


def test_version_names_package_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"bio-facts {bio_facts.__version__}, data {bio_facts.DATA_VERSION}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert f"\n  bio-facts {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["sample", "build", "order", "score"])
def test_every_parameter_of_every_config_is_a_flag(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    printed = capsys.readouterr().out.split()
    parameters = set(all_settings()) - {"distribution"}
    assert len(parameters) == 25
    assert {f"--{name.replace('_', '-')}" for name in parameters} <= set(printed)


KNOWN = (
    "it has distribution, num_asked_individuals, num_biographies, num_individuals, num_phrasings, num_training_templates, "
    "num_wordings, phases, pool_sizes, population_seed, seed, sentence_order, wordings_for"
)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ("sample n2k", "config is 'n2k'; it must be one of 119 such as "),
        ("sample n1k --split test", "split is 'test'; n1k has train, validation, unseen"),
        ("sample n1k --split valdation", "n1k has train, validation, unseen; did you mean 'validation'?"),
        ("sample n1k --num 1e3", "argument --num: it is '1e3'; it must be an integer of at least 0"),
        ("build n1k --output-dir x --num-workers 1e1", "it is '1e1'; it must be an integer of at least 1"),
        ("sample n1k --num-individuals 1e3", "it is '1e3'; it must be an integer of at least 0"),
        ("sample n1k --pool-sizes cities=1e3", "it is 'cities=1e3'; it must be like cities=32,years=4, with integers"),
        ("sample n1k --split pretrain_validation", "split is 'pretrain_validation'; n1k has train, validation, unseen"),
        ("sample individuals --split train", "split is 'train'; individuals has pretrain, finetune, unseen"),
        ("sample templates --split unseen", "split is 'unseen'; templates has train"),
        ("sample n1k --num -1", "argument --num: it is '-1'; it must be an integer of at least 0"),
        ("sample n1k --num many", "argument --num: it is 'many'; it must be an integer of at least 0"),
        ("sample n1k --num 1.5", "argument --num: it is '1.5'; it must be an integer of at least 0"),
        ("sample n1k --start -1", "argument --start: it is '-1'; it must be an integer of at least 0"),
        ("sample n1k --seed -1", "argument --seed: it is '-1'; it must be an integer of at least 0"),
        ("sample n1k --population-seed x", "argument --population-seed: it is 'x'; it must be an integer of at least 0"),
        ("sample n1k --num-individuals 0", "num_individuals is 0; it must be an integer from 1 to 400,000,000"),
        ("sample n1k --num-biographies 0", "num_biographies is 0; it must be an integer from 1 to 1,000,000,000,000"),
        ("sample n1k --alpha 0.6", f"unknown parameter 'alpha' of a config with uniform distribution; {KNOWN}"),
        ("sample n1k-alpha0.6 --alpha x", "argument --alpha: it is 'x'; it must be a number"),
        ("sample n1k-alpha0.6 --alpha 4", "alpha is 4.0; it must be a number from 0 to 3"),
        ("sample n1k-alpha0.6 --alpha nan", "alpha is nan; it must be a number from 0 to 3"),
        ("sample n1k-alpha0.6 --replay-weight 1", "unknown parameter 'replay_weight' of a config with power_law distribution"),
        ("sample n1k-celebrities --num-celebrities 0", "num_celebrities is 0; it must be an integer of at least 1"),
        ("sample n1k-celebrities --celebrity-weight 1.5", "argument --celebrity-weight: it is '1.5'; it must be an integer"),
        ("sample n1k-warmup --num-warmup-individuals 1001", "num_warmup_individuals is 1001; it must be an integer from 1"),
        (
            "sample n1k-groups --num-group-biographies 10000000000000000000000",
            "num_group_biographies is 10000000000000000000000; it must be an integer from 1 to 1,000,000,000,000",
        ),
        ("sample n1k --num-training-templates 21", "num_training_templates is 21; it must be an integer from 1 to 20"),
        ("sample n1k --num-training-templates one", "argument --num-training-templates: it is 'one'; it must be an integer"),
        ("sample n1k --num-wordings 0", "num_wordings is 0; it must be an integer from 1 to 20"),
        (
            "sample n1k --num-wordings 3 --num-training-templates 2",
            "num_wordings is 3; it must be at most num_training_templates, 2",
        ),
        ("sample n1k --sentence-order random", "--sentence-order: invalid choice: 'random' (choose from"),
        ("sample n1k --num-rounds 2", "unknown parameter 'num_rounds' of a config with uniform distribution; it has"),
        ("sample n1k-groups --num-rounds 0", "num_rounds is 0; it must be an integer from 1 to 1,000,000,000,000"),
        ("sample n1k-finetune1k --replay-weight -1", "replay_weight is -1.0; it must be a number from 0 to 1,000"),
        ("sample templates --seed 1", "unknown parameter 'seed' of a config of templates; it has none"),
        ("sample n1k --phases biographies", "argument --phases: it is 'biographies'; it must be JSON, such as [[1000, "),
        ("sample n1k --phases 5", "phases is 5; it must be a list of [until_sample, weights], such as [[1000, "),
        ("sample n1k --phases [[5,{}]]", "phases is [[5, {}]]; it must be a list of [until_sample, weights], such as [[1000, "),
        ("sample n1k --num-phrasings 1", "num_phrasings is 1, but phases have no questions; it must be 8"),
        (
            "sample n1k-questions --num-asked-individuals 1000",
            "num_asked_individuals is 1000; it must be an integer from 1 to 999",
        ),
        ("sample n1k --pool-sizes cities", "argument --pool-sizes: it is 'cities'; it must be like cities=32,years=4"),
        ("sample n1k --pool-sizes cities=x", "argument --pool-sizes: it is 'cities=x'; it must be like cities=32,years=4"),
        ("sample n1k --pool-sizes towns=3", "pool_sizes names 'towns'; the pools are cities, universities, "),
        ("sample n1k --pool-sizes cities=801", "pool_sizes['cities'] is 801; it must be an integer from 1 to 800"),
        (
            "sample n1k --start 128000",
            "start + num is 128,001, beyond the 128,000 rows of n1k/train; it must be at most that",
        ),
        (
            "sample n1k --split unseen --num 16001",
            "start + num is 16,001, beyond the 16,000 rows of n1k/unseen; it must be at most that",
        ),
        ("sample templates --num 151", "start + num is 151, beyond the 150 rows of templates/train; it must be at most that"),
        ("sample n1k --num 99999999999999999999", "beyond the 128,000 rows of n1k/train"),
        ("sample", "the following arguments are required: CONFIG"),
        ("sample n1k --num", "argument --num: expected one argument"),
        ("sample n1k --sed 5", "unrecognized arguments: --sed 5"),
        ("sample n1k --js", "unrecognized arguments: --js"),
        ("sample n1k n4k", "unrecognized arguments: n4k"),
        ("configs --num 3", "unrecognized arguments: --num 3"),
        ("build", "the following arguments are required: CONFIG, --output-dir"),
        ("build n1k", "the following arguments are required: --output-dir"),
        ("build n1k --output-dir x --num-workers 0", "argument --num-workers: it is '0'; it must be an integer of at least 1"),
        ("build n2k --output-dir x", "config is 'n2k'; it must be one of 119 such as "),
        (
            "build individuals templates --output-dir x --seed 1",
            "unknown parameter 'seed' of individuals, templates; none of them has it",
        ),
        ("build templates --output-dir= ", "it must be a path"),
        ("sample n1k --pool-sizes cities=3,cities=4", "names a pool twice"),
        ("sample n64k-alpha0.6 --num-individuals 300000000", "num_individuals (of a power law) is 300000000"),
        ("verify", "the following arguments are required: DIR"),
        ("verify x --num-workers many", "argument --num-workers: it is 'many'; it must be an integer of at least 1"),
        ("push you/bio_facts", "the following arguments are required: --from, or --canonical"),
        ("push --canonical bio_facts", "repo_id is 'bio_facts'; it must be like you/bio_facts"),
        ("push-space you/recall", "repo_id is 'you/recall'; it must be like you/attribute_recall, for evaluate.load finds"),
        ("push-space attribute_recall", "repo_id is 'attribute_recall'; it must be like you/attribute_recall"),
        ("push --from x", "the following arguments are required: REPO_ID"),
        ("order n1k --output-file x.csv", "the following arguments are required: --batch-size"),
        ("order n1k --batch-size 128", "the following arguments are required: --output-file"),
        (
            "order n1k --batch-size 0 --output-file x.csv",
            "argument --batch-size: it is '0'; it must be an integer of at least 1",
        ),
        (
            "order templates --batch-size 8 --output-file x.csv",
            "config is 'templates', which has no biographies; it must be a config such as 'n64k'",
        ),
        ("score", "the following arguments are required: MODEL"),
        ("score x --dataset n2k", "config is 'n2k'; it must be one of 119 such as "),
        ("score x --dataset templates", "dataset is 'templates', which has no biographies; it must be a config such as 'n64k'"),
        ("score x --splits test", "split is 'test'; it must be one of "),
        ("score x --num-rows 16001", "num_rows is 16,001; split validation has 16,000"),
        ("score x --output-file y/z.json", "output_file is 'y/z.json', but there is no folder "),
        ("smaple n1k", "invalid choice: 'smaple' (choose from"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_bad_input_is_one_line_on_stderr(
    arguments: str, fragment: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fragment in refused(capsys, *arguments.split())
    assert list(tmp_path.iterdir()) == []


def test_parameter_that_is_given_twice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    twice = ("--pool-sizes", "cities=4", "--pool-sizes", "years=2")
    assert "--pool-sizes is given twice" in refused(capsys, "sample", "n1k", *twice)
