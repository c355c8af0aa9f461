"""A small Hugging Face Hub on this machine, so that tests drive the real clients without internet.

It speaks as much of the Hub's HTTP as pushing a folder, tagging it and loading it back takes. Clients belong in
subprocesses with `hub.environment(home)`: they read HF_ENDPOINT and the other settings once, when they are imported.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

USER = "me"
FAULT = 507  # not 408, 429, 500, 502, 503 or 504: those the clients retry for half a minute, this they raise at once


class HubError(Exception):
    """An answer that the clients raise; they tell the kinds of 404 apart by the code in its headers."""

    def __init__(self, status: int, message: str, code: str = "", **details: str):
        self.status, self.body, self.headers = status, {"error": message} | details, {"X-Error-Message": message}
        if code:
            self.headers["X-Error-Code"] = code


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    name: str
    head: str = ""  # of main
    commits: dict[str, dict[str, str]] = field(default_factory=dict)  # commit -> path -> key of the content
    tags: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)  # but main
    parents: dict[str, str] = field(default_factory=dict)  # commit -> commit

    def commit(self, message: str, tree: dict[str, str], branch: str = "main") -> str:
        parent = self.branches.get(branch, self.head)
        commit = hashlib.sha1(json.dumps([parent, message, tree], sort_keys=True).encode()).hexdigest()
        self.commits[commit], self.parents[commit] = tree, parent
        if branch == "main":
            self.head = commit
        else:
            self.branches[branch] = commit
        return commit

    def resolve(self, revision: str) -> str:
        commit = self.head if revision == "main" else (self.tags | self.branches).get(revision, revision)
        if commit not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit


@dataclass
class Request:
    groups: dict[str, str]  # of the route's pattern
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class HubServer:
    """A Hub that lives as long as the `with` block, with what tests look at and the faults they inject.

    `requests` holds method and path (as sent, without the query) of every request. `fail_when` is asked with the same
    two; a request for which it returns True changes nothing and gets the answer `fault`, by default status 507, which the
    clients raise at once, or no answer at all where `drop_connections` is set. Without an answer, requests to create, commit
    or tag fail at once as well; others, as those of an LFS upload, the clients repeat for 23 seconds. `fail_when` may also
    kill the client.
    """

    def __init__(self, root: Path):
        self.contents = root / "contents"  # by key: SHA-256 of an LFS file, git's hash of any other, as clients compare
        self.contents.mkdir(parents=True, exist_ok=True)
        self.repos: dict[str, Repo] = {}  # by "datasets/me/name"
        self.requests: list[tuple[str, str]] = []
        self.fail_when: Callable[[str, str], bool] | None = None
        self.fault = Reply(b'{"error": "Injected fault"}', FAULT)
        self.drop_connections = False
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def kill_at(self, part_of_path: str, client: subprocess.Popen[Any]) -> None:
        """Kill a client when it sends a request whose path has this part; the request changes nothing."""

        def kill(method: str, path: str) -> bool:
            if part_of_path not in path:
                return False
            client.kill()
            return True

        self.fail_when = kill

    def __enter__(self) -> "HubServer":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def environment(self, home: Path) -> dict[str, str]:
        """This process's environment with this Hub as the only one, and nothing that turns the network off."""
        foreign = re.compile("HF_.*|HUGGING.*|TRANSFORMERS_OFFLINE|NO_PROXY", re.IGNORECASE)
        switches = ("DISABLE_XET", "DISABLE_TELEMETRY", "DISABLE_PROGRESS_BARS", "DISABLE_UPDATE_CHECK")
        return {
            **{name: value for name, value in os.environ.items() if not foreign.fullmatch(name)},
            **{f"HF_HUB_{switch}": "1" for switch in switches},
            **{"HF_ENDPOINT": self.endpoint, "HF_TOKEN": "any", "HF_HOME": str(home), "NO_PROXY": "*"},
        }

    def tags(self, repo_id: str, kind: str = "datasets") -> dict[str, str]:
        return dict(self.repos[f"{kind}/{repo_id}"].tags)

    def files(self, repo_id: str, revision: str = "main", kind: str = "datasets") -> dict[str, bytes]:
        repo = self.repos[f"{kind}/{repo_id}"]
        tree = repo.commits[repo.resolve(revision)]
        return {path: (self.contents / tree[path]).read_bytes() for path in sorted(tree)}

    def answer(self, method: str, path: str, request: Request) -> Reply:
        try:
            for verb, pattern, respond in ROUTES:
                if verb == method and (match := re.fullmatch(pattern, path)):
                    if method == "POST" and "authorization" not in request.headers:
                        raise HubError(401, "Invalid username or password.")
                    request.groups = {name: unquote(value) for name, value in match.groupdict().items() if value}
                    with self.lock:
                        answer = respond(self, request)
                    return answer if isinstance(answer, Reply) else Reply(json.dumps(answer).encode())
            raise HubError(404, f"{method} {path} is not part of this Hub")
        except HubError as error:
            return Reply(json.dumps(error.body).encode(), error.status, error.headers)

    def repo_at(self, request: Request) -> tuple[Repo, str]:
        """The repository and the commit that a request names."""
        repo = self.repos.get(f"{request.groups.get('kind', 'models')}/{request.groups['name']}")
        if not repo:
            raise HubError(404, "Repository not found", "RepoNotFound")
        return repo, repo.resolve(request.groups.get("revision", "main"))

    def store(self, key: str, content: bytes) -> str:
        (self.contents / key).write_bytes(content)
        return key

    def description(self, key: str) -> dict[str, Any]:
        size = (self.contents / key).stat().st_size
        if len(key) == 40:
            return {"size": size, "oid": key}
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{key}\nsize {size}\n".encode()
        lfs = {"oid": key, "sha256": key, "size": size, "pointerSize": len(pointer)}
        return {"size": size, "oid": git_hash(pointer), "lfs": lfs}

    def create_repo(self, request: Request) -> object:
        new = request.json()
        name, kind = f"{new.get('organization') or USER}/{new['name']}", f"{new.get('type') or 'model'}s"
        url = f"{self.endpoint}/{name if kind == 'models' else f'{kind}/{name}'}"
        if f"{kind}/{name}" in self.repos:
            raise HubError(409, "You already created this dataset repo", url=url)  # with exist_ok, clients read the URL
        attributes = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"
        repo = self.repos[f"{kind}/{name}"] = Repo(name)
        repo.commit("initial commit", {".gitattributes": self.store(git_hash(attributes), attributes)})
        return {"url": url}

    def preupload(self, request: Request) -> object:
        repo, commit = self.repo_at(request)
        files = [{"path": file["path"], "shouldIgnore": False} for file in request.json()["files"]]
        for file in files:  # a key equal to the client's own hash makes the client leave the file out
            file["uploadMode"] = "lfs" if file["path"].endswith((".parquet", ".safetensors")) else "regular"
            file["oid"] = repo.commits[commit].get(file["path"])
        return {"files": files}

    def lfs_batch(self, request: Request) -> object:
        self.repo_at(request)
        wanted = [{"oid": entry["oid"], "size": entry["size"]} for entry in request.json()["objects"]]
        for entry in wanted:
            if not (self.contents / entry["oid"]).exists():
                entry["actions"] = {"upload": {"href": f"{self.endpoint}/lfs/{entry['oid']}"}}
        return {"transfer": "basic", "objects": wanted}

    def lfs_put(self, request: Request) -> object:
        if hashlib.sha256(request.body).hexdigest() != request.groups["key"]:
            raise HubError(400, "The content does not have the announced SHA-256")
        return self.store(request.groups["key"], request.body)

    def commit(self, request: Request) -> object:
        repo, head = self.repo_at(request)
        header, *changes = map(json.loads, request.body.splitlines())
        branch = request.groups["revision"]
        if branch not in ("main", *repo.branches) or "create_pr" in request.query:
            raise HubError(400, "This Hub takes commits to branches only")
        if header["value"].get("parentCommit", head) != head:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        tree = dict(repo.commits[head])
        for kind, path, value in ((change["key"], change["value"]["path"], change["value"]) for change in changes):
            if kind == "file":
                content = base64.b64decode(value["content"])
                tree[path] = self.store(git_hash(content), content)
            elif kind == "lfsFile" and (self.contents / value["oid"]).exists():
                tree[path] = value["oid"]
            elif kind == "deletedFile" and path in tree:
                del tree[path]
            else:
                raise HubError(404, f"{kind} {path}: no such file", "EntryNotFound")
        commit = repo.commit(header["value"]["summary"], tree, branch)
        return {"success": True, "commitOid": commit, "commitUrl": f"{self.endpoint}/{repo.name}/commit/{commit}"}

    def tag(self, request: Request) -> object:
        repo, commit = self.repo_at(request)
        if (tag := request.json()["tag"]) in repo.tags:
            raise HubError(409, f"Tag {tag} already exists")
        repo.tags[tag] = commit
        return {}

    def branch(self, request: Request) -> object:
        repo, _ = self.repo_at(request)
        if (branch := request.groups["branch"]) in ("main", *repo.branches):
            raise HubError(409, f"Reference refs/heads/{branch} already exists")
        repo.branches[branch] = repo.resolve(request.json().get("startingPoint", "main"))
        return {}

    def refs(self, request: Request) -> object:
        repo, _ = self.repo_at(request)
        tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": commit} for tag, commit in repo.tags.items()]
        heads = {"main": repo.head} | repo.branches
        branches = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit} for name, commit in heads.items()]
        return {"branches": branches, "tags": tags, "converts": [], "pullRequests": []}

    def info(self, request: Request) -> object:
        repo, commit = self.repo_at(request)
        siblings = [{"rfilename": path} for path in sorted(repo.commits[commit])]
        return {"id": repo.name, "sha": commit, "private": False, "gated": False, "tags": [], "siblings": siblings}

    def tree(self, request: Request) -> object:
        repo, commit = self.repo_at(request)
        tree, folder = repo.commits[commit], PurePosixPath(request.groups.get("path", ""))
        folders = {parent for path in tree for parent in PurePosixPath(path).parents}
        if folder not in folders:
            raise HubError(404, f"{folder} does not exist", "EntryNotFound")
        entries = [{"type": "file", "path": path, **self.description(key)} for path, key in tree.items()]
        entries += [{"type": "directory", "path": str(path), "size": 0, "oid": git_hash(bytes(path))} for path in folders]
        deep = request.query.get("recursive", [""])[0].lower() == "true"
        with_parents = ((PurePosixPath(entry["path"]).parents, entry) for entry in entries)
        chosen = [entry for parents, entry in with_parents if folder in (parents if deep else parents[:1])]
        return sorted(chosen, key=lambda entry: str(entry["path"]))

    def file(self, request: Request) -> object:
        repo, commit = self.repo_at(request)
        if not (key := repo.commits[commit].get(request.groups["path"])):
            raise HubError(404, "Entry not found", "EntryNotFound")
        content = (self.contents / key).read_bytes()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{key}"', "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if not wanted:
            return Reply(content, headers=headers)
        start, stop = int(wanted[1]), min(int(wanted[2] or len(content)) + 1, len(content))
        if start >= stop:
            return Reply(b"", 416, headers | {"Content-Range": f"bytes */{len(content)}"})
        return Reply(content[start:stop], 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"})


API = "/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
PAGE = "/(?:(?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)"  # models have no prefix here
REVISION = "/(?P<revision>[^/]+)"
ROUTES: list[tuple[str, str, Callable[[HubServer, Request], object]]] = [
    ("GET", "/api/whoami-v2", lambda hub, request: {"type": "user", "name": USER, "fullname": USER, "orgs": []}),
    ("POST", "/api/validate-yaml", lambda hub, request: {"errors": [], "warnings": []}),
    ("POST", "/api/repos/create", HubServer.create_repo),
    ("POST", f"{API}/preupload{REVISION}", HubServer.preupload),
    ("POST", rf"{PAGE}\.git/info/lfs/objects/batch", HubServer.lfs_batch),
    ("PUT", "/lfs/(?P<key>[0-9a-f]{64})", HubServer.lfs_put),
    ("POST", f"{API}/commit{REVISION}", HubServer.commit),
    ("POST", f"{API}/tag{REVISION}", HubServer.tag),
    ("POST", f"{API}/branch/(?P<branch>[^/]+)", HubServer.branch),
    ("GET", f"{API}/refs", HubServer.refs),
    ("GET", f"{API}(?:/revision{REVISION})?", HubServer.info),
    ("GET", f"{API}/tree{REVISION}(?:/(?P<path>.*))?", HubServer.tree),
    ("HEAD", f"{PAGE}/resolve{REVISION}/(?P<path>.+)", HubServer.file),
    ("GET", f"{PAGE}/resolve{REVISION}/(?P<path>.+)", HubServer.file),
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else small answers wait for the client's delayed acknowledgment

    def __init__(self, hub: HubServer, *arguments: Any):
        self.hub = hub
        super().__init__(*arguments)

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that was killed is no error of the server
            super().handle()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: `HubServer.requests` is the log."""

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))  # also before a fault, or sending fails first
        hub, url = self.hub, urlsplit(self.path)
        hub.requests.append((self.command, url.path))
        if hub.fail_when is None or not hub.fail_when(self.command, url.path):
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = hub.answer(self.command, url.path, Request({}, parse_qs(url.query), headers, body))
        elif hub.drop_connections:
            self.close_connection = True
            return
        else:
            reply = hub.fault
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = respond
