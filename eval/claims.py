"""The claims of the paper. Every module of eval/analysis/ declares one: `CLAIM = Claim(...)`."""

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verdicts import Finding, json_text, print_verdict, read_verdict, result

from bio_facts.checks import Parser, exit_with_error
from bio_facts.files import write_text
from bio_facts.runs.curves import Run, read_run

ANALYSES = Path(__file__).parent / "analysis"
_LABEL = re.compile(r"C(\d+)([a-z]?)")


@dataclass(frozen=True)
class Claim:
    """What the paper says about learning, and how runs are judged by it.

    Args:
        label: number of the claim, C1, C2, ...; with a letter where the paper makes several claims on one subject.
        name: of its module in eval/analysis/, its folder in train/recipes/ and its folder in eval/results/.
        title: the claim as a sentence, without a period.
        paper: what the paper says, with its figure.
        takes: which runs `score` needs.
        score: returns the checks of these runs and the content of the figure; ValueError for runs that cannot be judged.
        plot: draws the figure of a verdict (`result` of verdicts.py) as PNG.
        misses: text in the name of a check -> why that check is known to fail.
    """

    label: str
    name: str
    title: str
    paper: str
    takes: str
    score: Callable[[Sequence[Run]], Finding]
    plot: Callable[[dict[str, Any], Path], None]
    misses: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> tuple[int, str]:
        """Sort key of the label; ValueError if the label is not C, a number and at most one letter."""
        match = _LABEL.fullmatch(self.label)
        if match is None:
            raise ValueError(f"label of claim {self.name} is {self.label!r}; it must be C, a number and at most one letter")
        return int(match[1]), match[2]

    @property
    def heading(self) -> str:
        """Label and title, the title with a capital letter."""
        return f"{self.label}: {self.title}"

    def judge(self, runs: Sequence[Run], scale: str) -> dict[str, Any]:
        """The verdict on runs of one scale; ValueError if they cannot be judged."""
        return result(self.name, scale, runs, self.score(runs), self.misses)

    def read(self, path: Path) -> dict[str, Any]:
        """Read a verdict on this claim; ValueError if the file holds anything else."""
        verdict = read_verdict(path)
        if verdict["claim"] != self.name:
            raise ValueError(f"{path} is the verdict on {verdict['claim']!r}; it must be one on {self.name!r}")
        return verdict


def claims() -> list[Claim]:
    """All claims, in the order of their labels."""
    modules = [importlib.import_module(f"{ANALYSES.name}.{path.stem}") for path in ANALYSES.glob("*.py")]
    return sorted((module.CLAIM for module in modules), key=lambda claim: claim.place)


def run_analysis(claim: Claim, doc: str | None) -> None:
    """The command line of an analysis. Exit code 0 if the claim passed, 1 if it did not, 2 if it cannot be judged or drawn."""
    parser = Parser(description=doc, epilog=claim.takes, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", type=Path, nargs="*", metavar="RUN",
        help="folder of a finished run; without any, the verdict in --results is printed and drawn again",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, metavar="FILE",
        help=f"JSON file for the verdict, with a picture beside it (default: RUN/{claim.name}.json)",
    )  # fmt: skip
    arguments = parser.parse_args()
    if not arguments.runs and arguments.results is None:
        parser.error("RUN is missing; it must be the output_dir of a training script, one or more")
    file: Path = arguments.results or arguments.runs[0] / f"{claim.name}.json"
    if file.is_dir():
        parser.error(f"results is {str(file)!r}, a folder; it must be a file, such as mini.json")
    try:
        if arguments.runs:
            verdict = claim.judge([read_run(folder) for folder in arguments.runs], file.stem if arguments.results else "one")
            write_text(file, json_text(verdict))
        else:
            verdict = claim.read(file)
        print_verdict(verdict)
        print(f"verdict: {file}", flush=True)
        claim.plot(verdict, file.with_suffix(".png"))
    except ValueError as error:
        exit_with_error(error)
    print(f"picture: {file.with_suffix('.png')}")
    sys.exit(0 if verdict["passed"] else 1)
