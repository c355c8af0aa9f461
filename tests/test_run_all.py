"""One command for all claims, on the smoke recipes."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SCRIPT_ENVIRONMENT, assert_refused, run_script
from run_all import claims_of, plan_claims

from bio_facts.runs.plan import SCALES
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_registration

ARGUMENTS = ("--scale", "smoke", "--claims", "three_phases,hallucination,replay,associative_memory", "--jobs", 2)
# without replay, replay needs the runs of fine_tuning
MEMORIES = ["pretraining", *read_recipe_file(ROOT / "train/recipes/associative_memory/smoke.yaml").arms]
RUNS = (
    {"three_phases-s20", "fine_tuning-16th-s20"}
    | {f"replay-{arm}-s20" for arm in ("w2", "w0.125", "w0.03125")}
    | {f"associative_memory-{arm}-s20" for arm in MEMORIES}
)


def run_all(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run_script("train/run_all.py", *(arguments or ARGUMENTS), "--output-dir", folder)


def runs_in(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/config.json")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four claims, run and judged. Read only."""
    folder = tmp_path_factory.mktemp("all") / "out"
    done = run_all(folder)
    assert done.returncode == 0, done.stderr
    assert f"{len(RUNS)}/{len(RUNS)} runs" in done.stderr
    assert "C1 one seed, C6 one seed, C8 one seed" in done.stdout
    return folder


def test_claims_share_the_runs_that_they_have_in_common(finished: Path) -> None:
    assert runs_in(finished) == RUNS
    assert json.loads((finished / "replay-w2-s20" / "config.json").read_text())["recipe"]["source"] == str(
        finished / "three_phases-s20"
    )


def test_every_claim_has_verdict_picture_and_place_in_the_report(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    for claim in ("three_phases", "hallucination", "replay", "associative_memory"):
        verdict = json.loads((finished / claim / "smoke.json").read_text())
        assert (verdict["claim"], verdict["scale"], verdict["seeds"]) == (claim, "smoke", [20])
        assert (finished / claim / "smoke.svg").exists()
        assert verdict["fingerprint"] in page


def test_rerun_trains_nothing_and_judges_again(finished: Path) -> None:
    logs = {path.name: path.read_bytes() for path in (finished / "logs").iterdir()}
    (finished / "hallucination" / "smoke.json").unlink()
    assert run_all(finished).returncode == 0
    assert {path.name: path.read_bytes() for path in (finished / "logs").iterdir()} == logs
    assert (finished / "hallucination" / "smoke.json").exists()


def test_only_interrupted_runs_are_resumed(finished: Path) -> None:
    logs = {path.name: path.stat().st_size for path in (finished / "logs").iterdir()}
    run = finished / "replay-w2-s20"
    before = [line for line in (run / "metrics.jsonl").read_text().splitlines() if json.loads(line)["step"] <= 20]
    shutil.rmtree(run / "checkpoint-30")
    (run / "metrics.jsonl").write_text("".join(f"{line}\n" for line in before))
    assert run_all(finished).returncode == 0
    grown = {path.name for path in (finished / "logs").iterdir() if path.stat().st_size != logs[path.name]}
    assert grown == {"replay-w2-s20.log"}
    assert (run / "metrics.jsonl").read_text().splitlines()[: len(before)] == before


def test_memory_is_given_no_flag_that_it_does_not_have(finished: Path) -> None:
    shutil.rmtree(finished / "associative_memory-w2-s20")
    done = run_all(finished, "--scale", "smoke", "--claims", "associative_memory", "--allow-other-machine")
    assert (done.returncode, "7/7 runs" in done.stderr) == (0, True), done.stderr
    assert (finished / "associative_memory-w2-s20" / "metrics.jsonl").exists()


def test_run_that_fails_is_named_with_its_log_and_the_others_are_judged(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "out")
    shutil.rmtree(folder / "associative_memory-new32-s20")
    (folder / "associative_memory-new32-s20").write_text("in the way")
    result = run_all(folder, "--scale", "smoke", "--claims", "three_phases,associative_memory")
    assert_refused(result, "associative_memory-new32-s20", "no folder that can be read")


def commands(folder: Path, *arguments: object) -> list[list[list[str]]]:
    """What --commands prints: the words of each line, stage by stage."""
    done = run_all(folder, "--scale", "smoke", *arguments, "--commands")
    assert (done.returncode, done.stderr) == (0, "")
    return [[shlex.split(line) for line in stage.splitlines()] for stage in done.stdout.split("\n\n") if stage]


def value(command: list[str], flag: str) -> str | None:
    return command[command.index(flag) + 1] if flag in command else None


@pytest.mark.parametrize("scale", SCALES)
def test_stages_have_every_run_once_and_after_its_source(scale: str, tmp_path: Path) -> None:
    plan = plan_claims(claims_of(scale), scale, tmp_path)
    stages = [[job.name for job in stage] for stage in plan.stages()]
    assert sorted(name for stage in stages for name in stage) == sorted(job.name for job in plan.jobs)
    stage_of = {name: number for number, stage in enumerate(stages) for name in stage}
    assert {job.name: stage_of[job.name] for job in plan.jobs} == {
        job.name: 0 if job.source is None else stage_of[job.source.name] + 1 for job in plan.jobs
    }
    assert len(stages) > 1


def test_commands_of_a_sweep_are_printed_and_none_is_run(tmp_path: Path) -> None:
    first, second = commands(tmp_path / "out", "--claims", "replay,associative_memory")
    names = [{Path(value(command, "--output-dir") or "").name for command in stage} for stage in (first, second)]
    assert names[0] == {"three_phases-s20", "associative_memory-pretraining-s20"}
    assert names[0] | names[1] == RUNS
    assert {value(command, "--source") for command in second} == {str(tmp_path / "out" / name) for name in names[0]}
    assert not (tmp_path / "out").exists()


def test_printed_commands_are_those_that_are_run(tmp_path: Path) -> None:
    launcher = tmp_path / "launcher"
    started = f"with open({str(tmp_path / 'started')!r}, 'a') as file: print(shlex.join(sys.argv), file=file)"
    run = "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    launcher.write_text(f"#!{sys.executable}\nimport os, shlex, sys\n{started}\n{run}\n")
    launcher.chmod(0o755)
    arguments = ("--scale", "smoke", "--claims", "three_phases", "--launcher", launcher, "--report-to", "tensorboard")
    printed = run_all(tmp_path / "out", *arguments, "--commands").stdout
    done = run_all(tmp_path / "out", *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "started").read_text() == printed
    assert list((tmp_path / "out" / "three_phases-s20").rglob("events.out.tfevents.*")) != []
    assert run_all(tmp_path / "out", *arguments, "--commands").stdout == ""


def test_runs_of_printed_commands_are_judged_without_training(finished: Path) -> None:
    for name in ("associative_memory-pretraining-s20", "associative_memory-w2-s20"):
        shutil.rmtree(finished / name)
    stages = commands(finished, "--claims", "associative_memory")
    assert [len(stage) for stage in stages] == [1, 1]
    for stage in stages:
        for command in stage:
            subprocess.run(command, env=SCRIPT_ENVIRONMENT, check=True, capture_output=True)
    logs = {path.name: path.read_bytes() for path in (finished / "logs").iterdir()}
    assert run_all(finished).returncode == 0
    assert {path.name: path.read_bytes() for path in (finished / "logs").iterdir()} == logs


def test_trackers_are_not_for_memories(tmp_path: Path) -> None:
    claims = ("--claims", "three_phases,associative_memory")
    [first, _] = commands(tmp_path / "out", *claims, "--report-to", "tensorboard")
    assert {Path(command[1]).name: value(command, "--report-to") for command in first} == {
        "pretrain.py": "tensorboard", "train_memory.py": None
    }  # fmt: skip
    assert commands(tmp_path / "out", *claims, "--report-to", "none") == commands(tmp_path / "out", *claims)


def test_seeds_take_the_place_of_those_of_the_recipes(tmp_path: Path) -> None:
    done = run_all(tmp_path / "out", "--scale", "mini", "--claims", "fine_tuning", "--seeds", "0,1", "--plan")
    *lines, total = done.stdout.splitlines()
    names = [name for line in lines if "-s" in (name := line.partition(":")[0])]
    assert total.startswith("8 runs; 8 to do, at most ")
    assert names == [f"{run}-s{seed}" for run, seed in (("three_phases", 0), ("three_phases", 1))] + [
        f"fine_tuning-{arm}-s{seed}" for arm in ("64th", "16th", "quarter") for seed in (0, 1)
    ]
    steps = read_recipe_file(ROOT / "train/recipes/fine_tuning/mini.yaml").settings["num_steps"]
    assert f"fine_tuning-quarter-s1: at most {steps:,} steps of 16" in done.stdout
    assert not (tmp_path / "out").exists()


def test_plan_of_runs_without_steps_says_that_they_take_seconds(tmp_path: Path) -> None:
    claims = ("--scale", "smoke", "--claims", "associative_memory", "--plan")
    *lines, of_claim, total = run_all(tmp_path / "out", *claims).stdout.splitlines()
    assert {line.partition(": ")[2] for line in lines} == {"takes seconds"}
    assert of_claim == f"associative_memory: {total}"
    assert total == f"{len(lines)} runs; {len(lines)} to do, each of which takes seconds"


def test_plan_counts_the_sources_of_a_claim_and_runs_with_and_without_steps(tmp_path: Path) -> None:
    claims = ("--scale", "smoke", "--claims", "three_phases,replay,associative_memory", "--plan")
    *_, first, second, third, total = run_all(tmp_path / "out", *claims).stdout.splitlines()
    assert first == "three_phases: 1 run; 1 to do, at most 120 biographies"
    counts = [int(line.split()[position]) for line, position in ((second, 1), (second, 3), (third, 1), (third, 3))]
    assert counts[0] == counts[1] + 1  # three_phases-s20 is counted above
    assert third.endswith(" to do, each of which takes seconds")
    assert int(total.split()[0]) == 1 + counts[1] + counts[3]
    assert total.endswith(f", and {counts[3]} that take seconds each")


def test_report_that_cannot_be_written_is_one_more_line(finished: Path) -> None:
    page = (finished / "report.html").read_bytes()
    (finished / "report.html").unlink()
    (finished / "report.html").mkdir()
    done = run_all(finished)
    (finished / "report.html").rmdir()
    (finished / "report.html").write_bytes(page)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "run_all.py: error: report.html was not written (exit code 2)"


@pytest.mark.parametrize("scale", SCALES)
def test_every_recipe_can_be_planned_and_its_sources_come_first(scale: str, tmp_path: Path) -> None:
    plan = plan_claims(claims_of(scale), scale, tmp_path)
    assert list(plan.claims) == claims_of(scale)
    assert len({job.name for job in plan.jobs}) == len(plan.jobs)
    for place, job in enumerate(plan.jobs):
        assert job.source is None or plan.jobs.index(job.source) < place


@pytest.mark.parametrize("scale", SCALES)
def test_claims_come_after_those_whose_recipes_they_refer_to(scale: str) -> None:
    claims = claims_of(scale)
    assert len(claims) == len(set(claims)) == 16
    for index, claim in enumerate(claims):
        for file in read_recipe_file(ROOT / "train" / "recipes" / claim / f"{scale}.yaml").requires:
            assert file.parent.name == claim or claims.index(file.parent.name) < index, (claim, file)


def test_reference_run_is_that_of_three_phases_everywhere(tmp_path: Path) -> None:
    plan = plan_claims(claims_of("mini"), "mini", tmp_path)
    for claim in ("fine_tuning", "replay"):
        assert {job.source.name for job in plan.claims[claim].values() if job.source} == {
            f"three_phases-s{seed}" for seed in range(20, 25)
        }
    assert plan.claims["hallucination"] == plan.claims["three_phases"]


def test_source_of_the_next_seed_is_planned_and_passed_to_the_script(tmp_path: Path) -> None:
    plan = plan_claims(["attention_patching"], "smoke", tmp_path)
    jobs = {seed: plan.claims["attention_patching"]["after-next", seed] for seed in (20, 21)}
    assert {seed: job.source.recipe.seed for seed, job in jobs.items() if job.source} == {20: 21, 21: 20}
    assert {seed: job.recipe.seed for seed, job in jobs.items()} == {20: 20, 21: 21}
    command = jobs[20].command(tmp_path, ["python"])
    assert command[command.index("--source-seed") + 1] == "21"
    assert "--source-seed" not in plan.claims["attention_patching"]["after", 20].command(tmp_path, ["python"])
    assert jobs[20].source in plan.jobs


def test_arms_with_equal_settings_share_their_runs(tmp_path: Path) -> None:
    jobs = plan_claims(["attention_patching"], "smoke", tmp_path).claims["attention_patching"]
    assert jobs["uniform-third", 20] is jobs["phase1", 20]


def test_launcher_of_several_processes_is_not_for_memories(tmp_path: Path) -> None:
    launcher = ["accelerate", "launch", "--num_processes", "4"]
    plan = plan_claims(["three_phases", "associative_memory"], "smoke", tmp_path)
    launched = {job.name: job.command(tmp_path, launcher)[:4] == launcher for job in plan.jobs}
    assert launched == {"three_phases-s20": True} | {f"associative_memory-{arm}-s20": False for arm in MEMORIES}


@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_verdicts_compare_the_reported_seeds(scale: str) -> None:
    for claim in claims_of(scale):
        file = read_recipe_file(ROOT / "train" / "recipes" / claim / f"{scale}.yaml")
        seeds = max((file.seeds_of(arm) for arm in file.arms), key=len)
        assert seeds == ((20, 21, 22) if claim == "robustness" else (20, 21, 22, 23, 24)), claim


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--claims", "three_phases,telepathy"], ["claim is 'telepathy'", "three_phases"]),
        (["--jobs", "0"], ["--jobs", "it is '0'", "an integer of at least 1"]),
        (["--jobs", "1e3"], ["--jobs", "it is '1e3'", "an integer of at least 1"]),
        (["--claims", "three_phase"], ["claim is 'three_phase'", "did you mean 'three_phases'?"]),
        (["--seeds", "ten"], ["--seeds", "'ten'", "0,1,2"]),
        (["--scale", "huge"], ["'huge'", "mini"]),
        (["--claims", ""], ["claim is ''", "three_phases"]),
        (["--launcher", "no_launcher --x"], ["launcher is 'no_launcher --x'", "does not begin with a command"]),
        (["--launcher", ""], ["launcher is ''"]),
        (["--report-to", "telepathy"], ["report_to is 'telepathy'", "tensorboard"]),
        (["--plan", "--commands"], ["--commands", "not allowed with", "--plan"]),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, arguments: list[str], fragments: list[str]) -> None:
    assert_refused(run_all(tmp_path / "out", *arguments), *fragments)
    assert not (tmp_path / "out").exists()


def test_folder_of_one_run_is_refused(finished: Path) -> None:
    result = run_all(finished / "three_phases-s20", "--scale", "smoke", "--claims", "three_phases")
    assert_refused(result, "output_dir is", "which holds a run")


def test_terminated_command_stops_its_runs_and_says_how_to_resume(tmp_path: Path) -> None:
    command = [
        sys.executable,
        ROOT / "train" / "run_all.py",
        "--claims",
        "three_phases",
        "--jobs",
        "1",
        "--output-dir",
        tmp_path,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "logs" / "three_phases-s20.log").exists():
            assert process.poll() is None
            time.sleep(0.1)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "run_all.py: stopped, and the runs with it; rerun the same command to resume"
    running = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout
    assert running == ""


def test_folder_of_other_runs_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "three_phases-s20", tmp_path / "three_phases-s20")
    result = run_all(tmp_path, "--scale", "mini", "--claims", "three_phases")
    assert_refused(result, "three_phases-s20 holds another run", "choose another folder")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout of the training scripts and analyses."""
    for folder in ("train", "eval"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "results"))
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e@x", *words], check=True)
    return tmp_path


@pytest.mark.parametrize(
    "file", ["train/recipes/replay/registration.yaml", "train/recipes/three_phases/mini.yaml", "eval/analysis/replay.py"]
)
def test_reported_seeds_need_committed_registrations(checkout: Path, file: str) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "train/run_all.py", "--claims", "three_phases", "--output-dir", "out", *map(str, arguments)]
        return subprocess.run(
            command, cwd=checkout, capture_output=True, text=True, env=SCRIPT_ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
        )

    with (checkout / file).open("a") as changed:
        changed.write("\n# changed\n")
    assert_refused(run(), f"{file} differs from the last commit", "--seeds 0,1,2,3,4")
    assert not (checkout / "out").exists()
    assert run("--plan").returncode == 0
    assert run("--seeds", "0", "--plan").returncode == 0


def test_runs_and_verdicts_carry_the_registration(finished: Path) -> None:
    for claim in ("three_phases", "associative_memory"):
        digest = read_registration(ROOT / "train" / "recipes" / claim, "smoke").digest
        assert json.loads((finished / claim / "smoke.json").read_text())["registration"] == digest
        for run in finished.glob(f"{claim}-*/config.json"):
            assert json.loads(run.read_text())["registration"] == digest


def test_plan_says_how_long_the_runs_take_by_those_that_are_done(finished: Path) -> None:
    done = run_all(finished, "--scale", "smoke", "--claims", "three_phases", "--plan")
    assert "three_phases: 1 run; 0 to do" in done.stdout
    assert "ms a biography" in done.stdout
