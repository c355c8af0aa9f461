"""docs/interpretability.md: its code, with the wheel alone; and kept models in TransformerLens and nnsight."""

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, assert_refused, ecosystem, run_script
from hub_server import HubServer

pytestmark = ecosystem("transformer_lens", "nnsight", "datasets")

import torch  # noqa: E402
from nnsight import TransformersModel  # noqa: E402
from old_transformers import MODEL_TYPES, small_model  # noqa: E402
from transformer_lens.model_bridge import TransformerBridge  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from bio_facts import CONFIGS, draw, rows  # noqa: E402
from bio_facts.measure.attention import attention_signatures  # noqa: E402
from bio_facts.measure.tokens import ROLES, BiographyTokenizer, load_tokenizer  # noqa: E402
from bio_facts.publish.build import build  # noqa: E402
from bio_facts.runs.checkpoints import keep_model, kept_model  # noqa: E402
from bio_facts.runs.kept_models import kept_models  # noqa: E402

PAGE = (ROOT / "docs" / "interpretability.md").read_text(encoding="utf-8")
SCRIPT = ROOT / "docs" / "examples" / "attention_over_training.py"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
PREPENDED = {"llama", "mistral", "gpt2"}  # the types for which TransformerLens prepends BOS to a text
TOKENIZER = load_tokenizer("bio_facts")
BATCH = draw(CONFIGS["n1k"], "validation", range(3))
TEXTS = [row["text"] for row in rows(BATCH)]
TOLERANCE: dict[str, float] = {"rtol": 0, "atol": 1e-4}

EVERY_TYPE = pytest.mark.parametrize("model_type", MODEL_TYPES)


# The page


@pytest.fixture(scope="module")
def hub(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub with a dataset and a run, pushed by our commands."""
    folder = tmp_path_factory.mktemp("hub")
    build({"n1k": CONFIGS["n1k"]}, folder / "export", num_workers=1)
    with HubServer(folder / "hub") as server:
        environment = server.environment(folder / "home") | {"PYTHONPATH": str(ROOT)}
        for command, name, source in (
            ("push", "me/bio_facts", folder / "export"),
            ("push-run", "me/bio_facts-demo", smoke_run),
        ):
            words = [sys.executable, "-m", "bio_facts.cli", command, name, "--from", str(source)]
            subprocess.run(words, env=environment, check=True, capture_output=True)
        yield server


def run_block(block: str, hub: HubServer, installed: Path, folder: Path, *arguments: str) -> str:
    """What a block of the page prints, with the wheel, beside the smoke run as runs/demo."""
    for documented, given in {"<you>": "me", "step-6000": "step-30", "step6000": "step30"}.items():
        block = block.replace(documented, given)
    (folder / "block.py").write_text(f"{block}\nimport bio_facts\n\nassert bio_facts.__file__.startswith({str(installed)!r})\n")
    environment = hub.environment(folder / "home") | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "block.py", *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_code_of_the_page_runs_with_the_wheel_alone(
    number: int, hub: HubServer, smoke_run: Path, installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(smoke_run)
    arguments = ["runs/demo", "attention.png"] if "sys.argv" in BLOCKS[number] else []
    printed = run_block(BLOCKS[number], hub, installed, tmp_path, *arguments)
    assert printed
    if number == 0:
        assert f"```text\n{printed}```" in PAGE


def test_script_draws_the_attention_of_a_published_run(hub: HubServer, installed: Path, tmp_path: Path) -> None:
    """From the Hub, by its id."""
    run_block(SCRIPT.read_text(encoding="utf-8"), hub, installed, tmp_path, "me/bio_facts-demo", "attention.png")
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "arguments are []; they must be a run, and a picture in a folder that exists"),
        (["run"], "arguments are ['run']"),
        (["run", "no/folder/a.png"], "in a folder that exists"),
        (["no/such/run", "a.png"], "run is 'no/such/run', which is no folder and no Hub id"),
        ([".", "a.png"], "run is '.', which has no config.json"),
    ],
)
def test_script_refuses_bad_input_in_one_line(arguments: list[str], fragment: str, tmp_path: Path) -> None:
    assert_refused(run_script("docs/examples/attention_over_training.py", *arguments, cwd=tmp_path), fragment)


def test_transformer_lens_takes_two_lines() -> None:
    first, second = (block for block in BLOCKS if block.startswith("from transformer_lens"))
    for block in (first, second):
        assert len(re.findall(r"^(?:from|model = )", block, flags=re.MULTILINE)) == 2


def test_page_shows_the_script() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert text[text.index("import sys") :] in BLOCKS


def test_page_names_the_tested_versions() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    expected = [
        f"TransformerLens {pins['transformer-lens']}",
        f"nnsight {pins['nnsight']}",
        f"transformers {pins['transformers']}",
    ]
    assert all(text in " ".join(PAGE.split()) for text in expected)


# The script


def test_script_finds_the_attention_that_our_own_measure_finds(
    smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every kept model, on the first 100 rows of validation."""
    picture = tmp_path / "attention.png"
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, str(smoke_run), str(picture)])
    shares = runpy.run_path(str(SCRIPT))["shares"]
    kept = kept_models(str(smoke_run))
    tokenize = BiographyTokenizer(load_tokenizer(str(kept.model(0))), kept.data.pool_sizes)
    biographies = draw(kept.data, "validation", range(100))
    tokens, is_name = tokenize(biographies), tokenize.roles(biographies) == ROLES.index("name")
    assert len(shares) == len(kept.steps) == 5
    for step, by_head in zip(kept.steps, shares, strict=True):
        model = AutoModelForCausalLM.from_pretrained(kept.model(step)).eval()
        signatures = attention_signatures(model, tokens.input_ids, tokens.attribute_ids, is_name)
        assert by_head.shape == (1, 2)  # layers, heads
        assert by_head.mean(dim=-1).tolist() == pytest.approx(signatures["value_to_name"], abs=1e-4)
    assert abs(float(shares[0].mean() - shares[-1].mean())) > 1e-3  # training changes it by more than the tolerance
    assert picture.read_bytes().startswith(b"\x89PNG")


# The tools, for models of every type of the recipes, and others


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Model type -> the folder of a model that is kept as a run keeps it."""
    folder = tmp_path_factory.mktemp("kept")
    torch.manual_seed(0)
    for model_type in MODEL_TYPES:
        keep_model(small_model(model_type, TOKENIZER), TOKENIZER, folder / model_type, 0)
    return {model_type: str(kept_model(folder / model_type, 0)) for model_type in MODEL_TYPES}


def own_logits(folder: str, input_ids: torch.Tensor) -> torch.Tensor:
    """By transformers, without any tool."""
    with torch.no_grad():
        logits: torch.Tensor = AutoModelForCausalLM.from_pretrained(folder).eval()(input_ids=input_ids).logits
    return logits


def ids_of(folder: str, text: str) -> torch.Tensor:
    input_ids: torch.Tensor = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids
    return input_ids


@EVERY_TYPE
def test_default_call_of_transformer_lens_prepends_bos_for_the_documented_types(
    model_type: str, folders: dict[str, str]
) -> None:
    folder, text = folders[model_type], TEXTS[0]
    model, ids = TransformerBridge.boot_transformers(folder, device="cpu"), ids_of(folder, text)
    bos = torch.tensor([[TOKENIZER.bos_token_id]] if model_type in PREPENDED else [[]], dtype=torch.int64)
    assert ("gpt_neox and recurrent_gemma" in PAGE, "for llama, mistral and gpt2" in PAGE) == (True, True)
    with torch.no_grad():
        torch.testing.assert_close(model(text), own_logits(folder, torch.cat([bos, ids], dim=1)), **TOLERANCE)
        torch.testing.assert_close(model(text, prepend_bos=False), own_logits(folder, ids), **TOLERANCE)
        model.cfg.default_prepend_bos = False
        torch.testing.assert_close(model(text), own_logits(folder, ids), **TOLERANCE)


@EVERY_TYPE
def test_batches_of_the_generator_work_in_both_tools(model_type: str, folders: dict[str, str]) -> None:
    """With padding on the right and no mask; each row gives the logits that it gives alone."""
    tokens = BiographyTokenizer(TOKENIZER)(BATCH)
    assert len(set(tokens.lengths.tolist())) > 1
    input_ids = torch.from_numpy(tokens.input_ids)
    with torch.no_grad():
        by_lens = TransformerBridge.boot_transformers(folders[model_type], device="cpu")(input_ids)
    model = TransformersModel(folders[model_type], task="text-generation", dispatch=True)
    with torch.no_grad(), model.trace(input_ids):
        by_nnsight = model.output.logits.save()
    for row, length in enumerate(tokens.lengths.tolist()):
        expected = own_logits(folders[model_type], input_ids[row : row + 1, :length])[0]
        torch.testing.assert_close(by_lens[row, :length], expected, **TOLERANCE)
        torch.testing.assert_close(by_nnsight[row, :length], expected, **TOLERANCE)


def test_compatibility_mode_keeps_log_probabilities_alone(folders: dict[str, str]) -> None:
    folder = folders["gpt_neox"]
    model, expected = TransformerBridge.boot_transformers(folder, device="cpu"), own_logits(folder, ids_of(folder, TEXTS[0]))
    model.enable_compatibility_mode()
    with torch.no_grad():
        logits = model(TEXTS[0])
    torch.testing.assert_close(logits.log_softmax(dim=-1), expected.log_softmax(dim=-1), **TOLERANCE)
    assert (logits - expected).abs().max() > 1e-3


@pytest.mark.parametrize("model_type", ["gpt_neox", "llama", "mistral", "gpt2"])
def test_default_call_of_nnsight_adds_nothing_and_pads_texts_on_the_left(model_type: str, folders: dict[str, str]) -> None:
    folder = folders[model_type]
    model = TransformersModel(folder, task="text-generation", dispatch=True)
    with torch.no_grad(), model.trace(TEXTS[0]):
        alone = model.output.logits.save()
    with torch.no_grad(), model.trace(TEXTS):
        together = model.output.logits.save()
    torch.testing.assert_close(alone, own_logits(folder, ids_of(folder, TEXTS[0])), **TOLERANCE)
    for row, text in enumerate(TEXTS):
        expected = own_logits(folder, ids_of(folder, text))[0]
        torch.testing.assert_close(together[row, -len(expected) :], expected, **TOLERANCE)


def test_patterns_of_both_tools_are_those_of_the_model(folders: dict[str, str]) -> None:
    folder = folders["gpt_neox"]
    own = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = own(input_ids=ids_of(folder, TEXTS[0]), output_attentions=True).attentions
        _, cache = TransformerBridge.boot_transformers(folder, device="cpu").run_with_cache(TEXTS[0])
    model: Any = TransformersModel(folder, task="text-generation", dispatch=True, attn_implementation="eager")
    with torch.no_grad(), model.trace(TEXTS[0]):
        pattern = model.gpt_neox.layers[1].attention.output[1].save()
    torch.testing.assert_close(cache["pattern", 1], expected[1], **TOLERANCE)
    torch.testing.assert_close(pattern, expected[1], **TOLERANCE)


def test_nnsight_needs_dispatch_to_find_the_tokenizer(folders: dict[str, str]) -> None:
    """As the page says; a version that does not will fail here."""
    with pytest.raises(Exception, match="which tokenizer to use"):
        TransformersModel(folders["gpt_neox"], task="text-generation")
