"""Sentence templates, 25 per attribute, parsed into the text before the name, the cue, and the text after the value.

Questions with their answers, 10 per attribute, are templates too. A template_id says which: 0 to 24 is a sentence, 25 to 34 is
a question.
"""

import functools
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.pools import read_lines
from bio_facts.generate.text import normalized

NUM_TEMPLATES = 25  # of each attribute (paper App. B.2)
NUM_TRAINING_TEMPLATES = 20  # of each individual and attribute; the other 5 are held out for evaluation
NUM_QUESTIONS = 10  # of each attribute; the first one is the most ordinary
NUM_TRAINING_QUESTIONS = 8  # of each individual and attribute; the other 2 are held out for evaluation

ANSWER = " Answer:"  # between a question and its answer

BIOGRAPHIES, QUESTIONS = "biographies", "questions"
# Format of a row -> the template ids of its sentences.
FORMATS: Mapping[str, range] = MappingProxyType(
    {BIOGRAPHIES: range(NUM_TEMPLATES), QUESTIONS: range(NUM_TEMPLATES, NUM_TEMPLATES + NUM_QUESTIONS)}
)

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True)
class Template:
    """A sentence `head {name}cue {value}tail`; head may be empty."""

    head: str
    cue: str
    tail: str

    @classmethod
    def parse(cls, line: str) -> "Template":
        """Parse one line, such as "At present, {name} lives in {value}."

        Raises:
            ValueError: if a placeholder is unknown, missing or repeated, the value stands before the name or without
                a cue, a placeholder touches a word, or the sentence does not end in a period.
        """
        where = f"template {line!r}"
        placeholders = _PLACEHOLDER.findall(line)
        if sorted(placeholders) != ["{name}", "{value}"]:
            raise ValueError(f"{where} has placeholders {placeholders}; it must have {{name}} and {{value}}, once each")
        if placeholders != ["{name}", "{value}"]:
            raise ValueError(f"{where} has the value before the name; the name must come first")
        if line != " ".join(line.split()) or not line.endswith("."):
            raise ValueError(f"{where} must be one sentence with single spaces that ends in a period")
        head, cue, tail = _PLACEHOLDER.split(line)
        if (head and not head.endswith(" ")) or not cue.endswith(" "):
            raise ValueError(f"{where} must have a space before each placeholder, unless it begins the sentence")
        if cue[0].isalnum() or tail[0].isalnum():
            raise ValueError(f"{where} must have a space or punctuation after each placeholder")
        if not normalized(cue + head):
            raise ValueError(f"{where} has no words before the value that indicate the attribute")
        return cls(head.removesuffix(" "), cue.removesuffix(" "), tail)

    def fill(self, name: str, value: str) -> str:
        """The sentence for one name and one value."""
        return f"{self.head} {name}{self.cue} {value}{self.tail}".removeprefix(" ")


@functools.cache
def templates() -> Mapping[str, tuple[Template, ...]]:
    """Attribute name -> its templates; the position in the tuple is the template_id.

    Raises:
        ValueError: if a file does not hold 25 well-formed templates that differ from one another.
    """
    return _loaded("templates", NUM_TEMPLATES)


@functools.cache
def questions() -> Mapping[str, tuple[Template, ...]]:
    """Attribute name -> its questions, such as "Where was {name} born? Answer: {value}."; template ids are 25 higher.

    Raises:
        ValueError: if a file does not hold 10 well-formed templates that differ from one another, or one of them does not have
            a question mark and ANSWER before the value.
    """
    loaded = _loaded("questions", NUM_QUESTIONS)
    for template in itertools.chain.from_iterable(loaded.values()):
        if not template.cue.endswith(f"?{ANSWER}"):
            raise ValueError(f"question {template} must have {f'?{ANSWER}'!r} before the value")
    return loaded


def _loaded(folder: str, number: int) -> Mapping[str, tuple[Template, ...]]:
    loaded = {}
    for attribute in ATTRIBUTES:
        parsed = tuple(Template.parse(line) for line in read_lines(f"{folder}/{attribute}.txt"))
        check_templates(attribute, parsed, number)
        loaded[attribute] = parsed
    return MappingProxyType(loaded)


def check_templates(attribute: str, parsed: tuple[Template, ...], number: int) -> None:
    """ValueError unless there are `number` templates, all different after normalization."""
    if len(parsed) != number:
        raise ValueError(f"{attribute} has {len(parsed)} templates; it must have {number}")
    seen: dict[str, Template] = {}
    for template in parsed:
        key = normalized(template.fill("name", "value"))
        if key in seen:
            raise ValueError(f"{attribute} has the same template twice: {template} and {seen[key]}")
        seen[key] = template


@functools.cache
def template_orders() -> NDArray[np.uint8]:
    """All ways to hold out 5 of 25 templates, uint8 [53130, 25]: in each row the 20 training ids, then the 5 held-out ids."""
    return _orders(NUM_TEMPLATES, NUM_TRAINING_TEMPLATES)


@functools.cache
def question_orders() -> NDArray[np.uint8]:
    """All ways to hold out 2 of 10 questions, uint8 [45, 10]: in each row 8 numbers for training, then the 2 held-out ones.

    The numbers are positions in questions(), 0 to 9.
    """
    return _orders(NUM_QUESTIONS, NUM_TRAINING_QUESTIONS)


def _orders(number: int, num_training: int) -> NDArray[np.uint8]:
    held_out = np.array(list(itertools.combinations(range(number), number - num_training)), dtype=np.uint8)
    is_held_out = np.zeros((len(held_out), number), dtype=bool)
    np.put_along_axis(is_held_out, held_out.astype(np.int64), True, axis=1)
    orders = np.argsort(is_held_out, axis=1, kind="stable").astype(np.uint8)
    orders.setflags(write=False)
    return orders
