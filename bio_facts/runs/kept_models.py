"""The kept models of a finished run, in its folder or on the Hugging Face Hub, and whether they are those that it recorded.

Imports torch, transformers and huggingface_hub when it is called.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from bio_facts.checks import needs
from bio_facts.generate.config import Config
from bio_facts.hub import hub_errors, is_repo_id
from bio_facts.runs.checkpoints import DIGESTS, MODELS_FOLDER, kept_model, recorded_data, weight_digests
from bio_facts.runs.curves import read_run

RUN_FOLDER = "run"  # in a repository: config.json and metrics.jsonl of the run; config.json beside it is the model's
MAX_DIFFERENCE = 1e-3  # nats per value, between the recorded loss of a model and that of its weights
_NUM_QUICK = 3
_BRANCH = re.compile(r"step(\d+)")


def branch_of(step: int) -> str:
    """The branch of a repository that holds the model of a step."""
    return f"step{step}"


class KeptModels:
    """The kept models of a finished run in a folder. recorded: step -> digests of its weight files, from metrics.jsonl.

    Raises:
        ValueError: if the folder is no finished run, or one whose metrics have no digests.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.name, self.folder, self.run = name or str(folder), folder, read_run(folder)
        lines = self.run.curves["validation"].lines if "validation" in self.run.curves else []
        self.recorded: dict[int, dict[str, str]] = {line["step"]: line[DIGESTS] for line in lines if DIGESTS in line}
        self.losses = {line["step"]: line["attribute_loss"] for line in lines}
        if not self.recorded:
            raise ValueError(
                f"run {self.name} has recorded no {DIGESTS}; it must be trained with keep_models_at, by a version that does"
            )

    @cached_property
    def data(self) -> Config:
        """What the run was trained on; ValueError if this version of bio_facts makes other rows."""
        return recorded_data(self.run.config, f"run {self.name}")

    @cached_property
    def steps(self) -> list[int]:
        """The steps whose models are there, or are recorded."""
        names = (path.name.removeprefix("step-") for path in (self.folder / MODELS_FOLDER).glob("step-*"))
        return sorted({int(name) for name in names if name.isdecimal()} | set(self.recorded))

    def model(self, step: int) -> Path:
        """The folder of the model of a step; ValueError if there is none."""
        return kept_model(self.folder, step)

    def digests(self, step: int) -> dict[str, str]:
        """Digests of the weight files that are there, none if there is no model of this step."""
        return weight_digests(self.folder / MODELS_FOLDER / f"step-{step}")

    def wrong_weights(self, step: int) -> str | None:
        """What is wrong with the weight files of a step, None if they are those that the run recorded."""
        return _difference(self.digests(step), self.recorded.get(step))


class PublishedModels(KeptModels):
    """The models of a run that bio-facts push-run has published."""

    def __init__(self, repo_id: str) -> None:
        with needs("train", "verify-run"):
            import huggingface_hub

        self._hub: Any = huggingface_hub.HfApi()
        self._download: Any = huggingface_hub.snapshot_download
        with hub_errors(f"run {repo_id} is no folder, and cannot be read from the Hub"):
            snapshot = Path(self._download(repo_id, allow_patterns=f"{RUN_FOLDER}/*"))
            self._branches = {ref.name for ref in self._hub.list_repo_refs(repo_id).branches}
        super().__init__(snapshot / RUN_FOLDER, repo_id)

    @cached_property
    def steps(self) -> list[int]:
        """The steps that have a branch, or are recorded."""
        branches = filter(None, map(_BRANCH.fullmatch, self._branches))
        return sorted({int(branch[1]) for branch in branches} | set(self.recorded))

    def model(self, step: int) -> Path:
        """The folder of the model of a step, downloaded."""
        with hub_errors(f"step {step} of {self.name} cannot be read"):
            return Path(self._download(self.name, revision=branch_of(step), ignore_patterns=[f"{RUN_FOLDER}/*"]))

    def digests(self, step: int) -> dict[str, str]:
        """Digests of the weight files of a branch, by which the Hub stores them: nothing is downloaded."""
        return self._digests_at(branch_of(step)) if branch_of(step) in self._branches else {}

    def wrong_final_weights(self) -> str | None:
        """What is wrong with the weight files of the branch main, None if they are those of the last step."""
        return _difference(self._digests_at("main"), self.recorded.get(max(self.losses)))

    def _digests_at(self, revision: str) -> dict[str, str]:
        with hub_errors(f"branch {revision} of {self.name} cannot be read"):
            files = [entry for entry in self._hub.list_repo_tree(self.name, revision=revision)]
        return {
            file.path: file.lfs.sha256 for file in files if getattr(file, "lfs", None) and file.path.endswith(".safetensors")
        }


def _difference(digests: dict[str, str], recorded: dict[str, str] | None) -> str | None:
    if recorded is None:
        return "the run recorded no weights of this step"
    for name, digest in recorded.items():
        if name not in digests:
            return f"{name} is missing"
        if digests[name] != digest:
            return f"{name} has SHA-256 {digests[name][:12]}..., recorded is {digest[:12]}..."
    return next((f"{name} is not recorded" for name in digests if name not in recorded), None)


class _Scorer:
    """Scores models as the evaluation of their run did: the same rows, tokens, batches and precision."""

    def __init__(self, kept: KeptModels) -> None:
        recipe = kept.run.recipe
        if recipe.get("attention"):
            raise ValueError(
                f"run {kept.name} was given the attention of another model; its models alone do not give its losses"
            )
        from bio_facts.runs.machine import join_processes

        self.data = kept.data
        self.num_biographies, self.batch_size = recipe["num_eval_biographies"], recipe["eval_batch_size"]
        self.device = join_processes().device
        self.machines = [{"step": -1} | kept.run.config, *kept.run.config.get("resumed_on", [])]

    def loss(self, model_folder: Path, step: int) -> float:
        """The attribute loss of validation, in nats per value."""
        import torch

        from bio_facts.measure.models import load_model
        from bio_facts.measure.modules import evaluation_mode
        from bio_facts.measure.split_scoring import SplitScorer
        from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer
        from bio_facts.runs.attention_by_products import attend_by_products
        from bio_facts.runs.precision import use_precision

        recorded = [machine.get("precision", "float32") for machine in self.machines if machine["step"] < step] or ["float32"]
        precision = use_precision(recorded[-1], self.device.type)
        tokenizer = BiographyTokenizer(load_tokenizer(str(model_folder)), self.data.pool_sizes, self.data.formats)
        options = {"num_biographies": self.num_biographies, "batch_size": self.batch_size}
        scorer = SplitScorer(tokenizer, self.data, ["validation"], **options)
        model = load_model(model_folder, dtype=torch.float32).to(self.device)
        if self.device.type == "cpu":
            attend_by_products(model, precision)
        with evaluation_mode(model), torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return scorer.summaries(model)["validation"]["attribute_loss"]


def recorded_run(name: str) -> tuple[dict[str, Any], Config]:
    """The config.json of a run, which may be unfinished, and the data that it was trained on.

    Args:
        name: the folder of a run, or the id of a repository that push-run has written.

    Raises:
        ValueError: if `name` is no run on biographies, or this version of bio_facts makes other rows.
    """
    folder = Path(name).expanduser()
    run = read_run(folder, may_be_unfinished=True) if folder.is_dir() else kept_models(name).run
    if "dataset_parameters" not in run.config:
        raise ValueError(f"run {name} was trained on no dataset of biographies")
    return run.config, recorded_data(run.config, f"run {name}")


def kept_models(name: str) -> KeptModels:
    """The models that a run has kept.

    Args:
        name: the folder of a run, or the id of a repository that push-run has written.

    Raises:
        ValueError: if `name` is no such run.
    """
    folder = Path(name).expanduser()
    if not name or (not folder.is_dir() and not is_repo_id(name)):
        raise ValueError(f"run is {name!r}, which is no folder and no Hub id; it must be like runs/demo or you/bio_facts-demo")
    return KeptModels(folder) if folder.is_dir() else PublishedModels(name)


def verify_run(name: str, *, quick: bool = False) -> Iterator[str]:
    """Check the weights of every kept model by their digests, and by the loss that they give; a line for each.

    Args:
        name: the folder of a run, or the id of a repository that push-run has written.
        quick: compute the losses of the first model, the last, and one between them only.

    Raises:
        ValueError: at the end, naming the steps whose models are wrong; at once if `name` is no such run.
    """
    kept = kept_models(name)
    scorer, steps = _Scorer(kept), kept.steps
    scored = {steps[place * (len(steps) - 1) // (_NUM_QUICK - 1)] for place in range(_NUM_QUICK)} if quick else set(steps)
    wrong: dict[str, str] = {}
    for step in steps:
        problem = kept.wrong_weights(step)
        text = "weights as recorded"
        if problem is None and step in scored:
            loss, recorded = scorer.loss(kept.model(step), step), kept.losses[step]
            text += f", loss {loss:.4f} nats per value, recorded {recorded:.4f}"
            if not abs(loss - recorded) <= MAX_DIFFERENCE:
                problem = f"its weights give a loss of {loss:.4f} nats per value, recorded is {recorded:.4f}"
        if problem is not None:
            wrong[f"step {step}"] = problem
        yield f"step {step}: {problem or text}"
    if isinstance(kept, PublishedModels) and (problem := kept.wrong_final_weights()) is not None:
        wrong["main"] = problem
        yield f"main: {problem}"
    if wrong:
        (first, problem), *others = wrong.items()
        more = f"; also {', '.join(step for step, _ in others)}" if others else ""
        raise ValueError(f"run {kept.name} has wrong models: {first}: {problem}{more}")
    yield f"{kept.name}: {len(steps)} models, all as recorded"
