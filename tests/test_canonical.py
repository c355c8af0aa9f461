"""bio-facts push --canonical, with the real client of the Hub and a Hub on this machine."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT, assert_refused, contents, ecosystem
from hub_server import HubServer, Reply
from pyarrow import feather

from bio_facts.generate.config import CONFIGS, get_config
from bio_facts.hub import is_repo_id
from bio_facts.publish.build import build
from bio_facts.publish.canonical import CANONICAL
from bio_facts.publish.tables import num_rows, record_batch

pytestmark = ecosystem("datasets")
REPO, TAG, KEY = "me/bio_facts", "v1.0.0", "datasets/me/bio_facts"
FOLDER = f"bio_facts-{TAG}"  # the default one
SMALL = {
    "small": CONFIGS["n1k"].replace(num_individuals=50, num_biographies=300),
    "people": CONFIGS["individuals"].replace(num_individuals=40),
    "asked": CONFIGS["questions"].replace(num_individuals=10),
    "templates": CONFIGS["templates"],
}
TINY = {"templates": CONFIGS["templates"]}
# Runs bio-facts with a small set in place of the canonical one.
PROGRAM = """
import json, sys
from bio_facts.cli import main
from bio_facts.commands import hub
from bio_facts.generate.config import config_from
hub.CANONICAL = {name: config_from(*config) for name, config in json.loads(sys.argv[1]).items()}
sys.exit(main(sys.argv[2:]))
"""
LOAD = f"""
from datasets import get_dataset_config_names, load_dataset
from pyarrow import feather
for name in get_dataset_config_names("{REPO}", revision="{TAG}"):
    for split, rows in load_dataset("{REPO}", name, revision="{TAG}").items():
        feather.write_feather(rows.with_format("arrow")[:], f"{{name}}-{{split}}.feather")
"""


def start(hub: HubServer, folder: Path, *options: str, configs: dict[str, Any] = TINY) -> "subprocess.Popen[str]":
    """`bio-facts push --canonical` in a new process, started in `folder`, with a small set."""
    small = json.dumps({name: [config.table, config.parameters] for name, config in configs.items()})
    command = [sys.executable, "-c", PROGRAM, small, "push", "--canonical", REPO, *options, "--num-workers", "1"]
    folder.mkdir(exist_ok=True)
    environment = hub.environment(folder / "home") | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def push(hub: HubServer, folder: Path, *options: str, configs: dict[str, Any] = TINY) -> subprocess.CompletedProcess[str]:
    process = start(hub, folder, *options, configs=configs)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def uploaded(configs: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """The files of a set on the Hub: those of a build without interruption, with the name of the repository in the card."""
    build(configs, folder, 1)
    files = contents(folder)
    return files | {"README.md": files["README.md"].replace(b"<you>/bio_facts", REPO.encode())}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as server:
        yield server


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub that has the set, pushed by the one command. Not to be changed."""
    folder = tmp_path_factory.mktemp("published")
    with HubServer(folder / "hub") as server:
        result = push(server, folder / "work", configs=SMALL)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith(f"{FOLDER}: small, people, asked, templates; ")
        assert result.stdout.endswith(f"\n{REPO} has {TAG} now\n")
        yield server


def files_on(hub: HubServer, revision: str) -> dict[str, bytes]:
    files = hub.files(REPO, revision)
    files.pop(".gitattributes")
    return files


def test_set_has_three_sizes_and_all_other_tables() -> None:
    assert list(CANONICAL) == ["n1k", "n8k", "n64k", "individuals", "templates", "questions", "cloze"]
    assert {config.table for config in CANONICAL.values()} == {config.table for config in CONFIGS.values()}


VARIANTS = [(size, name) for size in ("n1k", "n8k", "n64k") for name in CONFIGS if name.startswith(f"{size}-")]


@pytest.mark.parametrize(("size", "variant"), VARIANTS)
def test_every_variant_has_the_evaluation_splits_that_are_in_the_set(size: str, variant: str) -> None:
    """As the dataset card says. With fine-tuning, they are those of the individuals of pre-training."""
    config, exported, rows = get_config(variant), CANONICAL[size], np.arange(0, 16_000, 400)
    validation = "pretrain_validation" if "pretrain_validation" in num_rows(config) else "validation"
    assert record_batch(config, validation, rows).equals(record_batch(exported, "validation", rows))
    assert record_batch(config, "unseen", rows).equals(record_batch(CANONICAL["n1k"], "unseen", rows))


def test_one_command_publishes_the_whole_set(published: HubServer, tmp_path: Path) -> None:
    assert files_on(published, TAG) == uploaded(SMALL, tmp_path / "export")
    assert published.tags(REPO) == {TAG: published.repos[KEY].head}


def test_rows_of_all_configs_and_splits_are_loaded_back(published: HubServer, tmp_path: Path) -> None:
    environment = published.environment(tmp_path / "reader")
    command = [sys.executable, "-c", LOAD]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    loaded = {path.stem: feather.read_table(path) for path in tmp_path.glob("*.feather")}
    splits = {f"{name}-{split}": (name, split) for name, config in SMALL.items() for split in num_rows(config)}
    assert loaded.keys() == splits.keys()
    for key, (name, split) in splits.items():
        generated = pa.Table.from_batches([record_batch(SMALL[name], split, range(num_rows(SMALL[name])[split]))])
        assert loaded[key].cast(generated.schema).equals(generated), key


def test_second_push_changes_nothing(hub: HubServer, tmp_path: Path) -> None:
    for outcome in ("now", "with these rows already"):
        assert push(hub, tmp_path / "work").stdout.endswith(f"\n{REPO} has {TAG} {outcome}\n")
    assert len(hub.repos[KEY].commits) == 2  # the Hub's and ours


@pytest.mark.parametrize("part_of_path", ["/repos/create", "/preupload/", "/commit/", "/tag/"])
def test_push_that_is_killed_at_a_request_is_completed_by_another(part_of_path: str, hub: HubServer, tmp_path: Path) -> None:
    expected = uploaded(TINY, tmp_path / "expected")
    process = start(hub, tmp_path / "work")
    hub.kill_at(part_of_path, process)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    if hub.repos:
        assert hub.tags(REPO) == {}
        assert files_on(hub, "main") in ({}, expected)
    hub.fail_when = None
    result = push(hub, tmp_path / "work")
    assert result.stdout == f"{FOLDER}: already built\n{REPO} has {TAG} now\n", result.stderr
    assert files_on(hub, TAG) == expected


def test_push_that_is_killed_in_the_build_is_completed_by_another(hub: HubServer, tmp_path: Path) -> None:
    configs = {"small": SMALL["small"], "templates": CONFIGS["templates"]}
    process = start(hub, tmp_path / "work", configs=configs)
    partial = tmp_path / "work" / f"{FOLDER}.partial" / "data"
    while process.poll() is None and not list(partial.rglob("*.parquet")):
        threading.Event().wait(0.001)
    process.kill()
    process.communicate(timeout=120)
    assert partial.is_dir()
    assert hub.requests == []
    result = push(hub, tmp_path / "work", configs=configs)
    assert (result.returncode, result.stderr) == (0, "")
    assert files_on(hub, TAG) == uploaded(configs, tmp_path / "expected")


def test_set_is_built_in_the_given_folder(hub: HubServer, tmp_path: Path) -> None:
    hub.fault, hub.fail_when = Reply(b'{"error": "No"}', 403), lambda method, path: True
    assert push(hub, tmp_path / "work", "--from", "mine").returncode == 2
    assert set(contents(tmp_path / "work" / "mine")) == set(uploaded(TINY, tmp_path / "expected"))


def test_folder_with_another_export_is_refused_before_anything_is_uploaded(hub: HubServer, tmp_path: Path) -> None:
    build({"people": CONFIGS["individuals"].replace(num_individuals=4)}, tmp_path / "export", 1)
    before = contents(tmp_path / "export")
    assert_refused(push(hub, tmp_path / "work", "--from", str(tmp_path / "export")), f"{tmp_path}/export holds data 1.0.0 of")
    assert contents(tmp_path / "export") == before
    assert hub.requests == []


@pytest.mark.parametrize(
    "text",
    [
        *("you/bio_facts", "y/b", "You-2/a.b-c", "_you/b_", "<you>/bio_facts", "you/bio facts", "you/-b", "you/b.", "you/a--b"),
        *("you/a..b", "you", "a/b/c", "/b", "a/", "", "you/bücher"),
    ],
)
def test_repository_is_one_that_the_client_accepts(text: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(text)
        accepted = "/" in text  # the client also accepts names without an owner
    except HFValidationError:
        accepted = False
    assert is_repo_id(text) == accepted
