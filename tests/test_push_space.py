"""bio-facts push-space, with the real client of the Hub and a Hub on this machine."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, assert_refused
from hatchling.builders.wheel import WheelBuilder
from hub_server import HubServer, Reply, Repo

REPO, KEY = "me/attribute_recall", "spaces/me/attribute_recall"
LOAD = f"""
import evaluate
recall = evaluate.load("{REPO}")
columns = {{"predictions": [[5, 7, 8]], "references": [[5, 7, 9]], "nlls": [[2.0, 0.5, 0.25]], "attribute_ids": [[0, 1, 2]]}}
print(recall.compute(**columns)["attribute_loss"])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel is installed: the command has nothing else of the repository."""
    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder / "wheel"), versions=["standard"])
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder)
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as server:
        yield server


def push(hub: HubServer, root: Path, *options: str, repo_id: str = REPO) -> subprocess.CompletedProcess[str]:
    environment = hub.environment(hub.contents.parent / "home") | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "bio_facts.cli", "push-space", repo_id, *options]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def published(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub to which the installed command has pushed the Space. Not to be changed."""
    with HubServer(tmp_path_factory.mktemp("published") / "hub") as server:
        result = push(server, installed)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == f'{REPO} has the metric and its page now: evaluate.load("{REPO}")\n'
        yield server


def expected() -> dict[str, bytes]:
    """The files that git has in the folder of the metric, but for a picture; the card names the Space."""
    command = ["git", "ls-files", "eval/attribute_recall"]
    tracked = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    files = {Path(path).name: (ROOT / path).read_bytes() for path in tracked if not path.endswith(".png")}
    return files | {"README.md": files["README.md"].replace(b"<you>", b"me")}


def files_on(hub: HubServer) -> dict[str, bytes]:
    files = hub.files(REPO, kind="spaces")
    files.pop(".gitattributes", None)
    return files


def test_space_has_the_files_of_the_metric(published: HubServer) -> None:
    assert files_on(published) == expected()
    assert b"sdk: gradio" in files_on(published)["README.md"]


@pytest.mark.ecosystem
def test_metric_is_loaded_from_the_space(published: HubServer, tmp_path: Path) -> None:
    environment = published.environment(tmp_path / "home")
    result = subprocess.run(
        [sys.executable, "-c", LOAD], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == (0.5 + 0.25) / 2


def test_pushing_again_changes_nothing(published: HubServer, installed: Path) -> None:
    commits = dict(published.repos[KEY].commits)
    assert push(published, installed).stdout == f"{REPO} has this metric already\n"
    assert published.repos[KEY].commits == commits


def test_another_version_is_replaced(hub: HubServer, installed: Path) -> None:
    repo = hub.repos[KEY] = Repo(REPO)
    older = {"attribute_recall.py": b"old", "README.md": b"old", "helper.py": b"old"}
    repo.commit("older", {path: hub.store(f"{index:040d}", content) for index, (path, content) in enumerate(older.items())})
    assert push(hub, installed).returncode == 0
    assert files_on(hub) == expected()


@pytest.mark.parametrize("part_of_path", ["/repos/create", "/preupload/", "/commit/"])
def test_interrupted_push_leaves_nothing_behind_and_is_completed_by_another(
    part_of_path: str, hub: HubServer, installed: Path
) -> None:
    hub.fail_when = lambda method, path: part_of_path in path
    assert_refused(push(hub, installed), f"push to {REPO} did not complete; push again: ", "507")
    assert not hub.repos or files_on(hub) == {}
    hub.fail_when = None
    assert push(hub, installed).returncode == 0
    assert files_on(hub) == expected()


def test_push_waits_when_the_hub_says_that_there_are_too_many_requests(hub: HubServer, installed: Path) -> None:
    hub.fault = Reply(b'{"error": "Too many requests"}', 429, {"Retry-After": "1"})
    refused: list[str] = []

    def busy(method: str, path: str) -> bool:
        if "/commit/" not in path or refused:
            return False
        refused.append(path)
        return True

    hub.fail_when = busy
    result = push(hub, installed)
    assert (result.returncode, result.stderr) == (0, "the Hub limits the number of requests: waiting for 1 s\n")
    assert files_on(hub) == expected()


def test_space_with_other_files_is_refused(hub: HubServer, installed: Path) -> None:
    repo = hub.repos[KEY] = Repo(REPO)
    repo.commit("foreign", {"app.py": hub.store("0" * 40, b"mine")})
    assert_refused(push(hub, installed), f"{REPO} holds app.py, but no attribute_recall.py; push to another repo")
    assert files_on(hub) == {"app.py": b"mine"}
