"""Text normalization: what is compared where case, accents, spaces and punctuation do not count.

Standard library alone: eval/attribute_recall, which works where bio_facts is not installed, has a copy of this file.
"""

import unicodedata

_LETTERS = str.maketrans({"ø": "o", "Ø": "o", "ł": "l", "Ł": "l", "đ": "d", "Đ": "d"})  # that do not decompose
_ACCENTS = frozenset(map(chr, range(0x300, 0x370)))  # the combining marks of Latin, Greek and Cyrillic


def normalized(text: str) -> str:
    """What is left of `text` without case, accents, spaces and punctuation.

    Symbols stay ("C++" is not "C"), and so do the vowel signs of scripts whose words they make.
    """
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS)).casefold()
    return "".join(filter(_is_kept, decomposed))


def _is_kept(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNSM" and character not in _ACCENTS
