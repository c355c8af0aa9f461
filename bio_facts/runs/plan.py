"""The plan of a sweep: the runs that the recipes of all claims need, each once, and the progress of each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bio_facts.runs.checkpoints import checkpoint_folder
from bio_facts.runs.folder import RunFolder
from bio_facts.runs.memory_recipe import MemoryRecipe
from bio_facts.runs.recipe import Recipe
from bio_facts.runs.recipe_files import DEFAULT_SCRIPT, RecipeFile, read_recipe_file
from bio_facts.runs.registration import read_registration

SCALES = ("smoke", "mini", "paper")
RECIPE_CLASSES: Mapping[str, type[Any]] = {"pretrain.py": Recipe, "train_memory.py": MemoryRecipe}


@dataclass
class Job:
    """One run of a sweep: `script` with the recipe of an arm of `file`.

    name: of its folder. source: the job whose run it starts from. registration: digest of the registration of the claim that
    the recipe belongs to. steps: those done so far, by its metrics. code: the exit code, once it has ended. flags: further
    arguments of the script.
    """

    name: str
    script: Path
    file: RecipeFile
    arm: str
    seed: int
    recipe: Any
    source: "Job | None"
    registration: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    steps: int = 0
    code: int | None = None
    flags: Sequence[str] = ()

    @property
    def is_resumable(self) -> bool:
        """Whether it makes checkpoints. Runs of other scripts than pretrain.py take seconds and start again."""
        return self.script.name == DEFAULT_SCRIPT

    @property
    def num_steps(self) -> int:
        """The most steps that it can take; once it has ended, those that it took. 0 for a run that takes seconds."""
        if not self.is_resumable:
            return 0
        return self.steps if self.code is not None else int(self.recipe.num_steps - self.recipe.first_step)

    @property
    def num_rows(self) -> int:
        """The most biographies that it can be trained on."""
        return int(self.num_steps * self.recipe.batch_size)

    def command(self, output_dir: Path, launcher: Sequence[str]) -> list[str]:
        """The command that runs or resumes it. A run that takes seconds needs no launcher of several processes."""
        words = [*(launcher if self.is_resumable else [sys.executable]), str(self.script), "--config", str(self.file.path)]
        words += ["--arm", self.arm, "--seed", str(self.seed), "--output-dir", str(output_dir / self.name), *self.flags]
        words += ["--registration", self.registration] if self.registration else []
        if getattr(self.recipe, "source_seed", None) is not None:
            words += ["--source-seed", str(self.recipe.source_seed)]
        return words + (["--source", str(output_dir / self.source.name)] if self.source is not None else [])

    def count_steps(self, output_dir: Path) -> None:
        """Set `steps` from its metrics."""
        if self.is_resumable:
            lines = RunFolder(output_dir / self.name).metrics
            self.steps = int(lines[-1]["step"]) - int(self.recipe.first_step) if lines else 0

    def is_done(self, output_dir: Path) -> bool:
        """Whether its run is complete; ValueError if its folder holds another run."""
        folder = RunFolder(output_dir / self.name)
        if not folder.path.exists():
            return False
        folder.check_run(self.recipe.as_config())
        if not folder.metrics or not self.is_resumable:
            return bool(folder.metrics)
        step = int(folder.metrics[-1]["step"])
        return folder.is_finished(step) and checkpoint_folder(folder.path, step).is_dir()

    def start(self, output_dir: Path, launcher: Sequence[str], logs: Path, environment: Mapping[str, str]) -> None:
        """Start its process, which appends to NAME.log in the folder `logs`."""
        with (logs / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(output_dir, launcher), stdout=log, stderr=log, env={**os.environ, **environment}
            )


@dataclass
class Plan:
    """The jobs of claims, each once, in the order in which they are started; and for each claim the job of each arm and seed.

    scripts: the folder of the training scripts. registrations: recipe folder -> digest of its registration at this scale.
    """

    scripts: Path
    output_dir: Path
    jobs: list[Job] = field(default_factory=list)
    claims: dict[str, dict[tuple[str, int], Job]] = field(default_factory=dict)
    registrations: dict[Path, str] = field(default_factory=dict)
    _by_recipe: dict[str, Job] = field(default_factory=dict)

    def add_claim(self, claim: str, file: RecipeFile, seeds: Sequence[int] | None) -> None:
        """Add the jobs of a claim's recipe file that are not there.

        With `seeds`, an arm has as many of them, from the first on, as it has seeds in the file.
        """
        jobs = self.claims.setdefault(claim, {})
        for arm in file.arms:
            registered = file.seeds_of(arm)
            planned = registered if seeds is None else seeds[: len(registered)]
            for seed in planned:
                jobs[arm, seed] = self._job(claim, file, arm, seed, planned)

    def _job(self, claim: str, file: RecipeFile, arm: str, seed: int, seeds: Sequence[int]) -> Job:
        """The job of the run of an arm with `seed`, one of the arm's `seeds`."""
        source: Job | None = None
        overrides: dict[str, Any] = {"seed": seed}
        if (source_seed := file.source_seed_of(arm, seed, seeds)) is not None:
            overrides["source_seed"] = source_seed
        if (required := file.source_of(arm)) is not None:
            path, source_arm = required
            stem = "" if path.stem in SCALES else f"-{path.stem.rpartition('-')[0]}"
            of_source = seed if source_seed is None else source_seed
            source = self._job(f"{path.parent.name}{stem}", read_recipe_file(path), source_arm, of_source, [of_source])
            overrides["source"] = str(self.output_dir / source.name)
        if file.script not in RECIPE_CLASSES:
            raise ValueError(f"recipe {file.path} has script {file.script!r}; expected one of {', '.join(RECIPE_CLASSES)}")
        recipe_class = RECIPE_CLASSES[file.script]
        recipe = recipe_class(**file.settings_of(arm, overrides, recipe_class))
        key = json.dumps([file.script, recipe.as_dict()], sort_keys=True)
        if key not in self._by_recipe:
            name = "-".join(word for word in (claim, arm, f"s{seed}") if word)
            registration = self.registrations.get(file.path.parent.resolve(), "")
            job = Job(name, self.scripts / file.script, file, arm, seed, recipe, source, registration)
            self._by_recipe[key] = job
            self.jobs.append(self._by_recipe[key])
        return self._by_recipe[key]

    def measured(self, done: Sequence[Job]) -> tuple[float, int]:
        """Seconds and biographies of finished runs, evaluations included; runs that take seconds are not counted."""
        seconds, num_rows = 0.0, 0
        for job in done:
            if job.is_resumable:
                folder = RunFolder(self.output_dir / job.name)
                seconds += folder.metrics[-1]["seconds"]
                num_rows += (folder.metrics[-1]["step"] - job.recipe.first_step) * job.recipe.batch_size
        return seconds, num_rows

    def ready(self) -> list[Job]:
        """The jobs that can be started: not yet started, their source done."""
        return [
            job for job in self.jobs
            if job.process is None and job.code is None and (job.source is None or job.source.code == 0)
        ]  # fmt: skip

    def stages(self) -> list[list[Job]]:
        """The jobs that are not done, in stages: the source of a job is done or in an earlier stage."""
        stages: list[list[Job]] = []
        stage_of: dict[str, int] = {}
        for job in self.jobs:  # a source comes before those that need it
            if job.code != 0:
                stage_of[job.name] = 0 if job.source is None else stage_of.get(job.source.name, -1) + 1
                if stage_of[job.name] == len(stages):
                    stages.append([])
                stages[stage_of[job.name]].append(job)
        return stages

    def collect_ended(self) -> list[Job]:
        """The jobs that have ended since the last call. A job whose source has failed gets the exit code of the source."""
        ended = [job for job in self.jobs if job.process is not None and job.code is None and job.process.poll() is not None]
        for job in ended:
            assert job.process is not None
            job.code = job.process.returncode
        for job in self.jobs:
            if job.code is None and job.source is not None and job.source.code not in (None, 0):
                job.code = job.source.code
        return ended


def claims_of(recipes: Path, scale: str) -> list[str]:
    """All claims: the folders below `recipes` with a recipe of this scale, by name.

    A claim whose recipe is the base or the source of another one's comes before it.

    Raises:
        ValueError: if a recipe file, or one that it refers to, cannot be read.
    """
    ordered: list[str] = []
    visited: set[str] = set()

    def visit(claim: str) -> None:
        if claim not in visited:
            visited.add(claim)
            for file in read_recipe_file(recipes / claim / f"{scale}.yaml").requires:
                visit(file.parent.name)
            ordered.append(claim)

    for path in sorted(recipes.glob(f"*/{scale}.yaml")):
        visit(path.parent.name)
    return ordered


def plan_claims(
    scripts: Path,
    claims: Sequence[str],
    scale: str,
    output_dir: Path,
    seeds: Sequence[int] | None = None,
) -> Plan:
    """The plan of what `claims` need, from scripts/recipes/CLAIM/SCALE.yaml.

    All claims are planned first, so that a run has the same name whichever claims are asked for.

    Raises:
        ValueError: if a recipe file is missing or invalid.
    """
    plan = Plan(scripts, output_dir)
    known = claims_of(scripts / "recipes", scale)
    for claim in known:
        folder = scripts / "recipes" / claim
        plan.registrations[folder.resolve()] = read_registration(folder, scale).digest
    for claim in known:
        plan.add_claim(claim, read_recipe_file(scripts / "recipes" / claim / f"{scale}.yaml"), seeds)
    plan.claims = {claim: plan.claims[claim] for claim in claims}
    required = {id(job) for jobs in plan.claims.values() for job in with_sources(jobs.values())}
    plan.jobs = [job for job in plan.jobs if id(job) in required]
    return plan


def with_sources(jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs, each after the jobs that its run starts from; a job may occur several times."""
    for job in jobs:
        if job.source is not None:
            yield from with_sources([job.source])
        yield job
