"""How many values have other tokens in the harness than in bio_facts.score, with a tokenizer: only on these the numbers differ.

python eval/lm_eval/tokens_apart.py bio_facts
python eval/lm_eval/tokens_apart.py path/to/model --config n64k --num 2000
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bio_facts import get_config
from bio_facts.alignment import align
from bio_facts.attributes import ATTRIBUTES
from bio_facts.cli import Parser, whole_number
from bio_facts.config import Config
from bio_facts.records import rows
from bio_facts.splits import draw, get_split
from bio_facts.tokenization import load_tokenizer


def values_apart(tokenizer: Any, found: Iterable[Mapping[str, Any]]) -> dict[tuple[int, str], bool]:
    """(row number, attribute) -> whether the model would see other tokens up to the value's end, or share them out otherwise.

    The harness tokenises the text up to the value, and the text up to its end; the value's tokens are those that the second
    has more. The model is given the first and these. We take from the tokens of the whole text those that hold the value.
    """
    texts = list(found)
    aligned = align(tokenizer, texts, 0)
    apart = {}
    for number, row in enumerate(texts):
        for value in row["attributes"]:
            before = row["text"][: value["start"]]
            # The harness moves all white space at the end of a context to the continuation.
            context, whole = tokenizer([before.rstrip(), before + value["value"]]).input_ids
            places = np.flatnonzero(aligned.attribute_ids[number] == list(ATTRIBUTES).index(value["attribute"]) + 1)
            ours = aligned.input_ids[number][: places[-1] + 1].tolist()
            same = len(context) == places[0] and context + whole[len(context) :] == ours
            apart[number, value["attribute"]] = not same
    return apart


def main() -> None:
    """Count and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", help="bio_facts, a path, or the id of a Hub repository in the local cache")
    parser.add_argument("--config", default="n1k", help="default: n1k")
    parser.add_argument("--num", type=whole_number("num", 1), default=1000, metavar="K", help="of each split (default: 1000)")
    arguments = parser.parse_args()
    try:
        tokenizer, config = load_tokenizer(arguments.tokenizer), get_config(arguments.config)
        if not isinstance(config, Config):
            raise ValueError(f"config is {arguments.config!r}, which has no biographies; it must be one such as n64k")
        for split in ("validation", "unseen"):
            if arguments.num > get_split(config, split).num_rows:
                raise ValueError(f"num is {arguments.num:,}; split {split} has {get_split(config, split).num_rows:,}")
            apart = values_apart(tokenizer, rows(draw(config, split, range(arguments.num))))
            counts = Counter(attribute for (_, attribute), is_apart in apart.items() if is_apart)
            by_attribute = "".join(f", {attribute} {count:,}" for attribute, count in counts.items())
            print(f"{split}: {sum(counts.values()):,} of {len(apart):,} values have other tokens{by_attribute}")
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
