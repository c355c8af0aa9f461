"""Files that are there whole or not at all."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".unfinished"  # ends the name of a file that is being written


@contextlib.contextmanager
def unfinished_file(path: Path) -> Iterator[Path]:
    """A file to write in place of `path`, which gets that name once all of it is on the disk, and is removed on any error.

    What a killed process leaves behind ends in UNFINISHED.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.absolute().with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:  # pyarrow's names no file
        raise OSError(error.errno, os.strerror(error.errno) if error.errno else str(error), str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)
    if os.name == "posix":
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all."""
    with unfinished_file(path) as unfinished:
        unfinished.write_bytes(text.encode())
