"""What tests/compat.py runs in each environment: python tests/compat_check.py SCRATCH_FOLDER."""

import importlib.util
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import goldens
import numpy
import pyarrow as pa

import bio_facts
from bio_facts.cli import main
from bio_facts.publish.canonical_json import content_digest
from bio_facts.publish.tables import TABLES

CONFIG, SPLIT = "n1k", "validation"
SHIM = Path(__file__).parent.parent / "loading_script" / "bio_facts_script.py"


def digest(rows: Iterable[dict[str, Any]]) -> str:
    return content_digest([pa.RecordBatch.from_pylist(list(rows), schema=TABLES["biographies"].schema)])


def check(what: str, rows: Any) -> None:
    actual, wanted = digest(rows), goldens.load()["whole_digests"][SPLIT]
    if actual != wanted:
        raise SystemExit(f"{what}: rows of {CONFIG}/{SPLIT} have digest {actual}, not {wanted}")


scratch = Path(sys.argv[1])
if importlib.util.find_spec("torch") is not None:
    raise SystemExit("torch is installed here")
goldens.current_matches()
load = bio_facts.load_dataset
check("builder", load(CONFIG, split=SPLIT, cache_dir=scratch / "serial"))
check("builder with processes", load(CONFIG, split=SPLIT, num_proc=2, cache_dir=scratch / "processes"))
check("builder, streamed", load(CONFIG, split=SPLIT, streaming=True))
if main(["build", CONFIG, "individuals", "templates", "questions", "cloze", "--output-dir", str(scratch / "export")]):
    raise SystemExit("build failed")
tables = {"individuals": "finetune", "templates": "train", "questions": "questions_unseen", "cloze": "unseen"}
for table, split in tables.items():
    exported = datasets.load_dataset(str(scratch / "export"), table, split=split)
    if list(exported) != list(load(table, split=split, streaming=True)):
        raise SystemExit(f"{table}/{split} differs between Parquet and builder")
check("Parquet", datasets.load_dataset(str(scratch / "export"), CONFIG, split=SPLIT))
check("Parquet, streamed", datasets.load_dataset(str(scratch / "export"), CONFIG, split=SPLIT, streaming=True))
if int(datasets.__version__.split(".")[0]) < 4:
    check("loading_script", datasets.load_dataset(str(SHIM), CONFIG, split=SPLIT, trust_remote_code=True))
versions = [f"Python {platform.python_version()}", *(f"{it.__name__} {it.__version__}" for it in (numpy, pa, datasets))]
print("same bytes with", ", ".join(versions))
