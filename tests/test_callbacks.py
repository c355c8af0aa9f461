import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kinds import model_of, tokenizer_of
from plain_metric import NAMES
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import Config, get_config
from bio_facts.generate.splits import draw
from bio_facts.measure.baseline import no_knowledge_loss, pool_no_knowledge_loss
from bio_facts.measure.callbacks import AttributeEvaluation
from bio_facts.measure.scoring import score, score_tokens
from bio_facts.measure.tokens import BiographyTokenizer

DATA = Config(num_individuals=20)
SENTENCES = ["Somebody else has texts of their own.", "They train on them as they like.", "We only watch."] * 4
NUM_BIOGRAPHIES = 5


class TheirData(torch.utils.data.Dataset[dict]):
    """Their own texts, one a row, padded."""

    def __len__(self) -> int:
        return len(SENTENCES)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.tensor((tokenizer_of("bio_facts")(SENTENCES[index]).input_ids + [0] * 16)[:16])
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
        disable_tqdm=True,
        use_cpu=True,
        **{"save_strategy": "no", "report_to": []} | options,
    )
    model = model_of("llama", tokenizer_of("bio_facts")) if model is None else model
    return Trainer(model=model, args=arguments, train_dataset=TheirData(), eval_dataset=TheirData())


def watch(**options: Any) -> AttributeEvaluation:
    return AttributeEvaluation(tokenizer_of("bio_facts"), DATA, num_biographies=NUM_BIOGRAPHIES, batch_size=2, **options)


def places(callback: AttributeEvaluation) -> list[tuple[int, str]]:
    return [(line["step"], line["split"]) for line in callback.history]


def test_steps_say_when(tmp_path: Path) -> None:
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


def test_untrained_model_is_left_out_if_steps_do_not_name_it(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=range(2, 100, 2), splits=["unseen"])
    callback.attach(trainer)
    trainer.train()
    assert places(callback) == [(2, "unseen"), (4, "unseen")]


def test_without_steps_it_goes_with_the_evaluations_of_the_trainer(tmp_path: Path) -> None:
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
            assert line == pytest.approx(expected, rel=1e-5)


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
        (found,) = [entry for entry in logged if entry["step"] == line["step"]]
        assert found[f"{line['split']}/attribute_loss"] == line["attribute_loss"]
        assert found[f"{line['split']}/attribute_accuracy/major"] == line["attribute_accuracy/major"]
    assert [entry["step"] for entry in trainer.state.log_history if "loss" in entry] == [1, 2, 3, 4]  # their own are all there


def test_file_gets_the_lines_of_history(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": -1}\n')  # is appended to
    trainer, callback = their_trainer(tmp_path), watch(steps=[0, 2], file=str(file))
    callback.attach(trainer)
    trainer.train()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [{"step": -1}, *callback.history]
    assert len(lines) == 5


def test_training_goes_on_as_it_would_have(tmp_path: Path) -> None:
    """In training mode, with the same random numbers, and all logits."""
    weights, losses = [], []
    for callbacks in ([], [watch(steps=[0, 1, 2, 4])]):
        torch.manual_seed(3)
        model = model_of("gpt2", tokenizer_of("bio_facts"))  # which has dropout
        observed, trainer = Observer(model), their_trainer(tmp_path, model)
        for callback in callbacks:
            callback.attach(trainer)
        trainer.train()
        assert model.training
        # 4 steps x (2 splits x 3 batches, the model's fingerprint, may logits be left out?); is it causal?
        scored = 4 * (2 * 3 + 1 + 4) + 3 if callbacks else 0
        assert (sum(observed.modes), len(observed.modes)) == (4, 4 + scored)
        weights.append([weight.detach().clone() for weight in model.parameters()])
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == losses[1]
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


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


def test_config_may_be_a_name_and_tokenizer_one_of_ours() -> None:
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
def test_argument_that_cannot_be_is_refused(arguments: dict, message: str) -> None:
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


def test_model_that_diverged_is_refused(tmp_path: Path) -> None:
    trainer = their_trainer(tmp_path)
    watch(steps=[0]).attach(trainer)
    trainer.model.lm_head.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="the model's logits have NaN"):
        trainer.train()


# Other people's Trainers


EVERY_STEP = {"eval_strategy": "steps", "eval_steps": 1}


def watched(
    tmp_path: Path, callback: AttributeEvaluation, model: Any = None, eval_dataset: Any = None, **options: Any
) -> Trainer:
    trainer = their_trainer(tmp_path, model, **EVERY_STEP | options)
    trainer.eval_dataset = eval_dataset or trainer.eval_dataset
    callback.attach(trainer)
    return trainer


def in_file(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@contextmanager
def counted_forwards(model: Any) -> Iterator[list[int]]:
    calls: list[int] = []
    handle = model.register_forward_pre_hook(lambda module, args: calls.append(1))
    yield calls
    handle.remove()


def test_several_eval_datasets_make_one_evaluation_of_a_step(tmp_path: Path) -> None:
    callback = watch(splits=["unseen"])
    trainer = watched(tmp_path, callback, eval_dataset={name: TheirData() for name in "abc"}, eval_on_start=True)
    trainer.train()
    assert places(callback) == [(step, "unseen") for step in range(5)]
    with counted_forwards(trainer.model) as calls:
        for name in ("eval_a", "eval_b", "eval"):
            callback.on_evaluate(trainer.args, trainer.state, trainer.control, trainer.model, {f"{name}_loss": 1.0})
    assert len(calls) == 3  # one each to see that it is the same model


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


def test_scores_are_the_models_at_hand_though_its_step_has_a_line(tmp_path: Path) -> None:
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
def test_resumed_training_has_no_step_twice(new_process: bool, tmp_path: Path) -> None:
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


def test_training_that_begins_anew_with_a_smaller_batch_is_told_apart(tmp_path: Path) -> None:
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


def test_second_training_and_second_run_with_the_same_file_are_told_apart(tmp_path: Path) -> None:
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
        trainer.evaluate()  # of a model that is none of the run's
        assert in_file(file)[-1]["restart"] == 2
        resumed.steps = [0, 4]
    trainer.train(resume_from_checkpoint=str(tmp_path / "theirs" / "checkpoint-2"))
    assert in_file(file)[:2] == first
    assert [(line["step"], line["restart"]) for line in in_file(file)[2:]] == [(0, 1), (4, 1)]
    assert in_file(file)[2] == second[0]


def test_early_stopping_sees_the_metrics_wherever_it_was_given(tmp_path: Path) -> None:
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
    assert [type(one) for one in trainer.callback_handler.callbacks].count(AttributeEvaluation) == 1
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


def test_second_callback_of_a_trainer_needs_a_file_and_names_of_its_own(tmp_path: Path) -> None:
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
    found: list[dict] = []

    class Overfitting(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            found.append(trainer.evaluate(TheirData(), metric_key_prefix="train"))
            found.append(trainer.predict(TheirData()).metrics)
            control.should_evaluate = True

    trainer.add_callback(Overfitting())
    trainer.train()
    ours = [entry["step"] for entry in trainer.state.log_history if "unseen/attribute_loss" in entry]
    assert ours == [0, 1, 2, 3, 4]
    assert not any("attribute" in name for metrics in found for name in metrics)
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


def test_weights_exchanged_behind_the_back_of_autograd_are_scored(tmp_path: Path) -> None:
    """As by an average of weights, before a step's evaluation ends."""
    callback = watch(splits=["unseen"])
    trainer = watched(tmp_path, callback)
    losses = [trainer.evaluate()["eval_unseen/attribute_loss"]]
    weight = trainer.model.lm_head.weight
    for factor in (1.5, 1 / 1.5):
        weight.data.copy_(weight.data * factor)
        losses.append(trainer.evaluate()["eval_unseen/attribute_loss"])
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)


def test_all_texts_of_a_config_are_scored_as_score_does(tmp_path: Path) -> None:
    trainer, callback = their_trainer(tmp_path), watch(steps=[0], splits=["unseen"])
    callback.attach(trainer)
    trainer.train()
    texts, tokenizer = rows(draw(DATA, "unseen", range(NUM_BIOGRAPHIES))), tokenizer_of("bio_facts")
    totals = score(model_of("llama", tokenizer), tokenizer, texts).totals()
    assert callback.history[0]["attribute_loss"] == pytest.approx(totals.summary(NAMES)["attribute_loss"], rel=1e-6)


@pytest.mark.ecosystem
@pytest.mark.parametrize("tracker_first", [True, False])
def test_trackers_get_every_step_wherever_they_stand(
    tracker_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard is ready once its training has begun: what it got before would stand in a file of its own, elsewhere."""
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
    found = {tag: [(item.step, item.value) for item in logged.Scalars(tag)] for tag in expected}
    assert [step for step, _ in found["train/unseen/attribute_loss"]] == [0, 2]
    for tag, items in expected.items():
        assert np.array(found[tag]) == pytest.approx(np.array(items)), tag
