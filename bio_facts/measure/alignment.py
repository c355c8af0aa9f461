"""Which tokens of a text belong to which attribute's value, for any tokenizer with character offsets."""

import bisect
import itertools
import operator
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import did_you_mean
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.measure.metrics import first_tokens
from bio_facts.measure.tokens import ROLES, encode_pieces

_SPACE = "Ġ"  # in the tokens of byte-level tokenizers
_TRIMS = re.compile(rb'"trim_offsets":\s*true')


@dataclass(frozen=True)
class AlignedRows:
    """Tokens of n texts. input_ids, attribute_ids: n arrays int64 [tokens]; attribute id 0 = not part of a value.

    num_straddling_tokens: tokens that hold characters of a value and, apart from the space before it, other characters; they
    count as tokens of the value. num_truncated_values: values left out because their text was truncated. num_rows_apart: rows
    whose tokens differ from the generator's, which tokenizes names and values apart from the text around them.
    """

    input_ids: list[NDArray[np.int64]]
    attribute_ids: list[NDArray[np.int64]]
    num_straddling_tokens: int
    num_truncated_values: int
    num_rows_apart: int


def align(
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    first_row: int,
    *,
    attribute_names: Sequence[str] = tuple(ATTRIBUTES),
    max_length: int | None = None,
    allow_truncation: bool = False,
) -> AlignedRows:
    """Tokens of rows with `text` and `attributes` (each with attribute, start, end: Unicode code points, end exclusive).

    The tokenizer adds its special tokens. A token belongs to a value if it holds any of the value's characters, or only the
    space before the value, or lies between two tokens that belong to the value.

    Args:
        first_row: number of rows[0], for messages.
        max_length: rows are truncated to this number of tokens. allow_truncation: leave out the values that this truncates,
            which is an error otherwise.

    Raises:
        ValueError: naming row and value: for a span outside its text, a value without tokens, a truncated value, or two values
            of one attribute without a token between them.
    """
    rows = [_checked_row(number, row, attribute_names) for number, row in enumerate(rows, start=first_row)]
    tokens_of_pieces = _tokens_of_pieces(tokenizer, rows)
    input_ids, attribute_ids, num_straddling, num_truncated, num_apart = [], [], 0, 0, 0
    for k, (row, (ids, offsets, special)) in enumerate(zip(rows, _encoded(tokenizer, rows), strict=True)):
        row_attribute_ids, num_straddling_of_row = _value_tokens(first_row + k, row, offsets, special, attribute_names)
        num_straddling += num_straddling_of_row
        num_apart += tokens_of_pieces[k] is None or tokens_of_pieces[k] != ids[~special].tolist()
        if max_length is not None and len(ids) > max_length:
            row_attribute_ids, num_truncated_of_row = _truncated(row_attribute_ids, max_length)
            if num_truncated_of_row and not allow_truncation:
                raise ValueError(
                    f"row {first_row + k} has {len(ids)} tokens, and max_length {max_length} truncates {num_truncated_of_row} "
                    "of its values; raise max_length, or set allow_truncation to leave such values out"
                )
            ids, num_truncated = ids[:max_length], num_truncated + num_truncated_of_row
        input_ids.append(ids)
        attribute_ids.append(row_attribute_ids)
    return AlignedRows(input_ids, attribute_ids, num_straddling, num_truncated, num_apart)


def token_roles(
    tokenizer: Any, rows: Sequence[Mapping[str, Any]], *, attribute_names: Sequence[str] = tuple(ATTRIBUTES)
) -> list[NDArray[np.int64]]:
    """The role of each token of rows, as its position in ROLES of bio_facts.measure.tokens: n arrays int64 [tokens].

    Rows have `name_spans` beside what `align` takes; a cue is the text from a name to the next value. Special tokens are
    text. A token that holds characters of several spans, or the space before them, has the first role of value, name, cue.

    Raises:
        ValueError: as align, or for a row without name_spans.
    """
    checked = [_checked_row(number, row, attribute_names) for number, row in enumerate(rows)]
    for number, row in enumerate(checked):
        if not row["name_spans"]:
            raise ValueError(f"row {number} has no name_spans; expected those of the rows of bio_facts")
    roles = []
    for number, (row, (_, offsets, special)) in enumerate(zip(checked, _encoded(tokenizer, checked), strict=True)):
        attribute_ids, _ = _value_tokens(number, row, offsets, special, attribute_names)
        roles.append(_roles(row, offsets, special, attribute_ids))
    return roles


def _encoded(
    tokenizer: Any, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
    """Of each row: token ids, offsets [tokens, 2] of their characters, and which tokens the tokenizer has added."""
    texts = [row["text"] for row in rows]
    encoded = tokenizer(texts, return_offsets_mapping=True, return_special_tokens_mask=True, return_attention_mask=False)
    trims = _trims_offsets(tokenizer)
    for k, text in enumerate(texts):
        ids, special = np.array(encoded.input_ids[k], dtype=np.int64), np.array(encoded.special_tokens_mask[k], dtype=bool)
        offsets = np.array(encoded.offset_mapping[k], dtype=np.int64).reshape(-1, 2)
        yield ids, _untrimmed(text, encoded.tokens(k), offsets, special) if trims else offsets, special


def _checked_row(number: int, row: object, attribute_names: Sequence[str]) -> dict[str, Any]:
    """Text, values and name spans of a row in plain Python types, also where it holds arrays and their scalars.

    Raises:
        ValueError: naming row and value, unless the row has a text and values at spans of it that do not overlap.
    """
    if not isinstance(row, Mapping) or not {"text", "attributes"} <= row.keys():
        raise ValueError(f"row {number} is {reprlib.repr(row)}; it must be a mapping with text and attributes")
    text, end_before = row["text"], 0
    if not isinstance(text, str):
        raise ValueError(f"row {number}: text is {reprlib.repr(text)}; it must be a string")
    if "\0" in text:
        raise ValueError(
            f"row {number}: text has a NUL at character {text.index(chr(0))}; it must be text without NUL characters"
        )
    values = _spans(row["attributes"], "attribute")
    if values is None:
        raise ValueError(
            f"row {number}: attributes is {reprlib.repr(row['attributes'])}; it must be a list of mappings with attribute, "
            "start and end (characters)"
        )
    for value in sorted(values, key=lambda item: item["start"]):
        name, start, end = value["attribute"], value["start"], value["end"]
        if name not in attribute_names:
            raise ValueError(
                f"row {number}: attribute is {name!r}; it must be one of attribute_names, {', '.join(attribute_names)}"
                f"{did_you_mean(name, attribute_names)}"
            )
        if not 0 <= start < end <= len(text):
            raise ValueError(
                f"row {number}: {name} has span {start}..{end}; it must be within its text of {len(text)} characters"
            )
        if start < end_before:
            raise ValueError(
                f"row {number}: {name} has span {start}..{end}, which overlaps another value's; values must be apart"
            )
        if not _is_missing(value.get("value")) and text[start:end] != value["value"]:
            raise ValueError(
                f"row {number}: {name} is {value['value']!r}, but its span {start}..{end} holds {text[start:end]!r}"
            )
        end_before = end
    names = row.get("name_spans")
    name_spans = [] if _is_missing(names) else _spans(names)
    if name_spans is None:
        raise ValueError(
            f"row {number}: name_spans is {reprlib.repr(names)}; it must be a list of mappings with start and end (characters)"
        )
    return {"text": str(text), "attributes": values, "name_spans": name_spans}


def _spans(items: object, *further: str) -> list[dict[str, Any]] | None:
    """The items of any sequence or array, with start and end as plain integers; None unless they are mappings with start,
    end and the `further` keys."""
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable) or getattr(items, "ndim", 1) == 0:
        return None
    spans = []
    for item in items:
        if not isinstance(item, Mapping) or not {"start", "end", *further} <= item.keys():
            return None
        edges = {name: _integer(item[name]) for name in ("start", "end")}
        if None in edges.values():
            return None
        spans.append({**item, **edges})
    return spans


def _is_missing(value: Any) -> bool:
    """Whether a value is None, or what pandas has in its place: NaN, pandas.NA, NaT."""
    if value is None:
        return True
    if isinstance(value, str) or getattr(value, "ndim", False):
        return False
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA is neither true nor false
        return True


def _integer(value: Any) -> int | None:
    """An integer scalar of Python, NumPy, PyTorch, ... as int; None for anything else, truth values included."""
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _value_tokens(
    number: int, row: Mapping[str, Any], offsets: NDArray[np.int64], special: NDArray[np.bool_], names: Sequence[str]
) -> tuple[NDArray[np.int64], int]:
    """Attribute id of each token, and how many tokens straddle the edge of a value."""
    text = row["text"]
    starts, ends = offsets.T
    attribute_ids = np.zeros(len(offsets), dtype=np.int64)
    num_straddling = 0
    for value in row["attributes"]:
        start, end = value["start"], value["end"]
        space, holds_some, holds_space = _holds(text, start, end, offsets, special)
        if not holds_some.any():
            raise ValueError(f"row {number}: {value['attribute']} {text[start:end]!r} has no token of this tokenizer")
        indices = np.flatnonzero(holds_some | holds_space)
        value_tokens = slice(indices[0], indices[-1] + 1)
        if attribute_ids[value_tokens].any():
            raise ValueError(f"row {number}: one token holds parts of two values, {text[start:end]!r} and another")
        num_straddling += int((holds_some & ((starts < space) | (ends > end))).sum())
        attribute_ids[value_tokens] = names.index(value["attribute"]) + 1
    if first_tokens(attribute_ids, np.array([len(attribute_ids)])).sum() != len(row["attributes"]):
        raise ValueError(f"row {number}: two values of one attribute have no token between them; they would count as one")
    return attribute_ids, num_straddling


def _holds(
    text: str, start: int, end: int, offsets: NDArray[np.int64], special: NDArray[np.bool_]
) -> tuple[int, NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the space before a span begins; which tokens hold characters of the span; which hold that space alone."""
    starts, ends = offsets.T
    space = start - (start > 0 and text[start - 1].isspace())
    is_text = (ends > starts) & ~special
    return space, (ends > start) & (starts < end) & is_text, (starts == space) & (ends == start) & is_text


def _roles(
    row: Mapping[str, Any], offsets: NDArray[np.int64], special: NDArray[np.bool_], attribute_ids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The role of each token of a row."""
    text, roles = row["text"], np.zeros(len(offsets), dtype=np.int64)
    names = sorted((span["start"], span["end"]) for span in row["name_spans"])
    name_ends = [end for _, end in names]
    cues = []
    for value in row["attributes"]:
        if (number := bisect.bisect_right(name_ends, value["start"])) > 0:
            start = name_ends[number - 1]
            cues.append((start + len(text[start:]) - len(text[start:].lstrip()), value["start"]))
    for role, spans in (("cue", cues), ("name", names)):
        for start, end in spans:
            _, holds_some, holds_space = _holds(text, start, end, offsets, special)
            roles[holds_some | holds_space] = ROLES.index(role)
    roles[attribute_ids > 0] = ROLES.index("value")
    return roles


def _trims_offsets(tokenizer: Any) -> bool:
    """Whether the tokenizer leaves the spaces at a token's edges out of its offsets, as byte-level post-processors may."""
    post_processor = tokenizer.backend_tokenizer.post_processor
    return post_processor is not None and _TRIMS.search(post_processor.__getstate__()) is not None  # its JSON


def _untrimmed(text: str, tokens: Sequence[str], offsets: NDArray[np.int64], special: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Offsets [n, 2] of tokens, with the characters that a byte-level tokenizer trims from their beginnings.

    The tokenizer trims one character for each space that a token begins with. A token of spaces only is left with no
    characters. A token whose space is not in the text loses a character that is not a space: such a tokenizer may insert a
    space at the beginning of a text and after an added token (add_prefix_space).
    """
    untrimmed, covered = offsets.copy(), 0  # covered: where the tokens so far end
    for number, (token, (start, end)) in enumerate(zip(tokens, offsets.tolist(), strict=True)):
        num_spaces = len(token) - len(token.lstrip(_SPACE))
        if num_spaces and not special[number]:
            if start == end:
                untrimmed[number] = max(start - num_spaces, 0), max(end, min(1, len(text)))
            elif start > covered and not text[start - 1].isspace():
                untrimmed[number, 0] = start - 1
        covered = max(covered, end)
    return untrimmed


def _truncated(attribute_ids: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], int]:
    """The attribute ids of the first `length` tokens, without a value that continues after them; the number of values lost."""
    changes = np.flatnonzero(np.diff(attribute_ids, prepend=0) != 0)
    begins = changes[attribute_ids[changes] > 0]
    kept, ends = attribute_ids[:length].copy(), np.append(changes, len(attribute_ids))
    num_lost = 0
    for begin in begins:
        end = ends[np.searchsorted(ends, begin, side="right")]
        if end > length:
            num_lost += 1
            kept[begin:] = 0
    return kept, num_lost


def _tokens_of_pieces(tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> list[list[int] | None]:
    """The tokens of each row as the generator makes them, piece by piece; None where the tokenizer cannot encode a piece."""
    rows_of_pieces = [_pieces(row) for row in rows]
    encoded: dict[tuple[bool, str], list[int] | None] = {}
    for initial in (True, False):
        texts = list(dict.fromkeys(piece for pieces in rows_of_pieces for piece in (pieces[:1] if initial else pieces[1:])))
        tokens = encode_pieces(tokenizer, texts, initial=initial)
        encoded |= {(initial, text): ids for text, ids in zip(texts, tokens, strict=True)}
    rows_of_tokens: list[list[int] | None] = []
    for pieces in rows_of_pieces:
        ids_of_pieces = [encoded[k == 0, piece] for k, piece in enumerate(pieces)]
        rows_of_tokens.append(None if None in ids_of_pieces else [token for ids in ids_of_pieces for token in ids or ()])
    return rows_of_tokens


def _pieces(row: Mapping[str, Any]) -> list[str]:
    """A text split as the generator does: around name parts, values, parts of a birth date, each with the space before it."""
    text, edges = row["text"], {0, len(row["text"])}
    spans = [(span["start"], span["end"], True) for span in row.get("name_spans", ())]
    for value in row["attributes"]:
        attribute = ATTRIBUTES.get(value["attribute"])
        spans.append((value["start"], value["end"], attribute is not None and len(attribute.pools) > 1))
    for start, end, in_parts in spans:
        edges |= {start - (start > 0 and text[start - 1] == " "), end}
        if in_parts:
            edges |= {k for k in range(start, end) if text[k] == " "}
    return [text[start:end] for start, end in itertools.pairwise(sorted(edges))]
