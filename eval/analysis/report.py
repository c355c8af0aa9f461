"""One page with every claim: its picture, verdict, thresholds, seeds, device and time, next to what the paper found.

  python eval/analysis/report.py --output_file report.html                       # the committed results of eval/results/
  python eval/analysis/report.py runs/paper-mini --output_file report.html       # results of one's own, and committed ones

The page is one file that needs nothing else: pictures are in it, there is no script.
"""

import argparse
import base64
import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verdicts import read_verdict

from bio_facts.checks import needs

HERE = Path(__file__).parent
COMMITTED = HERE.parent / "results"


@dataclass(frozen=True)
class Entry:
    """A claim on the page. found: its verdict, None if it was not judged; picture: a data URL; origin: where it is from."""

    name: str
    title: str
    paper: str
    found: Mapping[str, Any] | None = None
    picture: str = ""
    origin: str = ""

    @property
    def verdict(self) -> str:
        """What to say of it in two words."""
        return "not yet run" if self.found is None else "passed" if self.found["passed"] else "not passed"

    @property
    def minutes(self) -> str:
        """How long its runs took, one after another."""
        assert self.found is not None
        seconds = self.found["seconds"]
        return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def claims() -> list[Any]:
    """The modules of all claims, in the order of their numbers: C1, C2, ... at the beginning of their documentation."""
    found = [
        importlib.import_module(path.stem) for path in HERE.glob("*.py") if '\nCLAIM = "' in path.read_text(encoding="utf-8")
    ]
    return sorted(found, key=lambda module: str(module.__doc__))


def entry(module: Any, folder: Path | None, scale: str) -> Entry:
    """A claim with the verdict of `folder`, or, where there is none, the committed one."""
    label, _, title = " ".join(str(module.__doc__).split("\n\n")[0].split()).partition(": ")
    title = title.partition(" (paper")[0]
    bare = Entry(module.CLAIM, f"{label[:2]}: {title[0].upper()}{title[1:]}", module.PAPER)
    for origin, base in (("these runs", folder), ("committed results", COMMITTED)):
        path = None if base is None else base / module.CLAIM / f"{scale}.json"
        if path is None or not path.is_file():
            continue
        image = path.with_suffix(".png")
        picture = ""
        if image.is_file():
            picture = "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()
        return Entry(bare.name, bare.title, bare.paper, read_verdict(path), picture, origin)
    return bare


def number(value: float | None) -> str:
    """A measured value or threshold, to four digits."""
    return "none" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def render(entries: list[Entry], scale: str) -> str:
    """The page."""
    with needs("train", "the report"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    return environment.get_template("report.html.jinja").render(entries=entries, scale=scale)


def main() -> None:
    """Write the page; exit code 2 if a verdict cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: parser.exit(2, f"{parser.prog}: error: {message}\n")  # type: ignore[method-assign]
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="with CLAIM/SCALE.json, as run_all.py writes them")
    parser.add_argument("--scale", default="mini", help="which results (default: mini)")
    parser.add_argument("--output_file", type=Path, required=True, metavar="FILE", help="the page; written anew if it is there")
    arguments = parser.parse_args()
    if arguments.folder is not None and not arguments.folder.is_dir():
        parser.error(f"DIR is {str(arguments.folder)!r}, which is no folder; it must be the output_dir of train/run_all.py")
    if arguments.output_file.is_dir():
        parser.error(f"output_file is {str(arguments.output_file)!r}, a folder; it must be a file, such as report.html")
    try:
        entries = [entry(module, arguments.folder, arguments.scale) for module in claims()]
        if arguments.folder is None and all(one.found is None for one in entries):
            raise ValueError(
                f"scale is {arguments.scale!r}, of which there are no committed results; it must be mini, or paper"
            )
        page = render(entries, arguments.scale)
    except ValueError as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        sys.exit(2)
    arguments.output_file.parent.mkdir(parents=True, exist_ok=True)
    partial = arguments.output_file.with_name(f"{arguments.output_file.name}.partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(arguments.output_file)
    judged = [one for one in entries if one.found is not None]
    print(
        f"{sum(one.verdict == 'passed' for one in judged)} of {len(judged)} judged claims passed; page: {arguments.output_file}"
    )


if __name__ == "__main__":
    main()
