"""How many tokens of the shipped tokenizer the rows of a config have, from the mean of each kind of row."""

from bio_facts.generate.config import BaseConfig, Config, QuestionsConfig
from bio_facts.generate.pools import full_pool_sizes
from bio_facts.publish.tables import num_rows

# Means over the first 16,000 rows of the splits of n64k-questions, whose values and names are from full pools.
TOKENS_OF_BIOGRAPHY = 70.1
TOKENS_OF_QUESTIONS = 169.8  # a row of train: six questions with their answers
TOKENS_OF_QUESTION = 27.6  # one question with its answer


def num_tokens(config: BaseConfig) -> float | None:
    """The tokens of all texts of a config, to about one percent; None where there are no texts, or pools are restricted."""
    if isinstance(config, Config | QuestionsConfig) and dict(config.pool_sizes) != dict(full_pool_sizes()):
        return None
    counts = num_rows(config)
    if isinstance(config, QuestionsConfig):
        return TOKENS_OF_QUESTION * sum(counts.values())
    if not isinstance(config, Config):
        return None
    with_six = 0 if config.phases is None else config.phases.num_questions(config.num_biographies)
    with_one = sum(count for split, count in counts.items() if split.startswith("questions_"))
    biographies = sum(counts.values()) - with_six - with_one
    return TOKENS_OF_BIOGRAPHY * biographies + TOKENS_OF_QUESTIONS * with_six + TOKENS_OF_QUESTION * with_one
