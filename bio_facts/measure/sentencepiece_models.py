"""SentencePiece model files as fast tokenizers: the ids of SentencePieceProcessor, with character offsets, or a refusal.

The tokenizer is built from the pieces and options of the model file. Its ids are then compared with SentencePiece's on every
piece of biographies, and on every pair of neighboring pieces that a token could span.
"""

import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.checks import needs
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.pieces import piece_table
from bio_facts.generate.pools import NAME_POOLS, pools

_SPACE = "▁"
_RUN = 25  # texts that are joined and tokenized as one


class UnsupportedModelError(ValueError):
    """A SentencePiece model that cannot be represented as a fast tokenizer with the same ids."""


def load_sentencepiece(path: Path) -> Any:
    """A fast tokenizer with the ids of the SentencePiece model file `path`.

    As in SentencePiece, control symbols are not recognized in text. The tokenizer has the file's BOS, EOS, UNK and PAD tokens,
    and adds none of them to texts.

    Raises:
        UnsupportedModelError: with the file, the first text whose ids differ, both id lists, and the options that are not
            supported.
    """
    with needs("train", "a SentencePiece model"):
        from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
        from transformers import PreTrainedTokenizerFast

    content = path.read_bytes()
    model, original = sentencepiece_model_pb2.ModelProto.FromString(content), SentencePieceProcessor(model_proto=content)
    names = {
        f"{name}_token": model.pieces[id_].piece
        for name in ("unk", "bos", "eos", "pad")
        if (id_ := getattr(model.trainer_spec, f"{name}_id")) >= 0
    }
    backend = _backend(path, model)
    _check_ids(path, model, original, backend)
    return PreTrainedTokenizerFast(tokenizer_object=backend, split_special_tokens=True, **names)


def _backend(path: Path, model: Any) -> Any:
    """The tokenizers.Tokenizer of a ModelProto."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers

    kind, options = type(model.pieces[0]), model.normalizer_spec
    special = [piece.piece for piece in model.pieces if piece.type in (kind.CONTROL, kind.UNKNOWN)]
    user_defined = [piece.piece for piece in model.pieces if piece.type == kind.USER_DEFINED]
    whole_words = any(len(symbol) > 1 for symbol in user_defined)  # which merges do not make
    by_words = model.trainer_spec.model_type == type(model.trainer_spec).WORD
    by_merges, tokens = _token_model(model, ignore_merges=whole_words)

    space = _SPACE if options.escape_whitespaces else " "
    steps: list[Any] = []
    if options.precompiled_charsmap:
        steps.append(normalizers.Precompiled(options.precompiled_charsmap))
    if options.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(rf"\A +|[ {_SPACE}]+\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if options.add_dummy_prefix:
        suffix = normalizers.Replace(Regex(r"(?<=(?m:.))\z"), space)  # of a text that is not empty
        steps.append(suffix if model.trainer_spec.treat_whitespace_as_suffix else normalizers.Prepend(space))
    if space != " ":
        steps.append(normalizers.Replace(" ", space))

    # User-defined symbols are not added tokens: the normalizer would treat the text after each as the beginning of a text.
    splits = []
    if by_words:  # a word begins with a space, even if whitespace is a suffix; user-defined symbols are not searched for
        splits.append(pre_tokenizers.Split(_SPACE, "merged_with_next"))
    elif user_defined:
        symbols = "|".join(re.escape(symbol) for symbol in sorted(user_defined, key=len, reverse=True))
        splits.append(pre_tokenizers.Split(Regex(symbols), "isolated"))
    if not by_words and (not by_merges or whole_words):  # the model would recognize names of control symbols and bytes in text
        hidden = [piece.piece for piece in model.pieces if piece.type not in (kind.NORMAL, kind.USER_DEFINED)]
        broken = "|".join(f"{re.escape(symbol[0])}(?={re.escape(symbol[1:])})" for symbol in hidden if len(symbol) > 1)
        splits.append(pre_tokenizers.Split(Regex(broken), "merged_with_previous"))

    tokenizer = Tokenizer(tokens)
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    if splits:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
    readers = [decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse()]
    if options.add_dummy_prefix or options.remove_extra_whitespaces:  # SentencePiece drops a space at the beginning
        readers.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(readers)
    tokenizer.add_special_tokens([AddedToken(symbol, special=True, normalized=False) for symbol in special])
    tokenizer.encode_special_tokens = True  # encode special tokens in texts as ordinary text
    return tokenizer


def _token_model(model: Any, *, ignore_merges: bool) -> tuple[bool, Any]:
    """Whether tokens are made by merges, and the tokenizers model that makes them."""
    from tokenizers import models

    kind, trained = type(model.pieces[0]), model.trainer_spec
    name = type(trained).ModelType.Name(trained.model_type)
    if name in ("UNIGRAM", "CHAR"):  # with pieces of one character, a unigram model gives characters
        scores = [(piece.piece, piece.score) for piece in model.pieces]
        return False, models.Unigram(scores, unk_id=trained.unk_id, byte_fallback=trained.byte_fallback)
    vocabulary, unknown = {piece.piece: id_ for id_, piece in enumerate(model.pieces)}, model.pieces[trained.unk_id].piece
    if name == "WORD":
        return False, models.WordLevel(vocabulary, unk_token=unknown)
    score = {piece.piece: piece.score for piece in model.pieces if piece.type == kind.NORMAL}
    merges = [
        (-piece_score, index, left, right)
        for index, (piece, piece_score) in enumerate(score.items())
        for k in range(1, len(piece))
        if (left := piece[:k]) in score and (right := piece[k:]) in score
    ]
    return True, models.BPE(
        vocab=vocabulary,
        merges=[(left, right) for _, _, left, right in sorted(merges, key=lambda merge: merge[:2])],
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=trained.byte_fallback,
        ignore_merges=ignore_merges,
    )


def _check_ids(path: Path, model: Any, original: Any, tokenizer: Any) -> None:
    """UnsupportedModelError unless the tokenizer has the same ids as SentencePiece for all _checked_texts."""
    within_words = not any(_SPACE in piece.piece[1:] for piece in model.pieces)
    runs = _checked_texts(1 if within_words else max(len(piece.piece) for piece in model.pieces))
    first = next(_differences(original, tokenizer, ["".join(texts) for texts in runs]), None)
    if first is None:
        return
    texts = [*runs[first[0]], "".join(runs[first[0]])]  # a short text, if the ids of one differ
    number, expected, ids = next(_differences(original, tokenizer, texts))
    unsupported = _unsupported(model, tokenizer, texts[number], expected)
    reason = f"; not supported: {', '.join(unsupported)}" if unsupported else ""
    raise UnsupportedModelError(
        f"{path} cannot be represented as a fast tokenizer{reason}; expected the ids that SentencePiece gives "
        f"{texts[number]!r}, {expected}, got {ids}"
    )


def _unsupported(model: Any, tokenizer: Any, text: str, ids: list[int]) -> list[str]:
    """The options of the model file that a fast tokenizer does not support."""
    kind, spec, normalizer = type(model.pieces[0]), model.normalizer_spec, tokenizer.normalizer
    names = []
    if model.trainer_spec.model_type == type(model.trainer_spec).WORD:
        if model.trainer_spec.byte_fallback:
            names.append("byte_fallback with model_type word")
        elif model.trainer_spec.unk_id in ids:
            names.append("model_type word with unknown words, which SentencePiece makes one token where they stand together")
    if any(piece.type == kind.UNUSED for piece in model.pieces):
        names.append("unused pieces")
    symbols = [piece.piece.strip(_SPACE) for piece in model.pieces if piece.type == kind.USER_DEFINED]
    for symbol in dict.fromkeys(symbols):  # a word model has each symbol with and without a space
        if normalizer and symbol not in normalizer.normalize_str(symbol):
            names.append(f"normalization_rule_name {spec.name} with user-defined symbol {symbol!r}, which it changes")
    for piece in model.pieces:
        if piece.type == kind.CONTROL and piece.piece in text:
            names.append(f"control symbol {piece.piece!r} in text")
    within = next((symbol for symbol in symbols if symbol and symbol in text), None)
    if not names and within is not None:
        names.append(f"user_defined_symbols with {within!r}, which SentencePiece does not separate everywhere in a text")
    return names


def _differences(original: Any, tokenizer: Any, texts: list[str]) -> Iterator[tuple[int, list[int], list[int]]]:
    """Number of each text whose ids differ, SentencePiece's ids, and the tokenizer's ids."""
    pairs = zip(original.encode(texts), tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True)
    return ((number, expected, encoded.ids) for number, (expected, encoded) in enumerate(pairs) if expected != encoded.ids)


@functools.cache
def _checked_texts(reach: int) -> list[list[str]]:
    """Runs of texts, each run to be tokenized as one text: all pieces, and all pairs of pieces that can follow each other.

    A run is about as long as a biography: in longer texts, rounding decides ties of a unigram model. Cues are truncated to the
    word at character `reach`, because no token that begins in a name ends after it.
    """
    table = piece_table()
    names = [f" {name}" for name in pools()[NAME_POOLS[-1]]]
    cues, heads = ([table.texts[k] for k in np.unique(ids)] for ids in (table.cue, table.head))
    cues = list(dict.fromkeys(cue[:reach] + cue[reach:].partition(" ")[0] for cue in cues))
    nexts = [*filter(None, heads), *(f" {name}" for name in pools()[NAME_POOLS[0]])]  # the beginnings of sentences
    runs = [[text] for text in table.texts]
    runs += [[name + cue for cue in cues] for name in names]
    for position, attribute in enumerate(ATTRIBUTES.values()):
        values = [f" {item}" for item in pools()[attribute.pools[-1]]]
        for tail in dict.fromkeys(table.texts[k] for k in table.tail[position]):
            runs += [[value + tail + nexts[k % len(nexts)] for k, value in enumerate(values)]]
            runs += [[values[k % len(values)] + tail + following for k, following in enumerate(nexts)]]
        for before, after in itertools.pairwise(attribute.pools):
            runs += [[f" {first} {second}" for second in pools()[after]] for first in pools()[before]]
    return [texts[start : start + _RUN] for texts in runs for start in range(0, len(texts), _RUN)]
