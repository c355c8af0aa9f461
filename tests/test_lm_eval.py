import importlib.util
import inspect
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, SMOKE, ecosystem, run_script
from hub_server import HubServer
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import bio_facts
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.pieces import piece_table
from bio_facts.generate.pools import pools
from bio_facts.generate.splits import draw
from bio_facts.measure.tokens import load_tokenizer
from bio_facts.publish.build import build

pytestmark = ecosystem("lm_eval", "datasets")
FOLDER = ROOT / "eval" / "lm_eval"
SIZES = {"cities": 4, "universities": 4, "majors": 4, "companies": 4, "years": 4}  # those of the smoke recipe
CONFIG = CONFIGS["n1k"].replace(num_individuals=20, num_biographies=20, pool_sizes=SIZES)
NAME, ASKING = "n1k-small", "n1k-questions-small"
QUESTIONS = CONFIGS["n1k-questions"].replace(num_individuals=20, num_biographies=20, pool_sizes=SIZES)
SPLITS = ("validation", "unseen")
QUESTION_SPLITS = ("questions_asked", "questions_not_asked", "questions_unseen")
LIMIT = 20  # biographies of each split
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
LOAD_FROM_HUB = """
import sys
sys.path.insert(0, sys.argv[1])
import utils
for data, revision in (("me/bio_facts", "v1.0.0"), ("me/nothing", None)):
    try:
        documents = utils.load_recall(split="unseen", attribute="major", data=data, config=sys.argv[2], data_revision=revision)
        print(documents["unseen"][7])
    except ValueError as error:
        print(error)
"""


def module(name: str) -> ModuleType:
    """A module of the folder, loaded by its path as the harness does."""
    specification = importlib.util.spec_from_file_location(f"lm_eval_{name}", FOLDER / f"{name}.py")
    assert specification is not None and specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


utils, tokens_apart = module("utils"), module("tokens_apart")


def start_harness(*arguments: object, home: Path) -> subprocess.Popen[str]:
    """`lm_eval ...` without a network."""
    command = [sys.executable, "-m", "lm_eval", *map(str, arguments)]
    environment = os.environ | OFFLINE | {"HF_HOME": str(home)}
    return subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module", autouse=True)
def validation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """`lm_eval validate`, started in the background: it reads the 14,000 task files of the harness for ten seconds."""
    groups = ("", "_validation", "_unseen", "_questions", *(f"_{split}" for split in QUESTION_SPLITS))
    tasks = [f"bio_facts_{kind}{group}" for kind in ("recall", "choice") for group in groups]
    tasks += [f"bio_facts_cloze{group}" for group in groups[:3]]
    options = ("--include_path", FOLDER, "--tasks", ",".join(tasks))
    with start_harness("validate", *options, home=tmp_path_factory.mktemp("validation")) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    folder = tmp_path_factory.mktemp("export") / "export"
    others = {"individuals-small": CONFIGS["individuals"].replace(num_individuals=20)}
    build({NAME: CONFIG, ASKING: QUESTIONS} | others, folder, num_workers=2)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained by the smoke recipe, longer, with a tokenizer that merges some values with the period behind them."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(" ?[^ ]+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=800, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    texts = [row["text"] for row in rows(draw(CONFIG, "train", range(20)))]
    tokenizer.train_from_iterator([*texts, *piece_table().texts], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    changed = {"tokenizer": folder / "tokenizer.json", "num_steps": 300, "save_every": 300, "eval_every": [[300, 300]]}
    options = [text for name, value in changed.items() for text in (f"--{name}", value)]
    result = run_script(
        "train/pretrain.py", "--config", SMOKE, "--output_dir", folder / "run", "--keep_models_at", "[]", *options
    )
    assert result.returncode == 0, result.stderr
    return folder / "run" / "checkpoint-300"


def run_harness(tasks: str, config: str, checkpoint: Path, export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with results and samples of `lm_eval run`."""
    folder = tmp_path_factory.mktemp("harness")
    run = start_harness(
        *("run", "--include_path", FOLDER, "--tasks", tasks),
        *("--metadata", f"data={export},config={config}"),
        *("--model", "hf", "--model_args", f"pretrained={checkpoint},prefix_token_id=0"),
        *("--device", "cpu", "--batch_size", "16", "--limit", LIMIT, "--log_samples", "--output_path", folder / "out"),
        home=folder,
    )
    _, stderr = run.communicate(timeout=300)
    assert run.returncode == 0, stderr
    (run_folder,) = (folder / "out").iterdir()
    return run_folder


@pytest.fixture(scope="module")
def output(checkpoint: Path, export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of the tasks on biographies."""
    return run_harness("bio_facts_recall,bio_facts_choice", NAME, checkpoint, export, tmp_path_factory)


@pytest.fixture(scope="module")
def results(output: Path) -> dict[str, dict[str, Any]]:
    (file,) = output.glob("results_*.json")
    content: dict[str, dict[str, Any]] = json.loads(file.read_text())["results"]
    return content


def samples(output: Path, group: str, step: int = 1) -> Iterator[dict[str, Any]]:
    """What the harness logged about each document of a group's six tasks. step: between the rows of a task's documents."""
    files = list(output.glob(f"samples_{group}::*.jsonl"))
    assert len(files) == len(ATTRIBUTES)
    for file in files:
        logged = [json.loads(line) for line in file.read_text().splitlines()]
        first = logged[0]["doc"]["biography_id"]
        assert [sample["doc"]["biography_id"] for sample in logged] == list(range(first, step * LIMIT, step))
        yield from logged


def metric(model: Any, tokenizer: Any, split: str) -> dict[tuple[int, str], tuple[float, bool]]:
    """(row, attribute) -> loss in nats, and whether all tokens are the arg-max, by bio_facts.score."""
    scores = bio_facts.score(model, tokenizer, rows(draw(CONFIG, split, range(LIMIT))))
    expected = {}
    for row, attributes in enumerate(scores.attribute_ids):
        for name, attribute in ATTRIBUTES.items():
            tokens = attributes == attribute.attribute_id
            right = scores.predictions[row][tokens] == scores.references[row][tokens]
            expected[row, name] = (float(scores.nlls[row][tokens].sum()), bool(right.all()))
    return expected


# lm_eval validate, lm_eval run


@pytest.mark.parametrize("split", SPLITS)
def test_recall_is_the_metric_where_tokens_are_the_same(
    split: str, output: Path, model: Any, tokenizer: Any, record_property: Any
) -> None:
    expected = metric(model, tokenizer, split)
    apart = tokens_apart.values_apart(tokenizer, rows(draw(CONFIG, split, range(LIMIT))))
    measured = {}
    for sample in samples(output, f"bio_facts_recall_{split}"):
        key = (sample["doc"]["biography_id"], sample["doc"]["attribute"])
        ((log_likelihood, is_greedy),) = sample["filtered_resps"]
        assert sample["attribute_loss"] == -float(log_likelihood)
        assert sample["attribute_accuracy"] == (is_greedy == "True")
        measured[key] = (sample["attribute_loss"], bool(sample["attribute_accuracy"]))
    assert measured.keys() == expected.keys() == apart.keys()
    same = [key for key in measured if not apart[key]]
    record_property("values whose tokens differ", f"{len(measured) - len(same)} of {len(measured)}")
    assert len(measured) / 2 < len(same) < len(measured)  # so both kinds are there
    for key in same:
        assert measured[key][0] == pytest.approx(expected[key][0], rel=1e-5, abs=1e-5)
        assert measured[key][1] == expected[key][1]
    assert {expected[key][1] for key in same} == {True, False}
    # Where a token straddles the end of a value, bio_facts counts its loss and the harness does not.
    others = [key for key in measured if apart[key]]
    assert all(abs(measured[key][0] - expected[key][0]) > 1e-4 for key in others)


@pytest.mark.parametrize("split", SPLITS)
def test_recall_reports_means_over_values(split: str, output: Path, results: dict[str, dict[str, Any]]) -> None:
    group = f"bio_facts_recall_{split}"
    logged = list(samples(output, group))
    for name in ("attribute_loss", "attribute_accuracy"):
        assert results[group][f"{name},none"] == pytest.approx(np.mean([sample[name] for sample in logged]))
        for attribute in ATTRIBUTES:
            values = [sample[name] for sample in logged if sample["doc"]["attribute"] == attribute]
            assert results[f"{group}::{attribute}"][f"{name},none"] == pytest.approx(np.mean(values))


def log_likelihood(model: Any, tokenizer: Any, context: str, continuation: str) -> float:
    ids, start = tokenizer(context + continuation).input_ids, len(tokenizer(context).input_ids)
    with torch.no_grad():
        log_probabilities = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(log_probabilities[place - 1, ids[place]].item() for place in range(start, len(ids)))


@pytest.mark.parametrize("split", SPLITS)
def test_choice_takes_the_choice_of_highest_likelihood(
    split: str, output: Path, results: dict[str, dict[str, Any]], model: Any, tokenizer: Any
) -> None:
    expected = {(row["biography_id"], span["attribute"]): row["text"][: span["end"]]
                for row in rows(draw(CONFIG, split, range(LIMIT))) for span in row["attributes"]}  # fmt: skip
    right: dict[str, list[bool]] = {attribute: [] for attribute in ATTRIBUTES}
    for sample in samples(output, f"bio_facts_choice_{split}"):
        doc = sample["doc"]
        assert doc["context"] + doc["choices"][doc["answer"]] == expected[doc["biography_id"], doc["attribute"]]
        likelihoods = [log_likelihood(model, tokenizer, doc["context"], choice) for choice in doc["choices"]]
        right[doc["attribute"]].append(int(np.argmax(likelihoods)) == doc["answer"])
        assert sample["acc"] == right[doc["attribute"]][-1]
    for attribute, answers in right.items():
        assert results[f"bio_facts_choice_{split}::{attribute}"]["acc,none"] == pytest.approx(np.mean(answers))
    accuracy = np.mean([answer for answers in right.values() for answer in answers])
    assert results[f"bio_facts_choice_{split}"]["acc,none"] == pytest.approx(accuracy)


@pytest.mark.parametrize("split", SPLITS)
def test_choices_of_a_run_are_those_of_the_population(split: str, output: Path) -> None:
    """The export has four items of most pools, so all four are offered."""
    for sample in samples(output, f"bio_facts_choice_{split}"):
        attribute, choices = sample["doc"]["attribute"], sample["doc"]["choices"]
        if attribute == "birth_date":
            assert {choice.split()[2] for choice in choices} <= set(pools()["years"][:4])
        else:
            (pool,) = ATTRIBUTES[attribute].pools
            assert sorted(choices) == sorted(f" {item}" for item in pools()[pool][:4])


def test_validate_passes(validation: subprocess.Popen[str]) -> None:
    stdout, stderr = validation.communicate(timeout=300)
    assert validation.returncode == 0, stderr
    assert "All tasks found and valid" in stdout


# Cloze


@pytest.mark.parametrize("split", SPLITS)
def test_cloze_has_the_documents_and_choices_of_the_other_tasks(split: str, export: Path) -> None:
    cloze = utils.load_cloze(split=split, num_individuals=20, pool_sizes=SIZES)[split].to_list()
    assert len(cloze) == 6 * 16_000
    for attribute in ATTRIBUTES:
        others = utils.load_choice(split=split, attribute=attribute, data=str(export), config=NAME)[split].to_list()[:100]
        documents = [row for row in cloze[:600] if row["attribute"] == attribute]
        assert [row["prompt"] for row in documents] == [doc["context"] for doc in others]
        assert [[f" {choice}" for choice in row["choices"]] for row in documents] == [doc["choices"] for doc in others]
        assert [row["target_index"] for row in documents] == [doc["answer"] for doc in others]


def test_cloze_has_the_numbers_of_recall_and_choice(checkpoint: Path, output: Path, tmp_path: Path) -> None:
    run = start_harness(
        *("run", "--include_path", FOLDER, "--tasks", "bio_facts_cloze_validation", "--limit", 6 * LIMIT),
        *("--metadata", json.dumps({"num_individuals": 20, "pool_sizes": SIZES})),
        *("--model", "hf", "--model_args", f"pretrained={checkpoint},prefix_token_id=0", "--device", "cpu"),
        *("--batch_size", "16", "--log_samples", "--output_path", tmp_path / "out"),
        home=tmp_path,
    )
    _, stderr = run.communicate(timeout=300)
    assert run.returncode == 0, stderr
    (file,) = tmp_path.glob("out/*/samples_bio_facts_cloze_validation_*.jsonl")
    logged = [json.loads(line) for line in file.read_text().splitlines()]
    measured = {(sample["doc"]["biography_id"], sample["doc"]["attribute"]): sample for sample in logged}
    for kind, metrics in {"recall": ("attribute_loss", "attribute_accuracy"), "choice": ("acc",)}.items():
        others = list(samples(output, f"bio_facts_{kind}_validation"))
        assert len(others) == len(measured) == 6 * LIMIT
        for other in others:
            sample = measured[other["doc"]["biography_id"], other["doc"]["attribute"]]
            assert [sample[name] for name in metrics] == pytest.approx([other[name] for name in metrics], rel=1e-5, abs=1e-5)


def test_parameters_beside_data_that_have_theirs_are_refused(export: Path) -> None:
    with pytest.raises(ValueError) as raised:
        utils.load_cloze(split="unseen", data=str(export), num_individuals=5)
    assert str(raised.value) == (f"--metadata has data={export} and num_individuals; the data have their parameters already")


# Questions


@pytest.fixture(scope="module")
def answers(checkpoint: Path, export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of the tasks on questions."""
    return run_harness("bio_facts_recall_questions,bio_facts_choice_questions", ASKING, checkpoint, export, tmp_path_factory)


@pytest.mark.parametrize("split", QUESTION_SPLITS)
def test_documents_are_the_questions_about_an_attribute(split: str, export: Path) -> None:
    asked = rows(draw(QUESTIONS, split, range(16_000)))
    for place, attribute in enumerate(ATTRIBUTES):
        documents = utils.load_recall(split=split, attribute=attribute, data=str(export), config=ASKING)[split]
        expected = [
            (row["biography_id"], row["text"][: entry["start"] - 1], f" {entry['value']}")
            for row in asked[place::6] for entry in row["attributes"]
        ]  # fmt: skip
        assert [(doc["biography_id"], doc["context"], doc["continuation"]) for doc in documents] == expected
        assert all(doc["context"].endswith("? Answer:") for doc in documents)


@pytest.mark.parametrize("split", QUESTION_SPLITS)
def test_answers_have_the_numbers_of_the_scorer(split: str, answers: Path, model: Any, tokenizer: Any) -> None:
    asked = rows(draw(QUESTIONS, split, range(6 * LIMIT)))
    scores = bio_facts.score(model, tokenizer, asked)
    losses = {row["biography_id"]: nlls.sum() for row, nlls in zip(asked, scores.nlls, strict=True)}
    apart = {k for (k, _), is_apart in tokens_apart.values_apart(tokenizer, asked).items() if is_apart}
    logged = list(samples(answers, f"bio_facts_recall_{split}", step=6))
    assert sorted(sample["doc"]["biography_id"] for sample in logged) == list(range(6 * LIMIT))
    for sample in logged:
        if (number := sample["doc"]["biography_id"]) not in apart:
            assert sample["attribute_loss"] == pytest.approx(losses[number], rel=1e-5, abs=1e-5)
    assert len(apart) < 3 * LIMIT
    for sample in samples(answers, f"bio_facts_choice_{split}", step=6):
        doc = sample["doc"]
        assert doc["continuation"] == doc["choices"][doc["answer"]]


# Tokens


@pytest.mark.parametrize("split", SPLITS)
def test_values_have_the_same_tokens_with_the_tokenizer_of_bio_facts(split: str) -> None:
    apart = tokens_apart.values_apart(load_tokenizer("bio_facts"), rows(draw(CONFIGS["n1k"], split, range(100))))
    assert len(apart) == 600
    assert not any(apart.values())


def test_counts_are_printed(capsys: pytest.CaptureFixture[str], checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tokens_apart.py", str(checkpoint), "--num", "50"])
    tokens_apart.main()
    apart = tokens_apart.values_apart(load_tokenizer(str(checkpoint)), rows(draw(CONFIGS["n1k"], "unseen", range(50))))
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(f"unseen: {sum(apart.values())} of 300 values have other tokens, ")
    for attribute, count in Counter(name for (_, name), is_apart in apart.items() if is_apart).items():
        assert f", {attribute} {count}" in line


# Input that cannot be used


def error(load: str = "load_recall", **changed: Any) -> str:
    arguments: dict[str, Any] = {"split": "validation", "attribute": "major", "config": NAME} | changed
    with pytest.raises(ValueError) as raised:
        getattr(utils, load)(**arguments)
    return str(raised.value)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    assert error(data=str(path)) == (
        f"data is {str(path)!r}, and there is no folder {path}; it must be a folder that bio-facts build wrote, or the id of a "
        "dataset on the Hub that bio-facts push filled"
    )


def test_missing_metadata_is_named(export: Path) -> None:
    advice = "say where the biographies are: pass --metadata data=DIR,config=n1k"
    assert error() == f"data is None; {advice}"
    assert error(data=str(export), config=None) == f"config is None; {advice}"


def test_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    assert error(data=str(tmp_path)) == f"{tmp_path} is not an export of bio-facts: it has no manifest.json"


@pytest.mark.parametrize("config", ["n4k", "individuals-small"])
def test_config_that_an_export_does_not_hold_is_named(config: str, export: Path) -> None:
    assert error(data=str(export), config=config) == (
        f"config is {config!r}; the configs of biographies in {export} are {ASKING}, {NAME}"
    )


def test_split_that_a_config_does_not_have_is_named(export: Path) -> None:
    message = error(data=str(export), split="questions_asked")
    assert message == f"config is {NAME!r}, which has no split questions_asked; it has train, validation, unseen"


def test_missing_shard_is_named(export: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes((export / "manifest.json").read_bytes())
    assert error(data=str(tmp_path)) == f"{tmp_path}/data/{NAME}/validation-00000-of-00001.parquet is missing"


@pytest.mark.parametrize("num_choices", [1, 5, "4"])
def test_wrong_number_of_choices_is_named(num_choices: object, export: Path) -> None:
    message = error("load_choice", data=str(export), num_choices=num_choices)
    assert message == f"num_choices of major is {num_choices!r}; it must be an integer from 2 to 4"


@pytest.mark.parametrize("load", ["load_recall", "load_choice"])
@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        *((name, "data") for name in ("dat", "dta", "Data", "datas")),
        *((name, "config") for name in ("confg", "configs", "Config", "conf")),
        *((name, "data_revision") for name in ("data_revison", "data-revision", "data_rev", "datarev", "dataset_revision")),
        *(
            (name, "num_choices")
            for name in ("num_choice", "num-choices", "numchoices", "n_choices", "choices", "choice", "NUM_CHOICES")
        ),
    ],
)
def test_misspelled_name_is_refused_with_a_suggestion(load: str, name: str, suggestion: str, export: Path) -> None:
    message = error(load, data=str(export), **{name: 5})
    assert message == (f"--metadata or --model_args has {name}=5; is it {suggestion}? pass --metadata data=DIR,config=n1k")


def test_every_argument_of_the_harness_and_of_transformers_passes(export: Path) -> None:
    from lm_eval.api.registry import get_model
    from transformers import PreTrainedModel

    calls = [PreTrainedModel.from_pretrained, *(get_model(name).__init__ for name in ("hf", "sglang", "local-completions"))]
    calls += [vars(base)["__init__"] for base in get_model("local-completions").__mro__ if "__init__" in vars(base)]
    names = {name for call in calls for name in inspect.signature(call).parameters}
    # of vLLM's engine, of transformers, of other tasks' --metadata, and of these tasks' files
    names |= {"hf_config", "hf_config_path", "config_format", "generation_config", "code_revision", "tokenizer_revision"}
    names |= {"adapter_revision", "data_parallel_size", "compilation_config", "quantization_config", "config_source"}
    names |= {"version", "dataset", "max_seq_lengths", "num_fewshot", "num_concurrent", "num_choices", "date"}
    others = dict.fromkeys(names - {"self", "data", "config", "data_revision"}, "x")
    assert len(others) > 80
    others["num_choices"] = 4  # of the other group of tasks
    assert len(utils.load_recall(split="unseen", attribute="major", data=str(export), config=NAME, **others)["unseen"]) > 0


@pytest.mark.parametrize(
    ("metadata", "model_args", "name"),
    [("num_choice=3", "", "num_choice=3"), ("version=2", "data_revison=v1,revision=main", "data_revison=v1")],
)
def test_harness_stops_at_a_misspelled_name(export: Path, tmp_path: Path, metadata: str, model_args: str, name: str) -> None:
    run = start_harness(
        *("run", "--include_path", FOLDER, "--tasks", "bio_facts_recall_unseen,bio_facts_choice_unseen"),
        *("--model", "dummy", *(["--model_args", model_args] if model_args else []), "--limit", 1),
        *("--metadata", f"data={export},config={NAME},{metadata}"),
        home=tmp_path,
    )
    _, stderr = run.communicate(timeout=300)
    assert run.returncode != 0
    assert f"ValueError: --metadata or --model_args has {name}; is it " in stderr


def test_log_likelihood_that_is_nan_is_named() -> None:
    doc = {"biography_id": 3, "attribute": "major", "value": "Law"}
    with pytest.raises(ValueError, match=r"^biography 3, major 'Law': its log-likelihood is NaN$"):
        utils.recall_results(doc, [(math.nan, False)])


# Hub


def test_documents_come_from_the_hub_and_then_from_its_cache(export: Path, tmp_path: Path) -> None:
    expected = utils.load_recall(split="unseen", attribute="major", data=str(export), config=NAME)["unseen"][7]
    with HubServer(tmp_path / "hub") as hub:
        environment = hub.environment(tmp_path / "home")
        push = [Path(sys.executable).parent / "bio-facts", "push", "me/bio_facts", "--from", export]
        subprocess.run(push, env=environment, capture_output=True, check=True)
        for offline in ({}, {"HF_HUB_OFFLINE": "1"}):
            result = subprocess.run(
                [sys.executable, "-c", LOAD_FROM_HUB, FOLDER, NAME],
                env=environment | offline,
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            document, missing = result.stdout.splitlines()
            assert document == str(expected)
            assert missing.startswith(
                f"data is 'me/nothing', but there is no folder {tmp_path / 'me/nothing'}, nor can it be had"
            )
    fetched = {path.name.split("-0")[0] for path in (tmp_path / "home").rglob("snapshots/*/**/*") if not path.is_dir()}
    assert fetched == {"manifest.json", "unseen"}
