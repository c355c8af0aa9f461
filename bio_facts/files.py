"""Files that are written whole or not at all, locks on folders, and the files that a wheel carries for the repository."""

import contextlib
import errno
import os
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from filelock import BaseFileLock, FileLock, ReadWriteLock, SoftFileLock, Timeout

UNFINISHED = ".unfinished"  # ends the name of a file that is being written
FOLDER_LOCKS = (".lock", ".soft-lock")  # files in a folder that lock_folder has locked

# What the repository keeps outside the package and a wheel has as bio_facts/assets/<name>: name -> path in the repository.
ASSETS: Mapping[str, str] = MappingProxyType(
    {
        "dataset_card.md": "dataset_card.md",
        "recipes": "train/recipes",
        "attribute_recall": "eval/attribute_recall",  # evaluate.load(str(asset("attribute_recall")))
        "lm_eval": "eval/lm_eval",  # --include_path of the lm-evaluation-harness
    }
)
_PACKAGE = Path(__file__).parent


def asset(name: str) -> Path:
    """The file or folder of an asset: in an installed wheel below the package, in a clone where the repository keeps it.

    Raises:
        ValueError: if there is no such asset.
    """
    if name not in ASSETS:
        raise ValueError(f"asset is {name!r}; it must be one of {', '.join(ASSETS)}")
    in_wheel = _PACKAGE / "assets" / name
    return in_wheel if in_wheel.exists() else _PACKAGE.parent / ASSETS[name]


@contextlib.contextmanager
def unfinished_file(path: Path) -> Iterator[Path]:
    """A temporary file that replaces `path` once it is on the disk, and is removed on an error.

    The name of a file left behind by a killed process ends in UNFINISHED.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.absolute().with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:  # errors of pyarrow have no file name
        raise OSError(error.errno, os.strerror(error.errno) if error.errno else str(error), str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)
    if os.name == "posix":
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all."""
    with unfinished_file(path) as unfinished:
        unfinished.write_bytes(text.encode())


def check_new_file(name: str, path: Path) -> None:
    """ValueError unless the file can be created: it does not exist, its folder does. `name` is what errors call the file."""
    if path.exists():
        raise ValueError(f"{name} is {str(path)!r}, which exists; choose another name")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{name} is {str(path)!r}, but there is no folder {path.absolute().parent}; make it first")


def lock_folder(name: str, folder: Path) -> BaseFileLock:
    """Lock a folder for this process, and create it if it does not exist; the lock ends with the process, even if it is killed.

    The lock is a file in the folder. `name` is what errors call the folder.

    Raises:
        ValueError: if another process holds the lock, or the folder cannot be written.
    """
    lock: BaseFileLock = FileLock(folder / FOLDER_LOCKS[0], timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except OSError as error:  # Timeout is one
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
            lock = SoftFileLock(folder / FOLDER_LOCKS[1], timeout=0)  # for a network file system without locks
            lock.acquire()
    except Timeout as error:
        raise ValueError(f"{name} {folder} is in use by another process; wait for it or choose another folder") from error
    except OSError as error:
        raise ValueError(f"{name} is {str(folder)!r}, which cannot be written ({error.strerror})") from error
    return lock


@contextlib.contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a folder, exclusively or shared with other processes. Does nothing on file systems without locks.

    Unlike that of lock_folder, the lock is a file beside the folder, which may contain nothing else and may be renamed.

    Raises:
        ValueError: if another process holds the lock.
    """
    lock: ReadWriteLock | None = None
    no_locks = contextlib.suppress(OSError, sqlite3.Error)  # some network file systems have none
    try:
        with no_locks:
            try:
                lock = ReadWriteLock(lock_file(folder), timeout=0, blocking=False, is_singleton=False)
                lock.acquire_read() if shared else lock.acquire_write()
            except Timeout as error:
                raise ValueError(f"{folder} is being written by another process; wait until it has finished") from error
        yield
    finally:
        with no_locks:
            if lock is not None:
                lock.close()


def lock_file(folder: Path) -> Path:
    """The file beside a folder that holds its lock."""
    return folder.with_name(f"{folder.name}.lock")
