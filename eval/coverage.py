"""Which panels of the paper's figures are covered by which measures, from eval/coverage.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_FILE = Path(__file__).parent / "coverage.yaml"


@dataclass(frozen=True)
class Panel:
    """A panel of the paper. claim: the one whose picture shows ours; "" if there is none, and then `outcome` says why.

    ours, paper, ratio: the values of its measures, in their order. num_secondary: how many of them have a word at 99 %.
    """

    figure: str
    shows: str
    claim: str
    outcome: str
    measured: tuple[Mapping[str, Any], ...] = ()
    num_secondary: int = 0


def coverage(verdicts: Mapping[str, Mapping[str, Any] | None]) -> list[Panel]:
    """The panels of the paper, in its order, with what the verdicts (by name of the claim) say about them.

    Raises:
        ValueError: if coverage.yaml names a claim or a measure that does not exist.
    """
    return [_panel(entry, verdicts) for entry in yaml.safe_load(_FILE.read_text(encoding="utf-8"))]


def _panel(entry: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, Any] | None]) -> Panel:
    figure, shows, claim = str(entry["figure"]), entry["shows"], entry.get("claim", "")
    if not claim:
        return Panel(figure, shows, "", entry["outcome"])
    if claim not in verdicts:
        raise ValueError(f"figure {figure} of coverage.yaml has claim {claim!r}; expected one of {', '.join(verdicts)}")
    verdict = verdicts[claim]
    if verdict is None:
        return Panel(figure, shows, claim, "not yet run")
    by_name = {measure["name"]: measure for measure in verdict["measures"]}
    unknown = next((name for name in entry.get("measures", []) if name not in by_name), None)
    if unknown is not None:
        raise ValueError(f"figure {figure} of coverage.yaml has measure {unknown!r}; {claim} measures {', '.join(by_name)}")
    measured = tuple(by_name[name] for name in entry.get("measures", []))
    words = ", ".join(dict.fromkeys(measure["word"] or "one seed" for measure in measured))
    return Panel(
        figure, shows, claim, words or entry.get("outcome", "curve, no verdict"), measured,
        sum(not measure["carrying"] for measure in measured),
    )  # fmt: skip
