"""Write the example of the attribute_recall page: scores of a model of train/pretrain.py on twelve biographies.

python eval/make_example.py runs/paper-mini/three_phases-s20     # a run; writes eval/attribute_recall/example.json
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import bio_facts
from bio_facts.checks import Parser, needs
from bio_facts.generate.biography import rows
from bio_facts.generate.config import Config, config_from
from bio_facts.measure.baseline import pool_no_knowledge_losses
from bio_facts.measure.models import load_model
from bio_facts.runs.folder import RunFolder

EXAMPLE = Path(__file__).parent / "attribute_recall" / "example.json"
ROWS_PER_SPLIT = {"validation": 6, "unseen": 6}


def example(run: Path) -> dict[str, Any]:
    """Columns and options of the page for the last checkpoint of a run, numbers rounded to four decimals."""
    with needs("eval", "make_example.py"):
        import torch  # noqa: F401 - without it transformers has no models
        from transformers import AutoTokenizer

    try:
        config = RunFolder(run).config
        data = config_from(Config.table, config["dataset_parameters"])
        checkpoint = run / f"checkpoint-{config['recipe']['num_steps']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"run is {str(run)!r}, which has no config.json of train/pretrain.py ({error!r})") from error
    assert isinstance(data, Config)
    if not checkpoint.is_dir():
        raise ValueError(f"run is {str(run)!r}, which has no {checkpoint.name}; it must be finished")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    biographies = [row for split, num in ROWS_PER_SPLIT.items() for row in rows(bio_facts.draw(data, split, range(num)))]
    scores = bio_facts.score(load_model(checkpoint), tokenizer, biographies, all_tokens=True)
    columns = {
        name: [[round(number, 4) for number in row.tolist()] for row in column]
        for name, column in scores.inputs(details=True).items()
    }
    pools = pool_no_knowledge_losses(data.pool_sizes)
    return columns | {
        "groups": [split for split, num in ROWS_PER_SPLIT.items() for _ in range(num)],
        "tokens": [[tokenizer.decode([token]) for token in row] for row in columns["references"]],
        "predicted_tokens": [
            [tokenizer.decode([token]) if token >= 0 else "" for token in row] for row in columns["predictions"]
        ],
        "num_possible_values": {name: round(math.exp(loss)) for name, loss in pools.items()},
        "auroc_groups": list(ROWS_PER_SPLIT),
    }


def as_json(columns: dict[str, Any]) -> str:
    """JSON with one line for each row of a column, for readable diffs."""
    entries = []
    for name, column in columns.items():
        nested = isinstance(column, list) and isinstance(column[0], list)
        lines = [json.dumps(row, ensure_ascii=False) for row in column] if nested else []
        value = "[\n" + ",\n".join(lines) + "\n]" if nested else json.dumps(column, ensure_ascii=False)
        entries.append(f"{json.dumps(name)}: {value}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def main() -> None:
    """Write the example of the run that the command line names."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="output_dir of train/pretrain.py")
    parser.add_argument("--output-file", type=Path, default=EXAMPLE)
    arguments = parser.parse_args()
    try:
        columns = example(arguments.run)
    except ValueError as error:
        parser.error(str(error))
    arguments.output_file.write_text(as_json(columns), encoding="utf-8")


if __name__ == "__main__":
    main()
