"""Results of claims as run_all.py writes them, made from runs in memory."""

from collections.abc import Sequence
from pathlib import Path

from claims import claims, curves_file
from curve_files import curves_text
from test_three_phases import SCATTER, SEEDS, paper_run
from verdicts import json_text

from bio_facts.runs.curves import Run
from bio_facts.runs.registration import read_registration

CLAIMS = {claim.name: claim for claim in claims()}


def registered_runs(seeds: Sequence[int] = SEEDS, scale: str = "mini") -> list[Run]:
    """Runs of three_phases with the paper's curve, which claims C1 and C6 judge."""
    runs = [paper_run(seed, time, folder=f"runs/s{seed}") for seed, time in zip(seeds, SCATTER, strict=False)]
    for run in runs:
        run.config["registration"] = read_registration(CLAIMS["three_phases"].recipes, scale).digest
    return runs


def write_judged(folder: Path, name: str) -> None:
    """Verdict, curves and figure of a claim that judges runs of three_phases, in folder/NAME/mini.*"""
    claim, file, runs = CLAIMS[name], folder / name / "mini.json", registered_runs()
    file.parent.mkdir(parents=True)
    verdict = claim.judge(runs, "mini")
    file.write_text(json_text(verdict))
    curves_file(file).write_text(curves_text(runs))
    claim.plot(claim.arms(runs, "mini")[0], verdict, file.with_suffix(".svg"))
