"""Publishing the metric attribute_recall as a Space of the Hugging Face Hub, from which evaluate.load takes it."""

from collections.abc import Iterator
from pathlib import Path

from bio_facts.checks import needs
from bio_facts.files import asset
from bio_facts.hub import GIT_ATTRIBUTES, PatientHub, check_repo_id, hub_errors

_NAME = "attribute_recall"
_EXAMPLE = f"you/{_NAME}"
_CARD = "README.md"
_PLACEHOLDER = f"<you>/{_NAME}"  # in the card, the name of the Space
_OF_REPOSITORY = ("page.png",)  # a picture for the README of the repository, which a wheel does not have


def push_space(repo_id: str, *, private: bool) -> str:
    """Publish the metric and its page as the Space `repo_id`, in one commit; returns a sentence to print.

    A Space that has them, in this or another version, gets the files of this version.

    Raises:
        ValueError: if the name of the Space is not that of the metric, it holds other files, or a request to the Hub fails.
    """
    if check_repo_id(repo_id, _EXAMPLE).partition("/")[2] != _NAME:
        raise ValueError(f"repo_id is {repo_id!r}; it must be like {_EXAMPLE}, for evaluate.load finds a metric by its name")
    with needs("hub", "push-space"):
        from huggingface_hub import errors

    hub, files = PatientHub(repo_id, "space"), dict(_files(repo_id))
    with hub_errors(f"push to {repo_id} did not complete; push again"):
        try:
            existing = set(hub.call("list_repo_files")) - {GIT_ATTRIBUTES}
        except errors.RepositoryNotFoundError:
            hub.call("create_repo", space_sdk="gradio", private=private, exist_ok=True)
            existing = set()
        if existing - {_CARD} and f"{_NAME}.py" not in existing:
            raise ValueError(f"{repo_id} holds {min(existing - {_CARD})}, but no {_NAME}.py; push to another repo")
        before = hub.call("repo_info").sha
        after = hub.commit(files, _NAME, removed=existing - files.keys())
    if after == before:
        return f"{repo_id} has this metric already"
    return f'{repo_id} has the metric and its page now: evaluate.load("{repo_id}")'


def _files(repo_id: str) -> Iterator[tuple[str, Path | bytes]]:
    """Path in the Space -> file, or content; in the card, `repo_id` replaces the placeholder."""
    for path in sorted(asset(_NAME).iterdir()):
        if path.is_file() and path.name not in _OF_REPOSITORY:
            is_card = path.name == _CARD
            yield path.name, path.read_bytes().replace(_PLACEHOLDER.encode(), repo_id.encode()) if is_card else path
