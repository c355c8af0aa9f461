"""Tiny models and their scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from kinds import model_of, tokenizer_of

from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.splits import draw
from bio_facts.measure.modules import all_logits, evaluation_mode, unwrapped
from bio_facts.measure.scoring import Scores, score

ROWS = rows(draw(CONFIGS["n1k"], "validation", range(5)))
Make = Callable[[], Any]


def llama() -> Any:
    return model_of("llama", tokenizer_of("bio_facts"))


def scored(model: Any) -> Scores:
    return score(model, tokenizer_of("bio_facts"), ROWS, batch_size=2)


def assert_scored_by_its_own_logits(model: Any) -> None:
    """Losses of all value tokens are those of all logits of the model, one row at a time."""
    scores, whole = scored(model), unwrapped(model)
    for ids, attributes, nlls in zip(scores.references, scores.attribute_ids, scores.nlls, strict=True):
        with evaluation_mode(whole), torch.no_grad():
            log_probabilities = all_logits(whole, torch.from_numpy(ids)[None])[0].double().log_softmax(-1)
        places = np.flatnonzero(attributes)
        expected = -log_probabilities[places - 1, ids[places]].numpy()
        np.testing.assert_allclose(nlls[places], expected, atol=1e-4, rtol=1e-5)


class State:
    """What the callback reads of the state of a Trainer."""

    global_step = 0
    is_world_process_zero = True
