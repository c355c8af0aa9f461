"""Publish judged runs: copy verdicts, curves and figures to eval/results/, and update the tables of the READMEs and the page.

  python eval/publish_results.py runs/paper-mini                    # results of `run_all.py --scale mini`
  python eval/publish_results.py runs/paper-paper --scale paper     # results of `run_all.py --scale paper`
  python eval/publish_results.py                                    # after a change of eval/results/, or of a claim's title
  python eval/publish_results.py --check                            # write nothing; exit code 1 if something is out of date

Only verdicts on the registered seeds are published.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from claims import FIGURE_SUFFIXES, Claim, claims, curves_file, figure_file
from coverage import coverage
from intervals import half_width
from report import Entry, interval, number, read_entry, render
from verdicts import shown_if

from bio_facts.checks import Parser
from bio_facts.files import unfinished_file, write_text
from bio_facts.runs.registration import Measure, read_measures

ROOT = Path(__file__).parent.parent
SCALES = ("mini", "paper")
LINE_LENGTH = 120
NUM_SEEDS = 5  # reported ones


def judged_files(folder: Path, scale: str, results: Path) -> dict[Path, bytes | None]:
    """Path below `results` -> new content of verdict, curves and figure, for every claim that was judged in `folder`.

    The content is None for a figure in another format, which the new one replaces.

    Raises:
        ValueError: if nothing was judged, a file is missing, or a file is not a verdict on this claim at this scale, on the
            registered seeds.
    """
    files: dict[Path, bytes | None] = {}
    for claim in claims():
        source, target = (base / claim.name / f"{scale}.json" for base in (folder, results))
        if not source.is_file():
            continue
        verdict = claim.read(source)
        if verdict["scale"] != scale:
            raise ValueError(f"{source} has scale {verdict['scale']!r}; expected {scale!r}")
        if not verdict["registration"]:
            raise ValueError(
                f"{source} has seeds {verdict['seeds']}; expected those of train/recipes/{claim.name}/{scale}.yaml"
            )
        figure = figure_file(source)
        if not figure.is_file():
            raise ValueError(_no_picture(claim, source))
        if not curves_file(source).is_file():
            raise ValueError(f"{source} has no curves beside it; judge the runs again")
        for of in (Path, curves_file):
            files[of(target)] = of(source).read_bytes()
        for suffix in FIGURE_SUFFIXES:
            files[target.with_suffix(suffix)] = figure.read_bytes() if suffix == figure.suffix else None
    if not files:
        raise ValueError(f"DIR is {str(folder)!r}, which has no CLAIM/{scale}.json; it must be the output of train/run_all.py")
    return files


def _no_picture(claim: Claim, verdict: Path) -> str:
    return f"{verdict} has no picture beside it; draw it with: python eval/analysis/{claim.name}.py --results {verdict}"


def recipe_text(entries: Mapping[str, Entry]) -> str:
    """The measured results in the README of a recipe, as Markdown. entries: scale -> the claim of the recipe at that scale."""
    measured = [_measured(scale, entry) for scale, entry in entries.items() if entry.verdict is not None]
    return "\n".join(measured) or "**Measured**: not yet run on the reported seeds.\n"


def _measured(scale: str, entry: Entry) -> str:
    verdict = entry.verdict or {}
    results = f"../../../eval/results/{entry.claim.name}/{scale}"
    suffix = FIGURE_SUFFIXES[0] if entry.figure is None else entry.figure.suffix
    lines = [
        *_wrapped(
            f"**Measured** {'' if scale == 'mini' else f'at {scale} scale '}on seeds {', '.join(map(str, verdict['seeds']))} "
            f"([{scale}.json]({results}.json), [curves]({results}.curves.jsonl), [figure]({results}{suffix})): "
            f"**{entry.outcome}**. {verdict['num_runs']} runs, {entry.minutes} in total ({entry.computed}), with evaluations."
        ),
        "",
        "| measure | shown if | ours | paper | word |",
        "|---|---|---|---|---|",
    ]
    for measure in verdict["measures"]:
        word = f"**{measure['word']}**" if measure["carrying"] else f"*{measure['word'] or 'one seed'}*"
        paper = "text only" if measure["paper"] is None else number(measure["paper"])
        cells = (f"`{measure['name']}`", measure["shown_if"], interval(measure), paper, word)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def registration_text(claim: Claim) -> str:
    """The measures of a claim and what was registered about them, as Markdown."""
    lines = ["| measure | figure | shown if | paper |", "|---|---|---|---|"]
    notes = []
    for measure in read_measures(claim.recipes).values():
        name = f"**`{measure.name}`** (carrying)" if measure.carrying else f"`{measure.name}`"
        paper = (
            "text only" if measure.paper is None else f"{number(measure.paper)}{f' ({measure.cell})' if measure.cell else ''}"
        )
        lines.append(f"| {name} | {measure.figure} | {shown_if(measure)} | {paper} |")
        pilot = "" if measure.pilot_sd is None else f" {_pilot(measure)}"
        notes += _wrapped(f"- `{measure.name}`: {measure.description}.{pilot}", indent="  ")
    return "\n".join([*lines, "", *notes]) + "\n"


def _pilot(measure: Measure) -> str:
    width = half_width(measure, NUM_SEEDS)
    return (
        f"Pilot on seeds among 0 to 4: standard deviation {number(measure.pilot_sd)}, expected half-width {number(width)}"
        f"{' (of the logarithm)' if measure.scale == 'log' else ''}."
    )


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of Markdown; links and hyphenated words are not broken."""
    return textwrap.wrap(text, LINE_LENGTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def overview(claims_by_scale: Sequence[Mapping[str, Entry]]) -> str:
    """The table of all claims in README.md, as Markdown. claims_by_scale: for each claim, scale -> the claim at that scale."""
    rows, links = [], []
    for entries in claims_by_scale:
        claim, mini = entries[SCALES[0]].claim, entries[SCALES[0]]
        links.append(f"[{claim.label}]: train/recipes/{claim.name}")
        cells = [f"[{claim.label}]", claim.title]
        for scale, entry in entries.items():
            reference = f"[{claim.label} {scale}]"
            cells.append(entry.outcome if entry.verdict is None else f"[{entry.outcome}]{reference}")
            links += [] if entry.verdict is None else [f"{reference}: eval/results/{claim.name}/{scale}.json"]
        measured = mini.carrying
        ours = "" if measured is None else interval(measured)
        paper = "" if measured is None else "text only" if measured["paper"] is None else number(measured["paper"])
        cells[3:3] = [ours, paper]
        rows.append(f"| {' | '.join(cells)} |")
    header = ["| recipe | claim | mini, seeds 20-24 | ours | the paper's | paper scale |", "|---|---|---|---|---|---|"]
    return "\n".join([*header, *rows, "", *links]) + "\n"


def coverage_text(verdicts: Mapping[str, Mapping[str, Any] | None]) -> str:
    """The table of the paper's figures in README.md, as Markdown; its links are those of `overview`."""
    labels = {claim.name: claim.label for claim in claims()}
    lines = ["| figure | what it shows | ours | word | ours / paper |", "|---|---|---|---|---|"]
    for panel in coverage(verdicts):
        where = f"[{labels[panel.claim]}]" if panel.claim else ""
        ratios = ", ".join("-" if m["ours_over_paper"] is None else number(m["ours_over_paper"]) for m in panel.measured)
        lines.append(f"| {panel.figure} | {panel.shows} | {where} | {panel.outcome} | {ratios} |")
    return "\n".join(lines) + "\n"


def readmes(root: Path) -> dict[Path, str]:
    """README -> its new text, for all READMEs with results.

    Raises:
        ValueError: if a README does not have exactly one place for each of its tables, a published verdict cannot be read, or
            its figure is missing.
    """
    results, texts = root / "eval" / "results", {}
    claims_by_scale = [{scale: read_entry(claim, scale, results=results) for scale in SCALES} for claim in claims()]
    for entries in claims_by_scale:
        for scale, entry in entries.items():
            if entry.verdict is not None and entry.figure is None:
                raise ValueError(_no_picture(entry.claim, results / entry.claim.name / f"{scale}.json"))
        tables = {"registration": registration_text(entry.claim), "verdict": recipe_text(entries)}
        path = root / "train" / "recipes" / entry.claim.name / "README.md"
        texts[path] = _with_tables(path, tables)
    verdicts = {entries[SCALES[0]].claim.name: entries[SCALES[0]].verdict for entries in claims_by_scale}
    tables = {"verdict": overview(claims_by_scale), "coverage": coverage_text(verdicts)}
    return texts | {root / "README.md": _with_tables(root / "README.md", tables)}


def _with_tables(path: Path, tables: Mapping[str, str]) -> str:
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        replacement = f"{begin}{table}{end}"
        text, num_places = re.subn(f"{begin}.*?{end}", lambda _, by=replacement: by, text, flags=re.DOTALL)  # type: ignore[misc]
        if num_places != 1:
            raise ValueError(f"{path} has {num_places} places between <!-- {name} --> and <!-- end -->; it must have one")
    return text


def publish(files: Mapping[Path, bytes | None], check: bool) -> list[Path]:
    """Write the files whose content changed, and remove those whose content is None, unless `check`; return them."""
    stale = [path for path, content in files.items() if (path.read_bytes() if path.is_file() else None) != content]
    for path in [] if check else stale:
        if (content := files[path]) is None:
            path.unlink()
            continue
        with unfinished_file(path) as unfinished:
            unfinished.write_bytes(content)
    return stale


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Publish, or check, below `root`. Exit code 1 if --check finds something out of date, 2 if a file cannot be used."""
    parser = Parser(prog="publish_results.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="with CLAIM/SCALE.json, as run_all.py writes them")
    parser.add_argument("--scale", default="mini", choices=SCALES, help="which results of DIR (default: mini)")
    parser.add_argument("--check", action="store_true", help="list what is out of date and write nothing")
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="the page (default: runs/report.html)")
    arguments = parser.parse_args(argv)
    stale: list[Path] = []
    try:
        if arguments.folder is not None:
            files = judged_files(arguments.folder, arguments.scale, root / "eval" / "results")
            stale += publish(files, arguments.check)
        stale += publish({path: text.encode() for path, text in readmes(root).items()}, arguments.check)
        if not arguments.check:
            page: Path = arguments.output_file or root / "runs" / "report.html"
            entries = [read_entry(claim, arguments.scale, results=root / "eval" / "results") for claim in claims()]
            write_text(page, render(entries, arguments.scale))
            print(f"page: {page}")
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    names = ", ".join(str(path.relative_to(root)) for path in stale) or "none"
    print(f"{'out of date' if arguments.check else 'updated'}: {names}")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
