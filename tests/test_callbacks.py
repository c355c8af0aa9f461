import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kinds import model_of, tokenizer_of
from plain_metric import NAMES, confidences, plain_auroc
from watched_trainers import (
    DATA,
    NUM_BIOGRAPHIES,
    Observer,
    places,
    their_trainer,
    watch,
)

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import get_config
from bio_facts.generate.splits import draw
from bio_facts.measure.baseline import no_knowledge_loss, pool_no_knowledge_loss
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.scoring import score, score_tokens
from bio_facts.measure.tokens import BiographyTokenizer


def test_callback_evaluates_at_its_steps(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=[0, 1, 3])
    callback.attach(trainer)
    trainer.train()
    assert places(callback) == [(step, split) for step in (0, 1, 3) for split in ("validation", "unseen")]


@pytest.mark.parametrize("steps", [np.arange(1, 4, 2), [np.int64(1), 3], torch.tensor([1, 3]), range(1, 4, 2)])
def test_steps_may_be_integers_of_any_kind(steps: Any, tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=steps, splits=["unseen"])
    callback.attach(trainer)
    trainer.train()
    assert places(callback) == [(1, "unseen"), (3, "unseen")]


def test_untrained_model_is_evaluated_only_if_steps_has_0(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=range(2, 100, 2), splits=["unseen"])
    callback.attach(trainer)
    trainer.train()
    assert places(callback) == [(2, "unseen"), (4, "unseen")]


def test_without_steps_it_evaluates_whenever_the_trainer_does(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path, eval_strategy="steps", eval_steps=2), watch(splits=["train"])
    callback.attach(trainer)
    trainer.train()
    assert places(callback) == [(0, "train"), (2, "train"), (4, "train")]
    trainer.evaluate()
    assert places(callback) == [(0, "train"), (2, "train"), (4, "train")]


def test_without_steps_and_evaluations_there_is_the_untrained_model_alone(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch()
    callback.attach(trainer)
    trainer.train()
    assert places(callback) == [(0, "validation"), (0, "unseen")]


def test_history_has_the_metrics_of_the_model_at_that_step(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=[0, 4])
    callback.attach(trainer)
    untrained = model_of("llama", tokenizer_of("bio_facts"))
    trainer.train()
    tokenize = BiographyTokenizer(tokenizer_of("bio_facts"))
    for step, model in ((0, untrained), (4, trainer.model)):
        for split in ("validation", "unseen"):
            batch = tokenize(draw(DATA, split, range(NUM_BIOGRAPHIES)))
            expected = score_tokens(model.eval(), batch).detailed_summary(NAMES)
            expected |= {
                "no_knowledge_loss": no_knowledge_loss(DATA.population),
                "pool_no_knowledge_loss": pool_no_knowledge_loss(),
            }
            (line,) = [dict(line) for line in callback.history if (line["step"], line["split"]) == (step, split)]
            # Tops at the edge of a bin of calibration may fall to either side of it.
            error = expected.pop("expected_calibration_error")
            assert line.pop("expected_calibration_error") == pytest.approx(error, abs=1e-2)
            assert (line.pop("step"), line.pop("split")) == (step, split)
            line.pop("confidence_auroc", None)
            assert line == pytest.approx(expected, rel=1e-5)


def test_unseen_has_how_well_confidence_tells_seen_values_from_unseen_ones(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=[4])
    callback.attach(trainer)
    trainer.train()
    seen, unseen = (
        score(trainer.model, tokenizer_of("bio_facts"), rows(draw(DATA, split, range(NUM_BIOGRAPHIES))))
        for split in ("validation", "unseen")
    )
    expected = plain_auroc(confidences(seen.inputs(details=True)), confidences(unseen.inputs(details=True)))
    by_split = {line["split"]: line for line in callback.history}
    assert by_split["unseen"]["confidence_auroc"] == pytest.approx(expected, abs=1e-3)
    assert "confidence_auroc" not in by_split["validation"]


def test_unseen_without_validation_has_no_auroc(tmp_path: Path) -> None:
    callback = watch(steps=[0], splits=["unseen"]).attach(trainer := their_trainer(tmp_path))
    trainer.train()
    assert "confidence_auroc" not in callback.history[0]


def test_questions_are_scored_one_attribute_a_row(tmp_path: Path) -> None:
    config = get_config("n1k-questions").replace(num_individuals=20)
    splits = ["questions_asked", "questions_not_asked", "questions_unseen"]
    by_pieces = BiographyTokenizer(tokenizer_of("bio_facts"), formats=config.formats)
    scores = {}
    for name, tokenizer in (("texts", tokenizer_of("bio_facts")), ("pieces", by_pieces)):
        callback = AttributeEvaluation(tokenizer, config, splits=splits, num_biographies=8, batch_size=3, steps=[4])
        callback.attach(trainer := their_trainer(tmp_path / name))
        trainer.train()
        for split in splits:
            scores[split] = score(trainer.model, tokenizer_of("bio_facts"), rows(draw(config, split, range(8))))
            expected = scores[split].totals().detailed_summary(NAMES)
            (line,) = [line for line in callback.history if line["split"] == split]
            assert [line[f"num_values/{attribute}"] for attribute in ATTRIBUTES] == [2, 2, 1, 1, 1, 1]
            for metric in ("attribute_loss", "attribute_accuracy", "attribute_loss/birth_date", "num_values"):
                assert line[metric] == pytest.approx(expected[metric], rel=1e-5)
            assert line["no_knowledge_loss"] == pytest.approx(no_knowledge_loss(config.population))
        seen, unseen = (confidences(scores[split].inputs(details=True)) for split in splits[1:])
        assert line["confidence_auroc"] == pytest.approx(plain_auroc(seen, unseen), abs=1e-3)


def test_every_biography_has_each_attribute_once(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=[0])
    callback.attach(trainer)
    trainer.train()
    for line in callback.history:
        assert {line[f"num_values/{name}"] for name in ATTRIBUTES} == {NUM_BIOGRAPHIES}


def test_log_of_the_trainer_gets_the_metrics(tmp_path: Path) -> None:
    trainer = their_trainer(tmp_path)
    callback = watch(steps=[0, 2]).attach(trainer)
    trainer.train()
    for line in callback.history:
        logged = [entry for entry in trainer.state.log_history if f"{line['split']}/attribute_loss" in entry]
        (logged_at_step,) = [entry for entry in logged if entry["step"] == line["step"]]
        assert logged_at_step[f"{line['split']}/attribute_loss"] == line["attribute_loss"]
        assert logged_at_step[f"{line['split']}/attribute_accuracy/major"] == line["attribute_accuracy/major"]
    assert [entry["step"] for entry in trainer.state.log_history if "loss" in entry] == [
        1,
        2,
        3,
        4,
    ]  # none of the Trainer's entries is missing


def test_file_gets_the_lines_of_history(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": -1}\n')  # is appended to
    trainer, callback = their_trainer(tmp_path), watch(steps=[0, 2], file=str(file))
    callback.attach(trainer)
    trainer.train()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [{"step": -1}, *callback.history]
    assert len(lines) == 5


def test_evaluation_does_not_change_training(tmp_path: Path) -> None:
    """It goes on in training mode, with the same random numbers and all logits."""
    weights, losses = [], []
    for callbacks in ([], [watch(steps=[0, 1, 2, 4])]):
        torch.manual_seed(3)
        model = model_of("gpt2", tokenizer_of("bio_facts"))  # which has dropout
        observed, trainer = Observer(model), their_trainer(tmp_path, model)
        for callback in callbacks:
            callback.attach(trainer)
        trainer.train()
        assert model.training
        # 4 steps x (2 splits x 3 batches, the fingerprint, the trial whether logits may be left out) and the check of causality
        scored = 4 * (2 * 3 + 1 + 4) + 3 if callbacks else 0
        assert (sum(observed.modes), len(observed.modes)) == (4, 4 + scored)
        weights.append([weight.detach().clone() for weight in model.parameters()])
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == losses[1]
    assert all(torch.equal(plain, evaluated) for plain, evaluated in zip(*weights, strict=True))


def test_model_in_evaluation_mode_stays_in_it(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch()
    callback.attach(trainer)
    trainer.model.eval()
    trainer.evaluate()
    assert len(callback.history) == 2
    assert not trainer.model.training


def test_resumed_training_does_not_evaluate_the_untrained_model_again(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch()
    trainer.state.global_step = 7
    callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
    assert callback.history == []


def test_config_may_be_a_name_and_tokenizer_a_biography_tokenizer() -> None:
    callback = AttributeEvaluation(BiographyTokenizer(tokenizer_of("bio_facts")), "n1k")
    assert callback.data == get_config("n1k")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"splits": ["test"]}, "split is 'test'; it must be one of train, validation, unseen"),
        ({"num_biographies": 0}, "num_biographies (of split validation) is 0; it must be"),
        ({"num_biographies": 16_001}, "num_biographies (of split validation) is 16001; it must be"),
        ({"batch_size": 0}, "batch_size is 0; it must be"),
        ({"splits": "validation"}, "splits is 'validation'; it must be a list of names, ['validation']"),
        ({"steps": 5}, "steps is 5; it must be a list of integers, or None"),
        ({"steps": ["0"]}, "steps is ['0']; it must be a list of integers, or None"),
        ({"steps": np.array([0.5])}, "steps is array([0.5]); it must be a list of integers, or None"),
        ({"steps": np.array(3)}, "steps is array(3); it must be a list of integers, or None"),
        ({"file": "/no/such/file.jsonl"}, "file is '/no/such/file.jsonl', but there is no folder /no/such; make it first"),
    ],
)
def test_invalid_argument_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        AttributeEvaluation(tokenizer_of("bio_facts"), DATA, **arguments)
    assert str(error.value).startswith(message)


def test_unknown_config_and_slow_tokenizer_are_refused() -> None:
    with pytest.raises(ValueError, match="n2k"):
        AttributeEvaluation(tokenizer_of("bio_facts"), "n2k")

    class Snail:
        is_fast = False
        name_or_path = "snail"

    with pytest.raises(ValueError, match="tokenizer is a Snail; it must be a fast tokenizer"):
        AttributeEvaluation(Snail(), DATA)


def test_diverged_model_is_refused(tmp_path: Path) -> None:
    trainer = their_trainer(tmp_path)
    watch(steps=[0]).attach(trainer)
    trainer.model.lm_head.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="the model's logits have NaN"):
        trainer.train()
