"""bio-facts score, on a model that the smoke recipe trained."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import assert_refused, run_script
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import bio_facts
from bio_facts.cli import main
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import CONFIGS
from bio_facts.measure.baseline import pool_no_knowledge_loss
from bio_facts.measure.tokens import load_tokenizer

POOLS = {"cities": 4, "universities": 4, "majors": 4, "companies": 4, "years": 4}
CONFIG = CONFIGS["n1k"].replace(num_individuals=20, pool_sizes=POOLS)
FLAGS = ["--num-individuals", 20, "--pool-sizes", ",".join(f"{pool}={size}" for pool, size in POOLS.items())]


def run_score(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_script("bio_facts/cli.py", "score", *arguments)


@pytest.fixture(scope="module")
def checkpoint(smoke_run: Path) -> Path:
    return smoke_run / "checkpoint-30"


@pytest.fixture(scope="module")
def scored(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What is printed, and what is in the file."""
    file = tmp_path_factory.mktemp("scores") / "scores.json"
    result = run_score(
        checkpoint,
        "--dataset",
        "n1k",
        *FLAGS,
        "--num-rows",
        30,
        "--batch-size",
        7,
        "--output-file",
        file,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads(file.read_text())


def test_file_has_what_the_scorer_finds(scored: tuple[str, dict[str, Any]], checkpoint: Path) -> None:
    results = scored[1]
    assert results["fingerprint"] == CONFIG.fingerprint
    assert list(results["splits"]) == ["validation", "unseen"]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
    for split, numbers in results["splits"].items():
        scores = bio_facts.score(model, tokenizer, bio_facts.rows(bio_facts.draw(CONFIG, split, range(30))))
        expected = scores.totals().detailed_summary(tuple(ATTRIBUTES))
        assert {name: numbers[name] for name in expected} == pytest.approx(expected, rel=1e-5)
        assert (numbers["num_rows"], numbers["num_rows_apart"], numbers["num_straddling_tokens"]) == (30, 0, 0)
    assert results["pool_no_knowledge_loss"]["all"] == pytest.approx(pool_no_knowledge_loss(CONFIG.pool_sizes))


def test_table_has_the_numbers_of_the_file(scored: tuple[str, dict[str, Any]]) -> None:
    printed, results = scored
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines()[1:8]}
    assert list(lines) == [*ATTRIBUTES, "all"]
    for name, cells in lines.items():
        suffix = "" if name == "all" else f"/{name}"
        expected = [results["pool_no_knowledge_loss"][name]]
        for split in ("validation", "unseen"):
            metrics = ("no_knowledge_loss", "attribute_loss", "attribute_accuracy")
            expected += [results["splits"][split][f"{metric}{suffix}"] for metric in metrics]
        assert cells == [f"{number:.3f}" for number in expected]


@pytest.mark.parametrize(
    ("config", "flags", "losses"),
    [
        (
            "n1k-finetune1k",
            {"num_fine_tuning_individuals": 50},
            {"validation": 4.646, "pretrain_validation": 6.527, "unseen": 6.527},
        ),
        ("n1k-groups", {}, {"validation": 6.527, "validation_group0": 5.927}),
    ],
)
def test_no_knowledge_loss_is_that_of_each_split(
    checkpoint: Path, tmp_path: Path, config: str, flags: dict[str, int], losses: dict[str, float]
) -> None:
    file = tmp_path / "scores.json"
    parameters = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
    arguments = ["--dataset", config, *parameters, "--splits", *losses, "--num-rows", 2, "--output-file", file]
    result = run_score(checkpoint, *arguments)
    assert result.returncode == 0, result.stderr
    written = json.loads(file.read_text())
    assert "no_knowledge_loss" not in written
    last = next(line for line in result.stdout.splitlines() if line.startswith("all "))
    assert [float(number) for number in last.split()[2::3]] == list(losses.values())
    for split, loss in losses.items():
        numbers = written["splits"][split]
        assert round(numbers["no_knowledge_loss"], 3) == loss
        by_attribute = [numbers[f"no_knowledge_loss/{name}"] for name in ATTRIBUTES]
        assert sum(by_attribute) / len(by_attribute) == pytest.approx(numbers["no_knowledge_loss"])


def test_script_of_the_clone_is_the_command(scored: tuple[str, dict[str, Any]], checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    arguments = [checkpoint, "--dataset", "n1k", *FLAGS, "--num-rows", 30, "--batch-size", 7]
    result = run_script("eval/score_model.py", *arguments, "--output-file", file)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[:-1] == scored[0].splitlines()[:-1]
    assert json.loads(file.read_text()) == scored[1]
    assert_refused(run_script("eval/score_model.py", *arguments, "--output-file", file), "output_file is", "exists")


def score_damaged(checkpoint: Path, folder: Path, damage: Callable[[Path], object], *arguments: object) -> Any:
    """The command on a copy of the model that `damage` has changed."""
    shutil.copytree(checkpoint, folder)
    damage(folder)
    return run_score(folder, "--dataset", "n1k", "--num-rows", 2, *arguments)


def change_weights(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def change_config(**entries: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | entries))

    return damage


def drop_layer(weights: dict[str, Any]) -> None:
    for name in [name for name in weights if ".layers.0." in name]:
        del weights[name]


def lengthen_embedding(weights: dict[str, Any]) -> None:
    name = next(name for name in weights if "embed_in" in name)
    weights[name] = weights[name].repeat(2, 1)


def add_weight(weights: dict[str, Any]) -> None:
    weights["score.weight"] = weights["gpt_neox.final_layer_norm.bias"].clone()


@pytest.mark.parametrize(
    ("damage", "fragments"),
    [
        (change_weights(drop_layer), ["lacks weights of a GPTNeoXForCausalLM", "gpt_neox.layers.0.", "(12 in all)"]),
        (change_weights(lengthen_embedding), ["of other shapes", "gpt_neox.embed_in.weight"]),
        (change_config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}), ["bitsandbytes"]),
        (change_config(quantization_config={"quant_method": "gptq", "bits": 4}), ["optimum"]),
        (change_config(attn_implementation="flash_attention_2"), ["FlashAttention2"]),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"12345678{"), ["cannot be loaded"]),
        (lambda folder: (folder / "config.json").write_text("{"), ["whose config.json cannot be loaded"]),
        (lambda folder: (folder / "config.json").write_text("[]"), ["whose config.json cannot be loaded"]),
        (change_config(model_type="nonesuch"), ["whose config.json cannot be loaded", "nonesuch"]),
        (change_config(hidden_size="x"), ["whose config.json cannot be loaded", "hidden_size"]),
        (change_config(rope_scaling={"type": "nonesuch"}), ["nonesuch"]),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), ["tokenizer cannot be loaded"]),
        (lambda folder: (folder / "tokenizer.json").write_text('{"model": {"type": "none"}}'), ["tokenizer cannot be loaded"]),
        (lambda folder: [file.unlink() for file in folder.glob("tokenizer*")], ["tokenizer"]),
        (lambda folder: (folder / "tokenizer.json").unlink(), ["tokenizer"]),
    ],
    ids=[
        *("layer missing", "shape", "bitsandbytes", "gptq", "flash attention", "broken weights", "broken config"),
        *("config is a list", "unknown model_type", "hidden_size is a string", "unknown rope"),
        *("broken tokenizer", "unknown tokenizer", "no tokenizer", "no tokenizer.json"),
    ],
)
def test_folders_that_cannot_be_loaded_are_one_line(
    checkpoint: Path, tmp_path: Path, damage: Callable[[Path], object], fragments: list[str]
) -> None:
    assert_refused(score_damaged(checkpoint, tmp_path / "model", damage), f"model is '{tmp_path}/model'", *fragments)


def test_weights_that_are_not_used_are_named_and_the_rest_is_scored(checkpoint: Path, tmp_path: Path) -> None:
    result = score_damaged(checkpoint, tmp_path / "model", change_weights(add_weight), "--splits", "unseen")
    assert result.returncode == 0
    expected = f"model is '{tmp_path}/model', which has weights that a GPTNeoXForCausalLM does not use: score.weight"
    assert result.stderr.splitlines() == [expected]
    whole = run_score(checkpoint, "--dataset", "n1k", "--num-rows", 2, "--splits", "unseen")
    assert result.stdout == whole.stdout


def test_tokenizer_may_be_another(checkpoint: Path) -> None:
    result = run_score(checkpoint, "--tokenizer", checkpoint, "--dataset", "n1k", "--splits", "unseen", "--num-rows", 2)
    assert result.returncode == 0, result.stderr
    assert "unseen: 2 rows, 12 values; rows whose tokens differ from those of our training" in result.stdout
    assert "where names and values are tokenized separately: 0; tokens that are partly in a value: 0" in result.stdout


def test_questions_are_scored_and_attributes_without_a_question_are_empty(checkpoint: Path, tmp_path: Path) -> None:
    config, splits = CONFIGS["n1k-questions"], ["questions_asked", "questions_not_asked", "questions_unseen"]
    options = ["--tokenizer", "bio_facts", "--splits", *splits, "--num-rows", 4, "--output-file", tmp_path / "scores.json"]
    result = run_score(checkpoint, "--dataset", "n1k-questions", *options)
    assert result.returncode == 0, result.stderr
    model, tokenizer = AutoModelForCausalLM.from_pretrained(checkpoint), load_tokenizer("bio_facts")
    written = json.loads((tmp_path / "scores.json").read_text())["splits"]
    for split in splits:
        expected = bio_facts.score(model, tokenizer, bio_facts.rows(bio_facts.draw(config, split, range(4))))
        summary = expected.totals().detailed_summary(tuple(ATTRIBUTES))
        assert written[split] == pytest.approx(written[split] | summary, rel=1e-5)
        assert (written[split]["num_rows"], written[split]["num_values"]) == (4, 4)
        assert f"{split}: 4 rows, 4 values; rows whose tokens differ from those of our training" in result.stdout
    cells = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[1:8]}
    assert {name: len(numbers) for name, numbers in cells.items()} == {
        **dict.fromkeys(list(ATTRIBUTES)[:4], 10),
        **dict.fromkeys(("company", "birth_date"), 4),
        "all": 10,
    }


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["no/such_model", "--tokenizer", "MODEL"], ["model is 'no/such_model'", "cannot be loaded"]),
        (["MODEL", "--tokenizer", "no/such"], ["tokenizer is 'no/such'", "cannot be loaded"]),
        (["MODEL", "--dataset", "n3k"], ["config is 'n3k'", "bio-facts configs"]),
        (["MODEL", "--dataset", "templates"], ["dataset is 'templates'", "has no biographies"]),
        (["MODEL", "--splits", "test"], ["'test'", "validation"]),
        (["MODEL", "--splits", "validaton"], ["split is 'validaton'", "did you mean 'validation'?"]),
        (["MODEL", "--num-rows", "16001"], ["num_rows is 16,001", "has 16,000"]),
        (["MODEL", "--num-rows", "0"], ["--num-rows", "'0'", "at least 1"]),
        (["MODEL", "--num-rows", "1e3"], ["--num-rows", "'1e3'", "it must be an integer"]),
        (["MODEL", "--batch-size", "x"], ["--batch-size", "'x'", "an integer"]),
        (["MODEL", "--device", "gpu"], ["device is 'gpu'", "cpu or cuda"]),
        (["MODEL", "--device", "meta"], ["device is 'meta'", "cpu or cuda"]),
        (["MODEL", "--device", "hpu"], ["device is 'hpu'", "cpu or cuda"]),
        (["MODEL", "--device", ""], ["device is ''", "cpu or cuda"]),
        (["MODEL", "--output-file", __file__], ["output_file is", "exists"]),
        (["MODEL", "--output-file", "/no/such/folder/scores.json"], ["output_file is", "no folder /no/such/folder"]),
        (["MODEL", "--alpha", "0.5"], ["alpha"]),
        (["MODEL", "--min-accuracy", "0.9"], ["it is '0.9'", "it must be SPLIT=X", "validation=0.9"]),
        (["MODEL", "--min-accuracy", "validation=90"], ["it is 'validation=90'", "from 0 to 1"]),
        (["MODEL", "--min-accuracy", "train=0.9"], ["min_accuracy has split 'train'", "validation, unseen"]),
    ],
    ids=lambda value: " ".join(value[1:]) if value and value[0] == "MODEL" else "",
)
def test_bad_arguments_are_refused(checkpoint: Path, arguments: list[str], fragments: list[str]) -> None:
    given = [checkpoint if word == "MODEL" else word for word in arguments]
    assert_refused(run_score(*given), *fragments)


# For other programs


def score_here(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command in this process."""
    code = main(["score", *map(str, [*arguments, "--dataset", "n1k", *FLAGS, "--num-rows", 30, "--batch-size", 7])])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json_is_that_of_the_file(
    checkpoint: Path, scored: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed, _ = score_here(capsys, checkpoint, "--json")
    assert code == 0
    assert json.loads(printed) == scored[1]


@pytest.mark.parametrize(
    ("minima", "expected"),
    [
        (["validation=0", "unseen=0.0"], []),
        (["validation=0.01", "unseen=0"], ["accuracy on validation is 0, below the minimum of 0.01"]),
        (["unseen=1"], ["accuracy on unseen is 0, below the minimum of 1"]),
    ],
)
def test_accuracy_below_the_minimum_of_its_split_is_exit_code_1(
    minima: list[str],
    expected: list[str],
    checkpoint: Path,
    scored: tuple[str, dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After everything is printed."""
    assert {metrics["attribute_accuracy"] for metrics in scored[1]["splits"].values()} == {0}
    code, printed, errors = score_here(capsys, checkpoint, "--min-accuracy", *minima)
    assert code == len(expected)
    assert printed == "".join(scored[0].splitlines(keepends=True)[:-1])
    assert [line for line in errors.splitlines() if "below" in line] == [f"bio-facts score: {line}" for line in expected]
