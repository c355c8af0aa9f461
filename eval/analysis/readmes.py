"""Write the committed verdicts into README.md and the recipes' READMEs, between <!-- verdict --> and <!-- end -->.

python eval/analysis/readmes.py            # after a change of eval/results/
python eval/analysis/readmes.py --check    # change nothing; exit code 1 if one says something else
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from report import Entry, claims, entry, number

ROOT = Path(__file__).parent.parent.parent
_BETWEEN = re.compile(r"(?<=<!-- verdict -->\n).*?(?=<!-- end -->)", re.DOTALL)


def recipe_text(mini: Entry) -> str:
    """What a recipe's README says of its claim at mini scale, as Markdown."""
    found = mini.found
    if found is None:
        return "**Measured**: not yet run on the reported seeds.\n"
    results = f"../../../eval/results/{mini.name}/mini"
    lines = [
        f"**Measured** on seeds {', '.join(map(str, found['seeds']))} ([mini.json]({results}.json), [picture]({results}.png)): "
        f"**{mini.verdict}**. {found['num_runs']} runs, {mini.minutes} in all ({found['device']}), evaluations included.",
        "",
        "| check | threshold | measured | |",
        "|---|---|---|---|",
        *(_row(one) for one in found["checks"]),
    ]
    if "explanation" in found:
        lines += ["", f"**Why it did not pass.** {found['explanation']}"]
    return "\n".join(lines) + "\n"


def _row(one: Mapping[str, Any]) -> str:
    verdict = "pass" if one["passed"] else "**fail**"
    return f"| {one['name']} | {number(one['threshold'])} | {number(one['value'])} | {verdict} |"


def overview(minis: list[Entry], papers: list[Entry]) -> str:
    """The table of all claims in README.md, as Markdown."""
    rows = []
    for mini, paper in zip(minis, papers, strict=True):
        label, title = mini.title.split(": ", 1)
        verdicts = [
            one.verdict if one.found is None else f"[{one.verdict}](eval/results/{one.name}/{scale}.json)"
            for one, scale in ((mini, "mini"), (paper, "paper"))
        ]
        rows.append(f"| {label} | {title} | [{mini.name}](train/recipes/{mini.name}) | {verdicts[0]} | {verdicts[1]} |")
    return "\n".join(["| claim | | recipe | mini, seeds 10-12 | paper scale |", "|---|---|---|---|---|", *rows]) + "\n"


def main() -> None:
    """Write, or check, all READMEs that have the marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="name the READMEs that say something else, and write none")
    check = parser.parse_args().check
    minis, papers = ([entry(module, None, scale) for module in claims()] for scale in ("mini", "paper"))
    texts = {ROOT / "train" / "recipes" / mini.name / "README.md": recipe_text(mini) for mini in minis}
    stale = []
    for path, text in {ROOT / "README.md": overview(minis, papers), **texts}.items():
        old = path.read_text(encoding="utf-8")
        new, found = _BETWEEN.subn(text.replace("\\", r"\\"), old)
        if found != 1:
            sys.exit(
                f"readmes.py: error: {path} has {found} places between <!-- verdict --> and <!-- end -->; it must have one"
            )
        if new != old:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(new, encoding="utf-8")
    print(f"{'not as eval/results says' if check else 'written'}: {', '.join(stale) or 'none'}")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
