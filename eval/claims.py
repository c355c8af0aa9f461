"""The claims of the paper. Every module of eval/analysis/ declares one: `CLAIM = Claim(...)`."""

import argparse
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arms import TRAIN, Arms, arms_of_one_run, find_arms, folders_of_claim, is_reported
from curve_files import curves_text, read_curves
from intervals import Values
from verdicts import json_text, print_verdict, read_verdict, result

from bio_facts.checks import Parser, exit_with_error
from bio_facts.files import write_text
from bio_facts.runs.curves import Run, read_run
from bio_facts.runs.folder import CONFIG_FILE
from bio_facts.runs.registration import read_measures, read_registration

ANALYSES = Path(__file__).parent / "analysis"
FIGURE_SUFFIXES = (".svg", ".png")  # of the figure beside a verdict; the first that is there counts
_LABEL = re.compile(r"(C|F|R)(\d+)")


@dataclass(frozen=True)
class Claim:
    """What the paper says about learning, and how runs are judged by it.

    Args:
        label: number of the claim, C1, C2, ...; F1, F2, ... for figures of the paper that belong to no claim; R1, R2, ... for
            claims about storing and recalling, of other papers.
        name: of its module in eval/analysis/, its folder in train/recipes/ and its folder in eval/results/.
        title: the claim as a sentence, without a period.
        paper: what the paper says, with its figure.
        measure: the values of every measure in train/recipes/NAME/registration.yaml, from the runs of each arm.
        plot: draws the figure of runs and their verdict (`result` of verdicts.py) into a file, as SVG or PNG by its name.
    """

    label: str
    name: str
    title: str
    paper: str
    measure: Callable[[Arms], Mapping[str, Values]]
    plot: Callable[[Arms, dict[str, Any], Path], None]

    @property
    def place(self) -> tuple[str, int]:
        """Sort key of the label; ValueError if the label is not C or F and a number."""
        match = _LABEL.fullmatch(self.label)
        if match is None:
            raise ValueError(f"label of claim {self.name} is {self.label!r}; it must be C, F or R and a number")
        return match[1], int(match[2])

    @property
    def heading(self) -> str:
        """Label and title, the title with a capital letter."""
        return f"{self.label}: {self.title}"

    @property
    def recipes(self) -> Path:
        """The folder of its recipes and its registration."""
        return TRAIN / "recipes" / self.name

    def arms(self, runs: Sequence[Run], scale: str | None) -> tuple[Arms, str]:
        """The runs by arm and seed, and their scale. Without a scale, a single run of any scale is enough."""
        return (find_arms(self.name, scale, runs), scale) if scale is not None else arms_of_one_run(self.name, runs[0])

    def judge(self, runs: Sequence[Run], scale: str | None) -> dict[str, Any]:
        """The verdict on the runs of one scale; without a scale, on a single run.

        Raises:
            ValueError: if they cannot be judged, or were run before the registration of the claim was changed.
        """
        values = self.measure(self.arms(runs, scale)[0])
        measures = read_measures(self.recipes)
        if values.keys() != measures.keys():
            names = ", ".join(sorted(values.keys() ^ measures.keys()))
            raise ValueError(f"claim {self.name} measures and registers different things: {names}")
        registration = ""
        if scale is not None and is_reported(self.name, scale, [run.seed for run in runs]):
            registration = read_registration(self.recipes, scale).digest
            _check_registered(runs, scale)
        return result(self.name, scale or "one", runs, measures, values, registration)

    def read(self, path: Path) -> dict[str, Any]:
        """Read a verdict on this claim; ValueError if the file holds anything else."""
        verdict = read_verdict(path)
        if verdict["claim"] != self.name:
            raise ValueError(f"{path} is the verdict on {verdict['claim']!r}; it must be one on {self.name!r}")
        return verdict


def _check_registered(runs: Sequence[Run], scale: str) -> None:
    """ValueError unless each run records the registration, as it is now, of a claim that has the run among its arms."""
    digests = {read_registration(path.parent, scale).digest for path in TRAIN.glob(f"recipes/*/{scale}.yaml")}
    for run in runs:
        if run.config.get("registration") not in digests:
            raise ValueError(
                f"run {run.folder} records registration {run.config.get('registration')!r}, which no claim has now; runs of "
                "reported seeds must be made by run_all.py after registration, and a changed registration needs new seeds"
            )


def claims() -> list[Claim]:
    """All claims in the order of their numbers, then the figures."""
    modules = [importlib.import_module(f"{ANALYSES.name}.{path.stem}") for path in ANALYSES.glob("*.py")]
    return sorted((module.CLAIM for module in modules), key=lambda claim: claim.place)


def curves_file(verdict: Path) -> Path:
    """Where the curves of a verdict's runs are kept: mini.curves.jsonl beside mini.json."""
    return verdict.with_suffix(".curves.jsonl")


def figure_file(verdict: Path) -> Path:
    """Where the figure of a verdict is: mini.svg beside mini.json, or mini.png, as earlier versions drew it."""
    return next((path for path in map(verdict.with_suffix, FIGURE_SUFFIXES) if path.is_file()), verdict.with_suffix(".svg"))


def _runs_in(path: Path, claim: str, scale: str | None) -> list[Run]:
    """The runs of a file of curves, of a claim in the output folder of run_all.py, or the run of a folder."""
    if path.suffix == ".jsonl":
        return read_curves(path)
    if scale is None or not path.is_dir() or (path / CONFIG_FILE).exists():
        return [read_run(path)]
    folders = [folder for folder in folders_of_claim(claim, scale, path) if folder.exists()]
    if not folders:
        raise ValueError(f"folder {path} holds no run of claim {claim}; expected runs of train/run_all.py --claims {claim}")
    return [read_run(folder) for folder in folders]


def run_analysis(claim: Claim, doc: str | None) -> None:
    """The command line of an analysis. Exit code 0 if the runs were judged, 2 if they cannot be judged or drawn."""
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", type=Path, nargs="*", metavar="RUN",
        help="folder of a finished run; output_dir of run_all.py, for the claim's runs in it; or a file of curves, such as "
        "mini.curves.jsonl; without any, the runs whose curves lie beside --results are judged again",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, metavar="FILE",
        help="JSON file for the verdict on all runs of a scale, such as mini.json, with curves and a picture (SVG) beside it "
        f"(default: RUN/{claim.name}.json, for a single run)",
    )  # fmt: skip
    arguments = parser.parse_args()
    if not arguments.runs and arguments.results is None:
        parser.error("RUN is missing; it must be the output_dir of a training script, one or more")
    if len(arguments.runs) > 1 and arguments.results is None:
        parser.error("results is missing; several runs need --results SCALE.json, such as runs/mini.json")
    file: Path = arguments.results or arguments.runs[0] / f"{claim.name}.json"
    if file.is_dir():
        parser.error(f"results is {str(file)!r}, a folder; it must be a file, such as mini.json")
    try:
        scale = None if arguments.results is None else file.stem
        paths: list[Path] = arguments.runs or [curves_file(file)]
        runs = [run for path in paths for run in _runs_in(path, claim.name, scale)]
        if scale is not None and arguments.runs:  # judged as they are kept, so that the file gives the same verdict
            claim.arms(runs, scale)
            write_text(curves_file(file), curves_text(runs))
            runs = read_curves(curves_file(file))
        verdict = claim.judge(runs, scale)
        write_text(file, json_text(verdict))
        print_verdict(verdict)
        print(f"verdict: {file}", flush=True)
        claim.plot(claim.arms(runs, scale)[0], verdict, file.with_suffix(".svg"))
    except ValueError as error:
        exit_with_error(error)
    print(f"picture: {file.with_suffix('.svg')}")
