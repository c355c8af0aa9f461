"""Which arm of a claim's recipes a run is of. Only complete sets of the registered arms are judged."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bio_facts.checks import MissingExtraError
from bio_facts.runs import plan
from bio_facts.runs.curves import Run, check_distinct_seeds, flatten
from bio_facts.runs.recipe_files import read_recipe_file

TRAIN = Path(__file__).parents[1] / "train"

Arms = Mapping[str, Mapping[int, Run]]  # name of an arm -> seed -> run; "" is the arm of a recipe without arms


def find_arms(claim: str, scale: str, runs: Sequence[Run]) -> Arms:
    """The runs by arm and seed, for a claim's recipes at a scale.

    Raises:
        ValueError: if a run is none of the claim's, an arm or seed is missing, or the runs differ in precision, tokenizer or
            version, or share a population with another seed.
    """
    seeds = sorted({run.seed for run in runs})
    jobs = plan.plan_claims(TRAIN, [claim], scale, Path("runs"), seeds).claims[claim]
    wanted = {place: _settings(job.recipe.as_dict()) for place, job in jobs.items()}
    arms: dict[str, dict[int, Run]] = {arm: {} for arm, _ in jobs}
    for run in runs:
        settings = _settings(run.recipe)
        matching = [arm for (arm, seed), recipe in wanted.items() if seed == run.seed and recipe == settings]
        if not matching:
            raise ValueError(_why_unknown(claim, scale, run, wanted))
        for arm in matching:  # arms with equal settings share their runs
            check_distinct_seeds([run, *([arms[arm][run.seed]] if run.seed in arms[arm] else [])], f"of arm {arm!r}")
            arms[arm][run.seed] = run
    for arm, seed in jobs:
        if seed not in arms[arm]:
            raise ValueError(
                f"claim {claim} lacks the run of arm {arm!r} with seed {seed}; expected those of all arms in "
                f"train/recipes/{claim}/{scale}.yaml: python train/run_all.py --scale {scale} --claims {claim}"
            )
    _check_alike(runs)
    _check_populations(runs)
    return arms


def folders_of_claim(claim: str, scale: str, sweep: Path) -> list[Path]:
    """The folders of the runs that a claim needs, in an output folder of train/run_all.py."""
    jobs = plan.plan_claims(TRAIN, [claim], scale, sweep).claims[claim].values()
    return list(dict.fromkeys(sweep / job.name for job in jobs))


def arms_of_one_run(claim: str, run: Run) -> tuple[Arms, str]:
    """A single run as an arm of the claim's recipe at some scale, and that scale; ValueError if it is of none of them."""
    for scale in plan.SCALES:
        try:
            jobs = plan.plan_claims(TRAIN, [claim], scale, Path("runs"), [run.seed]).claims[claim]
        except MissingExtraError:  # of a tokenizer of the paper's scale, which this run did not have
            continue
        for (arm, _), job in jobs.items():
            if _settings(job.recipe.as_dict() | {"source": ""}) == _settings(run.recipe | {"source": ""}):
                return {arm: {run.seed: run}}, scale
    jobs = plan.plan_claims(TRAIN, [claim], "mini", Path("runs"), [run.seed]).claims[claim]
    wanted = {place: _settings(job.recipe.as_dict()) for place, job in jobs.items()}
    raise ValueError(_why_unknown(claim, "mini", run, wanted))


def is_reported(claim: str, scale: str, seeds: Sequence[int]) -> bool:
    """Whether these are the seeds that the claim's recipe reports."""
    file = read_recipe_file(TRAIN / "recipes" / claim / f"{scale}.yaml")
    return set(seeds) == {seed for arm in file.arms for seed in file.seeds_of(arm)}


def _settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as flat settings, its source by the name of its folder; those without a value are left out, so that a key which
    is new does not matter to runs made before it."""
    flat = {key: value for key, value in flatten(recipe).items() if key != "source" and value is not None}
    return flat | ({"source": Path(recipe["source"]).name} if recipe.get("source") else {})


def _why_unknown(claim: str, scale: str, run: Run, wanted: Mapping[tuple[str, int], Mapping[str, Any]]) -> str:
    """Names the arm that a run resembles most, and a key in which they differ."""
    settings = _settings(run.recipe)

    def differing(recipe: Mapping[str, Any]) -> list[str]:
        return [key for key in sorted(settings.keys() | recipe.keys()) if settings.get(key) != recipe.get(key)]

    arms = ((arm, recipe) for (arm, seed), recipe in wanted.items() if seed == run.seed)
    arm, recipe = min(arms, key=lambda item: len(differing(item[1])))
    key = differing(recipe)[0]
    of_arm = f"from arm {arm!r} " if arm else ""
    return (
        f"run {run.folder} is of no arm of train/recipes/{claim}/{scale}.yaml: it differs {of_arm}in {key}, which is "
        f"{settings.get(key)!r}; expected {recipe.get(key)!r}"
    )


def _check_alike(runs: Sequence[Run]) -> None:
    expected = _computed(runs[0])
    for run in runs:
        for key, value in _computed(run).items():
            if value != expected[key]:
                raise ValueError(
                    f"runs {runs[0].folder} and {run.folder} differ in {key} ({expected[key]!r} and {value!r}); expected one"
                )


def _computed(run: Run) -> dict[str, Any]:
    config = run.config
    return {key: config.get(key) for key in ("precision", "data_version")} | {"tokenizer": run.recipe.get("tokenizer")}


def _check_populations(runs: Sequence[Run]) -> None:
    """A seed is an independent repetition only with individuals of its own."""
    seed_of: dict[int, int] = {}
    for run in runs:
        population = run.config.get("dataset_parameters", {}).get("population_seed")
        if population is not None and seed_of.setdefault(population, run.seed) != run.seed:
            raise ValueError(
                f"runs with seeds {seed_of[population]} and {run.seed} have the same individuals (population_seed "
                f"{population}); expected a population for each seed"
            )
