"""Publishing an export on the Hugging Face Hub, under a tag for its data version that is set last and never moved."""

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bio_facts.export import CARD, MANIFEST, read_manifest, verify

_OWN_FILES = (CARD, MANIFEST, ".gitattributes", "data/*.parquet")


def push(repo_id: str, folder: Path, *, private: bool, num_workers: int) -> str:
    """Verify the export in `folder` and publish it as data set `repo_id`; what was done, as a sentence.

    Only when all is uploaded is the tag v<DATA_VERSION> set; a push that was cut is completed by another one.

    Raises:
        ValueError: if the export is not right, the tag exists with other content, the repository holds something else, or
            the Hub does not answer as it should.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ValueError('push needs huggingface_hub: pip install "bio-facts[hub]"') from error
    hub, repo = huggingface_hub.HfApi(), {"repo_id": repo_id, "repo_type": "dataset"}
    try:
        huggingface_hub.utils.validate_repo_id(repo_id)
    except errors.HFValidationError as error:
        raise ValueError(f"repo_id is {repo_id!r}; it must be like you/bio_facts") from error
    manifest = read_manifest(folder)
    tag = f"v{manifest['data_version']}"
    try:
        if _is_published(hub, repo, tag, manifest):
            return f"{repo_id} has {tag} with these rows already"
        verify(folder, num_workers)
        hub.create_repo(**repo, private=private, exist_ok=True)
        commit = hub.upload_folder(
            **repo,
            folder_path=folder,
            allow_patterns=[CARD, MANIFEST, "data/**"],
            delete_patterns=["data/**"],
            commit_message=f"bio_facts {tag}",
        )
        hub.create_tag(**repo, tag=tag, revision=commit.oid)
    except (OSError, RuntimeError, *_http_errors()) as error:  # what huggingface_hub raises, from no network to no permission
        reason = " ".join(str(error.__cause__ or error).split())
        raise ValueError(f"push to {repo_id} did not complete, {tag} is not set; push again: {reason}") from error
    return f"{repo_id} has {tag} now"


def _http_errors() -> list[type[Exception]]:
    """Errors of the HTTP library that the installed huggingface_hub uses, which are not all OSError."""
    found: list[type[Exception]] = []
    for name in ("httpx", "httpx2"):
        try:
            found.append(__import__(name).HTTPError)
        except ImportError:
            continue
    return found


def _is_published(hub: Any, repo: dict[str, str], tag: str, manifest: dict[str, Any]) -> bool:
    """Whether the repository has the tag with this content; ValueError if it holds anything that a push would harm."""
    from huggingface_hub import errors

    try:
        tags = {ref.name for ref in hub.list_repo_refs(**repo).tags}
    except errors.RepositoryNotFoundError:
        return False
    if tag in tags:
        if MANIFEST in hub.list_repo_files(**repo, revision=tag):
            published = json.loads(
                Path(hub.hf_hub_download(**repo, filename=MANIFEST, revision=tag)).read_text(encoding="utf-8")
            )
            if published == manifest:
                return True
        raise ValueError(f"{repo['repo_id']} has tag {tag} with other content, and a tag is never moved; push to another repo")
    files = hub.list_repo_files(**repo)
    strange = [file for file in files if not any(fnmatch(file, pattern) for pattern in _OWN_FILES)]
    if strange or (CARD in files and MANIFEST not in files):
        raise ValueError(
            f"{repo['repo_id']} holds {(strange or [CARD])[0]}, which is no part of an export of bio-facts and would be "
            "overwritten or stand beside it; push to another repo"
        )
    return False
