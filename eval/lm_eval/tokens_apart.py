"""Count the values that have other tokens in the harness than in bio_facts.score. Only their scores can differ.

python eval/lm_eval/tokens_apart.py bio_facts
python eval/lm_eval/tokens_apart.py path/to/model --config n64k --num 2000
python eval/lm_eval/tokens_apart.py path/to/model --model local-completions --model_args add_bos_token=True

The code of the harness makes the tokens, as a backend sends them. Give --model and --model_args as to `lm_eval run`; no model
is loaded and no server is contacted.
"""

import argparse
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bio_facts.checks import Parser, needs, whole_number
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import get_biographies_config
from bio_facts.generate.splits import draw, get_split, splits
from bio_facts.measure.alignment import align
from bio_facts.measure.scoring import check_known
from bio_facts.measure.tokens import load_tokenizer

Encode = Callable[[str, str], tuple[list[int], int]]


def harness_encoding(tokenizer: Any, model: str = "hf", model_args: Mapping[str, Any] | None = None) -> Encode:
    """How a backend of the harness tokenizes a context and a continuation: returns the token ids that the model gets, and how
    many of them are context. A server that gets tokens is assumed to add none; one that gets text is assumed to add the
    tokenizer's special tokens, as servers with the OpenAI API do.

    Args:
        tokenizer: of transformers.
        model: the harness's name of the backend, as in `lm_eval run --model`.
        model_args: as in `lm_eval run --model_args`; those that do not concern tokens have no effect.

    Raises:
        ValueError: for a backend that the harness does not have, or that needs a model or a server to make tokens, or an
            argument that it does not take.
    """
    with needs("harness", "tokens_apart.py"):
        from lm_eval.api.registry import get_model

    try:
        backend_class = get_model(model)
    except (ValueError, ImportError) as error:
        raise ValueError(f"model is {model!r}, a backend that the harness cannot load: {error}") from error
    arguments = _arguments(backend_class, model, model_args or {})
    backend = object.__new__(backend_class)  # without __init__, which loads a model or contacts a server
    if "tokenized_requests" in arguments:
        if arguments["tokenizer_backend"] not in ("auto", "huggingface"):
            raise ValueError(
                f"tokenizer_backend of {model} is {arguments['tokenizer_backend']!r}; only huggingface can be tried here"
            )
        backend.tokenizer_backend = "huggingface"
    prefix = arguments.get("prefix_token_id", arguments.get("custom_prefix_token_id"))
    if prefix is None and tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        prefix = 0  # the harness needs one, and passes it to the model only in place of an empty context, which none is
    backend.tokenizer, backend.custom_prefix_token_id = tokenizer, prefix
    backend.add_bos_token = arguments.get("add_bos_token")

    def encode(context: str, continuation: str) -> tuple[list[int], int]:
        context_ids, continuation_ids = backend._encode_pair(context, continuation)
        ids = context_ids + continuation_ids
        if not arguments.get("tokenized_requests", True):  # the server tokenizes the text itself
            (text,) = backend.decode_batch([ids])
            ids = tokenizer(text).input_ids
        return ids, len(context_ids)

    try:
        encode("a b", " c")
    except (AttributeError, NotImplementedError, TypeError) as error:
        raise ValueError(f"model is {model!r}, whose tokens cannot be made without running it ({error}); try hf") from error
    return encode


def _arguments(backend_class: type, model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a backend: those given, and the defaults of its constructor and of those of its base classes.

    Raises:
        ValueError: for an argument that it does not take.
    """
    arguments: dict[str, Any] = {}
    for base in reversed(backend_class.__mro__):
        constructor = vars(base).get("__init__")
        parameters = () if constructor is None else inspect.signature(constructor).parameters.values()
        arguments |= {item.name: item.default for item in parameters if item.kind is not item.VAR_KEYWORD}
    takes_all = "tokenized_requests" not in arguments  # hf, vllm and sglang pass on unknown arguments
    for name in given:
        if name not in arguments and not takes_all:
            raise ValueError(f"model_args of {model} has {name!r}; it takes {', '.join(sorted(set(arguments) - {'self'}))}")
    arguments |= given
    for name in ("add_bos_token", "tokenized_requests"):
        if arguments.get(name) not in (None, True, False):
            raise ValueError(f"{name} of {model} is {arguments[name]!r}; it must be True or False")
    return arguments


def values_apart(
    tokenizer: Any,
    biographies: Iterable[Mapping[str, Any]],
    model: str = "hf",
    model_args: Mapping[str, Any] | None = None,
) -> dict[tuple[int, str], bool]:
    """(row index, attribute) -> whether the tokens up to the value's end differ, or where the value's tokens begin.

    The harness tokenizes the text up to the start of the value and the text up to its end; the additional tokens of the
    second are those of the value. bio_facts.score tokenizes the whole text and takes the tokens that overlap the value.

    Raises:
        ValueError: as harness_encoding; or if a text has the tokenizer's unknown token.
    """
    encode = harness_encoding(tokenizer, model, model_args)
    texts = list(biographies)
    aligned = align(tokenizer, texts, 0)
    check_known(tokenizer, aligned, 0, tuple(ATTRIBUTES))
    apart = {}
    for index, row in enumerate(texts):
        for value in row["attributes"]:
            context = row["text"][: value["start"]].removesuffix(" ")  # as in utils.documents
            ids, num_context = encode(context, row["text"][len(context) : value["end"]])
            positions = np.flatnonzero(aligned.attribute_ids[index] == list(ATTRIBUTES).index(value["attribute"]) + 1)
            expected = aligned.input_ids[index][: positions[-1] + 1].tolist()
            apart[index, value["attribute"]] = num_context != positions[0] or ids != expected
    return apart


def _model_args(words: Sequence[str]) -> dict[str, Any]:
    """Arguments from the harness's notation, `a=1,b=2` or `a=1 b=2`."""
    with needs("harness", "tokens_apart.py"):
        from lm_eval.utils import simple_parse_args_string  # type: ignore[attr-defined]  # mypy looks in this folder

    arguments: dict[str, Any] = {}
    for word in words:
        if "=" not in word:
            raise ValueError(f"model_args is {' '.join(words)!r}; it must be like add_bos_token=True,tokenized_requests=False")
        arguments |= simple_parse_args_string(word)
    return arguments


def main() -> None:
    """Count and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("tokenizer", help="bio_facts, a path, or the id of a Hub repository in the local cache")
    parser.add_argument("--model", default="hf", metavar="NAME", help="the harness's backend: hf, vllm, local-completions, ...")
    parser.add_argument("--model-args", nargs="+", default=[], metavar="ARG=VALUE", help="as to lm_eval run")
    parser.add_argument("--config", default="n1k", help="default: n1k")
    parser.add_argument("--num", type=whole_number("num", 1), default=1000, metavar="K", help="of each split (default: 1000)")
    arguments = parser.parse_args()
    try:
        tokenizer, config = load_tokenizer(arguments.tokenizer), get_biographies_config(arguments.config)
        model_args = _model_args(arguments.model_args)
        for split in [name for name in splits(config) if name != "train"]:
            if arguments.num > get_split(config, split).num_rows:
                raise ValueError(f"num is {arguments.num:,}; split {split} has {get_split(config, split).num_rows:,}")
            apart = values_apart(tokenizer, rows(draw(config, split, range(arguments.num))), arguments.model, model_args)
            counts = Counter(attribute for (_, attribute), is_apart in apart.items() if is_apart)
            by_attribute = "".join(f", {attribute} {count:,}" for attribute, count in counts.items())
            print(f"{split}: {sum(counts.values()):,} of {len(apart):,} values have other tokens{by_attribute}")
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        print("the tokenizer has neither BOS nor EOS: give prefix_token_id=0 in --model_args to lm_eval run", file=sys.stderr)


if __name__ == "__main__":
    main()
