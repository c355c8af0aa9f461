"""Text normalization, for comparisons that ignore case, accents, spaces and punctuation.

Standard library alone: eval/attribute_recall, which works where bio_facts is not installed, has a copy of this file.
"""

import unicodedata

_LETTERS = str.maketrans({"ø": "o", "Ø": "o", "ł": "l", "Ł": "l", "đ": "d", "Đ": "d"})  # NFKD does not decompose these
_ACCENTS = frozenset(map(chr, range(0x300, 0x370)))  # the combining marks of Latin, Greek and Cyrillic


def normalized(text: str) -> str:
    """`text` without case, accents, spaces and punctuation.

    Symbols are kept ("C++" differs from "C"), and so are combining vowel signs of other scripts.
    """
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS)).casefold()
    return "".join(filter(_is_kept, decomposed))


def _is_kept(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNSM" and character not in _ACCENTS
