"""What the analyses refuse to read or to compare."""

import json
from pathlib import Path

import pytest
from verdicts import result
from written_runs import LOSSES, PHASE_ENDS, STEPS, curve, write_run

from bio_facts.runs.curves import data_digests, read_run


def test_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is evaluated on validation up to step 300; it must be finished, up to step 400"):
        read_run(write_run(tmp_path, num_steps=400))


def test_run_that_ended_because_it_was_decided_is_finished(tmp_path: Path) -> None:
    assert read_run(write_run(tmp_path, num_steps=400, stop_below=0.1)).phase_ends == pytest.approx(PHASE_ENDS)


def test_run_that_lacks_its_last_line_is_not_finished(tmp_path: Path) -> None:
    path = write_run(tmp_path) / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match="on unseen up to step 200; it must be finished, up to step 300"):
        read_run(tmp_path)


def test_run_that_lacks_a_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path) / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3] + lines[4:]))
    with pytest.raises(ValueError, match=r"is evaluated on \w+ 0 times at step 25; it must be"):
        read_run(tmp_path)


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no config\.json; it must be the output_dir"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "fragments"),
    [
        ("config.json", "{}", ["config.json", "'recipe'"]),
        ("metrics.jsonl", "{\n", ["metrics.jsonl, line 1 is '{'"]),
        ("metrics.jsonl", '{"step": 0, "split": "unseen", "attribute_loss": NaN}\n', ["metrics.jsonl", "NaN"]),
        ("metrics.jsonl", "", ["has no evaluations", "up to step 300"]),
    ],
)
def test_damaged_runs_are_refused(tmp_path: Path, name: str, text: str, fragments: list[str]) -> None:
    (write_run(tmp_path) / name).write_text(text)
    with pytest.raises(ValueError) as refused:
        read_run(tmp_path)
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value


def test_split_that_was_not_evaluated_is_named(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, {"validation": curve(LOSSES, steps=STEPS)}))
    with pytest.raises(ValueError, match="is evaluated on validation; this claim needs unseen"):
        run.curve("unseen")


def with_digest(folder: Path, digest: str | None) -> Path:
    path = write_run(folder) / "config.json"
    config = json.loads(path.read_text())
    del config["data_digest"]
    path.write_text(json.dumps(config | ({} if digest is None else {"data_digest": digest})))
    return folder


def test_run_without_data_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no data_digest: an earlier version of bio_facts made it; train it again"):
        read_run(with_digest(tmp_path, None))


def test_runs_of_one_fingerprint_and_different_rows_are_refused(tmp_path: Path) -> None:
    runs = [read_run(with_digest(tmp_path / digest, digest)) for digest in "ab"]
    with pytest.raises(ValueError, match=r"has data_digest b, another run with dataset_fingerprint .* a: they were trained on"):
        data_digests(runs)
    with pytest.raises(ValueError, match="different rows"):
        result("claim", "mini", runs, {}, {}, "")


def test_fingerprint_of_results_depends_on_the_rows(tmp_path: Path) -> None:
    first, other = (result("claim", "mini", [read_run(with_digest(tmp_path / digest, digest))], {}, {}, "") for digest in "ab")
    assert (list(first["data_digest"].values()), list(other["data_digest"].values())) == (["a"], ["b"])
    assert first["fingerprint"] != other["fingerprint"]
