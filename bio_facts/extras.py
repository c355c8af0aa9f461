"""Packages that not every install has. Each belongs to an extra of bio-facts, and the error names it where one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtraError(ImportError, ValueError):
    """A package of an extra is missing. A ValueError too: what command lines report in one line, with exit code 2."""


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Around imports of packages of `extra`, for `what` the user asked for: `with needs("hub", "push"): import datasets`.

    Raises:
        MissingExtraError: in place of an ImportError; says `pip install "bio-facts[extra]"`, and which import failed.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingExtraError(f'{what} needs pip install "bio-facts[{extra}]": {reason}', name=error.name) from error
