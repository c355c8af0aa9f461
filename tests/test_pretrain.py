import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, SCRIPT_ENVIRONMENT, SMOKE, assert_refused, load_recipe, run_command, run_script, script_command
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from bio_facts.files import lock_folder
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.splits import draw
from bio_facts.measure.attention import attention_signatures
from bio_facts.measure.models import load_model
from bio_facts.measure.tokens import ROLES, BiographyTokenizer, load_tokenizer
from bio_facts.runs.folder import RunFolder

RECIPE = yaml.safe_load(SMOKE.read_text().replace("2e-3", "0.002"))
LAST = f"checkpoint-{RECIPE['num_steps']}"


def weights_digest(run: Path) -> str:
    return hashlib.sha256((run / LAST / "model.safetensors").read_bytes()).hexdigest()


def metrics(run: Path, without: tuple[str, ...] = ()) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in without} for line in lines]


def assert_same_run(run: Path, unbroken: Path) -> None:
    assert weights_digest(run) == weights_digest(unbroken)
    assert metrics(run, without=("seconds",)) == metrics(unbroken, without=("seconds",))


def train(folder: Path, *overrides: object) -> subprocess.CompletedProcess[str]:
    return run_script("train/pretrain.py", "--config", SMOKE, "--output-dir", folder, *overrides)


def kill_when(folder: Path, reached: Callable[[], bool]) -> None:
    """Start training and kill it, with no chance to clean up, as soon as `reached`."""
    process = subprocess.Popen(
        script_command("train/pretrain.py", "--config", SMOKE, "--output-dir", folder),
        env=SCRIPT_ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not reached():
        time.sleep(0.0002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before the moment to kill it came"


def test_metrics_have_one_line_per_evaluated_step_and_split(smoke_run: Path) -> None:
    expected = [(step, split) for step in range(0, 31, 5) for split in ("validation", "unseen")]
    assert [(line["step"], line["split"]) for line in metrics(smoke_run)] == expected


def test_metrics_have_the_documented_keys_in_order(smoke_run: Path) -> None:
    shares = ["attribute_loss", "attribute_accuracy", "first_token_accuracy", "first_token_probability", "token_loss"]
    measured = [*shares, "top_probability", "entropy", "num_values"]
    per_attribute = [f"{key}/{name}" for name in ATTRIBUTES for key in measured]
    scores = ["step", "split", *measured, *per_attribute, "expected_calibration_error"]
    progress = ["no_knowledge_loss", "pool_no_knowledge_loss", "num_tokens", "seconds"]
    attention = [f"attention_{name}" for name in ("value_to_name", "value_to_text", "name_to_name", "entropy")]
    keys = {"validation": [*scores, *progress, *attention], "unseen": [*scores, "confidence_auroc", *progress]}
    for line in metrics(smoke_run):
        is_kept = line["split"] == "validation" and line["step"] in RECIPE["keep_models_at"]
        assert list(line) == keys[line["split"]] + ["weights_sha256"] * is_kept


def test_metrics_have_the_digests_of_the_models_that_are_kept(smoke_run: Path) -> None:
    recorded = {line["step"]: line["weights_sha256"] for line in metrics(smoke_run) if "weights_sha256" in line}
    weights = {step: smoke_run / "models" / f"step-{step}" / "model.safetensors" for step in RECIPE["keep_models_at"]}
    assert recorded == {step: {path.name: hashlib.sha256(path.read_bytes()).hexdigest()} for step, path in weights.items()}
    assert len({digests["model.safetensors"] for digests in recorded.values()}) == len(recorded)


def test_log_spaced_models_are_kept_and_evaluated(tmp_path: Path) -> None:
    spaced = ("--keep_models_at", "log", "--num_steps", 9, "--eval_every", "[[6, 9]]", "--save_every", 6)
    assert train(tmp_path, *spaced).returncode == 0
    steps = [0, 1, 2, 4, 6, 8, 9]
    assert sorted(int(folder.name.removeprefix("step-")) for folder in (tmp_path / "models").iterdir()) == steps
    assert [line["step"] for line in metrics(tmp_path) if line["split"] == "validation"] == steps


def test_attention_of_an_evaluation_is_that_of_the_model_kept_at_its_step(smoke_run: Path) -> None:
    recipe = load_recipe(SMOKE, {})
    biographies = draw(recipe.data, "validation", range(recipe.num_attention_biographies))
    tokenizer = BiographyTokenizer(load_tokenizer("bio_facts"))
    batch, is_name = tokenizer(biographies), tokenizer.roles(biographies) == ROLES.index("name")
    for step in (0, 20):
        model = load_model(smoke_run / "models" / f"step-{step}")
        expected = attention_signatures(model, batch.input_ids, batch.attribute_ids, is_name)
        (line,) = (line for line in metrics(smoke_run) if (line["step"], line["split"]) == (step, "validation"))
        for name, layers in expected.items():
            assert line[f"attention_{name}"] == pytest.approx(layers, abs=1e-4)


def test_training_lowers_the_loss(smoke_run: Path) -> None:
    losses = [line["attribute_loss"] for line in metrics(smoke_run) if line["split"] == "validation"]
    assert losses[-1] < losses[0] - 1


def test_num_tokens_counts_the_tokens_of_the_trained_rows_without_padding(smoke_run: Path) -> None:
    rows = draw(load_recipe(SMOKE, {}).data, "train", range(20 * RECIPE["batch_size"]))
    lengths = BiographyTokenizer(load_tokenizer("bio_facts"))(rows).lengths
    assert [line["num_tokens"] for line in metrics(smoke_run) if line["step"] == 20] == [lengths.sum()] * 2


def test_two_whole_checkpoints_are_kept(smoke_run: Path) -> None:
    assert sorted(folder.name for folder in smoke_run.glob("checkpoint-*")) == ["checkpoint-20", "checkpoint-30"]


def test_checkpoint_loads_with_the_auto_classes_and_gives_the_logged_loss(smoke_run: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(smoke_run / LAST)
    tokenizer = AutoTokenizer.from_pretrained(smoke_run / LAST)
    rows = draw(load_recipe(SMOKE, {}).data, "unseen", range(RECIPE["num_eval_biographies"]))
    batch = BiographyTokenizer(tokenizer)(rows)
    logits = model(torch.from_numpy(batch.input_ids)).logits.log_softmax(-1).detach()  # one row's values, token by token
    total = sum(
        -logits[row, position - 1, batch.input_ids[row, position]].item()
        for row, position in zip(*batch.attribute_ids.nonzero(), strict=True)
    )
    logged = metrics(smoke_run)[-1]
    assert logged["split"] == "unseen"
    assert total / (6 * len(rows)) == pytest.approx(logged["attribute_loss"], rel=1e-5)


def test_checkpoint_has_a_tokenizer_that_pads_and_a_config_without_padding(smoke_run: Path) -> None:
    """With a pad token in its config, a model such as Llama would keep a row of its embedding at zero."""
    tokenizer = AutoTokenizer.from_pretrained(smoke_run / LAST)
    assert tokenizer.pad_token_id == tokenizer.bos_token_id == tokenizer.eos_token_id == 188
    batch = tokenizer(["James", "James Smith"], padding=True)
    assert [ids[-1] for ids in batch.input_ids] == [188, load_tokenizer("bio_facts")(" Smith").input_ids[0]]
    for folder in (smoke_run / LAST, *(smoke_run / "models").iterdir()):
        assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["pad_token_id"] is None
        assert json.loads((folder / "generation_config.json").read_text(encoding="utf-8")).get("pad_token_id") is None


def test_row_of_the_pad_token_starts_like_any_other(tmp_path: Path) -> None:
    model = {
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    result = train(tmp_path / "run", "--model_config", json.dumps(model), "--num_steps", 2, "--save_every", 2)
    assert result.returncode == 0, result.stderr
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoint-2")
    embedding = saved.get_input_embeddings()
    assert embedding.padding_idx is None
    assert embedding.weight[188].norm() > embedding.weight.norm(dim=1).mean() / 2


def test_same_command_again_changes_nothing_in_a_complete_run(smoke_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(smoke_run, tmp_path / "run")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    result = train(run)
    assert result.returncode == 0
    assert f"{run} is complete" in result.stdout
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_config_json_repeats_the_run_and_the_launcher_gives_the_same(smoke_run: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    script = [
        str(ROOT / "train/pretrain.py"),
        "--config",
        str(smoke_run / "config.json"),
        "--output-dir",
        str(tmp_path / "run"),
    ]
    subprocess.run(launch + script, env=SCRIPT_ENVIRONMENT, check=True, capture_output=True, timeout=300)
    assert_same_run(tmp_path / "run", smoke_run)


def test_two_processes_give_the_curve_of_one(smoke_run: Path, tmp_path: Path) -> None:
    config = ROOT / "train" / "accelerate_configs" / "two_cpus.yaml"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), "--main_process_port", "29577"]
    script = [str(ROOT / "train/pretrain.py"), "--config", str(SMOKE), "--output-dir", str(tmp_path / "run")]
    subprocess.run(launch + script, env=SCRIPT_ENVIRONMENT, check=True, capture_output=True, timeout=300)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["num_processes"] == 2
    assert json.loads((smoke_run / "config.json").read_text())["num_processes"] == 1
    for ours, theirs in zip(metrics(tmp_path / "run"), metrics(smoke_run), strict=True):
        assert (ours.pop("split"), ours.pop("seconds") > 0) == (theirs.pop("split"), theirs.pop("seconds") > 0)
        assert ours.pop("weights_sha256", {}).keys() == theirs.pop("weights_sha256", {}).keys()
        for key, value in theirs.items():
            # The area under the ROC curve counts ordered pairs; rounding swaps two confidences that are almost equal.
            tolerance = {"abs": 1e-3} if key == "confidence_auroc" else {"rel": 1e-5}
            assert ours[key] == pytest.approx(value, **tolerance), key


def test_processes_that_do_not_join_are_refused(tmp_path: Path) -> None:
    command = script_command("train/pretrain.py", "--config", SMOKE, "--output-dir", tmp_path / "run")
    environment = SCRIPT_ENVIRONMENT | {"WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "false"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert_refused(result, "WORLD_SIZE is 2", "1 process(es) joined", "ACCELERATE_USE_CPU=true")


def test_seed_changes_initial_weights_and_samples(smoke_run: Path, tmp_path: Path) -> None:
    assert train(tmp_path, "--seed", 1, "--num_steps", 5, "--save_every", 5).returncode == 0
    other, first = metrics(tmp_path), metrics(smoke_run)
    assert other[0]["attribute_loss"] != first[0]["attribute_loss"]
    assert other[2]["num_tokens"] != first[2]["num_tokens"]


def test_killed_at_any_moment_and_started_again_ends_the_same(smoke_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    kill_when(run, lambda: (run / "config.json").exists())
    kill_when(run, lambda: (run / "metrics.jsonl").exists() and len(metrics_bytes(run)) > 0)
    kill_when(run, lambda: (run / "checkpoint-10").exists())  # while it is written
    kill_when(run, lambda: (run / "checkpoint-10" / "trainer_state.json").exists())
    kill_when(run, lambda: (run / "checkpoint-20" / "model.safetensors").exists())
    kill_when(run, lambda: (run / "checkpoint-20" / "trainer_state.json").exists() and not_yet(run, 30))
    assert train(run).returncode == 0
    assert_same_run(run, smoke_run)
    assert (run / "checkpoint-20").exists()


def metrics_bytes(run: Path) -> bytes:
    return (run / "metrics.jsonl").read_bytes()


def not_yet(run: Path, step: int) -> bool:
    return f'"step": {step}'.encode() not in metrics_bytes(run)


def test_seconds_never_fall_over_a_resumption(smoke_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(smoke_run, tmp_path / "run")
    shutil.rmtree(run / LAST)
    assert train(run).returncode == 0
    seconds = [line["seconds"] for line in metrics(run)]
    assert seconds == sorted(seconds)
    assert seconds[:10] == [line["seconds"] for line in metrics(smoke_run)][:10]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "trainer_state.json").unlink(),
        lambda folder: (folder / "trainer_state.json").write_text('{"global_step": 30'),
        lambda folder: (folder / "trainer_state.json").write_text('{"global_step": 20}'),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "optimizer.pt").unlink(),
        lambda folder: os.truncate(folder / "model.safetensors", 1000),
        lambda folder: os.truncate(folder / "optimizer.pt", 1000),
    ],
    ids=["no state", "truncated state", "other step", "no model", "no optimizer", "truncated model", "truncated optimizer"],
)
def test_incomplete_checkpoint_is_removed_and_the_one_before_is_used(
    smoke_run: Path, tmp_path: Path, damage: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    from bio_facts.runs.checkpoints import latest_checkpoint, remove_incomplete_checkpoints

    run = shutil.copytree(smoke_run, tmp_path / "run")
    damage(run / LAST)
    assert latest_checkpoint(run) == run / "checkpoint-20"
    assert (run / LAST).exists()
    remove_incomplete_checkpoints(run)
    assert not (run / LAST).exists()
    assert str(run / LAST) in capsys.readouterr().err


def test_truncated_last_line_of_metrics_is_left_out(tmp_path: Path) -> None:
    line = '{"step": 0, "split": "unseen"}\n'
    (tmp_path / "metrics.jsonl").write_text(line + '{"ste')
    assert RunFolder(tmp_path).metrics == [{"step": 0, "split": "unseen"}]


def test_broken_line_inside_metrics_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "split": "unseen"}\n{"ste\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is '\{\"ste'; it must be the JSON of an evaluation"):
        RunFolder(tmp_path).metrics  # noqa: B018


def test_resumption_without_the_metrics_so_far_is_refused(smoke_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(smoke_run, tmp_path / "run")
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:4] + lines[5:]))
    assert_refused(train(run), "lacks step 10 of validation", "another output_dir")


@pytest.mark.parametrize(
    ("recorded", "fragments"),
    [("0" * 64, ["holds another run: its data_digest is '000"]), (None, ["has no data_digest", "another output_dir"])],
)
def test_run_on_other_rows_is_not_resumed(smoke_run: Path, tmp_path: Path, recorded: str | None, fragments: list[str]) -> None:
    run = shutil.copytree(smoke_run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    del config["data_digest"]
    (run / "config.json").write_text(json.dumps(config | ({} if recorded is None else {"data_digest": recorded})))
    assert_refused(train(run), *fragments)


def test_run_resumes_though_its_kept_models_have_no_tokenizer(smoke_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(smoke_run, tmp_path / "run")
    shutil.rmtree(run / LAST)
    for file in run.glob("models/step-*/tokenizer*"):
        file.unlink()
    assert train(run).returncode == 0


def test_older_checkpoint_that_was_half_removed_is_removed(smoke_run: Path, tmp_path: Path) -> None:
    from bio_facts.runs.checkpoints import latest_checkpoint, remove_incomplete_checkpoints

    run = shutil.copytree(smoke_run, tmp_path / "run")
    (run / "checkpoint-10").mkdir()
    remove_incomplete_checkpoints(run)
    assert latest_checkpoint(run) == run / LAST
    assert not (run / "checkpoint-10").exists()


def test_refused_model_leaves_the_folder_free_for_the_right_one(tmp_path: Path) -> None:
    assert_refused(train(tmp_path, "--model_config.foo", 3), "model_config.foo")
    assert train(tmp_path, "--num_steps", 5, "--save_every", 5).returncode == 0


def test_loss_that_is_not_finite_ends_the_run_and_names_the_last_checkpoint(smoke_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(smoke_run, tmp_path / "run")
    shutil.rmtree(run / LAST)
    weights = load_file(run / "checkpoint-20" / "model.safetensors")
    weights["gpt_neox.final_layer_norm.bias"][:] = float("nan")
    save_file(weights, run / "checkpoint-20" / "model.safetensors", metadata={"format": "pt"})
    result = train(run)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"loss is nan at step 21; the last good checkpoint is {run / 'checkpoint-20'}" in result.stderr


def test_run_that_diverges_at_once_has_no_checkpoint(tmp_path: Path) -> None:
    result = train(tmp_path, "--learning_rate", "1e30", "--max_grad_norm", 0)
    assert result.returncode == 1
    assert re.search(r"loss is (nan|inf) at step \d+; there is no checkpoint before it", result.stderr)
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU: apt-get install g++")
def test_compiled_run_in_bfloat16_resumes_and_saves_plain_weights(smoke_run: Path, tmp_path: Path) -> None:
    fast = ("--precision", "bf16", "--torch_compile", "true", "--num_steps", 2, "--eval_every", "[[1, 2]]", "--save_every", 1)
    kept = ("--keep_models_at", "[1]")
    command = script_command("train/pretrain.py", "--config", SMOKE, "--output-dir", tmp_path, *fast, *kept)
    assert run_command(command).returncode == 0
    whole = metrics(tmp_path, without=("seconds",))
    shutil.rmtree(tmp_path / "checkpoint-2")
    assert run_command(command).returncode == 0
    assert metrics(tmp_path, without=("seconds",)) == whole
    with safe_open(smoke_run / LAST / "model.safetensors", "pt") as plain:
        names = set(plain.keys())
    for folder in ("checkpoint-2", "models/step-1"):
        with safe_open(tmp_path / folder / "model.safetensors", "pt") as saved:
            assert set(saved.keys()) == names
            assert {saved.get_tensor(name).dtype for name in names} == {torch.float32}


@pytest.mark.ecosystem
def test_trackers_get_the_numbers_of_the_metrics(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    short = ("--num_steps", 5, "--save_every", 5, "--report-to", "tensorboard")
    assert train(tmp_path, *short).returncode == 0
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    logged = EventAccumulator(str(events)).Reload()
    (tag,) = (tag for tag in logged.Tags()["scalars"] if tag.endswith("validation/attribute_loss"))
    expected = {line["step"]: line["attribute_loss"] for line in metrics(tmp_path) if line["split"] == "validation"}
    assert {item.step: item.value for item in logged.Scalars(tag)} == pytest.approx(expected)


def test_run_ends_at_the_first_evaluation_that_decides_it_and_is_complete_then(tmp_path: Path) -> None:
    few = ("--dataset_parameters.num_individuals", 3, "--learning_rate", "1e-2", "--keep_models_at", "[]", "--stop_below", 0.95)
    long = ("--num_steps", 400, "--eval_every", "[[20, 400]]", "--save_every", 200)
    assert train(tmp_path, *few, *long).returncode == 0
    shares = [line["attribute_loss"] / line["no_knowledge_loss"] for line in metrics(tmp_path) if line["split"] == "validation"]
    assert 2 < len(shares) < 20
    assert [share < 0.95 for share in shares] == [False] * (len(shares) - 1) + [True]
    assert "is complete" in train(tmp_path, *few, *long).stdout


@pytest.mark.parametrize("text", ["{", "[]", '{"recipe": {}}'])
def test_config_json_that_is_none_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is not the config\.json of a run"):
        RunFolder(tmp_path).check_run(load_recipe(SMOKE, {}).as_config())


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        (["--learning_rate", "1e-3"], ["another run", "learning_rate is 0.002, not 0.001"]),
        (["--seed", "3"], ["another run", "seed is 0, not 3"]),
    ],
)
def test_folder_of_another_run_is_refused_and_left_as_it_is(
    smoke_run: Path, tmp_path: Path, overrides: list[str], fragments: list[str]
) -> None:
    run = shutil.copytree(smoke_run, tmp_path / "run")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    assert_refused(train(run, *overrides), *fragments)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    assert_refused(train(tmp_path), "'thesis.tex'", "must be empty")
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    held = lock_folder("output_dir", tmp_path)
    with pytest.raises(ValueError, match=r"^output_dir .* is in use by another process"):
        lock_folder("output_dir", tmp_path)
    held.release()
    lock_folder("output_dir", tmp_path).release()


def test_folder_in_use_on_a_disk_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for such a disk: it refuses what the disk refuses."""

    def no_locks(*args: object, **options: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    held = lock_folder("output_dir", tmp_path)
    RunFolder(tmp_path).check_run(load_recipe(SMOKE, {}).as_config())
    with pytest.raises(ValueError, match="in use by another process"):
        lock_folder("output_dir", tmp_path)
    held.release()
    lock_folder("output_dir", tmp_path).release()


def test_trains_without_fcntl(smoke_run: Path, tmp_path: Path) -> None:
    """A stand-in for Windows, which has no such module: scripts and their locks do without it."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['fcntl'] = None\n")
    environment = SCRIPT_ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    run = shutil.copytree(smoke_run, tmp_path / "run")
    shutil.rmtree(run / LAST)
    (run / ".lock").unlink()  # of a system with fcntl; without, it would say that the folder is held
    command = script_command("train/pretrain.py", "--config", SMOKE, "--output-dir", run)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "only soft file lock is available" in done.stderr  # else the test shows nothing
    assert_same_run(run, smoke_run)


def test_checkpoint_of_other_shape_is_refused(smoke_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(smoke_run, tmp_path / "run")
    shutil.rmtree(run / LAST)
    config = json.loads((run / "config.json").read_text())
    config["recipe"]["model_config"]["hidden_size"] = 64
    (run / "config.json").write_text(json.dumps(config))
    result = train(run, "--model_config.hidden_size", 64)
    assert_refused(result, "checkpoint-20", "(6036, 32)", "(6036, 64)")


@pytest.mark.parametrize(
    ("num_layers", "fragment"),
    [(2, "checkpoint-20 lacks gpt_neox.layers.1."), (0, "checkpoint-20 has gpt_neox.layers.0.")],
)
def test_checkpoint_of_another_depth_is_refused(smoke_run: Path, num_layers: int, fragment: str) -> None:
    from bio_facts.runs.checkpoints import load_weights

    config = AutoConfig.from_pretrained(smoke_run / "checkpoint-20", num_hidden_layers=num_layers)
    with pytest.raises(ValueError, match=fragment):
        load_weights(smoke_run / "checkpoint-20", AutoModelForCausalLM.from_config(config))


OTHER_NAMES = {
    "untied gpt_neox": {"model_type": "gpt_neox", "tie_word_embeddings": False, "intermediate_size": 64},
    "mixtral": {
        "model_type": "mixtral",
        "intermediate_size": 64,
        "num_key_value_heads": 2,
        "num_local_experts": 2,
        "tie_word_embeddings": False,
    },
}


@pytest.mark.parametrize("kind", OTHER_NAMES)
def test_model_whose_saved_weights_have_other_names_resumes(kind: str, tmp_path: Path) -> None:
    fields = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2} | OTHER_NAMES[kind]
    arguments = ("--model_config", json.dumps(fields), "--num_steps", 4, "--eval_every", "[[1, 4]]", "--save_every", 2)
    arguments += ("--keep_models_at", "[]", "--num_eval_biographies", 5)
    assert train(tmp_path / "whole", *arguments).returncode == 0
    whole = load_file(tmp_path / "whole" / "checkpoint-4" / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "whole" / "checkpoint-4")
    assert set(whole) != set(model.state_dict())  # else the test shows nothing
    interrupted = shutil.copytree(tmp_path / "whole", tmp_path / "interrupted")
    shutil.rmtree(interrupted / "checkpoint-4")
    done = train(interrupted, *arguments)
    assert done.returncode == 0, done.stderr
    resumed = load_file(interrupted / "checkpoint-4" / "model.safetensors")
    assert resumed.keys() == whole.keys()
    assert {name for name in resumed if not torch.equal(resumed[name], whole[name])} == set()
    assert metrics(interrupted, without=("seconds",)) == metrics(tmp_path / "whole", without=("seconds",))
