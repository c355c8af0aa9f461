"""Run the recipes of all claims, judge them, and write one page with every picture and verdict.

  python train/run_all.py --scale mini                                  # make paper: hours on two CPU cores
  python train/run_all.py --scale mini --claims three_phases,hallucination
  python train/run_all.py --scale smoke --output-dir runs/smoke-all     # minutes: every part runs, nothing is shown
  python train/run_all.py --scale paper --claims three_phases           # one GPU
  python train/run_all.py --claims power_law --seeds 0,1 --output-dir runs/trial    # seeds of one's own

The same command again runs what is missing and resumes what was cut. Claims that need the same run share it. On a CPU, --jobs
runs go on side by side, one thread each; on a GPU one after another. Everything is kept under --output-dir: the runs, a log of
each, a verdict and picture of each claim, and report.html.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bio_facts.checks import Parser, needs
from bio_facts.runs.folder import CONFIG_FILE, METRICS_FILE, check_folder, is_finished, read_metrics
from bio_facts.runs.recipe import MemoryRecipe
from bio_facts.runs.recipe_files import RecipeFile, read_recipe_file

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "train" / "recipes"
SCALES = ("smoke", "mini", "paper")
_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass
class Job:
    """One run that is to be done. name: of its folder. source: the job whose run it needs.

    steps: those done so far, as its metrics say. code: exit code, once it has ended. flags: further ones of its script.
    """

    name: str
    file: RecipeFile
    arm: str
    seed: int
    recipe: Any
    source: "Job | None"
    process: "subprocess.Popen[bytes] | None" = None
    steps: int = 0
    code: int | None = None
    flags: Sequence[str] = ()

    @property
    def num_steps(self) -> int:
        """Steps that it takes, at most; those that it took, once it has ended. A memory, done in seconds, counts as none."""
        if isinstance(self.recipe, MemoryRecipe):
            return 0
        return self.steps if self.code is not None else int(self.recipe.num_steps - self.recipe.first_step)

    def command(self, output_dir: Path, launcher: Sequence[str]) -> list[str]:
        """The command that runs it, or goes on with it. A memory learns in one process."""
        launcher = [sys.executable] if isinstance(self.recipe, MemoryRecipe) else launcher
        words = [*launcher, str(ROOT / "train" / self.file.script), "--config", str(self.file.path), "--arm", self.arm]
        words += ["--seed", str(self.seed), "--output_dir", str(output_dir / self.name)]
        words += self.flags
        return words + (["--source", str(output_dir / self.source.name)] if self.source is not None else [])

    def count_steps(self, output_dir: Path) -> None:
        """Read from its metrics how far it is."""
        if not isinstance(self.recipe, MemoryRecipe):
            lines = read_metrics(output_dir / self.name / METRICS_FILE)
            self.steps = int(lines[-1]["step"]) - int(self.recipe.first_step) if lines else 0

    def is_done(self, output_dir: Path) -> bool:
        """Whether it was done before; ValueError if its folder holds another run."""
        folder = output_dir / self.name
        check_folder(folder, self.recipe)
        lines = read_metrics(folder / METRICS_FILE)
        if not lines or isinstance(self.recipe, MemoryRecipe):
            return bool(lines)
        step = int(lines[-1]["step"])
        return is_finished(folder, self.recipe, step) and (folder / f"checkpoint-{step}").is_dir()

    def start(self, output_dir: Path, launcher: Sequence[str], logs: Path, environment: Mapping[str, str]) -> None:
        """Start its process, which writes to a log of its own."""
        with (logs / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(output_dir, launcher), stdout=log, stderr=log, env={**os.environ, **environment}
            )


@dataclass
class Plan:
    """The jobs of all claims, each once, in the order in which they are to be started; and those that each claim needs."""

    output_dir: Path
    jobs: list[Job] = field(default_factory=list)
    claims: dict[str, list[Job]] = field(default_factory=dict)
    _by_recipe: dict[str, Job] = field(default_factory=dict)

    def add_claim(self, claim: str, scale: str, seeds: Sequence[int] | None) -> None:
        """Add the jobs of a claim's recipe file, but for those that are there; of `seeds`, if given, in place of the file's."""
        file = read_recipe_file(RECIPES / claim / f"{scale}.yaml")
        self.claims[claim] = [self._job(claim, file, arm, seed) for arm in file.arms for seed in seeds or file.seeds_of(arm)]

    def _job(self, claim: str, file: RecipeFile, arm: str, seed: int) -> Job:
        source: Job | None = None
        overrides: dict[str, Any] = {"seed": seed}
        if (needed := file.source_of(arm)) is not None:
            path, source_arm = needed
            stem = "" if path.stem in SCALES else f"-{path.stem.rpartition('-')[0]}"
            source = self._job(f"{path.parent.name}{stem}", read_recipe_file(path), source_arm, seed)
            overrides["source"] = str(self.output_dir / source.name)
        recipe = file.recipe(arm, overrides)
        described = json.dumps([file.script, recipe.as_dict()], sort_keys=True)
        if described not in self._by_recipe:
            name = "-".join(part for part in (claim, arm, f"s{seed}") if part)
            self._by_recipe[described] = Job(name, file, arm, seed, recipe, source)
            self.jobs.append(self._by_recipe[described])
        return self._by_recipe[described]

    def ready(self) -> list[Job]:
        """Jobs that can be started: not yet started, their source done."""
        return [
            job for job in self.jobs
            if job.process is None and job.code is None and (job.source is None or job.source.code == 0)
        ]  # fmt: skip

    def look(self) -> list[Job]:
        """The jobs that have ended since the last look. What needs a run that failed has failed with it."""
        ended = [job for job in self.jobs if job.process is not None and job.code is None and job.process.poll() is not None]
        for job in ended:
            assert job.process is not None
            job.code = job.process.returncode
        for job in self.jobs:
            if job.code is None and job.source is not None and job.source.code not in (None, 0):
                job.code = job.source.code
        return ended


def claims_of(scale: str) -> list[str]:
    """All claims: the folders below train/recipes/ with a recipe of this scale, by name.

    A claim whose recipe is the base or the source of another one's comes before it.

    Raises:
        ValueError: if a recipe file, or one that it refers to, cannot be read.
    """
    ordered: list[str] = []
    visited: set[str] = set()

    def visit(claim: str) -> None:
        if claim not in visited:
            visited.add(claim)
            for file in read_recipe_file(RECIPES / claim / f"{scale}.yaml").requires:
                visit(file.parent.name)
            ordered.append(claim)

    for path in sorted(RECIPES.glob(f"*/{scale}.yaml")):
        visit(path.parent.name)
    return ordered


def plan_claims(claims: Sequence[str], scale: str, output_dir: Path, seeds: Sequence[int] | None = None) -> Plan:
    """The plan of all claims, so that a run has one name whichever of them are asked for; then only what `claims` need.

    Raises:
        ValueError: if a recipe file is missing or not right.
    """
    plan = Plan(output_dir)
    for claim in claims_of(scale):
        plan.add_claim(claim, scale, seeds)
    plan.claims = {claim: plan.claims[claim] for claim in claims}
    wanted = {id(one) for jobs in plan.claims.values() for job in jobs for one in (job, job.source)}
    plan.jobs = [job for job in plan.jobs if id(job) in wanted]
    return plan


def run_jobs(
    plan: Plan, num_jobs: int, launcher: Sequence[str], environment: Mapping[str, str], judge: Callable[[str], None]
) -> None:
    """Run all jobs that are not done, num_jobs at a time, each after its source; judge(claim) once all of a claim are done."""
    logs = plan.output_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    to_judge = list(plan.claims)
    for job in plan.jobs:
        job.count_steps(plan.output_dir)
    done = sum(job.steps for job in plan.jobs)
    with tqdm(initial=done, unit=" steps", smoothing=0.05, dynamic_ncols=True) as bar:
        try:
            while to_judge:
                ended = plan.look()
                running = [job for job in plan.jobs if job.process is not None and job.code is None]
                for job in [*ended, *running]:
                    job.count_steps(plan.output_dir)
                for job in [job for job in ended if job.code != 0]:
                    _say_failed(job, logs)
                for job in plan.ready()[: max(0, num_jobs - len(running))]:
                    job.start(plan.output_dir, launcher, logs, environment)
                bar.total = sum(job.num_steps for job in plan.jobs)
                bar.set_description(f"{sum(job.code == 0 for job in plan.jobs)}/{len(plan.jobs)} runs", refresh=False)
                bar.update(sum(job.steps for job in plan.jobs) - bar.n)
                for claim in [claim for claim in to_judge if all(job.code is not None for job in plan.claims[claim])]:
                    to_judge.remove(claim)
                    if all(job.code == 0 for job in plan.claims[claim]):
                        judge(claim)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for job in plan.jobs:
                if job.process is not None and job.process.poll() is None:
                    job.process.terminate()
                    job.process.wait()


def _say_failed(job: Job, logs: Path) -> None:
    log = logs / f"{job.name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    why = [line for line in lines if ": error: " in line] or lines or ["it said nothing"]
    tqdm.write(f"run {job.name} ended with code {job.code}: {why[-1]} (log: {log})", file=sys.stderr)


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be integers with commas, such as 0,1,2") from None


def main() -> int:
    """Plan, run, judge, report. Exit code 0 if every claim was judged, 1 if a run or an analysis failed, 130 if stopped."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="mini", choices=SCALES, help="which recipes (default: mini)")
    parser.add_argument("--claims", metavar="A,B", help="folders of train/recipes/ (default: all)")
    parser.add_argument("--jobs", type=int, metavar="K", help="runs side by side (default: CPU cores; with a GPU, 1)")
    parser.add_argument(
        "--launcher", type=shlex.split, default=[sys.executable], metavar="COMMAND",
        help="what runs a script (default: this Python); several GPUs: 'accelerate launch --num_processes 4'",
    )  # fmt: skip
    parser.add_argument("--seeds", type=_seeds, metavar="A,B", help="in place of those of the recipes, for every arm")
    parser.add_argument(
        "--allow-other-machine", action="store_true",
        help="resume runs that began on another device, with another number of threads (--jobs), or with other versions",
    )  # fmt: skip
    parser.add_argument("--plan", action="store_true", help="list the runs and stop")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="default: runs/paper-SCALE")
    arguments = parser.parse_args()
    output_dir: Path = arguments.output_dir or Path("runs") / f"paper-{arguments.scale}"
    if arguments.jobs is not None and arguments.jobs < 1:
        parser.error(f"jobs is {arguments.jobs}; it must be an integer of at least 1")
    if not arguments.launcher or shutil.which(arguments.launcher[0]) is None:
        parser.error(f"launcher is {shlex.join(arguments.launcher)!r}, which begins with no command of this machine")
    if (output_dir / CONFIG_FILE).exists():
        parser.error(f"output_dir is {str(output_dir)!r}, which holds a run; it must be a folder of its own")
    try:
        known = claims_of(arguments.scale)
        claims = known if arguments.claims is None else list(dict.fromkeys(arguments.claims.replace(" ", "").split(",")))
        if (unknown := next((claim for claim in claims if claim not in known), None)) is not None:
            parser.error(f"claim is {unknown!r}; it must be one of {', '.join(known)}")
        plan = plan_claims(claims, arguments.scale, output_dir, arguments.seeds)
        for job in plan.jobs:
            job.code = 0 if job.is_done(output_dir) else None
            if arguments.allow_other_machine and not isinstance(job.recipe, MemoryRecipe):
                job.flags = ("--allow_other_machine",)
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    if arguments.plan:
        for job in plan.jobs:
            size = f"at most {job.num_steps:,} steps" if job.num_steps else "a matter of seconds"
            print(f"{job.name}: {'done' if job.code == 0 else size}")
        left = [job for job in plan.jobs if job.code != 0]
        print(f"{len(plan.jobs)} runs; {len(left)} to do, at most {sum(job.num_steps for job in left):,} steps")
        return 0
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment: dict[str, str] = {}
    try:
        has_gpu = _has_gpu()
    except ValueError as error:
        parser.error(str(error))
    if has_gpu:
        num_jobs = arguments.jobs or 1
    else:
        num_jobs = arguments.jobs or num_cores
        environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": str(max(1, num_cores // num_jobs))}
    failed: list[str] = []

    def judge(claim: str) -> None:
        results = output_dir / claim / f"{arguments.scale}.json"
        folders = [str(output_dir / job.name) for job in plan.claims[claim]]
        command = [sys.executable, str(ROOT / "eval" / "analysis" / f"{claim}.py"), *folders, "--results", str(results)]
        result = subprocess.run(command, capture_output=True, text=True)
        tqdm.write(result.stdout + result.stderr)
        if result.returncode not in (0, 1):
            failed.append(claim)

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the runs are stopped as well
    try:
        run_jobs(plan, num_jobs, arguments.launcher, environment, judge)
    except KeyboardInterrupt:
        print("run_all.py: stopped, and the runs with it; the same command goes on from here", file=sys.stderr)
        return 130
    report = [sys.executable, str(ROOT / "eval" / "report.py"), str(output_dir), "--scale", arguments.scale]
    report += ["--output-file", str(output_dir / "report.html")]
    subprocess.run(report, check=True)
    unfinished = [claim for claim, jobs in plan.claims.items() if any(job.code != 0 for job in jobs)]
    if unfinished or failed:
        print(f"run_all.py: not judged: {', '.join([*unfinished, *failed])}", file=sys.stderr)
        return 1
    return 0


def _has_gpu() -> bool:
    with needs("train", "run_all.py"):
        import torch

    return bool(torch.cuda.is_available()) and os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true"


if __name__ == "__main__":
    sys.exit(main())
