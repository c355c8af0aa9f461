"""Publish judged runs: copy verdicts and figures to eval/results/, and update the tables of the READMEs and the page.

  python eval/publish_results.py runs/paper-mini                    # results of `run_all.py --scale mini`
  python eval/publish_results.py runs/paper-paper --scale paper     # results of `run_all.py --scale paper`
  python eval/publish_results.py                                    # after a change of eval/results/, or of a claim's title
  python eval/publish_results.py --check                            # write nothing; exit code 1 if something is out of date

A published verdict is replaced only by one of the same seeds, unless --replace is given.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from claims import Claim, claims
from report import Entry, number, read_entry, render

from bio_facts.checks import Parser
from bio_facts.files import unfinished_file, write_text

ROOT = Path(__file__).parent.parent
SCALES = ("mini", "paper")
LINE_LENGTH = 120
_TABLE = re.compile(r"(?<=<!-- verdict -->\n).*?(?=<!-- end -->)", re.DOTALL)


def judged_files(folder: Path, scale: str, results: Path, replace: bool) -> dict[Path, bytes]:
    """Path below `results` -> new content of verdict and figure, for every claim that was judged in `folder`.

    Raises:
        ValueError: if nothing was judged, a figure is missing, a file is not a verdict on this claim at this scale, or, without
            `replace`, it has other seeds than the published verdict.
    """
    files: dict[Path, bytes] = {}
    for claim in claims():
        source, target = (base / claim.name / f"{scale}.json" for base in (folder, results))
        if not source.is_file():
            continue
        verdict, picture = claim.read(source), source.with_suffix(".png")
        if verdict["scale"] != scale:
            raise ValueError(f"{source} has scale {verdict['scale']!r}; expected {scale!r}")
        if not picture.is_file():
            raise ValueError(_no_picture(claim, source))
        if target.is_file() and (seeds := claim.read(target)["seeds"]) != verdict["seeds"]:
            message = f"{source} has seeds {verdict['seeds']}, the published verdict {seeds}"
            if not replace:
                raise ValueError(f"{message}; expected the same seeds, or --replace")
            print(f"replaced: {message}")
        files |= {target: source.read_bytes(), target.with_suffix(".png"): picture.read_bytes()}
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
    lines = [
        *_wrapped(
            f"**Measured** {'' if scale == 'mini' else f'at {scale} scale '}on seeds {', '.join(map(str, verdict['seeds']))} "
            f"([{scale}.json]({results}.json), [figure]({results}.png)): **{entry.outcome}**. {verdict['num_runs']} runs, "
            f"{entry.minutes} in total ({entry.computed}), including evaluations."
        ),
        "",
    ]
    for check in verdict["checks"]:
        outcome = "pass" if check["passed"] else "**fail**"
        text = f"{check['name']} {number(check['threshold'])}; measured: {number(check['value'])}"
        lines += _wrapped(f"- {outcome}: {text}", indent="  ")
    if "explanation" in verdict:
        lines += ["", *_wrapped(f"**Why it did not pass.** {verdict['explanation']}")]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of Markdown; links and hyphenated words are not broken."""
    return textwrap.wrap(text, LINE_LENGTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def overview(claims_by_scale: Sequence[Mapping[str, Entry]]) -> str:
    """The table of all claims in README.md, as Markdown. claims_by_scale: for each claim, scale -> the claim at that scale."""
    rows, links = [], []
    for entries in claims_by_scale:
        claim = entries[SCALES[0]].claim
        links.append(f"[{claim.label}]: train/recipes/{claim.name}")
        cells = [f"[{claim.label}]", claim.title]
        for scale, entry in entries.items():
            reference = f"[{claim.label} {scale}]"
            cells.append(entry.outcome if entry.verdict is None else f"[{entry.outcome}]{reference}")
            links += [] if entry.verdict is None else [f"{reference}: eval/results/{claim.name}/{scale}.json"]
        rows.append(f"| {' | '.join(cells)} |")
    header = ["| recipe | claim | mini, seeds 10-12 | paper scale |", "|---|---|---|---|"]
    return "\n".join([*header, *rows, "", *links]) + "\n"


def readmes(root: Path) -> dict[Path, str]:
    """README -> its new text, for all READMEs with results.

    Raises:
        ValueError: if a README does not have exactly one place for its results, a published verdict cannot be read, or its
            figure is missing.
    """
    results, tables = root / "eval" / "results", {}
    claims_by_scale = [{scale: read_entry(claim, scale, results=results) for scale in SCALES} for claim in claims()]
    for entries in claims_by_scale:
        for scale, entry in entries.items():
            if entry.verdict is not None and not entry.picture:
                raise ValueError(_no_picture(entry.claim, results / entry.claim.name / f"{scale}.json"))
        tables[root / "train" / "recipes" / entry.claim.name / "README.md"] = recipe_text(entries)
    tables[root / "README.md"] = overview(claims_by_scale)
    return {path: _with_table(path, table) for path, table in tables.items()}


def _with_table(path: Path, table: str) -> str:
    text, num_places = _TABLE.subn(lambda _: table, path.read_text(encoding="utf-8"))
    if num_places != 1:
        raise ValueError(f"{path} has {num_places} places between <!-- verdict --> and <!-- end -->; it must have one")
    return text


def publish(files: Mapping[Path, bytes], check: bool) -> list[Path]:
    """Write the files whose content changed, unless `check`; return them."""
    stale = [path for path, content in files.items() if not path.is_file() or path.read_bytes() != content]
    for path in [] if check else stale:
        with unfinished_file(path) as unfinished:
            unfinished.write_bytes(files[path])
    return stale


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Publish, or check, below `root`. Exit code 1 if --check finds something out of date, 2 if a file cannot be used."""
    parser = Parser(prog="publish_results.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="with CLAIM/SCALE.json, as run_all.py writes them")
    parser.add_argument("--scale", default="mini", choices=SCALES, help="which results of DIR (default: mini)")
    parser.add_argument("--replace", action="store_true", help="replace published verdicts of other seeds as well")
    parser.add_argument("--check", action="store_true", help="list what is out of date and write nothing")
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="the page (default: runs/report.html)")
    arguments = parser.parse_args(argv)
    stale: list[Path] = []
    try:
        if arguments.folder is not None:
            files = judged_files(arguments.folder, arguments.scale, root / "eval" / "results", arguments.replace)
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
