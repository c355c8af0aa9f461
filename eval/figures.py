"""The names of bio_facts.runs.figures, the style of all figures, for the analyses."""

from bio_facts.runs.figures import *  # noqa: F403
