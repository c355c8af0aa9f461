"""Publishing the kept models of a run on the Hugging Face Hub: a branch for each step, and a tag that is set last.

Imports huggingface_hub when it is called.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bio_facts.checks import needs
from bio_facts.hub import GIT_ATTRIBUTES, Files, PatientHub, check_repo_id, hub_errors
from bio_facts.runs.folder import CONFIG_FILE, METRICS_FILE
from bio_facts.runs.kept_models import RUN_FOLDER, KeptModels, branch_of
from bio_facts.runs.plot import plot
from bio_facts.runs.run_card import CURVES_FILE, render_run_card

_CARD = "README.md"
_IDENTITY = (f"{RUN_FOLDER}/{CONFIG_FILE}", f"{RUN_FOLDER}/{METRICS_FILE}")  # files that tell whose repository it is


def push_run(repo_id: str, folder: Path, *, private: bool) -> str:
    """Publish a finished run as the model repository `repo_id`; returns a sentence to print.

    The first commit has card, recipe and metrics. From it, a branch stepN starts for each kept model, and main gets the last
    one when all branches are complete; then the tag of the data version is set. Another push completes an interrupted one.

    Raises:
        ValueError: if a weight file is not the recorded one or the last model is not kept, before anything is uploaded; if the
            repository holds something else; if a request to the Hub fails.
    """
    check_repo_id(repo_id, "you/bio_facts-demo")
    with needs("train", "push-run"):
        import huggingface_hub  # noqa: F401

    kept = KeptModels(folder)
    _check(kept)
    hub = PatientHub(repo_id, "model")
    tag = f"v{kept.run.config['data_version']}"
    with hub_errors(f"push to {repo_id} did not complete, {tag} is not set; push again"):
        has_first_commit, is_tagged = _state(hub, kept, tag)
        if is_tagged:
            return f"{repo_id} has {tag} with this run already"
        hub.call("create_repo", private=private, exist_ok=True)
        if not has_first_commit:
            hub.commit(_first_files(repo_id, kept), "card, recipe and metrics")
        first_commit = hub.call("repo_info").sha
        for step in kept.steps:
            hub.call("create_branch", branch=branch_of(step), revision=first_commit, exist_ok=True)
            hub.commit(_model_files(kept, step), f"model of step {step}", branch_of(step))
        hub.commit(_model_files(kept, kept.steps[-1]), f"model of step {kept.steps[-1]}, the last one")
        hub.call("create_tag", tag=tag)
    return f"{repo_id} has {len(kept.steps)} models and {tag} now; check them: bio-facts verify-run {repo_id} --quick"


def _check(kept: KeptModels) -> None:
    for step in kept.steps:
        if (problem := kept.wrong_weights(step)) is not None:
            raise ValueError(f"run {kept.name} has a wrong model of step {step}: {problem}; train the run again")
        for name in ("config.json", "tokenizer.json"):
            if not (kept.model(step) / name).is_file():
                raise ValueError(f"{kept.model(step)} has no {name}; it must be as training wrote it")
    if (last := max(kept.losses)) != kept.steps[-1]:
        raise ValueError(f"run {kept.name} keeps no model of its last step, {last}; train it with keep_models_at: log")


def _state(hub: PatientHub, kept: KeptModels, tag: str) -> tuple[bool, bool]:
    """Whether the repository has the first commit of this run, and the tag; ValueError if it holds anything else."""
    from huggingface_hub import errors

    try:
        refs, files = hub.call("list_repo_refs"), set(hub.call("list_repo_files")) - {GIT_ATTRIBUTES}
    except errors.RepositoryNotFoundError:
        return False, False
    others = [ref.name for ref in (*refs.branches, *refs.tags) if ref.name != "main"]
    if not files and not others:
        return False, False
    if not files:
        raise ValueError(f"{hub.repo_id} has {others[0]}, but no files in main; push to another repo")
    for path in _IDENTITY:
        if path not in files:
            raise ValueError(f"{hub.repo_id} holds {min(files)}, which is of no run of bio-facts; push to another repo")
        if Path(hub.call("hf_hub_download", filename=path)).read_bytes() != (kept.folder / Path(path).name).read_bytes():
            raise ValueError(f"{hub.repo_id} holds another run: its {path} differs; push to another repo")
    return True, tag in others


def _first_files(repo_id: str, kept: KeptModels) -> Files:
    verdicts = dict(_verdicts(kept.folder))
    with tempfile.TemporaryDirectory() as temporary:
        figure = Path(temporary) / CURVES_FILE
        plot([kept.folder], figure)
        curves = figure.read_bytes()
    return {
        _CARD: render_run_card(repo_id, kept, list(verdicts.values())).encode(),
        f"{RUN_FOLDER}/{CURVES_FILE}": curves,
        **{path: kept.folder / Path(path).name for path in _IDENTITY},
        **{f"{RUN_FOLDER}/{path.name}": path for path in verdicts},
    }


def _verdicts(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The verdicts that analyses of claims have written into the folder of the run, and their files."""
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(content, dict) and {"claim", "measures"} <= content.keys():
            yield path, content


def _model_files(kept: KeptModels, step: int) -> Files:
    return {path.name: path for path in sorted(kept.model(step).iterdir()) if path.is_file()}
