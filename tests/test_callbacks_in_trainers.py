"""The callback in Trainers of other people."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinds import model_of, tokenizer_of
from plain_metric import NAMES
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback
from transformers.integrations import TensorBoardCallback
from watched_trainers import (
    DATA,
    EVERY_STEP,
    NUM_BIOGRAPHIES,
    TheirData,
    counted_forwards,
    in_file,
    places,
    their_trainer,
    watch,
    watched,
)

from bio_facts.generate.biography import rows
from bio_facts.generate.config import Config
from bio_facts.generate.splits import draw
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.scoring import score


def test_each_step_is_evaluated_once_for_several_eval_datasets(tmp_path: Path) -> None:
    callback = watch(splits=["unseen"])
    trainer = watched(tmp_path, callback, eval_dataset={name: TheirData() for name in "abc"}, eval_on_start=True)
    trainer.train()
    assert places(callback) == [(step, "unseen") for step in range(5)]
    with counted_forwards(trainer.model) as calls:
        for name in ("eval_a", "eval_b", "eval"):
            callback.on_evaluate(trainer.args, trainer.state, trainer.control, trainer.model, {f"{name}_loss": 1.0})
    assert len(calls) == 3  # one for each, to see that the model is the same


def test_metrics_go_to_the_first_of_several_eval_datasets_whenever_it_is_evaluated(tmp_path: Path) -> None:
    callback = watch(splits=["unseen"])
    trainer = watched(tmp_path, callback, eval_dataset={name: TheirData() for name in "abc"}, eval_on_start=True)
    seen: list[tuple[int, list[str]]] = []

    class Listener(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
            if "eval_unseen/attribute_loss" in metrics:
                seen.append((state.global_step, [name for name in "abc" if f"eval_{name}_loss" in metrics]))

    trainer.add_callback(Listener())
    trainer.train()
    assert seen == [(step, ["a"]) for step in range(5)]
    metrics = trainer.evaluate()
    assert metrics["eval_unseen/attribute_loss"] == callback.history[-1]["attribute_loss"]
    assert seen[5:] == [(4, ["a"])]


def test_evaluations_before_training_at_its_start_and_at_its_end_leave_one_line_each(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    callback = watch(splits=["unseen"], file=file)
    trainer = watched(tmp_path, callback, eval_on_start=True)
    trainer.evaluate()
    trainer.train()
    trainer.evaluate()
    assert [(line["step"], line.get("restart")) for line in in_file(file)] == [(step, None) for step in range(5)]
    assert in_file(file) == callback.history


def test_changed_model_is_scored_again_at_the_same_step(tmp_path: Path) -> None:
    """As load_best_model_at_end puts other weights into the model of the last step."""
    callback = watch(splits=["unseen"])
    trainer = watched(tmp_path, callback)
    trainer.train()
    last = callback.history[-1]["attribute_loss"]
    trainer.model.load_state_dict(model_of("llama", tokenizer_of("bio_facts")).state_dict())
    assert trainer.evaluate()["eval_unseen/attribute_loss"] == pytest.approx(callback.history[0]["attribute_loss"], rel=1e-6)
    assert callback.history[-1]["attribute_loss"] == last
    assert places(callback) == [(step, "unseen") for step in range(5)]


@pytest.mark.parametrize("new_process", [True, False])
def test_resumed_training_has_each_step_once(new_process: bool, tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text("notes of somebody else\n")
    callback = watch(splits=["unseen"], file=file)
    trainer = watched(tmp_path, callback, save_strategy="steps", save_steps=2)
    trainer.train()
    whole = callback.history[:]
    with file.open("a") as opened:
        opened.write('{"step": 5, "spl')  # killed while it was written
    if new_process:
        callback = watch(splits=["unseen"], file=file)
        trainer = watched(tmp_path, callback, save_strategy="steps", save_steps=2)
    trainer.train(resume_from_checkpoint=str(tmp_path / "theirs" / "checkpoint-2"))
    assert places(callback) == [(step, "unseen") for step in range(5)]
    first, *lines = file.read_text().splitlines()
    assert first == "notes of somebody else"
    assert [json.loads(line) for line in lines] == callback.history
    assert callback.history[:3] == whole[:3]
    assert callback.history[4] == pytest.approx(whole[4])


def test_training_restarted_with_a_smaller_batch_has_a_restart_number(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    callback, model = watch(splits=["unseen"], file=file), model_of("llama", tokenizer_of("bio_facts"))

    def out_of_memory(module: Any, args: Any, named: dict[str, Any]) -> None:
        if module.training and trainer.state.global_step == 2 and len(named["input_ids"]) == 2:
            raise RuntimeError("CUDA out of memory.")

    model.register_forward_pre_hook(out_of_memory, with_kwargs=True)
    trainer = watched(tmp_path, callback, model, auto_find_batch_size=True)
    trainer.train()
    before, after = [(step, None) for step in (0, 1, 2)], [(step, 1) for step in range(5)]
    assert [(line["step"], line.get("restart")) for line in callback.history] == before + after
    assert in_file(file) == callback.history
    assert callback.history[3]["attribute_loss"] == pytest.approx(callback.history[2]["attribute_loss"])  # weights are kept


def test_second_training_and_second_run_with_the_same_file_have_restart_numbers(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    callback = watch(splits=["unseen"], file=file, steps=[0, 4])
    trainer = watched(tmp_path, callback)
    trainer.train()
    trainer.train()
    other = watch(splits=["unseen"], file=file, steps=[0, 4])
    watched(tmp_path, other).train()
    assert [(line["step"], line.get("restart", 0)) for line in in_file(file)] == [(s, r) for r in (0, 1, 2) for s in (0, 4)]
    assert in_file(file) == callback.history + other.history


@pytest.mark.parametrize("evaluates_before", [False, True])
def test_second_run_with_the_same_file_that_is_resumed_leaves_the_lines_of_the_first(
    evaluates_before: bool, tmp_path: Path
) -> None:
    file, saves = tmp_path / "metrics.jsonl", {"save_strategy": "steps", "save_steps": 2}
    for _ in range(2):
        watched(tmp_path, watch(splits=["unseen"], file=file, steps=[0, 4]), **saves).train()
    first, second = in_file(file)[:2], in_file(file)[2:]
    file.write_text("".join(json.dumps(line) + "\n" for line in first + second[:1]))  # the second was killed after step 2
    resumed = watch(splits=["unseen"], file=file, steps=[0, 4])
    trainer = watched(tmp_path, resumed, **saves)
    if evaluates_before:
        resumed.steps = None
        trainer.evaluate()  # of a model that does not belong to the run
        assert in_file(file)[-1]["restart"] == 2
        resumed.steps = [0, 4]
    trainer.train(resume_from_checkpoint=str(tmp_path / "theirs" / "checkpoint-2"))
    assert in_file(file)[:2] == first
    assert [(line["step"], line["restart"]) for line in in_file(file)[2:]] == [(0, 1), (4, 1)]
    assert in_file(file)[2] == second[0]


def test_early_stopping_sees_the_metrics_though_it_was_added_before(tmp_path: Path) -> None:
    class Stopping(EarlyStoppingCallback):
        values: list[float] = []

        def check_metric_value(self, args: Any, state: Any, control: Any, metric_value: float) -> None:
            self.values.append(metric_value)
            super().check_metric_value(args, state, control, metric_value)

    Stopping.values = []
    stopping, callback = Stopping(early_stopping_patience=2, early_stopping_threshold=1e9), watch(splits=["unseen"])
    best = {"load_best_model_at_end": True, "metric_for_best_model": "unseen/attribute_loss", "greater_is_better": False}
    arguments = their_trainer(tmp_path, **EVERY_STEP, **best, save_strategy="steps", save_steps=1).args
    data = {name: TheirData() for name in "ab"}
    trainer = Trainer(
        model=model_of("llama", tokenizer_of("bio_facts")), args=arguments, train_dataset=TheirData(), eval_dataset=data,
        callbacks=[stopping],
    )  # fmt: skip
    callback.attach(trainer)
    callback.attach(trainer)  # once more changes nothing
    assert [type(item) for item in trainer.callback_handler.callbacks].count(AttributeEvaluation) == 1
    trainer.train()
    assert trainer.state.global_step == 3  # the first is the best so far; two more are not better by the threshold
    assert Stopping.values == [line["attribute_loss"] for line in callback.history if line["step"] in (1, 2, 3)]


def test_attached_callback_keeps_a_log_that_it_was_given(tmp_path: Path) -> None:
    logged: list[dict] = []
    trainer = their_trainer(tmp_path)
    assert watch(log=logged.append).attach(trainer).log == logged.append
    assert watch().attach(trainer).log == trainer.log


def test_attached_callback_logs_through_the_trainer_that_it_was_attached_to_last(tmp_path: Path) -> None:
    first, second, logged = their_trainer(tmp_path), their_trainer(tmp_path), []
    callback = watch().attach(first).attach(second)
    assert callback.log == second.log != first.log
    callback.log = logged.append
    assert callback.attach(first).log == logged.append


def test_second_callback_of_a_trainer_needs_another_file_and_other_names(tmp_path: Path) -> None:
    trainer, file = their_trainer(tmp_path, **EVERY_STEP), tmp_path / "metrics.jsonl"
    (tmp_path / "theirs").mkdir(exist_ok=True)
    first = watch(splits=["unseen"], file=file).attach(trainer)
    with pytest.raises(ValueError, match=r"^splits has 'unseen', which another AttributeEvaluation of this Trainer logs under"):
        watch(splits=["train", "unseen"]).attach(trainer)
    with pytest.raises(
        ValueError, match=r"^file is '.*metrics.jsonl', which another AttributeEvaluation of this Trainer writes"
    ):
        watch(splits=["train"], file=tmp_path / "theirs" / ".." / "metrics.jsonl").attach(trainer)
    second = watch(splits=["train"], file=tmp_path / "others.jsonl").attach(trainer)
    logged: list[dict] = []
    third = AttributeEvaluation(
        tokenizer_of("bio_facts"), Config(num_individuals=9), splits=["unseen"], num_biographies=2, log=logged.append
    ).attach(trainer)
    first.attach(trainer)
    trainer.train()
    for callback in (first, second, third):
        assert [(line["step"], line.get("restart")) for line in callback.history] == [(step, None) for step in range(5)]
    assert [scores["unseen/attribute_loss"] for scores in logged] == [line["attribute_loss"] for line in third.history]
    assert trainer.evaluate()["eval_unseen/attribute_loss"] == first.history[-1]["attribute_loss"]


def test_metrics_under_other_prefixes_are_left_alone(tmp_path: Path) -> None:
    callback = watch(splits=["unseen"])
    trainer = watched(tmp_path, callback)
    evaluations: list[dict] = []

    class Overfitting(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            evaluations.append(trainer.evaluate(TheirData(), metric_key_prefix="train"))
            evaluations.append(trainer.predict(TheirData()).metrics)
            control.should_evaluate = True

    trainer.add_callback(Overfitting())
    trainer.train()
    ours = [entry["step"] for entry in trainer.state.log_history if "unseen/attribute_loss" in entry]
    assert ours == [0, 1, 2, 3, 4]
    assert not any("attribute" in name for metrics in evaluations for name in metrics)
    assert trainer.evaluate()["eval_unseen/attribute_loss"] == callback.history[-1]["attribute_loss"]


def test_metrics_have_the_scores_at_steps(tmp_path: Path) -> None:
    callback = watch(splits=["unseen"], steps=[2, 4])
    trainer = watched(tmp_path, callback)
    seen: dict[int, float | None] = {}

    class Listener(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
            seen[state.global_step] = metrics.get("eval_unseen/attribute_loss")

    trainer.add_callback(Listener())
    trainer.train()
    losses = {line["step"]: line["attribute_loss"] for line in callback.history}
    assert seen == {1: None, 2: losses[2], 3: None, 4: losses[4]}


def test_weights_changed_without_autograd_are_scored_again(tmp_path: Path) -> None:
    """As an average of weights does, before the evaluation of a step ends."""
    callback = watch(splits=["unseen"])
    trainer = watched(tmp_path, callback)
    losses = [trainer.evaluate()["eval_unseen/attribute_loss"]]
    weight = trainer.model.lm_head.weight
    for factor in (1.5, 1 / 1.5):
        weight.data.copy_(weight.data * factor)
        losses.append(trainer.evaluate()["eval_unseen/attribute_loss"])
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)


def test_scores_are_those_of_score(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=[0], splits=["unseen"])
    callback.attach(trainer)
    trainer.train()
    texts, tokenizer = rows(draw(DATA, "unseen", range(NUM_BIOGRAPHIES))), tokenizer_of("bio_facts")
    totals = score(model_of("llama", tokenizer), tokenizer, texts).totals()
    assert callback.history[0]["attribute_loss"] == pytest.approx(totals.summary(NAMES)["attribute_loss"], rel=1e-6)


@pytest.mark.ecosystem
@pytest.mark.parametrize("tracker_first", [True, False])
def test_tracker_gets_every_step_before_or_behind_the_callback(
    tracker_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard is ready once training has begun; what it got before would go to another file, elsewhere."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    trainer, callback = their_trainer(tmp_path, report_to=["tensorboard"]), watch(steps=[0, 2], splits=["unseen"])
    callback.attach(trainer)
    callbacks = trainer.callback_handler.callbacks
    (tracker,) = (item for item in callbacks if isinstance(item, TensorBoardCallback))
    callbacks.remove(tracker)
    callbacks.insert(0 if tracker_first else len(callbacks), tracker)
    trainer.train()
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    assert (tmp_path / "theirs") in events.parents
    logged = EventAccumulator(str(events)).Reload()
    expected = {
        f"train/unseen/{name}": [(line["step"], line[name]) for line in callback.history]
        for name in ("attribute_loss", "attribute_accuracy", "token_loss")
    }
    events_by_tag = {tag: [(item.step, item.value) for item in logged.Scalars(tag)] for tag in expected}
    assert [step for step, _ in events_by_tag["train/unseen/attribute_loss"]] == [0, 2]
    for tag, items in expected.items():
        assert np.array(events_by_tag[tag]) == pytest.approx(np.array(items)), tag
