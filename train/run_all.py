"""Run the recipes of all claims, judge them, and write one page with every picture and verdict.

  python train/run_all.py --scale mini                                  # make paper: hours on two CPU cores
  python train/run_all.py --scale mini --claims three_phases,hallucination
  python train/run_all.py --scale smoke --output_dir runs/smoke-all     # minutes: every part runs, nothing is shown
  python train/run_all.py --scale paper --claims three_phases           # one GPU

The same command again runs what is missing and resumes what was cut. Claims that need the same run share it. On a CPU, --jobs
runs go on side by side, one thread each; on a GPU one after another. Everything is kept under --output_dir: the runs, a log of
each, a verdict and picture of each claim, and report.html.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipe_files import RecipeFile, read_recipe_file
from run_folder import METRICS_FILE, read_metrics
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "train" / "recipes"
CLAIMS = (
    "three_phases", "hallucination", "population_size", "attention_patching", "power_law", "warm_up", "fine_tuning", "replay",
    "rare_individuals", "sequential_groups", "associative_memory",
)  # fmt: skip
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass
class Job:
    """One run that is to be done. name: of its folder. source: the job whose run it needs. code: exit code, once it has ended."""

    name: str
    file: RecipeFile
    arm: str
    seed: int
    num_steps: int
    source: "Job | None"
    process: "subprocess.Popen[bytes] | None" = None
    code: int | None = None

    def command(self, output_dir: Path) -> list[str]:
        """The command that runs it, or goes on with it."""
        words = [sys.executable, str(ROOT / "train" / self.file.script), "--config", str(self.file.path), "--arm", self.arm]
        words += ["--seed", str(self.seed), "--output_dir", str(output_dir / self.name)]
        return words + (["--source", str(output_dir / self.source.name)] if self.source is not None else [])

    def steps_done(self, output_dir: Path) -> int:
        """Steps that it has done, as far as its metrics say; all if it has ended well."""
        if self.code == 0:
            return self.num_steps
        lines = read_metrics(output_dir / self.name / METRICS_FILE)
        return int(lines[-1]["step"]) if lines else 0


@dataclass
class Plan:
    """The jobs of all claims, each once, in the order in which they are to be started; and those that each claim needs."""

    output_dir: Path
    jobs: list[Job] = field(default_factory=list)
    claims: dict[str, list[Job]] = field(default_factory=dict)
    _by_recipe: dict[str, Job] = field(default_factory=dict)

    def add_claim(self, claim: str, scale: str) -> None:
        """Add the jobs of a claim's recipe file, but for those that are there."""
        file = read_recipe_file(RECIPES / claim / f"{scale}.yaml")
        self.claims[claim] = [self._job(claim, file, arm, seed) for arm in file.arms for seed in file.seeds_of(arm)]

    def _job(self, claim: str, file: RecipeFile, arm: str, seed: int) -> Job:
        source, overrides = None, {"seed": seed}
        if (needed := file.source_of(arm)) is not None:
            path, source_arm = needed
            source_file = file if path == file.path.resolve() else read_recipe_file(path)
            source = self._job(path.parent.name, source_file, source_arm, seed)
            overrides["source"] = str(self.output_dir / source.name)
        recipe = file.recipe(arm, overrides)
        described = json.dumps([file.script, recipe.as_dict()], sort_keys=True)
        if described not in self._by_recipe:
            name = "-".join(part for part in (claim, arm, f"s{seed}") if part)
            job = Job(name, file, arm, seed, recipe.num_steps - recipe.first_step, source)
            self._by_recipe[described] = job
            self.jobs.append(job)
        return self._by_recipe[described]


def plan_claims(claims: Sequence[str], scale: str, output_dir: Path) -> Plan:
    """The plan of all claims, so that a run has one name whichever of them are asked for; then only what `claims` need.

    Raises:
        ValueError: if a recipe file is missing or not right.
    """
    plan = Plan(output_dir)
    for claim in CLAIMS:
        if (RECIPES / claim / f"{scale}.yaml").is_file() or claim in claims:
            plan.add_claim(claim, scale)
    plan.claims = {claim: plan.claims[claim] for claim in claims}
    wanted: list[Job] = []
    for jobs in plan.claims.values():
        for job in jobs:
            for one in (job.source, job):
                if one is not None and one not in wanted:
                    wanted.append(one)
    plan.jobs = wanted
    return plan


def run_jobs(plan: Plan, num_jobs: int, environment: Mapping[str, str], judge: Any) -> None:
    """Run all jobs, num_jobs at a time, a job after its source; `judge(claim)` is called once all jobs of a claim are done."""
    logs = plan.output_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    judged: set[str] = set()
    total = sum(job.num_steps for job in plan.jobs)
    with tqdm(total=total, unit=" steps", smoothing=0.05, dynamic_ncols=True) as bar:
        before = sum(job.steps_done(plan.output_dir) for job in plan.jobs)
        bar.update(before)
        bar.unpause()
        try:
            while any(job.code is None for job in plan.jobs):
                for job in plan.jobs:
                    if job.process is not None and job.code is None:
                        job.code = job.process.poll()
                        if job.code is not None:
                            _say_end(job, logs)
                running = [job for job in plan.jobs if job.process is not None and job.code is None]
                for job in plan.jobs:
                    if job.process is None and job.code is None and job.source is not None and job.source.code not in (None, 0):
                        job.code = job.source.code
                ready = [
                    job for job in plan.jobs
                    if job.process is None and job.code is None and (job.source is None or job.source.code == 0)
                ]  # fmt: skip
                for job in ready[: max(0, num_jobs - len(running))]:
                    with (logs / f"{job.name}.log").open("ab") as log:
                        job.process = subprocess.Popen(
                            job.command(plan.output_dir), stdout=log, stderr=log, env={**os.environ, **environment}
                        )
                    running.append(job)
                done = sum(job.steps_done(plan.output_dir) for job in plan.jobs)
                bar.update(done - bar.n)
                bar.set_description(f"{sum(job.code == 0 for job in plan.jobs)}/{len(plan.jobs)} runs")
                for claim, jobs in plan.claims.items():
                    if claim not in judged and all(job.code is not None for job in jobs):
                        judged.add(claim)
                        if all(job.code == 0 for job in jobs):
                            judge(claim)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for job in plan.jobs:
                if job.process is not None and job.process.poll() is None:
                    job.process.terminate()
                    job.process.wait()
    for claim, jobs in plan.claims.items():
        if claim not in judged and all(job.code == 0 for job in jobs):
            judge(claim)


def _say_end(job: Job, logs: Path) -> None:
    if job.code != 0:
        lines = (logs / f"{job.name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else "it said nothing"
        tqdm.write(f"run {job.name} ended with code {job.code}: {last} (log: {logs / job.name}.log)", file=sys.stderr)


def main() -> int:
    """Plan, run, judge, report. Exit code 0 if every claim was judged, 1 if a run or an analysis failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: parser.exit(2, f"{parser.prog}: error: {message}\n")  # type: ignore[method-assign]
    parser.add_argument("--scale", default="mini", choices=("smoke", "mini", "paper"), help="which recipes (default: mini)")
    parser.add_argument("--claims", metavar="A,B", help=f"default: all of {', '.join(CLAIMS)}")
    parser.add_argument("--jobs", type=int, metavar="K", help="runs side by side (default: CPU cores; with a GPU, 1)")
    parser.add_argument("--output_dir", type=Path, metavar="DIR", help="default: runs/paper-SCALE")
    arguments = parser.parse_args()
    output_dir: Path = arguments.output_dir or Path("runs") / f"paper-{arguments.scale}"
    claims = arguments.claims.split(",") if arguments.claims else list(CLAIMS)
    unknown = next((claim for claim in claims if claim not in CLAIMS), None)
    if unknown is not None:
        parser.error(f"claim is {unknown!r}; it must be one of {', '.join(CLAIMS)}")
    if arguments.jobs is not None and arguments.jobs < 1:
        parser.error(f"jobs is {arguments.jobs}; it must be an integer of at least 1")
    try:
        plan = plan_claims(claims, arguments.scale, output_dir)
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment: dict[str, str] = {}
    if _has_gpu():
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

    run_jobs(plan, num_jobs, environment, judge)
    report = [sys.executable, str(ROOT / "eval" / "analysis" / "report.py"), str(output_dir), "--scale", arguments.scale]
    report += ["--output_file", str(output_dir / "report.html")]
    subprocess.run(report, check=True)
    unfinished = [claim for claim, jobs in plan.claims.items() if any(job.code != 0 for job in jobs)]
    if unfinished or failed:
        print(f"run_all.py: not judged: {', '.join([*unfinished, *failed])}", file=sys.stderr)
        return 1
    return 0


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available()) and os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true"


if __name__ == "__main__":
    sys.exit(main())
