"""The lines of evaluations during training, in memory and in a file of JSON lines that resumed training continues."""

import json
from pathlib import Path
from typing import Any

from bio_facts.files import write_text


class History:
    """One line for each `step` and `split`. When training starts anew, its lines also have `restart`: 1, then 2, ...

    lines: those of this training, in order. Only the process that `writes` changes the file. Lines of the file that no
    evaluation wrote are kept as they are.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.lines: list[dict[str, Any]] = []
        self.restart: int | None = None  # None until the first line or the beginning of training
        self._has_begun = False

    def begin(self) -> None:
        """Training begins at its first step. Lines appended before it first began count as lines of this training."""
        if self.restart is None or self._has_begun:
            self.restart = self._next_restart()
        self._has_begun = True

    def resume(self, step: int, *, writes: bool) -> None:
        """Training continues after `step`: lines of later steps, which will be evaluated again, are dropped.

        The training that is continued is the last one that began. An evaluation here before resuming does not count as one.
        """
        in_file = self._in_file()
        known = [line for _, line in in_file if line is not None] or self.lines
        before = None if self._has_begun else self.restart
        self.restart = max([number for line in known if (number := line.get("restart", 0)) != before], default=0)
        self._has_begun = True
        last = self.restart, step
        self.lines = [line for line in known if _place(line) <= last]
        kept = "".join(f"{text}\n" for text, line in in_file if line is None or _place(line) <= last)
        if self.file is not None and writes and self.file.exists() and kept != self.file.read_text(encoding="utf-8"):
            write_text(self.file, kept)

    def has(self, step: int) -> bool:
        """Whether there are lines of a step, since training last started anew."""
        return any(_place(line) == (self.restart or 0, step) for line in self.lines)

    def append(self, lines: list[dict[str, Any]], *, writes: bool) -> None:
        """Add the lines of an evaluation."""
        if self.restart is None:
            self.restart = self._next_restart()
        lines = [line | {"restart": self.restart} if self.restart else line for line in lines]
        self.lines += lines
        if self.file is not None and writes:
            before = self.file.read_bytes()[-1:] if self.file.exists() else b""
            with self.file.open("a", encoding="utf-8") as opened:
                opened.write("" if before in (b"", b"\n") else "\n")  # after an incomplete line
                opened.writelines(json.dumps(line) + "\n" for line in lines)

    def _next_restart(self) -> int:
        known = [line for _, line in self._in_file() if line is not None] + self.lines
        return max([line.get("restart", 0) + 1 for line in known], default=0)

    def _in_file(self) -> list[tuple[str, dict[str, Any] | None]]:
        """Each complete line of the file, with its content as a dict; None if no evaluation wrote the line."""
        texts = [] if self.file is None or not self.file.exists() else self.file.read_text(encoding="utf-8").split("\n")[:-1]
        return [(text, _parsed(text)) for text in texts]


def _place(line: dict[str, Any]) -> tuple[int, int]:
    return line.get("restart", 0), line["step"]


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and {"step", "split"} <= line.keys() else None
