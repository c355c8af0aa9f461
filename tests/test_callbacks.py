import json
from pathlib import Path
from typing import Any

import pytest
import torch
from kinds import model_of, tokenizer_of
from plain_metric import NAMES
from transformers import Trainer, TrainingArguments

from bio_facts.attributes import ATTRIBUTES
from bio_facts.baseline import no_knowledge_loss, pool_no_knowledge_loss
from bio_facts.callbacks import AttributeEvaluation
from bio_facts.config import Config, get_config
from bio_facts.scoring import score_tokens
from bio_facts.splits import draw
from bio_facts.tokenization import BiographyTokenizer

DATA = Config(num_individuals=20)
SENTENCES = ["Somebody else has texts of their own.", "They train on them as they like.", "We only watch."] * 4
NUM_BIOGRAPHIES = 5


class TheirData(torch.utils.data.Dataset[dict]):
    """Their own texts, one a row, padded."""

    def __len__(self) -> int:
        return len(SENTENCES)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.tensor((tokenizer_of("own")(SENTENCES[index]).input_ids + [0] * 16)[:16])
        return {"input_ids": ids, "labels": ids}


class Observer:
    """What the Trainer's steps see: in training mode or not."""

    def __init__(self, model: Any) -> None:
        self.modes: list[bool] = []
        model.register_forward_hook(lambda module, args, output: self.modes.append(module.training))


def their_trainer(tmp_path: Path, model: Any = None, **options: Any) -> Trainer:
    """A Trainer of transformers with nothing of ours."""
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "theirs"),
        max_steps=4,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        **options,
    )
    model = model_of("llama", tokenizer_of("own")) if model is None else model
    return Trainer(model=model, args=arguments, train_dataset=TheirData(), eval_dataset=TheirData())


def watch(**options: Any) -> AttributeEvaluation:
    return AttributeEvaluation(tokenizer_of("own"), DATA, num_biographies=NUM_BIOGRAPHIES, batch_size=2, **options)


def places(callback: AttributeEvaluation) -> list[tuple[int, str]]:
    return [(line["step"], line["split"]) for line in callback.history]


def test_steps_say_when(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=[0, 1, 3])
    trainer.add_callback(callback)
    trainer.train()
    assert places(callback) == [(step, split) for step in (0, 1, 3) for split in ("validation", "unseen")]


def test_untrained_model_is_left_out_if_steps_do_not_name_it(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=range(2, 100, 2), splits=["unseen"])
    trainer.add_callback(callback)
    trainer.train()
    assert places(callback) == [(2, "unseen"), (4, "unseen")]


def test_without_steps_it_goes_with_the_evaluations_of_the_trainer(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path, eval_strategy="steps", eval_steps=2), watch(splits=["train"])
    trainer.add_callback(callback)
    trainer.train()
    assert places(callback) == [(0, "train"), (2, "train"), (4, "train")]
    trainer.evaluate()
    assert places(callback)[3:] == [(4, "train")]


def test_without_steps_and_evaluations_there_is_the_untrained_model_alone(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch()
    trainer.add_callback(callback)
    trainer.train()
    assert places(callback) == [(0, "validation"), (0, "unseen")]


def test_history_has_the_metrics_of_the_model_at_that_step(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=[0, 4])
    trainer.add_callback(callback)
    untrained = model_of("llama", tokenizer_of("own"))
    trainer.train()
    tokenize = BiographyTokenizer(tokenizer_of("own"))
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
            assert line == pytest.approx(expected, rel=1e-5)


def test_every_biography_has_each_attribute_once(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=[0])
    trainer.add_callback(callback)
    trainer.train()
    for line in callback.history:
        assert {line[f"num_values/{name}"] for name in ATTRIBUTES} == {NUM_BIOGRAPHIES}


def test_log_of_the_trainer_gets_the_metrics(tmp_path: Path) -> None:
    trainer = their_trainer(tmp_path)
    callback = watch(steps=[0, 2], log=trainer.log)
    trainer.add_callback(callback)
    trainer.train()
    for line in callback.history:
        logged = [entry for entry in trainer.state.log_history if f"{line['split']}/attribute_loss" in entry]
        (found,) = [entry for entry in logged if entry["step"] == line["step"]]
        assert found[f"{line['split']}/attribute_loss"] == line["attribute_loss"]
        assert found[f"{line['split']}/attribute_accuracy/major"] == line["attribute_accuracy/major"]
    assert [entry["step"] for entry in trainer.state.log_history if "loss" in entry] == [1, 2, 3, 4]  # their own are all there


def test_file_gets_the_lines_of_history(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": -1}\n')  # is appended to
    trainer, callback = their_trainer(tmp_path), watch(steps=[0, 2], file=str(file))
    trainer.add_callback(callback)
    trainer.train()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [{"step": -1}, *callback.history]
    assert len(lines) == 5


def test_training_goes_on_as_it_would_have(tmp_path: Path) -> None:
    """In training mode, with the same random numbers, and all logits."""
    weights, losses = [], []
    for callbacks in ([], [watch(steps=[0, 1, 2, 4])]):
        torch.manual_seed(3)
        model = model_of("gpt2", tokenizer_of("own"))  # which has dropout
        observed, trainer = Observer(model), their_trainer(tmp_path, model)
        for callback in callbacks:
            trainer.add_callback(callback)
        trainer.train()
        assert model.training
        scored = 8 * (3 + 2) if callbacks else 0  # 4 steps x 2 splits x (3 batches of biographies, 2 to see that it is causal)
        assert (sum(observed.modes), len(observed.modes)) == (4, 4 + scored)
        weights.append([weight.detach().clone() for weight in model.parameters()])
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == losses[1]
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


def test_model_in_evaluation_mode_stays_in_it(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch()
    trainer.add_callback(callback)
    trainer.model.eval()
    trainer.evaluate()
    assert len(callback.history) == 2
    assert not trainer.model.training


def test_resumed_training_does_not_evaluate_the_untrained_model_again(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch()
    trainer.state.global_step = 7
    callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
    assert callback.history == []


def test_config_may_be_a_name_and_tokenizer_one_of_ours() -> None:
    callback = AttributeEvaluation(BiographyTokenizer(tokenizer_of("own")), "n1k")
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
        ({"file": "/no/such/file.jsonl"}, "file is '/no/such/file.jsonl', but there is no folder /no/such; make it first"),
    ],
)
def test_argument_that_cannot_be_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        AttributeEvaluation(tokenizer_of("own"), DATA, **arguments)
    assert str(error.value).startswith(message)


def test_unknown_config_and_slow_tokenizer_are_refused() -> None:
    with pytest.raises(ValueError, match="n2k"):
        AttributeEvaluation(tokenizer_of("own"), "n2k")

    class Snail:
        is_fast = False
        name_or_path = "snail"

    with pytest.raises(ValueError, match="tokenizer is a Snail; it must be a fast tokenizer"):
        AttributeEvaluation(Snail(), DATA)


def test_model_that_diverged_is_refused(tmp_path: Path) -> None:
    trainer = their_trainer(tmp_path)
    trainer.add_callback(watch(steps=[0]))
    trainer.model.lm_head.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="the model's logits have NaN"):
        trainer.train()
