"""The beginning-of-sequence token (BOS) in backends of the lm-evaluation-harness, with a model whose tokenizer adds one."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from completions_server import CompletionsServer
from conftest import ecosystem
from test_lm_eval import FOLDER, start_harness, tokens_apart
from tokenizers.processors import TemplateProcessing
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import bio_facts
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.splits import draw
from bio_facts.measure.tokens import load_tokenizer
from bio_facts.publish.build import build

pytestmark = ecosystem("tenacity")  # of lm-eval[api], for backends that ask a server

CONFIG = CONFIGS["n1k"].replace(num_individuals=20, num_biographies=20)
NAME, SPLIT, LIMIT = "n1k-small", "validation", 4
RECALL = f"bio_facts_recall_{SPLIT}"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    folder = tmp_path_factory.mktemp("export") / "export"
    build({NAME: CONFIG}, folder, num_workers=1)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model, and our tokenizer with a BOS that it adds."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = load_tokenizer("bio_facts")
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    special = [("<s>", tokenizer.bos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=special)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = GPTNeoXConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes)
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(model: Any, tokenizer: Any) -> dict[tuple[int, str], float]:
    """(row, attribute) -> loss of the value in nats, by bio_facts.score."""
    scores = bio_facts.score(model, tokenizer, rows(draw(CONFIG, SPLIT, range(LIMIT))))
    assert all(row[0] == tokenizer.bos_token_id for row in scores.references)
    return {
        (row, name): float(scores.nlls[row][ids == attribute.attribute_id].sum())
        for row, ids in enumerate(scores.attribute_ids)
        for name, attribute in ATTRIBUTES.items()
    }


@pytest.fixture(scope="module")
def evaluated(
    checkpoint: Path, export: Path, model: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[tuple[int, str], float]]:
    """Runs the harness against the server; (row, attribute) -> loss."""

    def run(*model_args: str) -> dict[tuple[int, str], float]:
        folder = tmp_path_factory.mktemp("run")
        with CompletionsServer(model, tokenizer) as server:
            arguments = [f"base_url={server.url}", f"model={checkpoint}", "tokenizer_backend=huggingface", *model_args]
            harness = start_harness(
                *("run", "--include_path", FOLDER, "--tasks", RECALL, "--metadata", f"data={export},config={NAME}"),
                *("--model", "local-completions", "--model_args", ",".join(arguments)),
                *("--limit", LIMIT, "--log_samples", "--output_path", folder / "out"),
                home=folder,
            )
            _, stderr = harness.communicate(timeout=300)
        assert harness.returncode == 0, stderr
        samples = [
            json.loads(line)
            for file in folder.glob(f"out/*/samples_{RECALL}::*.jsonl")
            for line in file.read_text().splitlines()
        ]
        return {(sample["doc"]["biography_id"], sample["doc"]["attribute"]): sample["attribute_loss"] for sample in samples}

    return run


def apart(tokenizer: Any, model: str, **model_args: Any) -> list[bool]:
    apart = tokens_apart.values_apart(tokenizer, rows(draw(CONFIG, SPLIT, range(LIMIT))), model, model_args)
    return list(apart.values())


def test_completions_with_bos_are_the_metric(
    evaluated: Callable[..., dict[tuple[int, str], float]], expected: dict[tuple[int, str], float], tokenizer: Any
) -> None:
    losses = evaluated("add_bos_token=True")
    assert len(losses) == LIMIT * len(ATTRIBUTES)
    assert losses == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert not any(apart(tokenizer, "local-completions", add_bos_token=True))


@pytest.mark.parametrize(
    "model_args",
    [{}, {"tokenized_requests": False}, {"add_bos_token": True, "tokenized_requests": False}],
    ids=["default", "text", "text with BOS"],
)
def test_completions_without_bos_or_with_two_are_apart(
    evaluated: Callable[..., dict[tuple[int, str], float]],
    expected: dict[tuple[int, str], float],
    tokenizer: Any,
    model_args: dict[str, Any],
) -> None:
    """Text: the server adds the tokenizer's BOS to it, and the harness counts the tokens of the context without."""
    losses = evaluated(*(f"{name}={value}" for name, value in model_args.items()))
    assert losses.keys() == expected.keys()
    assert all(abs(loss - expected[key]) > 1e-3 for key, loss in losses.items())
    assert all(apart(tokenizer, "local-completions", **model_args))


def test_what_tokens_apart_compares_is_what_is_sent(
    tokenizer: Any, evaluated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[CompletionsServer] = []
    enter = CompletionsServer.__enter__
    monkeypatch.setattr(CompletionsServer, "__enter__", lambda server: servers.append(server) or enter(server))
    evaluated("tokenized_requests=False")
    encode = tokens_apart.harness_encoding(tokenizer, "local-completions", {"tokenized_requests": False})
    compared = []
    for row in rows(draw(CONFIG, SPLIT, range(LIMIT))):
        for value in row["attributes"]:
            context = row["text"][: value["start"] - 1]
            compared.append(encode(context, row["text"][len(context) : value["end"]])[0])
    assert sorted(servers[0].prompts) == sorted(compared)


@pytest.mark.parametrize(
    ("model", "model_args", "is_apart"),
    [
        ("hf", {}, False),
        ("hf", {"add_bos_token": True, "prefix_token_id": 0, "pretrained": "a/b", "dtype": "float32"}, False),
        ("hf", {"add_bos_token": False}, True),
        ("sglang", {}, True),
        ("sglang", {"add_bos_token": True}, False),
        ("openai-completions", {"tokenizer_backend": "huggingface"}, True),
        ("openai-completions", {"tokenizer_backend": "huggingface", "add_bos_token": True}, False),
    ],
)
def test_each_backend_has_its_default(tokenizer: Any, model: str, model_args: dict[str, Any], is_apart: bool) -> None:
    assert set(apart(tokenizer, model, **model_args)) == {is_apart}


@pytest.mark.parametrize("model", ["hf", "local-completions"])
@pytest.mark.parametrize("model_args", [{}, {"add_bos_token": True}], ids=str)
def test_tokenizer_that_adds_nothing_has_the_same_tokens_everywhere(model: str, model_args: dict[str, Any]) -> None:
    assert not any(apart(load_tokenizer("bio_facts"), model, **model_args))


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ([], 0),
        (["--model", "local-completions"], 24),
        (["--model", "local-completions", "--model_args", "add_bos_token=True"], 0),
        (["--model", "local-completions", "--model_args", "add_bos_token=True", "tokenized_requests=False"], 24),
        (["--model", "local-completions", "--model_args", "base_url=http://127.0.0.1:9/v1,add_bos_token=true"], 0),
    ],
)
def test_command_takes_backends_as_the_harness_does(
    checkpoint: Path, options: list[str], counts: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["tokens_apart.py", str(checkpoint), "--num", "4", *options])
    tokens_apart.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" have")[0] for line in lines] == [
        f"{split}: {counts} of 24 values" for split in ("validation", "unseen")
    ]


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--model", "nothing"], ["model is 'nothing'", "the harness cannot load"]),
        (["--model", "dummy"], ["model is 'dummy'", "without running it"]),
        (["--model", "openai-completions"], ["tokenizer_backend of openai-completions is 'tiktoken'", "only huggingface"]),
        (["--model", "local-completions", "--model_args", "add_bos=True"], ["has 'add_bos'", "it takes add_bos_token, "]),
        (["--model_args", "add_bos_token"], ["model_args is 'add_bos_token'", "must be like"]),
        (["--model_args", "add_bos_token=yes"], ["add_bos_token of hf is 'yes'", "True or False"]),
    ],
)
def test_backend_that_cannot_be_tried_is_refused_in_one_line(
    checkpoint: Path,
    options: list[str],
    fragments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["tokens_apart.py", str(checkpoint), "--num", "4", *options])
    with pytest.raises(SystemExit) as caught:
        tokens_apart.main()
    assert caught.value.code == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert all(fragment in line for fragment in fragments), line
    assert not printed.out
