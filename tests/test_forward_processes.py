"""Processes that share a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SCRIPT_ENVIRONMENT
from kinds import tokenizer_of
from scored_models import llama

from bio_facts.generate.biography import rows
from bio_facts.generate.config import Config
from bio_facts.generate.splits import draw
from bio_facts.measure.scoring import score

SHARDED = """
import json, sys
from accelerate import PartialState
from kinds import model_of, tokenizer_of
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import TrainerState
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.generate.config import Config
from bio_facts.measure.tokens import BiographyTokenizer

processes = PartialState(cpu=True)
assert processes.num_processes == 2
losses = []
for kind in (lambda tokenizer: tokenizer, BiographyTokenizer):
    for num_biographies in (1, 3):
        model, mesh = model_of("llama", tokenizer_of("bio_facts")), init_device_mesh("cpu", (2,))
        for module in (*model.model.layers, model):
            fully_shard(module, mesh=mesh)
        callback = AttributeEvaluation(
            kind(tokenizer_of("bio_facts")), Config(num_individuals=20), num_biographies=num_biographies, batch_size=1,
            splits=["validation"],
        )
        state = TrainerState(is_world_process_zero=processes.is_main_process)
        losses.append(callback.evaluate(state, model)["validation/attribute_loss"])
model.lm_head.weight.data.fill_(float("nan"))
model.lm_head.weight.data.sum()
state.global_step = 1
try:
    callback.evaluate(state, model)
except ValueError as error:
    losses.append(str(error))
if processes.is_main_process:
    open(sys.argv[1], "w").write(json.dumps(losses))
"""


def launched(script: str, tmp_path: Path) -> None:
    """Run a script in two processes; its argument is the path of result.json."""
    # PyTorch's threads now and then abort an interpreter that ends in its usual way, after the script has done its work.
    end = "import os; PartialState().wait_for_everyone(); PartialState().destroy_process_group(); os._exit(0)"
    (tmp_path / "script.py").write_text(f"{script}\n{end}\n")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone"]
    environment = SCRIPT_ENVIRONMENT | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    result = subprocess.run(
        [*launch, str(tmp_path / "script.py"), str(tmp_path / "result.json")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stderr


def test_processes_of_a_sharded_model_make_the_same_number_of_forwards(tmp_path: Path) -> None:
    """With one biography the second process has none; with three the first has one batch more. Both would wait for ever."""
    launched(SHARDED, tmp_path)
    *losses, message = json.loads((tmp_path / "result.json").read_text())
    data, tokenizer = Config(num_individuals=20), tokenizer_of("bio_facts")
    expected = [
        score(llama(), tokenizer, rows(draw(data, "validation", range(number)))).totals().loss_sum.sum() / (6 * number)
        for number in (1, 3)
    ]
    assert losses == pytest.approx(expected * 2, rel=1e-5)
    assert "NaN" in message


UNPREPARED = """
import sys, json
from accelerate import PartialState
from kinds import model_of, tokenizer_of
from transformers import TrainerState
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.split_scoring import SplitScorer
from bio_facts.generate.config import Config

processes = PartialState(cpu=True)
messages, tokens = [], SplitScorer._tokens
for error in (ValueError("this row"), KeyError("that row")):

    def failing(self, split, rows, model):
        if split == "unseen" and processes.process_index == 1:
            raise error
        return tokens(self, split, rows, model)

    SplitScorer._tokens = failing
    callback = AttributeEvaluation(tokenizer_of("bio_facts"), Config(num_individuals=20), num_biographies=2)
    try:
        callback.evaluate(TrainerState(), model_of("llama", tokenizer_of("bio_facts")))
    except (ValueError, RuntimeError) as raised:
        messages.append(f"{type(raised).__name__}: {raised}")
    except KeyError:
        messages.append("KeyError")
if processes.is_main_process:
    open(sys.argv[1], "w").write(json.dumps(messages))
"""


def test_error_of_one_process_while_tokens_are_prepared_is_raised_by_all(tmp_path: Path) -> None:
    launched(UNPREPARED, tmp_path)
    assert json.loads((tmp_path / "result.json").read_text()) == [
        "ValueError: another process: ValueError: this row",
        "RuntimeError: another process: KeyError: 'that row'",
    ]
