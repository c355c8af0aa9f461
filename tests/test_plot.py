"""bio-facts plot: what is drawn and printed of runs whose numbers are chosen here."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import refused, succeeds
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from written_runs import ACCURACIES, BASELINE, LOSSES, PHASE_ENDS, STEPS, UNSEEN, curve, write_run

from bio_facts.runs.curves import read_run
from bio_facts.runs.plot import draw


def drawn(*folders: Path, splits: tuple[str, ...] = ("validation", "unseen")) -> Any:
    return draw({folder.name: read_run(folder, may_be_unfinished=True) for folder in folders}, splits)


def line_of(axes: Any, values: list[float]) -> Line2D:
    """The line through these values at STEPS; there is one."""
    (line,) = (line for line in axes.lines if np.array_equal(line.get_ydata(), values))
    assert list(line.get_xdata()) == STEPS[: len(values)]
    return line


def marks(axes: Any) -> list[tuple[float, str]]:
    """(step, color) of each mark on a curve."""
    single = (line for line in axes.lines if line.get_marker() != "None" and len(line.get_xdata()) == 1)
    return [(float(line.get_xdata()[0]), to_hex(line.get_color())) for line in single]


def test_curves_of_runs_are_in_the_color_of_the_run_and_the_style_of_the_split(tmp_path: Path) -> None:
    other_losses, other_unseen = [loss + 0.1 for loss in LOSSES], [loss + 0.2 for loss in UNSEEN]
    curves = {"validation": curve(other_losses), "unseen": curve(other_unseen)}
    figure = drawn(write_run(tmp_path / "first"), write_run(tmp_path / "second", curves))
    loss, accuracy = figure.axes
    lines = [[line_of(loss, values) for values in pair] for pair in ((LOSSES, UNSEEN), (other_losses, other_unseen))]
    colors = [{to_hex(line.get_color()) for line in of_run} for of_run in lines]
    assert [len(of_run) for of_run in colors] == [1, 1]
    assert colors[0] != colors[1]
    styles = [[line.get_linestyle() for line in of_run] for of_run in lines]
    assert styles == [["-", "--"], ["-", "--"]]
    assert to_hex(line_of(accuracy, ACCURACIES).get_color()) in colors[0]
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["first", "second", "validation", "unseen", "no-knowledge loss", "end of phase 1", "end of the plateau"]


def test_no_knowledge_loss_is_dotted_and_ends_of_phases_are_marked_on_validation(tmp_path: Path) -> None:
    loss, _ = drawn(write_run(tmp_path / "run")).axes
    (level,) = (line for line in loss.lines if line.get_linestyle() == ":")
    assert list(level.get_ydata()) == [BASELINE, BASELINE]
    assert [step for step, _ in marks(loss)] == pytest.approx(PHASE_ENDS)
    assert {color for _, color in marks(loss)} == {to_hex(line_of(loss, LOSSES).get_color())}


@pytest.mark.parametrize("losses", [LOSSES[:1], [2 * BASELINE] * 4])
def test_phase_that_has_not_ended_is_not_marked(tmp_path: Path, losses: list[float]) -> None:
    run = write_run(tmp_path / "run", {"validation": curve(losses, steps=STEPS[: len(losses)])}, num_steps=400)
    assert marks(drawn(run, splits=("validation",)).axes[0]) == []


def test_run_from_the_model_of_another_has_no_phases(tmp_path: Path) -> None:
    assert marks(drawn(write_run(tmp_path / "run", source="runs/first")).axes[0]) == []


def test_every_run_has_a_color_of_its_own_however_many(tmp_path: Path) -> None:
    figure = drawn(*(write_run(tmp_path / f"run{number}") for number in range(9)))
    assert len({to_hex(line.get_color()) for line in figure.axes[1].lines}) == 9


def test_loss_axis_leaves_out_the_losses_of_random_weights_alone(tmp_path: Path) -> None:
    top = drawn(write_run(tmp_path / "run")).axes[0].get_ylim()[1]
    assert max(UNSEEN[1:]) < top < LOSSES[0]


def test_table_has_the_last_numbers_of_a_running_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "done")
    running = write_run(tmp_path / "running", {"validation": curve(LOSSES[:8], ACCURACIES[:8], steps=STEPS[:8])}, num_steps=900)
    with (running / "metrics.jsonl").open("a") as file:
        file.write('{"step": 200, "split": "valida')  # is being written
    output = tmp_path / "curves.png"
    printed = succeeds(capsys, "plot", tmp_path / "done", running, "--output-file", output)
    *rows, last = [line.split() for line in printed.splitlines()[1:]]
    ends = [f"{step:.0f}" for step in PHASE_ENDS]
    assert rows == [
        ["done", "validation", "300", "0.200", "4.400", "0.970", *ends],
        ["done", "unseen", "300", "7.000", "4.400", "0.030"],
        ["running", "validation", "175", "3.000", "4.400", "0.300", *ends],
    ]
    assert last == ["figure:", str(output)]
    assert output.read_bytes().startswith(b"\x89PNG")


def test_svg_is_written_in_the_same_bytes_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, output = write_run(tmp_path / "run"), tmp_path / "curves.svg"
    succeeds(capsys, "plot", run, "--output-file", output)
    content = output.read_bytes()
    assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
    succeeds(capsys, "plot", run, "--output-file", output)
    assert output.read_bytes() == content


def test_splits_are_those_that_are_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    printed = succeeds(capsys, "plot", run, "--splits", "unseen", "--output-file", tmp_path / "curves.svg")
    assert [line.split()[1] for line in printed.splitlines()[1:-1]] == ["unseen"]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / parent / "run") for parent in "ab"]
    printed = succeeds(capsys, "plot", *runs, "--output-file", tmp_path / "curves.svg")
    assert [line.split()[0] for line in printed.splitlines()[1:-1:2]] == [str(run) for run in runs]


def without_evaluations(folder: Path) -> Path:
    (write_run(folder) / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").touch()
    return folder


@pytest.mark.parametrize(
    ("make", "arguments", "fragment"),
    [
        (write_run, ["--output-file", "x.pdf"], "output_file is 'x.pdf'; its name must end in .png or .svg"),
        (
            write_run,
            ["--output-file", "x.svg", "--splits", "test"],
            "split is 'test'; these runs are evaluated on validation, unseen",
        ),
        (write_run, ["run/../run", "--output-file", "x.svg"], "run run is given twice"),
        (without_evaluations, ["--output-file", "x.svg"], "run run has no evaluations yet"),
        (lambda folder: folder, ["--output-file", "x.svg"], "run is 'run', which has no config.json"),
        (
            lambda folder: write_run(folder, {"new": [{"step": 0, "loss": 1.0}]}, num_new_pairs=1, seed=1),
            ["--output-file", "x.svg"],
            "run run has evaluations without attribute_accuracy; it must be a run of train/pretrain.py",
        ),
    ],
    ids=["PDF", "split", "twice", "no evaluations", "no run", "key-value memory"],
)
def test_what_cannot_be_drawn_is_one_line(
    make: Any,
    arguments: list[str],
    fragment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("run"))
    assert fragment in refused(capsys, "plot", "run", *arguments)
    assert not Path("x.svg").exists()
