"""Biographies as token ids with a value mask, from pieces that are tokenized once per tokenizer (paper App. B.2).

Names and values are tokenized apart from the text around them, so a value has the same tokens in every sentence. The
tokens of a biography are the tokens of its pieces, one after another. No special tokens are added (the paper states
none). Batches have lengths instead of an attention mask, so no pad token is needed.
"""

import importlib.util
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import MissingExtraError, needs
from bio_facts.generate.attributes import ATTRIBUTES, VALUE_PARTS
from bio_facts.generate.biography import CUE, NAME, VALUE, Biographies
from bio_facts.generate.pieces import is_initial, piece_table, pieces_in_use, ragged_table
from bio_facts.generate.pools import DATA, NAME_POOLS, PoolSizes
from bio_facts.generate.templates import BIOGRAPHIES, FORMATS
from bio_facts.measure.sentencepiece_models import UnsupportedModelError, load_sentencepiece

DEFAULT_TOKENIZER = "bio_facts"  # the name of the shipped tokenizer
SENTENCEPIECE_NAMES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model")  # in a folder
TOKENIZER_FILE = DATA / "tokenizer" / "tokenizer.json"

# A piece inside a text is tokenized behind the first of these that does not merge with it.
_ANCHORS = ("a", ".", "\n", "1", ")", "¶")


# What a token is in its sentence: part of the name, of the text between name and value, of the value, or of any other text.
ROLES = ("text", "name", "cue", "value")


class TokenBatch(NamedTuple):
    """Token ids of n biographies, padded on the right to the longest, L tokens.

    input_ids: int64 [n, L], 0 at padding. attribute_ids: int64 [n, L], the attribute of the value that a token is part of
    (1..6 as in ATTRIBUTES; 0 = no value, or padding). lengths: int64 [n], number of tokens without padding.
    """

    input_ids: NDArray[np.int64]
    attribute_ids: NDArray[np.int64]
    lengths: NDArray[np.int64]


class BiographyTokenizer:
    """Biographies -> tokens, for one tokenizer.

    Args:
        tokenizer: a Hugging Face fast tokenizer (see load_tokenizer). It encodes the pieces once, and is not kept.
        pool_sizes: those of the configs whose biographies are tokenized; by default, all items of all pools are known.
        formats: those of the configs' rows (Config.formats); by default, only the sentences of biographies are known.

    Raises:
        ValueError: if the tokenizer has no character offsets (a slow one), or cannot represent a piece.
    """

    def __init__(
        self, tokenizer: Any, pool_sizes: Mapping[str, int] | None = None, formats: Collection[str] = (BIOGRAPHIES,)
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(f"tokenizer {tokenizer.name_or_path!r} is a slow one; it must be a fast one, with offsets")
        self._pool_sizes: Mapping[str, int] = PoolSizes() if pool_sizes is None else pool_sizes
        self._formats = tuple(formats)
        self._is_known = pieces_in_use(self._pool_sizes, formats)
        texts = piece_table().texts
        encoded: list[list[int]] = [[] for _ in texts]
        for initial in (True, False):
            piece_ids = np.flatnonzero(self._is_known & (is_initial() == initial))
            tokens = encode_pieces(tokenizer, [texts[k] for k in piece_ids], initial=initial)
            for piece_id, ids in zip(piece_ids, tokens, strict=True):
                if ids is None:
                    raise ValueError(
                        f"tokenizer {tokenizer.name_or_path!r} merges {texts[piece_id]!r} with whatever stands before it; "
                        "it must be able to tokenize names, values and template text apart"
                    )
                encoded[piece_id] = ids
        unknown = unknown_id(tokenizer)
        for piece_id in np.flatnonzero(self._is_known):
            text, ids = texts[piece_id], encoded[piece_id]
            if text and (not ids or unknown in ids):
                raise ValueError(
                    f"tokenizer {tokenizer.name_or_path!r} cannot represent {text!r}: its tokens are "
                    f"{tokenizer.convert_ids_to_tokens(ids)}; it must cover all names, values and templates"
                )
        self._table = ragged_table([np.array(ids, dtype=np.int64) for ids in encoded])

    @property
    def max_length(self) -> int:
        """An upper bound of the number of tokens of a row: the longest template of each attribute, name parts and values."""
        table, lengths, sizes = piece_table(), self._table.lengths, self._pool_sizes
        templates = np.maximum(lengths[table.head], lengths[table.initial_head]) + lengths[table.cue] + lengths[table.tail]
        longest = {pool: int(lengths[start : start + sizes[pool]].max()) for pool, start in table.pools.items()}
        initial = table.initial_first_names + np.arange(sizes[NAME_POOLS[0]])
        name = max(longest[NAME_POOLS[0]], int(lengths[initial].max())) + sum(longest[pool] for pool in NAME_POOLS[1:])
        values = sum(longest[pool] for _, pool in VALUE_PARTS)
        longest_templates = max(int(templates[:, FORMATS[kind]].max(axis=1).sum()) for kind in self._formats)
        return longest_templates + name * len(ATTRIBUTES) + values

    def lengths(self, biographies: Biographies) -> NDArray[np.int64]:
        """Number of tokens of each biography, int64 [n].

        Raises:
            ValueError: if one has a pool item beyond pool_sizes or text of another format, whose tokens are not known.
        """
        is_known = self._is_known[biographies.piece_id]
        if not is_known.all():
            piece_id = biographies.piece_id[~is_known][0]
            raise ValueError(
                f"a biography has {piece_table().texts[piece_id]!r}, which is beyond the pool_sizes and formats of this "
                "BiographyTokenizer; they must be those of the biographies' config"
            )
        lengths: NDArray[np.int64] = self._table.lengths[biographies.piece_id].sum(axis=(1, 2))
        return lengths

    def prefix_lengths(self, biographies: Biographies, slots: slice) -> NDArray[np.int64]:
        """Number of tokens up to the end of some slots (NAME, VALUE, ...) of the first sentence, int64 [n]."""
        lengths: NDArray[np.int64] = self._table.lengths[biographies.piece_id[:, 0, : slots.stop]].sum(axis=1)
        return lengths

    def roles(self, biographies: Biographies) -> NDArray[np.int64]:
        """The role of each token of a batch, as its position in ROLES, int64 [n, L]; 0, as for text, where a row has ended."""
        pieces = biographies.piece_id
        piece_roles = np.zeros(pieces.shape, dtype=np.int64)
        for role, slots in (("name", NAME), ("cue", CUE), ("value", VALUE)):
            piece_roles[:, :, slots] = ROLES.index(role)
        lengths = self.lengths(biographies)
        is_token = np.arange(lengths.max(initial=0)) < lengths[:, None]
        roles = np.zeros(is_token.shape, dtype=np.int64)
        roles[is_token] = np.repeat(piece_roles.ravel(), self._table.lengths[pieces].ravel())
        return roles

    def __call__(self, biographies: Biographies) -> TokenBatch:
        """The tokens of a batch of biographies. Raises as `lengths`."""
        pieces = biographies.piece_id
        piece_attributes = np.zeros(pieces.shape, dtype=np.int64)
        piece_attributes[:, :, VALUE] = biographies.attribute_id[:, :, None]
        lengths = self.lengths(biographies)
        is_token = np.arange(lengths.max(initial=0)) < lengths[:, None]
        input_ids, attribute_ids = np.zeros((2, *is_token.shape), dtype=np.int64)
        input_ids[is_token] = self._table.concatenate(pieces)
        attribute_ids[is_token] = np.repeat(piece_attributes.ravel(), self._table.lengths[pieces].ravel())
        return TokenBatch(input_ids, attribute_ids, lengths)


def unknown_id(tokenizer: Any) -> int | None:
    """The id of a tokenizer's unknown token, or None; in a bare tokenizer.json, only the model names that token."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    token = tokenizer.unk_token or model.get("unk_token")
    unknown: int | None = model.get("unk_id") if token is None else tokenizer.convert_tokens_to_ids(token)
    return unknown


def _encode_alone(tokenizer: Any, texts: list[str]) -> list[list[int] | None]:
    """Tokens of texts that a biography begins with."""
    return list(tokenizer(texts, add_special_tokens=False).input_ids) if texts else []


def _encode_inside(tokenizer: Any, texts: list[str]) -> list[list[int] | None]:
    """Tokens of texts that follow other text: those behind an anchor that does not merge with the text; None if all merge.

    Without an anchor, a tokenizer would treat the text as the beginning of one (SentencePiece inserts a space there).
    """
    encoded: list[list[int] | None] = [None for _ in texts]
    for anchor in _ANCHORS:
        left = [k for k, ids in enumerate(encoded) if ids is None]
        if not left:
            break
        anchored = tokenizer([anchor + texts[k] for k in left], add_special_tokens=False, return_offsets_mapping=True)
        alone = tokenizer(anchor, add_special_tokens=False).input_ids
        for k, ids, offsets in zip(left, anchored.input_ids, anchored.offset_mapping, strict=True):
            first = sum(end <= len(anchor) for _, end in offsets)
            # Offsets may leave out spaces; a token of the anchor that includes the space after it is not the anchor's alone.
            if ids[:first] == alone and all(start >= len(anchor) for start, _ in offsets[first:]):
                encoded[k] = ids[first:]
    return encoded


def encode_pieces(tokenizer: Any, texts: Sequence[str], *, initial: bool) -> list[list[int] | None]:
    """Tokens of each piece of text by itself; None for a piece that the tokenizer merges with whatever stands before it.

    `initial` pieces begin a text. Other pieces follow text; most of them begin with a space.
    """
    encode = _encode_alone if initial else _encode_inside
    return list(encode(tokenizer, list(texts)))


def check_tokenizer(name_or_path: str) -> Path:
    """The file or folder that load_tokenizer reads for `name_or_path`. Fast: imports no torch, and uses no network.

    Raises:
        ValueError: if there is none.
    """
    if name_or_path == DEFAULT_TOKENIZER:
        return Path(str(TOKENIZER_FILE)).parent  # whose other files name the special tokens
    if name_or_path and Path(name_or_path).exists():
        return Path(name_or_path)
    if re.fullmatch(r"[A-Za-z_]\w*:[^/\\]\S*", name_or_path):
        return _file_of_package(name_or_path)
    with needs("train", "a tokenizer from the Hugging Face cache"):
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

    for file in ("tokenizer.json", *SENTENCEPIECE_NAMES):
        try:
            cached = try_to_load_from_cache(name_or_path, file)
        except HFValidationError:  # not the form of a Hub id
            break
        if isinstance(cached, str):
            return Path(cached).parent
    raise ValueError(
        f"tokenizer is {name_or_path!r}, which is no file or folder and not in the local Hugging Face cache; it must be "
        f"{DEFAULT_TOKENIZER!r}, a path, PACKAGE:FILE, or the id of a Hub repository fetched before (hf download ID)"
    )


def _file_of_package(name: str) -> Path:
    """The file that `PACKAGE:FILE` names, in an installed package that is not imported."""
    package, _, file = name.partition(":")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        requirement = '"bio-facts[paper]"' if package == "mistral_common" else package.replace("_", "-")
        raise MissingExtraError(f"tokenizer is {name!r}, but no package {package!r} is installed: pip install {requirement}")
    path = Path(spec.origin).parent / file
    if not path.is_file():
        raise ValueError(f"tokenizer is {name!r}, but the package has no such file; it must be one below {path.parent}")
    return path


def load_tokenizer(name_or_path: str) -> Any:
    """A Hugging Face fast tokenizer: the shipped one, a file or folder, or a Hub id in the local cache. No network.

    In a folder with both a tokenizer.json and a SentencePiece model file, the tokenizer.json is read, as in transformers,
    and not compared with the other file. With a SentencePiece model file only, the ids are SentencePiece's, even where the
    conversion of transformers would shift them (as for XLM-R).

    Args:
        name_or_path: "bio_facts"; a tokenizer.json; a SentencePiece model file; a folder with either, or one that
            save_pretrained wrote; a file of an installed package, as PACKAGE:FILE; or a Hub id.

    Raises:
        ValueError: if it does not exist or is not a tokenizer, or for a SentencePiece model that no fast tokenizer represents.
    """
    path = check_tokenizer(name_or_path)
    with needs("train", "load_tokenizer"):
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if path.is_dir() and not (path / "tokenizer.json").exists():  # transformers would convert the model, to other ids
        path = next((path / name for name in SENTENCEPIECE_NAMES if (path / name).exists()), path)
    try:
        if path.is_dir():
            tokenizer = as_saved(AutoTokenizer.from_pretrained(path, local_files_only=True), str(path))
        elif path.suffix == ".json":
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))
        else:
            tokenizer = load_sentencepiece(path)
    except (MissingExtraError, UnsupportedModelError):
        raise
    except Exception as error:  # tokenizers and sentencepiece raise bare Exception and RuntimeError
        raise ValueError(
            f"tokenizer is {name_or_path!r}, which cannot be loaded ({error}); it must be a folder, a tokenizer.json or "
            "a SentencePiece model"
        ) from error
    tokenizer.name_or_path = name_or_path
    return tokenizer


def as_saved(tokenizer: Any, name_or_path: str) -> Any:
    """What AutoTokenizer has loaded, or the tokenizer that was saved, if AutoTokenizer has given it another class.

    For some model types, such as qwen2, AutoTokenizer of transformers 5 replaces a tokenizer of the general class by one of the
    type's own class, which splits texts in its own way, to other ids.
    """
    from transformers import PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    is_general = get_tokenizer_config(name_or_path).get("tokenizer_class") in ("TokenizersBackend", "PreTrainedTokenizerFast")
    if is_general and type(tokenizer) is not PreTrainedTokenizerFast:
        return PreTrainedTokenizerFast.from_pretrained(name_or_path)
    return tokenizer
