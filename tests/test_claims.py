"""Each claim's verdict: passed on curves as in the paper, failed where part of the claim does not hold, refused elsewhere.

three_phases has its own file. The runs are written, so that a test can choose their numbers.
"""

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from claims import Claim, claims
from verdicts import result
from written_runs import ACCURACIES, BASELINE, LOSSES, POOL_BASELINE, STEPS, UNSEEN, curve, write_run

from bio_facts.runs.curves import Run, read_run

CLAIMS = {claim.name: claim for claim in claims()}
SEEDS = (10, 11, 12)


def plateau_at(end: int, final: float = 0.2, accuracy: float = 0.9) -> dict[str, list[dict[str, Any]]]:
    """Curves whose plateau ends at `end`, on a grid of 10 steps up to twice that, or to 1000."""
    steps = list(range(0, max(1000, 2 * end) + 1, 10))
    losses = [14.0 if step < 20 else BASELINE if step < end else final for step in steps]
    accuracies = [0.0 if step < end else accuracy for step in steps]
    return {"validation": curve(losses, accuracies, steps=steps), "unseen": curve([POOL_BASELINE] * len(steps), steps=steps)}


def hallucination(folder: Path, unseen: list = UNSEEN, top: float = 0.5, **recipe: Any) -> list[Path]:
    curves = {"validation": curve(LOSSES, ACCURACIES, 0.9), "unseen": curve(unseen, top_probability=top)}
    return [write_run(folder / "run", curves, **recipe)]


def population_size(folder: Path, exponent: float = 0.8, sizes: Sequence[int] = (100, 200, 400, 800, 1600)) -> list[Path]:
    return [
        write_run(
            folder / f"{size}-{seed}", plateau_at(10 * round((size / 100) ** exponent * (9 + 0.1 * seed))),
            {"num_individuals": size}, seed=seed, num_steps=99_999, stop_below=0.9,
        )
        for size in sizes for seed in SEEDS
    ]  # fmt: skip


def power_law(folder: Path, plateaus: Sequence[int] = (500, 300, 400), short: Sequence[float] = (3.0, 1.0, 2.0),
              long: Sequence[float] = (0.3, 0.2, 0.5)) -> list[Path]:  # fmt: skip
    paths = []
    for seed in SEEDS:
        for alpha, end, short_loss, long_loss in zip((0, 0.6, 1), plateaus, short, long, strict=True):
            data = {"distribution": "power_law", "alpha": alpha} if alpha else {}
            for steps, loss in ((1000, short_loss), (2000, long_loss)):
                curves = plateau_at(end if steps == 2000 else 900, loss)
                for split, lines in curves.items():
                    curves[split] = [line for line in lines if line["step"] < steps] + [lines[-1] | {"step": steps}]
                paths.append(write_run(folder / f"{alpha}-{steps}-{seed}", curves, data, seed=seed))
    return paths


def warm_up(folder: Path, best: float = 0.9, fixed: float = 0.5, control: float = 0.9, control_people: int = 3) -> list[Path]:
    arms = {
        "uniform": ({"num_individuals": 12}, 0.3),
        "alpha": ({"num_individuals": 12, "distribution": "power_law", "alpha": 0.6}, fixed),
        "control": ({"num_individuals": control_people}, control),
        "warm": (
            {"num_individuals": 12, "distribution": "warm_up", "num_warmup_individuals": 2, "num_warmup_biographies": 24},
            best,
        ),
    }
    return [
        write_run(folder / f"{name}-{seed}", plateau_at(300, accuracy=accuracy), data, seed=seed)
        for seed in SEEDS for name, (data, accuracy) in arms.items()
    ]  # fmt: skip


FINE_TUNING_STEPS = [0, 10, 20, 30, 100, 200, 300]


def tuned(folder: Path, name: str, old: list[float], new: list[float], losses: list[float] | None = None, weight: float = 0.0,
          number: int = 4, seed: int = 10) -> Path:  # fmt: skip
    loss = losses or [0.1] * 7
    curves = {
        "validation": curve([8.0] * 7, new, steps=FINE_TUNING_STEPS),
        "pretrain_validation": curve(loss, old, steps=FINE_TUNING_STEPS),
        "unseen": curve([8.0] * 7, steps=FINE_TUNING_STEPS),
    }
    data = {"distribution": "fine_tuning", "num_fine_tuning_individuals": number, "replay_weight": weight}
    return write_run(folder / f"{name}-{seed}", curves, data, source=f"runs/{seed}", seed=seed)


OLD, NEW = [0.9, 0.85, 0.8, 0.69, 0.4, 0.3, 0.3], [0.0, 0.05, 0.1, 0.2, 0.5, 0.9, 1.0]


def fine_tuning(folder: Path, old: list = OLD, new: list = NEW) -> list[Path]:
    return [tuned(folder, "few", old, new, seed=seed) for seed in SEEDS]


REPLAYED = [0.1, 0.3, 0.4, 0.35, 0.3, 0.2, 0.2]


def replay(folder: Path, with_replay: list = REPLAYED, without: float = 2.0) -> list[Path]:
    plain = [0.1, 0.3, 0.5, 0.6, 1.0, 1.5, without]
    return [
        tuned(folder, name, OLD, NEW, losses, weight, seed=seed)
        for seed in SEEDS for name, losses, weight in (("none", plain, 0.0), ("some", with_replay, 0.5))
    ]  # fmt: skip


def rare_individuals(folder: Path, rare: float = 0.6, early: float = 0.85, first_group: int = 1) -> list[Path]:
    def of(accuracies: list[float]) -> list[dict[str, Any]]:
        return curve([1.0] * 4, accuracies, steps=[0, 10, 50, 100])

    frequent = of([0.9, early, 0.69, 0.3])
    curves = {"validation": of([0.6] * 4), "validation_group0": frequent, "validation_group1": of([0.3, 0.35, rare, 1.0])}
    data = {"distribution": "groups", "num_groups": 2, "first_group": first_group, "num_group_biographies": 10}
    return [
        write_run(folder / str(seed), curves | {"unseen": of([0.0] * 4)}, data, source=f"runs/{seed}", seed=seed)
        for seed in SEEDS
    ]


def sequential_groups(folder: Path, first: int = 80, second: int = 40, forgotten: int = 20, num_steps: int = 200) -> list[Path]:
    """Two turns of 100 steps; the groups are known `first` and `second` steps into theirs, the first forgotten then."""
    steps = list(range(0, 201, 10))
    known = {
        0: [0.9 if first <= step < 100 + forgotten else 0.0 for step in steps],
        1: [0.9 if step >= 100 + second else 0.0 for step in steps],
    }
    curves = {f"validation_group{group}": curve([1.0] * len(steps), values, steps=steps) for group, values in known.items()}
    data = {"distribution": "groups", "num_groups": 2, "first_group": 0, "num_group_biographies": 200}
    return [write_run(folder / str(seed), curves, data, num_steps=num_steps, seed=seed) for seed in SEEDS]


def associative_memory(folder: Path, old: Sequence[float] = (0.95, 0.6), early: float = 1.2) -> list[Path]:
    paths = []
    for seed in SEEDS:
        for number, final in zip((8, 64), old, strict=True):
            lines = [(0, 0.1, 0.97), (100, early, 0.9), (1000, 2.0, final)]
            curves = {
                split: [{"step": step, "loss": loss, "accuracy": accuracy} for step, loss, accuracy in lines]
                for split in ("pretrain", "new")
            }
            paths.append(write_run(folder / f"{number}-{seed}", curves, seed=seed, num_new_pairs=number))
    return paths


WRITERS: dict[str, Callable[..., list[Path]]] = {
    function.__name__: function
    for function in (
        hallucination, population_size, power_law, warm_up, fine_tuning, replay,
        rare_individuals, sequential_groups, associative_memory,
    )
}  # fmt: skip


def score(claim: str, folders: Sequence[Path]) -> tuple[list[Run], Any]:
    runs = [read_run(folder) for folder in folders]
    return runs, CLAIMS[claim].score(runs)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_documentation_of_an_analysis_starts_with_label_and_title(claim: Claim) -> None:
    doc = importlib.import_module(f"analysis.{claim.name}").__doc__ or ""
    assert doc.startswith(f"{claim.label}: {claim.title[0].lower()}{claim.title[1:]}")


@pytest.mark.parametrize("claim", WRITERS)
def test_claim_passes_on_runs_as_in_the_paper(tmp_path: Path, claim: str) -> None:
    _, finding = score(claim, WRITERS[claim](tmp_path))
    assert [check for check in finding.checks if not check.passed] == []


@pytest.mark.parametrize("claim", WRITERS)
def test_picture_is_drawn_from_the_verdict_alone(tmp_path: Path, claim: str) -> None:
    runs, finding = score(claim, WRITERS[claim](tmp_path))
    verdict = json.loads(json.dumps(result(claim, "one", runs, finding, {}), allow_nan=False))
    CLAIMS[claim].plot(verdict, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("claim", WRITERS)
def test_runs_that_learned_nothing_are_judged_and_drawn(tmp_path: Path, claim: str) -> None:
    folders = WRITERS[claim](tmp_path)
    for folder in folders:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        nothing = {"attribute_loss": 14.0, "loss": 3.4, "attribute_accuracy": 0.0, "accuracy": 0.0}
        changed = [line | {key: value for key, value in nothing.items() if key in line} for line in lines]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
        config = json.loads((folder / "config.json").read_text())
        config["recipe"] |= {"num_steps": lines[-1]["step"]}  # nothing stopped it before
        (folder / "config.json").write_text(json.dumps(config))
    runs, finding = score(claim, folders)
    assert not all(check.passed for check in finding.checks)
    verdict = json.loads(json.dumps(result(claim, "one", runs, finding, {}), allow_nan=False))
    CLAIMS[claim].plot(verdict, tmp_path / "picture.png")


@pytest.mark.parametrize(
    ("claim", "change", "failing"),
    [
        ("hallucination", {"unseen": [*UNSEEN[:-1], POOL_BASELINE + 0.9]}, ["final unseen loss"]),
        ("hallucination", {"unseen": [14.0, 6.1, 4.6, 5.0, 5.0, 5.0, 5.0, 5.5, 6.0, 7.0]}, ["steps from plateau_end"]),
        ("hallucination", {"top": 0.85}, ["final top-token probability"]),
        ("population_size", {"exponent": 0.4}, ["exponent is at least"]),
        ("population_size", {"exponent": 1.05}, ["slope"]),
        ("population_size", {"exponent": 1.2}, ["exponent is at most", "slope"]),
        ("power_law", {"plateaus": (500, 430, 400)}, ["plateau shortened"]),
        ("power_law", {"long": (0.3, 0.2, 0.1)}, ["2000 steps: final loss of alpha 1", "alpha of the best final loss"]),
        ("power_law", {"short": (1.0, 2.0, 3.0)}, ["alpha of the best final loss"]),
        ("warm_up", {"best": 0.59}, ["best fixed distribution"]),
        ("warm_up", {"best": 0.7, "control_people": 10}, ["control"]),
        ("fine_tuning", {"old": [0.9, 0.85, 0.8, 0.75, 0.4, 0.3, 0.3]}, ["share of fine-tuning", "accuracy on them"]),
        ("fine_tuning", {"new": [0.0, 0.05, 0.1, 0.35, 0.5, 0.9, 1.0]}, ["accuracy on them"]),
        ("fine_tuning", {"old": [0.9] * 7}, ["share of fine-tuning", "accuracy on them"]),
        ("replay", {"with_replay": [0.1, 0.12, 0.15, 0.19, 0.19, 0.2, 0.2]}, ["early peak"]),
        ("replay", {"without": 0.3}, ["final loss"]),
        ("rare_individuals", {"rare": 0.45}, ["gain of accuracy on rare people"]),
        ("rare_individuals", {"early": 0.75}, ["fall of accuracy on frequent people"]),
        ("sequential_groups", {"second": 70}, ["last group"]),
        ("sequential_groups", {"first": 50, "second": 30, "forgotten": 60}, ["forgotten"]),
        ("associative_memory", {"old": (0.95, 0.8)}, ["fall of accuracy"]),
        ("associative_memory", {"early": 0.8}, ["share of the rise"]),
        ("associative_memory", {"old": (0.5, 0.6)}, ["next fewer"]),
    ],
)  # fmt: skip
def test_each_check_fails_when_its_part_of_the_claim_does(tmp_path: Path, claim: str, change: dict, failing: list[str]) -> None:
    _, finding = score(claim, WRITERS[claim](tmp_path, **change))
    failed = [check.name for check in finding.checks if not check.passed]
    assert all(any(part in name for name in failed) for part in failing), failed
    assert all(any(part in name for part in failing) for name in failed), failed


@pytest.mark.parametrize(
    ("claim", "runs", "fragments"),
    [
        ("three_phases", fine_tuning, ["starts from runs/10", "pre-training"]),
        ("three_phases", power_law, ["'power_law'", "must be uniform"]),
        ("hallucination", fine_tuning, ["starts from runs/10"]),
        ("population_size", hallucination, ["1 numbers of people, 7", "at least 5"]),
        ("population_size", lambda folder: population_size(folder, sizes=(100, 200, 300, 400, 500)), ["100, 200", "16 times"]),
        ("population_size", lambda folder: population_size(folder)[:-1], ["1600 people lack seed 12"]),
        ("power_law", hallucination, ["7 people have [300] steps", "longer budget"]),
        ("power_law", lambda folder: [path for path in power_law(folder) if "/1-" not in str(path)], ["alphas [0.0, 0.6]"]),
        ("warm_up", hallucination, ["lack a warm-up", "7 people"]),
        ("warm_up", lambda folder: warm_up(folder)[:-1], ["lack a warm-up, one of each seed of [10, 11, 12]"]),
        ("warm_up", fine_tuning, ["starts from runs/10"]),
        ("fine_tuning", hallucination, ["no fine-tuning on new people", "'uniform'"]),
        ("fine_tuning", lambda folder: [*fine_tuning(folder), tuned(folder, "8", OLD, NEW, number=8)], ["lack seed"]),
        ("replay", lambda folder: replay(folder)[:-1], ["lack seed 12", "[10, 11, 12]"]),
        ("associative_memory", lambda folder: associative_memory(folder)[:-1], ["new pairs lack seed 12"]),
        ("replay", fine_tuning, ["replay weights [0.0]", "at least one more"]),
        ("rare_individuals", fine_tuning, ["second of two groups"]),
        ("rare_individuals", lambda folder: rare_individuals(folder, first_group=0), ["second of two groups"]),
        ("sequential_groups", hallucination, ["distribution 'uniform'", "groups"]),
        ("sequential_groups", lambda folder: sequential_groups(folder, num_steps=200)[:1] * 2, ["seeds [10, 10]"]),
        ("associative_memory", hallucination, ["no associative memory"]),
        ("associative_memory", lambda folder: associative_memory(folder)[:1], ["runs have [8] new pairs"]),
        ("attention_patching", hallucination, ["given no attention patterns", "a recipe with attention"]),
        ("fine_tuning", associative_memory, ["no dataset of biographies"]),
    ],
)  # fmt: skip
def test_runs_of_another_claim_and_missing_runs_are_refused(
    tmp_path: Path, claim: str, runs: Callable[[Path], list[Path]], fragments: list[str]
) -> None:
    with pytest.raises(ValueError) as refused:
        score(claim, runs(tmp_path))
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value


def test_exponent_is_that_of_the_curve_and_inside_its_interval(tmp_path: Path) -> None:
    _, finding = score("population_size", population_size(tmp_path))
    low, high = finding.content["exponent_interval_95"]
    assert finding.content["exponent"] == pytest.approx(0.8, abs=0.03)
    assert low < finding.content["exponent"] < high


def test_control_counts_unknown_people_as_wrong(tmp_path: Path) -> None:
    _, finding = score("warm_up", warm_up(tmp_path))
    assert finding.content["best"]["control"]["accuracy"] == pytest.approx(0.9 * 3 / 12)


def test_explanation_of_a_known_miss_stands_in_the_verdict(tmp_path: Path) -> None:
    runs, finding = score("hallucination", hallucination(tmp_path, top=0.85))
    assert result("hallucination", "one", runs, finding, {"top-token": "Too few steps."})["explanation"] == "Too few steps."
    assert "explanation" not in result("hallucination", "one", *score("hallucination", hallucination(tmp_path)), {})


def test_steps_of_written_runs_are_those_of_the_documentation() -> None:
    assert len(STEPS) == len(LOSSES) == len(ACCURACIES) == len(UNSEEN)
