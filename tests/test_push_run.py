"""bio-facts push-run and verify-run, with the real client of the Hub and a Hub on this machine."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SMOKE, assert_refused, contents, run_script
from hub_server import HubServer, Reply

from bio_facts.hub import _seconds_to_wait
from bio_facts.runs.curves import read_run
from bio_facts.runs.kept_models import verify_run

REPO, TAG = "me/bio_facts-smoke", "v1.0.0"
STEPS = [0, 5, 10, 20, 30]
KIND = "models"


@pytest.fixture
def run(smoke_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return shutil.copytree(smoke_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoint-*", ".lock"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as server:
        yield server


@pytest.fixture(scope="module")
def published(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub to which the run was pushed. Not to be changed."""
    with HubServer(tmp_path_factory.mktemp("published") / "hub") as server:
        result = push(server, smoke_run)
        assert (result.returncode, result.stderr) == (0, "")
        assert f"{REPO} has 5 models and {TAG} now" in result.stdout
        yield server


def python(hub: HubServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = hub.environment(hub.contents.parent / "home") | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=240)


def push(hub: HubServer, folder: Path, repo_id: str = REPO) -> subprocess.CompletedProcess[str]:
    return python(hub, "-m", "bio_facts.cli", "push-run", repo_id, "--from", str(folder))


def exchange(run: Path, first: int, second: int) -> None:
    """Exchange the models of two steps, as an upload to the wrong branches would."""
    folders = [run / "models" / f"step-{step}" for step in (first, second)]
    folders[0].rename(run / "between")
    folders[1].rename(folders[0])
    (run / "between").rename(folders[1])


def edit_metrics(run: Path, change: Callable[[dict[int, dict[str, Any]]], object]) -> None:
    """Change the validation lines of metrics.jsonl, which are given by step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    change({line["step"]: line for line in lines if line["split"] == "validation"})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def exchange_digests(lines: dict[int, dict[str, Any]]) -> None:
    lines[5]["weights_sha256"], lines[10]["weights_sha256"] = lines[10]["weights_sha256"], lines[5]["weights_sha256"]


# verify-run, of a folder


@pytest.mark.parametrize(("quick", "scored"), [(False, STEPS), (True, [0, 10, 30])])
def test_kept_models_give_the_recorded_losses(quick: bool, scored: list[int], smoke_run: Path) -> None:
    *lines, last = verify_run(str(smoke_run), quick=quick)
    assert [line.split(":")[0] for line in lines] == [f"step {step}" for step in STEPS]
    assert [step for step, line in zip(STEPS, lines, strict=True) if "nats per value" in line] == scored
    assert last == f"{smoke_run}: 5 models, all as recorded"


def test_run_in_bf16_with_the_tokenizer_of_its_words_is_verified(tmp_path: Path) -> None:
    other = ("--tokenizer", "words", "--precision", "bf16", "--keep_models_at", "log", "--num_steps", 3, "--save_every", 3)
    done = run_script("train/pretrain.py", "--config", SMOKE, "--output-dir", tmp_path, *other, "--eval_every", "[[3, 3]]")
    assert done.returncode == 0, done.stderr
    *lines, _ = verify_run(str(tmp_path))
    assert [line.split(":")[0] for line in lines] == [f"step {step}" for step in (0, 1, 2, 3)]


def test_committed_curves_have_no_digests(smoke_run: Path) -> None:
    from curve_files import curves_text

    text = curves_text([read_run(smoke_run)])
    assert '"attribute_loss"' in text
    assert "weights_sha256" not in text


def test_exchanged_models_are_noticed_by_their_digests(run: Path) -> None:
    exchange(run, 5, 10)
    with pytest.raises(
        ValueError, match=r"has wrong models: step 5: model.safetensors has SHA-256 \w+\.\.\., .*; also step 10$"
    ):
        list(verify_run(str(run), quick=True))


def test_exchanged_models_are_noticed_by_their_losses(run: Path) -> None:
    """Where digests were written from the wrong files."""
    exchange(run, 5, 10)
    edit_metrics(run, exchange_digests)
    with pytest.raises(ValueError, match=r"has wrong models: step 5: its weights give a loss of 13.* also step 10$"):
        list(verify_run(str(run)))


def test_loss_is_compared_to_a_thousandth(run: Path) -> None:
    def raise_losses(lines: dict[int, dict[str, Any]]) -> None:
        lines[5]["attribute_loss"] += 0.0008
        lines[20]["attribute_loss"] += 0.0012

    edit_metrics(run, raise_losses)
    with pytest.raises(ValueError, match=r"has wrong models: step 20: [^;]*$"):
        list(verify_run(str(run)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: shutil.rmtree(run / "models" / "step-5"), r"step 5: model.safetensors is missing$"),
        (lambda run: edit_metrics(run, lambda lines: lines[5].pop("weights_sha256")), r"step 5: the run recorded no weights"),
    ],
    ids=["missing", "not recorded"],
)
def test_model_without_its_digest_or_digest_without_its_model_is_noticed(
    damage: Callable[[Path], object], message: str, run: Path
) -> None:
    damage(run)
    with pytest.raises(ValueError, match=message):
        list(verify_run(str(run), quick=True))


def drop_all_digests(run: Path) -> None:
    edit_metrics(run, lambda lines: [line.pop("weights_sha256", None) for line in lines.values()])


def edit_config(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_all_digests, "has recorded no weights_sha256; it must be trained with keep_models_at"),
        (lambda run: (run / "config.json").unlink(), "has no config.json"),
        (lambda run: edit_config(run, lambda config: config.update(data_digest="0")), "trained on rows with data_digest 0"),
        (
            lambda run: edit_config(run, lambda config: config["recipe"].update(attention={"start_step": 0})),
            "was given the attention of another model",
        ),
    ],
    ids=["no digests", "no config", "other rows", "patched attention"],
)
def test_run_that_cannot_be_verified_is_refused(damage: Callable[[Path], object], message: str, run: Path) -> None:
    damage(run)
    with pytest.raises(ValueError, match=re.escape(message)):
        next(verify_run(str(run)))


def test_name_that_is_no_folder_and_no_hub_id_is_refused() -> None:
    with pytest.raises(ValueError, match="run is 'demo', which is no folder and no Hub id; it must be like runs/demo"):
        next(verify_run("demo"))


# push-run


def test_every_step_is_a_branch_from_one_first_commit(published: HubServer) -> None:
    repo = published.repos[f"{KIND}/{REPO}"]
    assert set(repo.branches) == {f"step{step}" for step in STEPS}
    (first,) = {repo.parents[commit] for commit in (repo.head, *repo.branches.values())}
    added = {"README.md", "run/config.json", "run/metrics.jsonl", "run/curves.png"}
    assert set(repo.commits[first]) == added | {".gitattributes"}


def test_branches_hold_the_models_and_main_the_last(published: HubServer, smoke_run: Path) -> None:
    for branch, step in [*((f"step{step}", step) for step in STEPS), ("main", 30)]:
        files = published.files(REPO, branch, KIND)
        model = contents(smoke_run / "models" / f"step-{step}")
        assert {"model.safetensors", "tokenizer.json"} <= model.keys()
        assert {path: files[path] for path in model} == model
        assert files["run/metrics.jsonl"] == (smoke_run / "metrics.jsonl").read_bytes()
        assert files["run/config.json"] == (smoke_run / "config.json").read_bytes()


def test_tag_is_set_last_on_main(published: HubServer) -> None:
    writes = [path for method, path in published.requests if method in ("POST", "PUT")]
    assert "/tag/" in writes[-1]
    assert published.tags(REPO, KIND) == {TAG: published.repos[f"{KIND}/{REPO}"].head}


def test_python_in_the_card_loads_a_step(published: HubServer) -> None:
    card = published.files(REPO, "step5", KIND)["README.md"].decode()
    (block,) = re.findall(r"^```python\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)
    assert f'"{REPO}", revision="step30"' in block
    result = python(published, "-c", block)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"\d+ \[[\d, ]+\]\n", result.stdout)


def test_card_has_data_recipe_curves_and_citation(published: HubServer, smoke_run: Path) -> None:
    card = published.files(REPO, "main", KIND)["README.md"].decode()
    config = json.loads((smoke_run / "config.json").read_text())
    for text in (config["dataset_fingerprint"], config["data_digest"], "learning_rate: 0.002", "(run/curves.png)", "@misc{"):
        assert text in card
    assert re.findall(r"^\| (step\d+) ", card, flags=re.MULTILINE) == [f"step{step}" for step in STEPS]
    assert "## Verdict" not in card


def test_card_has_the_verdict_of_the_run(hub: HubServer, run: Path) -> None:
    measure = {"description": "width of the plateau", "values": {"0": 6.25}, "shown_if": "above 3.5", "paper": 6.1}
    (run / "three_phases.json").write_text(json.dumps({"claim": "three_phases", "measures": [measure]}))
    assert push(hub, run).returncode == 0
    files = hub.files(REPO, "main", KIND)
    assert "| three_phases | width of the plateau | 6.25 | above 3.5 | 6.1 |" in files["README.md"].decode()
    assert files["run/three_phases.json"] == (run / "three_phases.json").read_bytes()


def test_pushing_again_changes_nothing(published: HubServer, smoke_run: Path) -> None:
    commits = dict(published.repos[f"{KIND}/{REPO}"].commits)
    assert push(published, smoke_run).stdout == f"{REPO} has {TAG} with this run already\n"
    assert published.repos[f"{KIND}/{REPO}"].commits == commits


def test_published_run_is_verified(published: HubServer) -> None:
    result = python(published, "-m", "bio_facts.cli", "verify-run", REPO)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("nats per value") == 5
    assert result.stdout.endswith(f"{REPO}: 5 models, all as recorded\n")


def test_exchanged_branches_are_noticed(hub: HubServer, smoke_run: Path) -> None:
    assert push(hub, smoke_run).returncode == 0
    branches = hub.repos[f"{KIND}/{REPO}"].branches
    branches["step5"], branches["step20"] = branches["step20"], branches["step5"]
    hub.repos[f"{KIND}/{REPO}"].head = branches["step10"]
    result = python(hub, "-m", "bio_facts.cli", "verify-run", REPO, "--quick")
    assert_refused(result, f"run {REPO} has wrong models: step 5: model.safetensors has SHA-256", "also step 20, main")


def test_run_that_is_not_on_the_hub_is_refused(hub: HubServer) -> None:
    result = python(hub, "-m", "bio_facts.cli", "verify-run", "me/nothing")
    assert_refused(result, "run me/nothing is no folder, and cannot be read from the Hub")


@pytest.mark.parametrize(
    ("part_of_path", "number"),
    [("/repos/create", 1), ("/commit/main", 1), ("/branch/step5", 1), ("/commit/step10", 1), ("/commit/main", 2), ("/tag/", 1)],
)
def test_interrupted_push_sets_no_tag_and_is_completed_by_another(
    part_of_path: str, number: int, hub: HubServer, published: HubServer, smoke_run: Path
) -> None:
    seen: list[str] = []

    def fails(method: str, path: str) -> bool:
        seen.extend([path] if part_of_path in path else [])
        return len(seen) >= number and part_of_path in path

    hub.fail_when = fails
    assert_refused(push(hub, smoke_run), f"push to {REPO} did not complete, {TAG} is not set; push again: ", "507")
    assert not hub.repos or hub.tags(REPO, KIND) == {}
    hub.fail_when = None
    result = push(hub, smoke_run)
    assert (result.returncode, result.stderr) == (0, "")
    ours, whole = hub.repos[f"{KIND}/{REPO}"], published.repos[f"{KIND}/{REPO}"]
    assert ours.branches == whole.branches  # commits are hashes of their files and of the commits before them
    assert (ours.head, ours.tags) == (whole.head, whole.tags)


def test_push_waits_when_the_hub_says_that_there_are_too_many_requests(hub: HubServer, smoke_run: Path) -> None:
    hub.fault = Reply(b'{"error": "Too many requests"}', 429, {"Retry-After": "1"})
    refused: list[str] = []

    def busy(method: str, path: str) -> bool:
        if not any(part in path for part in ("/commit/step5", "/branch/step10", "/tag/")) or path in refused:
            return False
        refused.append(path)
        return True

    hub.fail_when = busy
    result = push(hub, smoke_run)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == ["the Hub limits the number of requests: waiting for 1 s"] * 3
    assert len(refused) == 3
    assert hub.tags(REPO, KIND) == {TAG: hub.repos[f"{KIND}/{REPO}"].head}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7), ({"RateLimit": '"api";r=0;t=55'}, 55), ({"Retry-After": "Wed, 21 Oct 2026"}, None), ({}, None)],
)
def test_time_to_wait_is_read_from_the_headers(headers: dict[str, str], seconds: int | None) -> None:
    assert _seconds_to_wait(headers) == seconds


def end_early(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] < 30))


def forget_last(run: Path) -> None:
    shutil.rmtree(run / "models" / "step-30")
    edit_metrics(run, lambda lines: lines[30].pop("weights_sha256"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: exchange(run, 5, 10), "has a wrong model of step 5: model.safetensors has SHA-256"),
        (lambda run: (run / "models" / "step-10" / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (end_early, "it must be finished, up to step 30"),
        (forget_last, "keeps no model of its last step, 30; train it with keep_models_at: log"),
        (drop_all_digests, "has recorded no weights_sha256"),
    ],
    ids=["exchanged models", "no tokenizer", "unfinished", "last step not kept", "no digests"],
)
def test_run_that_is_not_whole_is_refused_before_anything_is_uploaded(
    damage: Callable[[Path], object], message: str, hub: HubServer, run: Path
) -> None:
    damage(run)
    assert_refused(push(hub, run), message)
    assert hub.requests == []


@pytest.mark.parametrize("repo_id", ["smoke", "me/a/b", "me/-smoke"])
def test_bad_repository_name_is_refused(repo_id: str, hub: HubServer, smoke_run: Path) -> None:
    assert_refused(push(hub, smoke_run, repo_id), repo_id)
    assert hub.repos == {}


def test_repository_of_another_run_is_refused(published: HubServer, run: Path) -> None:
    edit_config(run, lambda config: config["recipe"].update(learning_rate=1))
    repo = published.repos[f"{KIND}/{REPO}"]
    before = (repo.head, dict(repo.branches), dict(repo.commits))
    assert_refused(push(published, run), f"{REPO} holds another run: its run/config.json differs; push to another repo")
    assert (repo.head, repo.branches, repo.commits) == before


def test_repository_with_other_files_is_refused(hub: HubServer, smoke_run: Path) -> None:
    assert python(hub, "-c", f"import huggingface_hub as hub; hub.create_repo({REPO!r})").returncode == 0
    repo = hub.repos[f"{KIND}/{REPO}"]
    repo.commit("foreign", {"notes.txt": hub.store("0" * 40, b"mine")})
    assert_refused(push(hub, smoke_run), f"{REPO} holds notes.txt, which is of no run of bio-facts; push to another repo")
    assert len(repo.commits) == 2
