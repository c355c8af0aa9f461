"""bio-facts score --data-of: the data of a run, from its config.json."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import refused
from written_runs import write_run

from bio_facts.cli import main
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.splits import data_digest


def test_data_of_a_run_are_those_that_its_config_says(smoke_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", str(smoke_run / "checkpoint-30"), "--num-rows", "3", "--json"]
    assert main([*arguments, "--data-of", str(smoke_run)]) == 0
    written, recorded = json.loads(capsys.readouterr().out), json.loads((smoke_run / "config.json").read_text())
    assert written["fingerprint"] == recorded["dataset_fingerprint"]
    assert written["parameters"] == recorded["dataset_parameters"]
    assert written["dataset"] == recorded["recipe"]["dataset"]
    pools = ",".join(f"{pool}={size}" for pool, size in recorded["recipe"]["dataset_parameters"]["pool_sizes"].items())
    assert main([*arguments, "--dataset", "n1k", "--num-individuals", "20", "--pool-sizes", pools]) == 0
    assert json.loads(capsys.readouterr().out)["splits"] == written["splits"]


def test_data_of_a_run_with_questions_have_its_splits(
    smoke_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run need not be finished, and has the order of sentences and the phases of its data too."""
    data = CONFIGS["n1k-questions"].replace(num_individuals=40, sentence_order="fixed")
    run = write_run(tmp_path / "run", dataset="n1k-questions", num_steps=10_000)
    recorded = json.loads((run / "config.json").read_text())
    digests = {"dataset_parameters": data.parameters, "data_digest": data_digest(data)}
    (run / "config.json").write_text(json.dumps(recorded | digests))
    given = ["--data-of", run, "--splits", "questions_not_asked", "--num-rows", 2, "--tokenizer", "bio_facts", "--json"]
    assert main(["score", str(smoke_run / "checkpoint-30"), *map(str, given)]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] == data.fingerprint
    (run / "config.json").write_text(json.dumps(recorded | digests | {"data_digest": "0" * 64}))
    assert "was trained on rows with data_digest 0000" in refused(
        capsys, "score", smoke_run / "checkpoint-30", "--data-of", run
    )


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--data-of", "RUN", "--dataset", "n1k"], ["data_of is 'RUN'", "says what dataset is; give only one of them"]),
        (["--data-of", "RUN", "--num-individuals", 20], ["says what num_individuals is"]),
        (["--data-of", "RUN/checkpoint-30"], ["run is 'RUN/checkpoint-30', which has no metrics.jsonl"]),
        (["--data-of", "EMPTY"], ["run is 'EMPTY', which has no config.json"]),
        (["--data-of", "EMPTY/none/at/all"], ["run is 'EMPTY/none/at/all', which is no folder and no Hub id"]),
        (["--data-of", "MEMORY"], ["run MEMORY was trained on no dataset of biographies"]),
    ],
)
def test_data_of_what_is_no_run_are_refused(
    arguments: list[Any],
    fragments: list[str],
    smoke_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("RUN").symlink_to(smoke_run)
    Path("EMPTY").mkdir()
    write_run(Path("MEMORY"), num_new_pairs=4, seed=0)
    error = refused(capsys, "score", "RUN/checkpoint-30", *arguments)
    assert all(fragment in error for fragment in fragments), error


def test_folder_of_a_run_is_no_model(smoke_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, "score", smoke_run, "--data-of", smoke_run)
    assert f"model is '{smoke_run}', the output folder of a run" in error
    assert error.endswith(f"such as {smoke_run / 'checkpoint-30'}\n")
