"""Publishing an export on the Hugging Face Hub, with a tag for its data version that is set last and never moved."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bio_facts.checks import needs
from bio_facts.hub import check_repo_id, hub_errors
from bio_facts.publish.card import REPOSITORY
from bio_facts.publish.manifest import CARD, MANIFEST, read_manifest
from bio_facts.publish.verify import verify

_EXPORT_FILES = (CARD, MANIFEST, ".gitattributes", "data/*.parquet")


def push(repo_id: str, folder: Path, *, private: bool, num_workers: int) -> str:
    """Verify the export in `folder` and publish it as the dataset `repo_id`; returns a sentence to print.

    The tag v<DATA_VERSION> is set after everything has been uploaded; another push completes an interrupted one. In the
    uploaded card, `repo_id` replaces "<you>/bio_facts"; the folder itself is not changed.

    Raises:
        ValueError: if the export is damaged, the tag exists with other content, the repository holds other files, or a
            request to the Hub fails.
    """
    with needs("hub", "push"):
        import huggingface_hub
    hub: Any = huggingface_hub.HfApi()
    repo = {"repo_id": repo_id, "repo_type": "dataset"}
    check_repo_id(repo_id, "you/bio_facts")
    manifest = read_manifest(folder)
    tag = f"v{manifest['data_version']}"
    with hub_errors(f"push to {repo_id} did not complete, {tag} is not set; push again"):
        if _is_published(hub, repo, tag, manifest):
            return f"{repo_id} has {tag} with these rows already"
        verify(folder, num_workers)
        hub.create_repo(**repo, private=private, exist_ok=True)
        # The manifest and the card come first: they identify the repository if the upload of the shards is interrupted.
        card = (folder / CARD).read_bytes().replace(REPOSITORY.encode(), repo_id.encode())
        for path, content in ((MANIFEST, folder / MANIFEST), (CARD, card)):
            hub.upload_file(**repo, path_or_fileobj=content, path_in_repo=path, commit_message=f"bio_facts {tag}, {path}")
        last_commit = hub.upload_folder(
            **repo,
            folder_path=folder,
            allow_patterns=["data/**"],
            delete_patterns=["data/**"],
            commit_message=f"bio_facts {tag}",
        )
        hub.create_tag(**repo, tag=tag, revision=last_commit.oid)
    return f"{repo_id} has {tag} now"


def _is_published(hub: Any, repo: dict[str, str], tag: str, manifest: dict[str, Any]) -> bool:
    """Whether the repository has the tag with this content; ValueError if it holds other files, or other content at the tag."""
    from huggingface_hub import errors

    try:
        tags = {ref.name for ref in hub.list_repo_refs(**repo).tags}
    except errors.RepositoryNotFoundError:
        return False
    if tag in tags:
        if _manifest(hub, repo, tag) == manifest:
            return True
        raise ValueError(f"{repo['repo_id']} has tag {tag} with other content, and a tag is never moved; push to another repo")
    expected = _EXPORT_FILES if _manifest(hub, repo, "main") else (".gitattributes",)
    others = [file for file in hub.list_repo_files(**repo) if not any(fnmatch(file, pattern) for pattern in expected)]
    if others:
        raise ValueError(
            f"{repo['repo_id']} holds {others[0]}, which does not belong to an export of bio-facts; push to another repo"
        )
    return False


def _manifest(hub: Any, repo: dict[str, str], revision: str) -> dict[str, Any] | None:
    """The manifest of the export at a revision of the repository, or None if there is none."""
    if MANIFEST not in hub.list_repo_files(**repo, revision=revision):
        return None
    file = Path(hub.hf_hub_download(**repo, filename=MANIFEST, revision=revision))
    try:
        return read_manifest(file.parent)
    except ValueError:
        return None
