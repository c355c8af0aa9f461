import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import assert_refused, contents, ecosystem
from hub_server import HubServer, Reply, Repo, Request

from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.splits import draw
from bio_facts.publish.build import build

pytestmark = ecosystem("datasets")
BIO_FACTS = str(Path(sys.executable).parent / "bio-facts")
REPO, TAG = "me/bio_facts", "v1.0.0"
SMALL = CONFIGS["n1k"].replace(num_individuals=50, num_biographies=300, seed=3)
LOAD = f"""
import json, sys
from datasets import load_dataset
asked = {{"path": "{REPO}", "revision": "{TAG}"}}
loaded = {{
    "biographies": load_dataset(**asked, name="small", split="train"),
    "biographies, streamed": load_dataset(**asked, name="small", split="train", streaming=True),
    "templates": load_dataset(**asked, name="templates", split="train"),
    "default": load_dataset(**asked, split="train[:3]"),
}}
print(json.dumps({{name: list(rows) for name, rows in loaded.items()}}))
"""


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small export with biographies. Read only."""
    folder = tmp_path_factory.mktemp("exports") / "biographies"
    build({"small": SMALL, "templates": CONFIGS["templates"]}, folder, num_workers=2)
    return folder


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny export, of templates. Read only."""
    folder = tmp_path_factory.mktemp("exports") / "templates"
    build({"templates": CONFIGS["templates"]}, folder, num_workers=1)
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as server:
        yield server


def push(
    hub: HubServer,
    folder: Path,
    *options: str,
    repo_id: str = REPO,
    command: tuple[str, ...] = (BIO_FACTS,),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Result of `bio-facts push` in a new process with an empty home."""
    home = hub.contents.parent / "home"
    return subprocess.run(
        [*command, "push", repo_id, "--from", str(folder), *options],
        env=hub.environment(home) | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def published(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub to which the export was pushed. Not to be changed."""
    with HubServer(tmp_path_factory.mktemp("published") / "hub") as server:
        assert push(server, export).returncode == 0
        yield server


def state(hub: HubServer) -> dict[str, Any]:
    """All that is on the Hub, to be compared."""
    return {name: (repo.head, dict(repo.commits), dict(repo.tags)) for name, repo in hub.repos.items()}


def assert_published(hub: HubServer, folder: Path, repo_id: str = REPO) -> None:
    """The tag is there, on a commit that holds the export, its card with the repository's name, and nothing else."""
    published = hub.files(repo_id, TAG)
    published.pop(".gitattributes", None)
    assert published == uploaded(folder, repo_id)


def uploaded(folder: Path, repo_id: str = REPO) -> dict[str, bytes]:
    """What an export is on the Hub."""
    files = contents(folder)
    return files | {"README.md": files["README.md"].replace(b"<you>/bio_facts", repo_id.encode())}


def assert_main_is_empty_or_whole(hub: HubServer, folder: Path) -> None:
    """Who loads the dataset without a tag never gets a part of it."""
    if hub.repos:
        on_main = hub.files(REPO)
        on_main.pop(".gitattributes")
        assert on_main in ({}, uploaded(folder))


def writes(hub: HubServer) -> list[tuple[str, str]]:
    return [(method, path) for method, path in hub.requests if method not in ("GET", "HEAD")]


def fail_at(hub: HubServer, part_of_path: str, number: int = 1) -> None:
    """From the `number`-th such request on, none succeeds."""
    seen = []

    def fails(method: str, path: str) -> bool:
        if method in ("POST", "PUT") and part_of_path in path:
            seen.append(path)
        return len(seen) >= number and part_of_path in path

    hub.fail_when = fails


def own_repo(hub: HubServer, files: dict[str, bytes]) -> None:
    """A repository REPO that somebody has filled in another way."""
    repo = hub.repos[f"datasets/{REPO}"] = Repo(REPO)
    repo.commit("foreign", {path: hub.store(f"{index:040d}", content) for index, (path, content) in enumerate(files.items())})


def test_push_says_what_it_did_and_no_more(hub: HubServer, templates: Path) -> None:
    result = push(hub, templates)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{REPO} has {TAG} now\n", "")


def test_pushed_export_is_on_the_hub_under_its_tag(published: HubServer, export: Path) -> None:
    assert_published(published, export)


def test_rows_loaded_from_the_hub_are_those_of_the_package(published: HubServer, tmp_path: Path) -> None:
    environment = published.environment(tmp_path / "reader")
    loaded = subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, timeout=120)
    assert loaded.returncode == 0, loaded.stderr
    configs = json.loads(loaded.stdout)
    biographies = rows(draw(SMALL, "train", range(300)))
    assert configs["biographies"] == biographies
    assert configs["biographies, streamed"] == biographies
    assert configs["default"] == biographies[:3]
    assert len(configs["templates"]) == 150


def python_blocks(markdown: bytes) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", markdown.decode(), flags=re.DOTALL | re.MULTILINE)


def run_python(hub: HubServer, home: Path, program: str) -> str:
    environment = hub.environment(home)
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_card_on_the_hub_names_the_repository_wherever_the_local_one_has_a_placeholder(
    published: HubServer, export: Path
) -> None:
    local, card = (export / "README.md").read_bytes(), published.files(REPO)["README.md"]
    assert local.count(b"<you>/bio_facts") == card.count(REPO.encode()) >= 1
    assert b"<you>" not in card


def test_python_in_the_card_on_the_hub_runs_as_it_stands(published: HubServer, tmp_path: Path) -> None:
    from_hub, made_on_the_spot = python_blocks(published.files(REPO, TAG)["README.md"])
    assert f'load_dataset("{REPO}", "small", split="validation", revision="{TAG}")' in from_hub
    row = rows(draw(SMALL, "validation", [0]))[0]
    lines = [f"{value['attribute']} {value['value']} {value['value']}" for value in row["attributes"]]
    assert run_python(published, tmp_path / "reader", from_hub).splitlines() == lines
    assert len(run_python(published, tmp_path / "reader", made_on_the_spot).splitlines()) == 2


def test_python_in_the_card_of_templates_alone_runs_as_it_stands(hub: HubServer, templates: Path, tmp_path: Path) -> None:
    assert push(hub, templates).returncode == 0
    printed = run_python(hub, tmp_path / "reader", python_blocks(hub.files(REPO, TAG)["README.md"])[0])
    assert printed.startswith("{'attribute': 'birth_place', 'template_id': 0, 'template': '")


def test_one_export_is_pushed_to_two_repositories_and_stays_as_it_was(hub: HubServer, templates: Path) -> None:
    before = contents(templates)
    for repo_id in (REPO, "me/copy.of-it"):
        assert push(hub, templates, repo_id=repo_id).stdout == f"{repo_id} has {TAG} now\n"
    for repo_id in (REPO, "me/copy.of-it"):
        assert_published(hub, templates, repo_id)
        assert push(hub, templates, repo_id=repo_id).stdout == f"{repo_id} has {TAG} with these rows already\n"
    assert contents(templates) == before


def test_card_that_was_edited_is_pushed_as_it_is(hub: HubServer, templates: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(templates, tmp_path / "export")
    edited = b"---\nlicense: cc-by-4.0\n---\r\n# Mine \xc3\xa9\r\nSee <you>/bio_facts and <you>.\n"
    (folder / "README.md").write_bytes(edited)
    assert push(hub, folder).returncode == 0
    assert hub.files(REPO, TAG)["README.md"] == edited.replace(b"<you>/bio_facts", b"me/bio_facts")


def test_tag_is_set_after_everything_else(published: HubServer) -> None:
    *others, (method, path) = writes(published)
    assert (method, path.split("/")[-2]) == ("POST", "tag")
    assert any("/commit/" in path for _, path in others)
    assert published.tags(REPO) == {TAG: published.repos[f"datasets/{REPO}"].head}


def test_pushing_again_changes_nothing(published: HubServer, export: Path) -> None:
    before, written = state(published), writes(published)
    result = push(published, export)
    assert (result.returncode, result.stdout) == (0, f"{REPO} has {TAG} with these rows already\n")
    assert writes(published) == written
    assert state(published) == before


def test_other_content_under_an_existing_tag_is_refused(published: HubServer, templates: Path) -> None:
    before, written = state(published), writes(published)
    assert_refused(push(published, templates), f"{REPO} has tag {TAG} with other content, and a tag is never moved")
    assert writes(published) == written
    assert state(published) == before


@pytest.mark.parametrize(
    ("part_of_path", "number", "drop"),
    [
        ("/repos/create", 1, False),
        ("/preupload/", 1, False),
        ("/lfs/", 2, False),  # the first asks where to upload to
        ("/commit/", 1, False),
        ("/tag/", 1, False),
        ("/commit/", 1, True),  # what else is dropped the clients repeat for half a minute
        ("/tag/", 1, True),
    ],
)
def test_interrupted_push_sets_no_tag_and_is_completed_by_another(
    part_of_path: str, number: int, drop: bool, hub: HubServer, templates: Path
) -> None:
    fail_at(hub, part_of_path, number)
    hub.drop_connections = drop
    assert_refused(push(hub, templates), f"push to {REPO} did not complete, {TAG} is not set; push again: ")
    assert not hub.repos or hub.tags(REPO) == {}
    assert_main_is_empty_or_whole(hub, templates)
    hub.fail_when = None
    assert push(hub, templates).stdout == f"{REPO} has {TAG} now\n"
    assert_published(hub, templates)


@pytest.mark.parametrize("part_of_path", ["/lfs/", "/tag/"])
def test_killed_push_sets_no_tag_and_is_completed_by_another(part_of_path: str, hub: HubServer, templates: Path) -> None:
    process = subprocess.Popen(
        [BIO_FACTS, "push", REPO, "--from", str(templates)], env=hub.environment(hub.contents.parent / "home")
    )
    hub.kill_at(part_of_path, process)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert hub.tags(REPO) == {}
    assert_main_is_empty_or_whole(hub, templates)
    hub.fail_when = None
    assert push(hub, templates).returncode == 0
    assert_published(hub, templates)


WAITING = "the Hub limits the number of requests: waiting for 1 s\n"


@pytest.mark.parametrize(
    ("part_of_path", "said"),
    [
        *((part_of_path, WAITING) for part_of_path in ("/refs", "/repos/create", "/commit/", "/tag/")),
        ("/preupload/", ""),  # here the client waits by itself
    ],
)
def test_push_waits_when_the_hub_says_that_there_are_too_many_requests(
    part_of_path: str, said: str, hub: HubServer, templates: Path
) -> None:
    hub.fault = Reply(b'{"error": "Too many requests"}', 429, {"Retry-After": "1"})
    refused: list[str] = []

    def busy(method: str, path: str) -> bool:
        if part_of_path not in path or refused:
            return False
        refused.append(path)
        return True

    hub.fail_when = busy
    result = push(hub, templates)
    assert (result.returncode, result.stdout) == (0, f"{REPO} has {TAG} now\n"), result.stderr
    assert result.stderr == said
    assert len(refused) == 1
    assert_published(hub, templates)


def test_what_the_server_says_is_passed_on(hub: HubServer, templates: Path) -> None:
    hub.fail_when = lambda method, path: method == "PUT"
    assert_refused(push(hub, templates), "507", "Injected fault")


def test_tag_of_somebody_else_is_refused(hub: HubServer, templates: Path) -> None:
    own_repo(hub, {"notes.txt": b"mine"})
    repo = hub.repos[f"datasets/{REPO}"]
    repo.tags[TAG] = repo.head
    before = state(hub)
    assert_refused(push(hub, templates), f"{REPO} has tag {TAG} with other content")
    assert state(hub) == before


def test_other_configs_take_the_place_of_an_untagged_export(hub: HubServer, templates: Path, export: Path) -> None:
    fail_at(hub, "/tag/")
    push(hub, export)
    hub.fail_when = None
    assert push(hub, templates).returncode == 0
    assert_published(hub, templates)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"notes.txt": b"mine"}, "notes.txt"),
        ({"README.md": b"mine"}, "README.md"),
        ({"data/train-00000-of-00001.parquet": b"mine"}, "data/train-00000-of-00001.parquet"),
        ({"README.md": b"mine", "data/train.parquet": b"mine"}, "README.md"),
        ({"manifest.json": b"{}"}, "manifest.json"),
        ({"manifest.json": b"mine", "data/train.parquet": b"mine"}, "data/train.parquet"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_repository_with_other_files_is_refused(files: dict[str, bytes], named: str, hub: HubServer, templates: Path) -> None:
    own_repo(hub, files)
    before = state(hub)
    assert_refused(push(hub, templates), f"{REPO} holds {named}, which does not belong to an export")
    assert state(hub) == before
    assert writes(hub) == []


def test_empty_repository_that_exists_is_filled(hub: HubServer, templates: Path) -> None:
    own_repo(hub, {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"})
    assert push(hub, templates).returncode == 0
    assert_published(hub, templates)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: _truncate(folder / "data/templates/train-00000-of-00001.parquet"), "train-00000-of-00001.parquet"),
        (lambda folder: (folder / "data/templates/train-00000-of-00001.parquet").unlink(), "is missing"),
        (lambda folder: (folder / "data/more.parquet").write_text("mine"), "does not belong to the export"),
        (lambda folder: (folder / "manifest.json").unlink(), "it has no manifest.json"),
        (lambda folder: _truncate(folder / "manifest.json"), "is damaged"),
    ],
    ids=["truncated shard", "no shard", "extra file", "no manifest", "truncated manifest"],
)
def test_damaged_export_is_refused_before_anything_is_uploaded(
    damage: Callable[[Path], object], message: str, hub: HubServer, templates: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(templates, tmp_path / "export")
    damage(folder)
    assert_refused(push(hub, folder), message)
    assert writes(hub) == []
    assert hub.repos == {}


@pytest.mark.parametrize("repo_id", ["bio_facts", "me/bio_facts/data", "me/bio facts", "me/-bio"])
def test_bad_repository_name_is_refused(repo_id: str, hub: HubServer, templates: Path) -> None:
    assert_refused(push(hub, templates, repo_id=repo_id), repo_id)
    assert writes(hub) == []


def test_missing_network_is_reported_at_once(hub: HubServer, templates: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        start = time.monotonic()
        result = push(hub, templates, HF_ENDPOINT=f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert_refused(result, "did not complete", "refused")
    assert time.monotonic() - start < 10


def test_offline_mode_is_reported(hub: HubServer, templates: Path) -> None:
    assert_refused(push(hub, templates, HF_HUB_OFFLINE="1"), "did not complete", "HF_HUB_OFFLINE")
    assert hub.requests == []


def test_missing_token_is_reported(hub: HubServer, templates: Path) -> None:
    assert_refused(push(hub, templates, HF_TOKEN=""), "did not complete", "Invalid username or password")
    assert hub.repos == {}


@pytest.mark.parametrize("option", [(), ("--private",)], ids=["public", "private"])
def test_private_is_passed_on(
    option: tuple[str, ...], hub: HubServer, templates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = [], hub.answer

    def listening(method: str, path: str, request: Request) -> Reply:
        if path == "/api/repos/create":
            asked.append(request.json())
        return answer(method, path, request)

    monkeypatch.setattr(hub, "answer", listening)
    assert push(hub, templates, *option).returncode == 0
    (new,) = asked
    assert new["type"] == "dataset"
    assert (new.get("visibility") == "private" or new.get("private", False)) == bool(option)
