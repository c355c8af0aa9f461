"""Mixtures: which format (biographies or questions) each training sample has, in phases that end at given samples.

A mixture is part of a config, and a pure function of the sample index. Within a phase, formats alternate in a pattern that
spreads them evenly and repeats: with weights 1 and 3, every four samples from the beginning of the phase are a biography and
three rows of questions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bio_facts.checks import check_integer
from bio_facts.generate.distributions import MAX_BIOGRAPHIES
from bio_facts.generate.templates import BIOGRAPHIES, FORMATS, QUESTIONS

_MAX_WEIGHT = 1_000
_EXAMPLE = [[1_000, {BIOGRAPHIES: 1}], [2_000, {BIOGRAPHIES: 1, QUESTIONS: 3}]]


@dataclass(frozen=True)
class Phase:
    """Samples up to `until_sample` (exclusive); of each `num_biographies + num_questions`, so many have each format."""

    until_sample: int
    num_biographies: int
    num_questions: int


@dataclass(frozen=True)
class Mixture:
    """Phases, one after another, the first one from sample 0. See Mixture.of for how they are given."""

    phases: tuple[Phase, ...]

    @classmethod
    def of(cls, phases: Any) -> "Mixture":
        """The mixture that is given as [[until_sample, {format: weight, ...}], ...], or as a Mixture.

        Weights count samples in each repetition of the pattern; only their ratio matters. A format that is not named does not
        occur in the phase.

        Raises:
            ValueError: if it has another form, a format is unknown, a weight is not an integer from 1 to 1,000, or
                until_sample does not grow.
        """
        if isinstance(phases, Mixture):
            return phases
        if not isinstance(phases, list | tuple) or not phases or not all(map(_is_phase, phases)):
            raise ValueError(f"phases is {phases!r}; it must be a list of [until_sample, weights], such as {_EXAMPLE}")
        checked: list[Phase] = []
        for index, (until_sample, weights) in enumerate(phases):
            first = checked[-1].until_sample if checked else 0
            until = check_integer(f"until_sample of phases[{index}]", until_sample, first + 1, MAX_BIOGRAPHIES)
            for name in weights:
                if name not in FORMATS:
                    raise ValueError(f"phases[{index}] names format {name!r}; the formats are {', '.join(FORMATS)}")
            counts = [
                check_integer(f"weight of {name} in phases[{index}]", weights[name], 1, _MAX_WEIGHT) if name in weights else 0
                for name in (BIOGRAPHIES, QUESTIONS)
            ]
            checked.append(Phase(until, *(count // math.gcd(*counts) for count in counts)))
        return cls(tuple(checked))

    def as_json(self) -> list[list[Any]]:
        """The form that Mixture.of takes, of plain JSON types."""
        return [
            [
                phase.until_sample,
                {name: n for name, n in ((BIOGRAPHIES, phase.num_biographies), (QUESTIONS, phase.num_questions)) if n},
            ]
            for phase in self.phases
        ]

    @property
    def num_samples(self) -> int:
        """Where the last phase ends."""
        return self.phases[-1].until_sample

    @property
    def has_questions(self) -> bool:
        """Whether any phase has questions."""
        return any(phase.num_questions for phase in self.phases)

    def num_questions(self, num_samples: int) -> int:
        """How many of the first num_samples samples have questions; num_samples: from 0 to that of the mixture."""
        total = start = 0
        for phase in self.phases:
            total += _num_questions(phase, max(0, min(num_samples, phase.until_sample) - start))
            start = phase.until_sample
        return total

    def locate(self, sample_indices: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each sample (int64 [n], below num_samples) has questions, bool [n], and its index among the samples of its
        format, which counts over all phases, int64 [n]."""
        is_question, num_questions = np.zeros(len(sample_indices), dtype=bool), np.zeros_like(sample_indices)
        start = num_before = 0  # the first sample of a phase, and how many before it have questions
        for phase in self.phases:
            chosen = (start <= sample_indices) & (sample_indices < phase.until_sample)
            offset = sample_indices[chosen] - start
            num_in_phase = _num_questions(phase, offset)
            is_question[chosen] = _num_questions(phase, offset + 1) > num_in_phase
            num_questions[chosen] = num_before + num_in_phase
            num_before += _num_questions(phase, phase.until_sample - start)
            start = phase.until_sample
        return is_question, np.where(is_question, num_questions, sample_indices - num_questions)


def _is_phase(phase: Any) -> bool:
    return isinstance(phase, list | tuple) and len(phase) == 2 and isinstance(phase[1], Mapping) and len(phase[1]) > 0


def _num_questions(phase: Phase, num_samples: Any) -> Any:
    """How many of the first samples of a phase have questions (int or int64 [n])."""
    return num_samples * phase.num_questions // (phase.num_biographies + phase.num_questions)
