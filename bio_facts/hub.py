"""What all commands that talk to the Hugging Face Hub share: ids of repositories, errors of requests, and patience.

Imports huggingface_hub when it is called.
"""

import logging
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MAX_WAITS, _FIRST_WAIT, _LONGEST_WAIT = 12, 60, 3_600  # seconds; the Hub counts commits by the hour
GIT_ATTRIBUTES = ".gitattributes"  # the Hub writes it into every new repository

Files = Mapping[str, Path | bytes]  # path in the repository -> a file, or its content


def is_repo_id(text: str) -> bool:
    """Whether a text has the form of a repository of the Hugging Face Hub, such as you/bio_facts."""
    names = text.split("/")
    is_name = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
    return len(names) == 2 and all(re.fullmatch(is_name, name) and "--" not in name and ".." not in name for name in names)


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


class PatientHub:
    """A repository on the Hub; waits and asks again as long as the Hub answers 429, too many requests.

    repo_type: model, dataset or space.
    """

    def __init__(self, repo_id: str, repo_type: str) -> None:
        import huggingface_hub

        self.repo_id, self._repo = repo_id, {"repo_id": repo_id, "repo_type": repo_type}
        self._library: Any = huggingface_hub
        self._hub: Any = huggingface_hub.HfApi()

    def call(self, function: str, **arguments: Any) -> Any:
        """What a function of HfApi returns for this repository."""
        return self._patiently(lambda: getattr(self._hub, function)(**self._repo, **arguments))

    def commit(self, files: Files, message: str, branch: str = "main", removed: Collection[str] = ()) -> str:
        """Write `files` and delete the paths `removed`, in one commit; the SHA-1 of the commit that has the result.

        Files that are on the Hub are not uploaded again, and no commit is made if nothing changes.
        """
        from huggingface_hub.utils import logging as hub_logging

        def commit() -> Any:
            added = [self._library.CommitOperationAdd(path, content) for path, content in files.items()]
            deleted = [self._library.CommitOperationDelete(path) for path in sorted(removed)]
            message_of_commit = f"bio_facts: {message}"
            return self._hub.create_commit(
                **self._repo, operations=[*added, *deleted], commit_message=message_of_commit, revision=branch
            )

        verbosity = hub_logging.get_verbosity()
        hub_logging.set_verbosity(logging.ERROR)  # it warns of an empty commit, which is skipped
        try:
            return str(self._patiently(commit).oid)
        finally:
            hub_logging.set_verbosity(verbosity)

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        wait = _FIRST_WAIT
        for _ in range(_MAX_WAITS):
            try:
                return ask()
            except (OSError, RuntimeError, self._library.errors.HfHubHTTPError) as error:
                headers = _headers_of_429(error)
                if headers is None:
                    raise
                seconds = min(_seconds_to_wait(headers) or wait, _LONGEST_WAIT)
                print(f"the Hub limits the number of requests: waiting for {seconds} s", file=sys.stderr)
                time.sleep(seconds)
                wait = min(2 * wait, _LONGEST_WAIT)
        return ask()


def _headers_of_429(error: BaseException) -> Mapping[str, str] | None:
    """The headers of the answer 429 that an error, or the one that caused it, is about; None if there is no such answer."""
    for cause in (error, error.__cause__):
        response = getattr(cause, "response", None)
        if response is not None and response.status_code == 429:
            headers: Mapping[str, str] = response.headers
            return headers
    return None


def _seconds_to_wait(headers: Mapping[str, str]) -> int | None:
    """How long the Hub asks to wait, by the header Retry-After or RateLimit; None if it does not say."""
    after = re.fullmatch(r"\s*(\d+)\s*", headers.get("Retry-After", ""))
    limit = re.search(r"\bt=(\d+)", headers.get("RateLimit", ""))
    return next((int(match[1]) for match in (after, limit) if match), None)
