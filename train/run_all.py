"""Run the recipes of all claims, judge them, and write one page with every picture and verdict.

  python train/run_all.py --scale mini                                  # make paper: hours on two CPU cores
  python train/run_all.py --scale mini --claims three_phases,hallucination
  python train/run_all.py --scale smoke --output-dir runs/smoke-all     # minutes: tests every step, learns nothing
  python train/run_all.py --scale paper --claims three_phases           # one GPU
  python train/run_all.py --claims power_law --seeds 0,1 --output-dir runs/trial    # other seeds
  python train/run_all.py --claims replay --commands    # for a cluster: the command of each run

Rerunning a command starts the missing runs and resumes the interrupted ones. Claims that need the same run share it. On a CPU,
--jobs runs (default: one per core) are active at a time and share the cores; on a GPU, one by default. Everything is written to
--output-dir: the runs, a log of each, a verdict and a picture of each claim, and report.html.

--commands prints the commands of the runs that are not done, in place of running them. An empty line ends a stage: the runs of
a stage need those of earlier stages alone, so they can run at the same time. Run them from the same folder; afterwards the same
command without --commands finds all runs done and judges the claims.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from bio_facts.checks import Parser, did_you_mean, needs, whole_number
from bio_facts.runs import plan
from bio_facts.runs.folder import CONFIG_FILE
from bio_facts.runs.registration import check_committed
from bio_facts.runs.trackers import usable_trackers

TRAIN = Path(__file__).parent
EVAL = TRAIN.parent / "eval"
_POLL_SECONDS = 1.0


def claims_of(scale: str) -> list[str]:
    """All claims, those whose runs others need first."""
    return plan.claims_of(TRAIN / "recipes", scale)


def plan_claims(claims: Sequence[str], scale: str, output_dir: Path, seeds: Sequence[int] | None = None) -> plan.Plan:
    """The runs that claims need, with the recipes of train/recipes/."""
    return plan.plan_claims(TRAIN, claims, scale, output_dir, seeds)


def run_jobs(
    sweep: plan.Plan, num_jobs: int, launcher: Sequence[str], environment: Mapping[str, str], judge: Callable[[str], None]
) -> None:
    """Run the jobs that are not done, num_jobs at a time, each after its source; judge(claim) once all of a claim are done."""
    logs = sweep.output_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    to_judge = list(sweep.claims)
    for job in sweep.jobs:
        job.count_steps(sweep.output_dir)
    done = sum(job.steps for job in sweep.jobs)
    with tqdm(initial=done, unit=" steps", smoothing=0.05, dynamic_ncols=True) as bar:
        try:
            while to_judge:
                ended = sweep.collect_ended()
                running = [job for job in sweep.jobs if job.process is not None and job.code is None]
                for job in [*ended, *running]:
                    job.count_steps(sweep.output_dir)
                for job in [job for job in ended if job.code != 0]:
                    _report_failure(job, logs)
                for job in sweep.ready()[: max(0, num_jobs - len(running))]:
                    job.start(sweep.output_dir, launcher, logs, environment)
                bar.total = sum(job.num_steps for job in sweep.jobs)
                bar.set_description(f"{sum(job.code == 0 for job in sweep.jobs)}/{len(sweep.jobs)} runs", refresh=False)
                bar.update(sum(job.steps for job in sweep.jobs) - bar.n)
                for claim in [claim for claim in to_judge if all(job.code is not None for job in sweep.claims[claim].values())]:
                    to_judge.remove(claim)
                    if all(job.code == 0 for job in sweep.claims[claim].values()):
                        judge(claim)
                time.sleep(_POLL_SECONDS)
        finally:
            for job in sweep.jobs:
                if job.process is not None and job.process.poll() is None:
                    job.process.terminate()
                    job.process.wait()


def _report_failure(job: plan.Job, logs: Path) -> None:
    log = logs / f"{job.name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = [line for line in lines if ": error: " in line] or lines or ["no output"]
    tqdm.write(f"run {job.name} ended with code {job.code}: {reason[-1]} (log: {log})", file=sys.stderr)


def _print_plan(sweep: plan.Plan) -> None:
    """The runs, those of each claim that no earlier claim has, and, by the runs that are done, how long the others take.

    The sources of a claim's runs count among them.
    """
    done, left = ([job for job in sweep.jobs if (job.code == 0) is finished] for finished in (True, False))
    seconds, rows = sweep.measured(done)
    for job in sweep.jobs:
        size = f"at most {job.num_steps:,} steps of {job.recipe.batch_size}" if job.is_resumable else "takes seconds"
        print(f"{job.name}: {'done' if job.code == 0 else size}")
    counted: set[str] = set()
    for claim, jobs in sweep.claims.items():
        needed = {job.name: job for job in plan.with_sources(jobs.values())}  # arms with equal settings share their runs
        new = [job for name, job in needed.items() if name not in counted and job.code != 0]
        counted |= {job.name for job in new}
        num_rows = sum(job.num_rows for job in new)
        minutes = f", {num_rows * seconds / rows / 60:,.0f} minutes one after another" if rows and num_rows else ""
        biographies = "" if _all_take_seconds(new) else f", at most {num_rows:,} biographies"
        print(f"{claim}: {_number_of_runs(len(needed))}; {len(new)} to do{biographies}{minutes}{_short_runs(new)}")
    known = f"; the {len(done)} runs that are done took {1e3 * seconds / rows:.2f} ms a biography" if rows else ""
    steps = "" if _all_take_seconds(left) else f", at most {sum(job.num_steps for job in left):,} steps"
    print(f"{_number_of_runs(len(sweep.jobs))}; {len(left)} to do{steps}{_short_runs(left)}{known}")


def _number_of_runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def _all_take_seconds(jobs: Sequence[plan.Job]) -> bool:
    return bool(jobs) and not any(job.is_resumable for job in jobs)


def _short_runs(jobs: Sequence[plan.Job]) -> str:
    """How many of the jobs to do take seconds, "" if none does."""
    short = sum(not job.is_resumable for job in jobs)
    return (
        "" if not short else ", each of which takes seconds" if short == len(jobs) else f", and {short} that take seconds each"
    )


def _print_commands(sweep: plan.Plan, launcher: Sequence[str]) -> None:
    """The commands of the runs that are not done, a line each, and an empty line between stages."""
    stages = [[shlex.join(job.command(sweep.output_dir, launcher)) for job in stage] for stage in sweep.stages()]
    if stages:
        print("\n\n".join("\n".join(stage) for stage in stages))


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be integers with commas, such as 0,1,2") from None


def main() -> int:
    """Plan, run, judge, report. Exit code 0 if all worked, 1 if a run, an analysis or the report failed, 130 if stopped."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="mini", choices=plan.SCALES, help="which recipes (default: mini)")
    parser.add_argument("--claims", metavar="A,B", help="folders of train/recipes/ (default: all)")
    parser.add_argument(
        "--jobs", type=whole_number("jobs", 1), metavar="K", help="runs at a time (default: CPU cores; with a GPU, 1)"
    )
    parser.add_argument(
        "--launcher", type=shlex.split, default=[sys.executable], metavar="COMMAND",
        help="what runs a script (default: this Python); several GPUs: 'accelerate launch --num_processes 4'",
    )  # fmt: skip
    parser.add_argument("--seeds", type=_seeds, metavar="A,B", help="seeds of all runs, in place of those of the recipes")
    parser.add_argument(
        "--allow-other-machine", action="store_true",
        help="resume runs that began on another device, with another number of threads (--jobs), or with other versions",
    )  # fmt: skip
    parser.add_argument(
        "--report-to", nargs="+", default=[], metavar="NAME",
        help="trackers that the runs of train/pretrain.py also log to, each by the name of its folder",
    )  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--plan", action="store_true", help="list the runs and stop")
    what.add_argument("--commands", action="store_true", help="print the commands of the runs that are not done and stop")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="default: runs/paper-SCALE")
    arguments = parser.parse_args()
    output_dir: Path = arguments.output_dir or Path("runs") / f"paper-{arguments.scale}"
    if not arguments.launcher or shutil.which(arguments.launcher[0]) is None:
        parser.error(f"launcher is {shlex.join(arguments.launcher)!r}, which does not begin with a command of this machine")
    if (output_dir / CONFIG_FILE).exists():
        parser.error(f"output_dir is {str(output_dir)!r}, which holds a run; it must be a folder for several runs")
    try:
        known = claims_of(arguments.scale)
        claims = known if arguments.claims is None else list(dict.fromkeys(arguments.claims.replace(" ", "").split(",")))
        if (unknown := next((claim for claim in claims if claim not in known), None)) is not None:
            parser.error(f"claim is {unknown!r}; it must be one of {', '.join(known)}{did_you_mean(unknown, known)}")
        if arguments.scale != "smoke" and arguments.seeds is None and not arguments.plan:
            check_committed(TRAIN.parent, "train/recipes", "eval", ":!eval/results")
        trackers = usable_trackers(arguments.report_to)
        flags = ["--allow-other-machine"] * arguments.allow_other_machine + (["--report-to", *trackers] if trackers else [])
        sweep = plan_claims(claims, arguments.scale, output_dir, arguments.seeds)
        for job in sweep.jobs:
            job.code = 0 if job.is_done(output_dir) else None
            if job.is_resumable:
                job.flags = flags
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    if arguments.plan:
        _print_plan(sweep)
        return 0
    if arguments.commands:
        _print_commands(sweep, arguments.launcher)
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
        folders = list(dict.fromkeys(str(output_dir / job.name) for job in sweep.claims[claim].values()))
        command = [sys.executable, str(EVAL / "analysis" / f"{claim}.py"), *folders, "--results", str(results)]
        result = subprocess.run(command, capture_output=True, text=True)
        tqdm.write(result.stdout + result.stderr)
        if result.returncode != 0:
            failed.append(claim)

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the runs are stopped as well
    try:
        run_jobs(sweep, num_jobs, arguments.launcher, environment, judge)
    except KeyboardInterrupt:
        print("run_all.py: stopped, and the runs with it; rerun the same command to resume", file=sys.stderr)
        return 130
    report = [sys.executable, str(EVAL / "report.py"), str(output_dir), "--scale", arguments.scale]
    report += ["--output-file", str(output_dir / "report.html")]
    report_code = subprocess.run(report).returncode
    unfinished = [claim for claim, jobs in sweep.claims.items() if any(job.code != 0 for job in jobs.values())]
    if unfinished or failed:
        print(f"run_all.py: not judged: {', '.join([*unfinished, *failed])}", file=sys.stderr)
    if report_code != 0:
        print(f"run_all.py: error: report.html was not written (exit code {report_code})", file=sys.stderr)
    return int(bool(unfinished or failed or report_code))


def _has_gpu() -> bool:
    with needs("train", "run_all.py"):
        import torch

    return bool(torch.cuda.is_available()) and os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true"


if __name__ == "__main__":
    sys.exit(main())
