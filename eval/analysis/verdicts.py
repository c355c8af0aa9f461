"""A verdict on a claim: named thresholds, what was measured, and the file that both are kept in with the curves."""

import argparse
import hashlib
import json
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runs import Curve, Run, data_digests, read_run

from bio_facts.checks import needs

_NEEDED = ("claim", "passed", "scale", "seeds", "num_runs", "device", "seconds", "fingerprint", "data_version", "checks")


@dataclass(frozen=True)
class Check:
    """One comparison of a verdict. name: what is measured and how it is compared; value: None if there was none to measure."""

    name: str
    value: float | None
    threshold: float
    passed: bool


_COMPARISONS = {"is at least": operator.ge, "is at most": operator.le, "is above": operator.gt, "is below": operator.lt}


def check(measured: str, comparison: str, threshold: float, value: float | None) -> Check:
    """A Check whose `comparison` is "is at least", "is at most", "is above" or "is below"; without a value it fails."""
    return Check(f"{measured} {comparison}", value, threshold, value is not None and _COMPARISONS[comparison](value, threshold))


@dataclass(frozen=True)
class Finding:
    """What a claim's score found: its checks, and what its picture needs, as plain JSON types (curves or a table)."""

    checks: list[Check]
    content: dict[str, Any]


def picked(curve: Curve, *keys: str) -> dict[str, list[Any]]:
    """Some columns of a curve, steps among them, numbers to five digits."""
    return {
        key: [float(f"{value:.5g}") if isinstance(value, float) else value for value in curve[key]] for key in ("step", *keys)
    }


def curves_of(runs: Sequence[Run], splits: Iterable[str], *keys: str) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """Seed -> split -> some columns of its curve, of runs of different seeds."""
    return {str(run.seed): {split: picked(run.curve(split), *keys) for split in splits} for run in runs}


def result(claim: str, scale: str, runs: Sequence[Run], finding: Finding, misses: dict[str, str]) -> dict[str, Any]:
    """The verdict as it is written down. `misses`: part of a check's name -> why it is known not to hold.

    fingerprint: of the recipes of all runs, the data version and the rows. data_digest: that of each dataset, by its
    fingerprint. seconds: of all runs, one after another.
    """
    failed = [one.name for one in finding.checks if not one.passed]
    recipes = sorted(json.dumps({k: v for k, v in run.recipe.items() if k != "source"}, sort_keys=True) for run in runs)
    digests = data_digests(runs)
    identity = [recipes, runs[0].config["data_version"], *([digests] if digests else [])]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    found = {
        "claim": claim,
        "passed": not failed,
        "scale": scale,
        "seeds": sorted({run.seed for run in runs}),
        "num_runs": len(runs),
        "device": runs[0].config["device"],
        "seconds": round(sum(run.seconds for run in runs), 1),
        "fingerprint": digest[:16],
        "data_version": runs[0].config["data_version"],
        **({"data_digest": digests} if digests else {}),
        "versions": runs[0].config["versions"],
        "checks": [asdict(one) for one in finding.checks],
    }
    if failed:
        found["explanation"] = " ".join(dict.fromkeys(_why(name, misses) for name in failed))
    return found | finding.content


def _why(name: str, misses: dict[str, str]) -> str:
    return next((why for part, why in misses.items() if part in name), f"Not passed: {name}.")


def read_verdict(path: Path) -> dict[str, Any]:
    """A verdict that an analysis has written.

    Raises:
        ValueError: if the file is not one, or there is none.
    """
    if not path.is_file():
        raise ValueError(f"verdict is {str(path)!r}, which is no file; it must be one that an analysis has written")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in _NEEDED if key not in found]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not the verdict of an analysis ({error}); remove it, or judge the runs again") from error
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it must be the verdict of an analysis: judge the runs again")
    return found


def print_verdict(found: dict[str, Any]) -> None:
    """The verdict as lines to read."""
    for one in found["checks"]:
        value = "none" if one["value"] is None else f"{one['value']:.4g}"
        print(f"  {'pass' if one['passed'] else 'FAIL'}  {one['name']} {one['threshold']:g}: {value}")
    print(f"{found['claim']}: {'passed' if found['passed'] else 'NOT PASSED'}")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    from matplotlib import pyplot

    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=130)
    partial.replace(path)
    pyplot.close(figure)


def new_figure(num_panels: int, title: str) -> tuple[Any, Any]:
    """A figure with panels side by side, and its axes."""
    with needs("train", "the picture"):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, num_panels, figsize=(6 * num_panels, 4.8), layout="constrained", squeeze=False)
    for ax in axes[0]:
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    return figure, axes[0]


def label_axes(axes: Any, x: str, y: str, top: float | None = None) -> None:
    """Labels, a y axis from 0 (to `top`), and a legend."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0, top)
    axes.legend(frameon=False, fontsize=9)


def analyse(
    doc: str,
    claim: str,
    score: Callable[[Sequence[Run]], Finding],
    plot: Callable[[dict[str, Any], Path], None],
    misses: dict[str, str],
) -> None:
    """The command line of an analysis. Exit code 0 if the claim passed, 1 if it did not, 2 if it cannot be judged or drawn."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: parser.exit(2, f"{parser.prog}: error: {message}\n")  # type: ignore[method-assign]
    parser.add_argument(
        "runs", type=Path, nargs="*", metavar="RUN",
        help="output_dir of a training script; without any, the verdict in --results is printed and drawn again",
    )  # fmt: skip
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help=f"JSON file for the verdict, with a picture beside it (default: RUN/{claim}.json)",
    )
    arguments = parser.parse_args()
    if not arguments.runs and arguments.results is None:
        parser.error("RUN is missing; it must be the output_dir of a training script, one or more")
    file: Path = arguments.results or arguments.runs[0] / f"{claim}.json"
    if file.is_dir():
        parser.error(f"results is {str(file)!r}, a folder; it must be a file, such as mini.json")
    try:
        if arguments.runs:
            runs = [read_run(folder) for folder in arguments.runs]
            found = result(claim, file.stem if arguments.results else "one", runs, score(runs), misses)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(as_json(found), encoding="utf-8")
        else:
            found = read_verdict(file)
            if found["claim"] != claim:
                raise ValueError(f"{file} is the verdict on {found['claim']!r}; it must be one on {claim!r}")
        print_verdict(found)
        print(f"verdict: {file}", flush=True)
        plot(found, file.with_suffix(".png"))
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    print(f"picture: {file.with_suffix('.png')}")
    sys.exit(0 if found["passed"] else 1)


def as_json(found: dict[str, Any]) -> str:
    """A key a line, so that people can read it and git can compare it."""
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in found.items()) + "\n}\n"
