"""What all commands that talk to the Hugging Face Hub share: checks of repository ids, and errors of requests.

Imports huggingface_hub when it is called.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def is_repo_id(text: str) -> bool:
    """Whether a text has the form of a repository of the Hugging Face Hub, such as you/bio_facts."""
    return re.fullmatch(r"[^/\s]+/[^/\s]+", text) is not None


def check_repo_id(repo_id: str, example: str) -> str:
    """`repo_id` if it has the form of a repository of the Hugging Face Hub, as `example` has; ValueError otherwise."""
    if not is_repo_id(repo_id):
        raise ValueError(f"repo_id is {repo_id!r}; it must be like {example}")
    return repo_id


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Around calls of huggingface_hub: its errors, from no network to no permission, become a ValueError, `what: reason`."""
    from huggingface_hub import errors

    http_errors: Any = errors.HfHubHTTPError.__bases__  # errors of the HTTP library; not all are OSError
    try:
        yield
    except (OSError, RuntimeError, *http_errors) as error:
        reason = error.__cause__ or error if isinstance(error, RuntimeError) else error
        raise ValueError(f"{what}: {' '.join(str(reason).split())}") from error
