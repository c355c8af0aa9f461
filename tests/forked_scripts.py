"""Runs scripts in forks of a process that has imported torch and transformers: as new processes, but without those seconds.

A script that needs a process of its own is run by run_command of conftest.py: one whose environment variables matter when torch
is imported, one that gets signals or uses torch.compile, one that a launcher starts.
"""

import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

LIMIT_SECONDS = 300
# What takes scripts seconds to import.
SHARED = ("bio_facts.runs.training", "matplotlib.pyplot", "transformers.models.gpt_neox.modeling_gpt_neox")


@functools.cache
def _server(environment: tuple[tuple[str, str], ...]) -> "subprocess.Popen[str]":
    """The process that is forked. It ends with this one, which closes the pipe that it reads."""
    command = [sys.executable, __file__]
    return subprocess.Popen(command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_forked(
    command: Sequence[str], environment: dict[str, str], cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """As subprocess.run of [python, SCRIPT, *ARGUMENTS] with its output captured as text. Each environment has its server."""
    server = _server(tuple(environment.items()))
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdout", "stderr")]
        request = {"arguments": command[1:], "folder": str(cwd or Path.cwd()), "files": list(map(str, files))}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, code, *(file.read_text(encoding="utf-8") for file in files))


def _serve() -> None:
    """Answer each line of stdin, a request, with the exit code of its script. Returns in each fork, which then runs it."""
    for name in SHARED:
        importlib.import_module(name)
    gc.freeze()  # the forks share what is imported, as long as they do not collect it
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            request = json.loads(line)
            for descriptor, file in enumerate([os.devnull, *request["files"]]):
                os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), descriptor)
            os.chdir(request["folder"])
            sys.argv = request["arguments"]
            sys.path[0] = str(Path(sys.argv[0]).parent)
            signal.alarm(LIMIT_SECONDS)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


if __name__ == "__main__":
    _serve()
    runpy.run_path(sys.argv[0], run_name="__main__")
