"""Publishing an export on the Hugging Face Hub: in one commit, and then a tag for its data version that is never moved."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bio_facts.checks import needs
from bio_facts.hub import GIT_ATTRIBUTES, PatientHub, check_repo_id, hub_errors
from bio_facts.publish.card import REPOSITORY
from bio_facts.publish.eval_yaml import EVAL_YAML, render_eval_yaml
from bio_facts.publish.manifest import CARD, MANIFEST, read_manifest
from bio_facts.publish.verify import verify

_EXPORT_FILES = (CARD, MANIFEST, EVAL_YAML, GIT_ATTRIBUTES, "data/*.parquet")


def push(repo_id: str, folder: Path, *, private: bool, num_workers: int) -> str:
    """Verify the export in `folder` and publish it as the dataset `repo_id`; returns a sentence to print.

    All files are in one commit, which the Hub makes when it has them all: its main branch never holds a part of an export. Then
    the tag v<DATA_VERSION> is set. Another push completes an interrupted one, and uploads only what the Hub does not have. In
    the uploaded card, `repo_id` replaces "<you>/bio_facts"; the folder itself is not changed. With cloze tasks,
    the repository also has eval.yaml, which registers it as a benchmark.

    Raises:
        ValueError: if the export is damaged, the tag exists with other content, the repository holds other files, or a
            request to the Hub fails.
    """
    with needs("hub", "push"):
        import huggingface_hub  # noqa: F401
    check_repo_id(repo_id, "you/bio_facts")
    hub = PatientHub(repo_id, "dataset")
    manifest = read_manifest(folder)
    tag = f"v{manifest['data_version']}"
    with hub_errors(f"push to {repo_id} did not complete, {tag} is not set; push again"):
        if _is_published(hub, tag, manifest):
            return f"{repo_id} has {tag} with these rows already"
        verify(folder, num_workers)
        hub.call("create_repo", private=private, exist_ok=True)
        files: dict[str, Path | bytes] = {
            path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
        }
        files[CARD] = (folder / CARD).read_bytes().replace(REPOSITORY.encode(), repo_id.encode())
        if (benchmark := render_eval_yaml(manifest)) is not None:
            files[EVAL_YAML] = benchmark.encode()
        removed = set(hub.call("list_repo_files")) - {*files, GIT_ATTRIBUTES}
        hub.call("create_tag", tag=tag, revision=hub.commit(files, tag, removed=removed))
    return f"{repo_id} has {tag} now"


def _is_published(hub: PatientHub, tag: str, manifest: dict[str, Any]) -> bool:
    """Whether the repository has the tag with this content; ValueError if it holds other files, or other content at the tag."""
    from huggingface_hub import errors

    try:
        tags = {ref.name for ref in hub.call("list_repo_refs").tags}
    except errors.RepositoryNotFoundError:
        return False
    if tag in tags:
        if _manifest(hub, tag) == manifest:
            return True
        raise ValueError(f"{hub.repo_id} has tag {tag} with other content, and a tag is never moved; push to another repo")
    expected = _EXPORT_FILES if _manifest(hub, "main") else (GIT_ATTRIBUTES,)
    others = [file for file in hub.call("list_repo_files") if not any(fnmatch(file, pattern) for pattern in expected)]
    if others:
        raise ValueError(
            f"{hub.repo_id} holds {others[0]}, which does not belong to an export of bio-facts; push to another repo"
        )
    return False


def _manifest(hub: PatientHub, revision: str) -> dict[str, Any] | None:
    """The manifest of the export at a revision of the repository, or None if there is none."""
    if MANIFEST not in hub.call("list_repo_files", revision=revision):
        return None
    file = Path(hub.call("hf_hub_download", filename=MANIFEST, revision=revision))
    try:
        return read_manifest(file.parent)
    except ValueError:
        return None
