"""One page with every claim and every figure of the paper: ours beside the paper's numbers, with intervals and words.

  python eval/report.py --output-file report.html                       # the committed results of eval/results/
  python eval/report.py runs/paper-mini --output-file report.html       # those of run_all.py, and committed ones for the rest

The page is a single file: its figures are embedded, and it has no scripts.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claims import Claim, claims, figure_file
from coverage import coverage
from intervals import NUM_CARRYING, WORDS, holm
from page_figures import figure_html

from bio_facts.checks import Parser, needs
from bio_facts.files import write_text
from bio_facts.runs.plan import SCALES

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Entry:
    """A claim on the page. verdict: None if it was not judged; figure: its file; origin: where the verdict is from."""

    claim: Claim
    verdict: Mapping[str, Any] | None = None
    figure: Path | None = None
    origin: str = ""

    @property
    def outcome(self) -> str:
        """The word of the carrying measure; "curves" where there is none; "one seed"; "not yet run"."""
        if self.verdict is None:
            return "not yet run"
        if len(self.verdict["seeds"]) < 2:
            return "one seed"
        if not self.verdict["registration"]:
            return f"{self.verdict['word'] or 'curves'}, not registered"
        return str(self.verdict["word"] or "curves")

    @property
    def carrying(self) -> Mapping[str, Any] | None:
        """What was measured by the carrying measure; None if there is no verdict or no such measure."""
        measures = [] if self.verdict is None else self.verdict["measures"]
        return next((measure for measure in measures if measure["carrying"]), None)

    @property
    def picture(self) -> str:
        """The figure as HTML; "" if there is none."""
        return "" if self.figure is None else figure_html(self.figure, self.claim.name, self.claim.heading)

    @property
    def minutes(self) -> str:
        """The total time of all runs as text; "" if there is no verdict."""
        seconds = 0 if self.verdict is None else self.verdict["seconds"]
        return "" if self.verdict is None else f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

    @property
    def computed(self) -> str:
        """How the runs were computed, as text; "" if there is no verdict."""
        if self.verdict is None:
            return ""
        tokenizer = f", tokenizer {self.verdict['tokenizer']}" if "tokenizer" in self.verdict else ""
        return f"{self.verdict['device']}; {self.verdict['precision']}{tokenizer}"


def read_entry(claim: Claim, scale: str, folder: Path | None = None, results: Path = RESULTS) -> Entry:
    """A claim with its verdict at a scale: from `folder`, or, if that has none, the committed one in `results`.

    Raises:
        ValueError: if the file is not a verdict on this claim.
    """
    for origin, base in (("these runs", folder), ("committed results", results)):
        path = None if base is None else base / claim.name / f"{scale}.json"
        if path is not None and path.is_file():
            figure = figure_file(path)
            return Entry(claim, claim.read(path), figure if figure.is_file() else None, origin)
    return Entry(claim)


def number(value: float | None) -> str:
    """A measured value with three digits; "none" if there is no value."""
    return "none" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def interval(measured: Mapping[str, Any]) -> str:
    """Mean and interval of a measure, as in "5.9 [5.5, 6.4]"."""
    ends = "" if measured["low"] is None else f" [{number(measured['low'])}, {number(measured['high'])}]"
    return f"{number(measured['mean'])}{ends}"


def adjusted(entries: Sequence[Entry]) -> dict[str, float]:
    """Name of a claim -> Holm's adjusted p of its carrying measure, over all carrying measures of labels with its letter."""
    adjusted: dict[str, float] = {}
    for letter, family in NUM_CARRYING.items():
        p_values = {
            entry.claim.name: entry.carrying["p"]
            for entry in entries
            if entry.claim.label.startswith(letter) and entry.carrying is not None and entry.carrying["p"] is not None
        }
        adjusted |= holm(p_values, family)
    return adjusted


def render(entries: Sequence[Entry], scale: str) -> str:
    """The HTML of the page."""
    with needs("train", "the report"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "interval": interval}
    rows = coverage({entry.claim.name: entry.verdict for entry in entries})
    counts = {word: sum(entry.outcome == word for entry in entries) for word in (*WORDS, "curves", "not yet run")}
    template = environment.get_template("report.html.jinja")
    secondary = sum(row.num_secondary for row in rows)
    return template.render(
        entries=entries, scale=scale, adjusted=adjusted(entries), coverage=rows, counts=counts, num_secondary=secondary
    )


def main() -> None:
    """Write the page; exit code 2 if a verdict cannot be read."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="with CLAIM/SCALE.json, as run_all.py writes them")
    parser.add_argument("--scale", default="mini", choices=SCALES, help="which results (default: mini)")
    parser.add_argument(
        "--output-file", type=Path, required=True, metavar="FILE", help="the page; an existing file is replaced"
    )
    arguments = parser.parse_args()
    if arguments.folder is not None and not arguments.folder.is_dir():
        parser.error(f"DIR is {str(arguments.folder)!r}, which is no folder; it must be the output folder of train/run_all.py")
    if arguments.output_file.is_dir():
        parser.error(f"output-file is {str(arguments.output_file)!r}, a folder; it must be a file, such as report.html")
    try:
        entries = [read_entry(claim, arguments.scale, arguments.folder) for claim in claims()]
        judged = [entry for entry in entries if entry.verdict is not None]
        write_text(arguments.output_file, render(entries, arguments.scale))
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    words = ", ".join(f"{entry.claim.label} {entry.outcome}" for entry in judged)
    print(f"{words or 'no claim is judged yet'}; page: {arguments.output_file}")


if __name__ == "__main__":
    main()
