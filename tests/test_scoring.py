import itertools
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from kinds import FAMILIES, KINDS, model_of, tokenizer_of
from plain_metric import NAMES, plain_metrics
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertLMHeadModel, GPT2Config, GPT2LMHeadModel, GPT2Model, PreTrainedTokenizerFast

import bio_facts
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.splits import draw
from bio_facts.measure.scoring import NOT_SCORED, Scores, score, score_tokens, token_scores
from bio_facts.measure.tokens import BiographyTokenizer, TokenBatch

BIOGRAPHIES = draw(CONFIGS["n1k"], "validation", range(9))
ROWS = rows(BIOGRAPHIES)
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TINY_GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2}
COLUMNS = ("nlls", "top_probabilities", "entropies")


@pytest.fixture(scope="module")
def model() -> Any:
    return model_of("llama", tokenizer_of("bio_facts"))


@pytest.fixture(scope="module")
def scores(model: Any) -> Scores:
    return score(model, tokenizer_of("bio_facts"), ROWS)


def with_start(tokenizer: Any) -> Any:
    """The tokenizer with a token put before every text."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    start = backend.get_vocab_size() - 1  # any token will do; the vocabulary of the model stays as it is
    token = backend.id_to_token(start)
    backend.post_processor = processors.TemplateProcessing(single=f"{token} $A", special_tokens=[(token, start)])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def assert_scores_equal(actual: Scores, expected: Scores, abs: float = 1e-5) -> None:
    assert len(actual.references) == len(expected.references)
    for name in ("references", "attribute_ids", "predictions"):
        for row, expected_row in zip(getattr(actual, name), getattr(expected, name), strict=True):
            assert row.tolist() == expected_row.tolist()
    for name in COLUMNS:
        for row, expected_row in zip(getattr(actual, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(row, expected_row, atol=abs, rtol=0)


def naive_scores(model: Any, ids: list[int]) -> dict[str, list]:
    """Scores of every token of a row but the first, from all logits, in double precision."""
    with torch.no_grad():
        distributions = model(torch.tensor([ids])).logits[0].double().softmax(-1)
    columns: dict[str, list] = {"predictions": [NOT_SCORED], "nlls": [0.0], "top_probabilities": [0.0], "entropies": [0.0]}
    for token, probabilities in zip(ids[1:], distributions, strict=False):
        columns["predictions"].append(int(probabilities.argmax()))
        columns["nlls"].append(-math.log(probabilities[token]))
        columns["top_probabilities"].append(float(probabilities.max()))
        columns["entropies"].append(float(torch.special.entr(probabilities).sum()))
    return columns


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_of_any_model_and_tokenizer_are_those_of_all_logits(family: str, kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    model, chosen = model_of(family, tokenizer), ROWS[:3]
    scores = score(model, tokenizer, chosen, batch_size=2)
    everything = score(model, tokenizer, chosen, batch_size=2, all_tokens=True)
    for k, row in enumerate(chosen):
        ids = tokenizer(row["text"]).input_ids
        assert scores.references[k].tolist() == everything.references[k].tolist() == ids
        is_value, naive = scores.attribute_ids[k] > 0, naive_scores(model, ids)
        assert everything.predictions[k].tolist() == naive["predictions"]
        assert scores.predictions[k].tolist() == np.where(is_value, naive["predictions"], NOT_SCORED).tolist()
        for name in COLUMNS:
            np.testing.assert_allclose(getattr(everything, name)[k], naive[name], atol=1e-5, rtol=1e-5)
            np.testing.assert_allclose(getattr(scores, name)[k], np.where(is_value, naive[name], 0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_uniform_model_loses_log_vocabulary_for_each_token_of_each_value(family: str, kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    model = model_of(family, tokenizer)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    scores = score(model, tokenizer, ROWS)
    log_vocabulary = math.log(len(tokenizer))
    for k, row in enumerate(ROWS):
        for value in row["attributes"]:
            of_value = scores.attribute_ids[k] == ATTRIBUTES[value["attribute"]].attribute_id
            assert scores.nlls[k][of_value].sum() == pytest.approx(of_value.sum() * log_vocabulary, rel=1e-6)
            assert scores.entropies[k][of_value] == pytest.approx(log_vocabulary, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_the_generators_tokens_where_they_are_the_same(family: str, kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    model = model_of(family, tokenizer)
    tokenize, scores = BiographyTokenizer(tokenizer), score(model, tokenizer, ROWS)
    assert scores.num_rows_apart == 0
    for k in range(len(ROWS)):
        generated = score_tokens(model, tokenize(draw(CONFIGS["n1k"], "validation", [k])))
        losses = [scores.nlls[k][scores.attribute_ids[k] == number].sum() for number in range(1, 7)]
        np.testing.assert_allclose(losses, generated.loss_sum, atol=1e-5, rtol=1e-5)


def test_rows_apart_are_counted_and_the_others_score_as_the_generators_tokens() -> None:
    tokenizer = tokenizer_of("merging_bpe")
    model, tokenize = model_of("gpt2", tokenizer), BiographyTokenizer(tokenizer)
    indices = range(200)
    texts = rows(draw(CONFIGS["n1k"], "validation", indices))
    same = [
        k
        for k in indices
        if tokenizer(texts[k]["text"]).input_ids == tokenize(draw(CONFIGS["n1k"], "validation", [k])).input_ids[0].tolist()
    ]
    scores = score(model, tokenizer, texts)
    assert scores.num_rows_apart == len(texts) - len(same) > 0
    assert scores.num_straddling_tokens > 0
    for k in same:
        generated = score_tokens(model, tokenize(draw(CONFIGS["n1k"], "validation", [k])))
        losses = [scores.nlls[k][scores.attribute_ids[k] == number].sum() for number in range(1, 7)]
        np.testing.assert_allclose(losses, generated.loss_sum, atol=1e-5, rtol=1e-5)


def test_counts_of_all_batches_are_added_up(model: Any) -> None:
    # max_length 40 truncates values of every row
    truncated = score(model, tokenizer_of("bio_facts"), ROWS, max_length=40, allow_truncation=True, batch_size=2)
    longest = [np.flatnonzero(score(model, tokenizer_of("bio_facts"), [row]).attribute_ids[0]).max() for row in ROWS]
    assert min(longest) >= 40
    assert all(len(row) == 40 for row in truncated.references)
    kept = sum(len({*row.tolist()} - {0}) for row in truncated.attribute_ids)
    assert truncated.num_truncated_values == len(ROWS) * 6 - kept > len(ROWS)


def test_truncation_leaves_the_scores_of_remaining_values(model: Any, scores: Scores) -> None:
    truncated = score(model, tokenizer_of("bio_facts"), ROWS, max_length=40, allow_truncation=True)
    for k in range(len(ROWS)):
        is_value = truncated.attribute_ids[k] > 0
        np.testing.assert_allclose(truncated.nlls[k], np.where(is_value, scores.nlls[k][:40], 0), atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_rows_longer_than_the_model_takes_are_refused(family: str) -> None:
    model = model_of(family, tokenizer_of("bio_facts"))
    model.config.max_position_embeddings = 50
    with pytest.raises(
        ValueError, match=r"^row 0 has \d+ tokens, and max_length 50 truncates \d of its values; raise max_length"
    ):
        score(model, tokenizer_of("bio_facts"), ROWS)


def test_row_in_an_error_is_counted_over_batches(model: Any) -> None:
    wrong = ROWS[5] | {"text": ROWS[5]["text"][:-40]}
    with pytest.raises(ValueError, match=r"^row 5: \w+ has span \d+\.\.\d+; it must be within its text"):
        score(model, tokenizer_of("bio_facts"), [*ROWS[:5], wrong], batch_size=2)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_batch_size_changes_nothing(model: Any, scores: Scores, batch_size: int) -> None:
    assert_scores_equal(score(model, tokenizer_of("bio_facts"), ROWS, batch_size=batch_size), scores)


def test_order_of_rows_is_kept(model: Any, scores: Scores) -> None:
    backwards = score(model, tokenizer_of("bio_facts"), ROWS[::-1], batch_size=2)
    assert_scores_equal(Scores(**{name: rows[::-1] for name, rows in backwards.inputs(details=True).items()}), scores)


def test_padding_side_of_the_tokenizer_changes_nothing(model: Any, scores: Scores) -> None:
    left = PreTrainedTokenizerFast(tokenizer_object=tokenizer_of("bio_facts").backend_tokenizer, padding_side="left")
    assert_scores_equal(score(model, left, ROWS, batch_size=4), scores)


@pytest.mark.parametrize("family", FAMILIES)
def test_token_that_the_tokenizer_puts_before_a_text_is_seen(family: str) -> None:
    tokenizer = with_start(tokenizer_of("bio_facts"))
    model = model_of(family, tokenizer)
    scores = score(model, tokenizer, ROWS[:2])
    for k in range(2):
        ids = tokenizer(ROWS[k]["text"]).input_ids
        assert ids[0] == len(tokenizer) - 1
        naive = naive_scores(model, ids)
        is_value = scores.attribute_ids[k] > 0
        np.testing.assert_allclose(scores.nlls[k], np.where(is_value, naive["nlls"], 0), atol=1e-5, rtol=1e-5)
    assert scores.num_rows_apart == 0


def test_text_that_begins_with_a_value_needs_a_token_before_it(model: Any) -> None:
    row = {"text": "London is home.", "attributes": [{"attribute": "birth_place", "start": 0, "end": 6}]}
    with pytest.raises(ValueError, match=r"^row 1 begins with a value, which nothing predicts; texts must begin otherwise, or"):
        score(model, tokenizer_of("bio_facts"), [ROWS[0], row])
    tokenizer = with_start(tokenizer_of("bio_facts"))
    scores = score(model, tokenizer, [row])
    number = int((scores.attribute_ids[0] > 0).sum())
    assert scores.attribute_ids[0].tolist()[: number + 1] == [0] + [1] * number
    assert scores.nlls[0][1] == pytest.approx(naive_scores(model, tokenizer(row["text"]).input_ids)["nlls"][1], rel=1e-5)


def dataset_of(given: list[dict]) -> Any:
    import datasets

    return datasets.Dataset.from_list(given)


@pytest.mark.parametrize(
    "make", [iter, lambda given: (row for row in given), tuple, pytest.param(dataset_of, marks=pytest.mark.ecosystem)]
)
def test_rows_may_come_from_anywhere(model: Any, scores: Scores, make: Any) -> None:
    assert_scores_equal(score(model, tokenizer_of("bio_facts"), make(ROWS), batch_size=4), scores)


def test_rows_are_taken_batch_by_batch(model: Any) -> None:
    taken = []

    def source() -> Iterator[dict]:
        for k in itertools.count():
            taken.append(k)
            yield ROWS[0] if k < 4 else {"text": "x", "attributes": [{"attribute": "y", "start": 0, "end": 1}]}

    with pytest.raises(ValueError, match="row 4: attribute is 'y'"):
        score(model, tokenizer_of("bio_facts"), source(), batch_size=2)
    assert taken == list(range(6))


def test_no_rows_and_rows_without_values_have_no_scores(model: Any) -> None:
    empty = {"text": "", "attributes": []}
    without_values = score(model, tokenizer_of("bio_facts"), [empty, {"text": "Nothing at all.", "attributes": []}])
    assert [row.tolist() for row in without_values.references] == [[], tokenizer_of("bio_facts")("Nothing at all.").input_ids]
    assert set(without_values.predictions[1].tolist()) == {NOT_SCORED}
    for scores in (without_values, score(model, tokenizer_of("bio_facts"), [])):
        with pytest.raises(ValueError, match="there are no values to summarize"):
            scores.totals().summary(NAMES)


@contextmanager
def embedding_inputs(model: Any) -> Iterator[list[tuple[int, ...]]]:
    """Shapes of all inputs of the output embedding, after hooks that were there before."""
    seen: list[tuple[int, ...]] = []
    embedding = model.get_output_embeddings()
    forward = embedding.forward

    def spied(hidden: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(hidden.shape))
        return forward(hidden)

    embedding.forward = spied
    yield seen
    embedding.forward = forward


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_made_for_value_tokens_alone(family: str) -> None:
    model = model_of(family, tokenizer_of("bio_facts"))
    with embedding_inputs(model) as seen:
        scores = score(model, tokenizer_of("bio_facts"), ROWS, batch_size=4)
    num_tokens = [int((ids > 0).sum()) for ids in scores.attribute_ids]
    expected = [(sum(num_tokens[start : start + 4]), 16) for start in (0, 4, 8)]
    assert [shape for shape in seen if shape in expected] == expected
    assert {shape[0] for shape in seen if len(shape) == 3} == {1, 2}  # the trial whether that is safe


def test_all_logits_would_be_noticed(model: Any) -> None:
    with embedding_inputs(model) as seen:
        model(torch.zeros((2, 7), dtype=torch.int64))
    assert seen == [(2, 7, 16)]


@pytest.mark.parametrize("output_embedding", [None, torch.nn.Identity()], ids=["none", "one that is not used"])
def test_model_that_must_make_all_logits_scores_the_same(
    model: Any, scores: Scores, output_embedding: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(model), "get_output_embeddings", lambda self: output_embedding)
    assert_scores_equal(score(model, tokenizer_of("bio_facts"), ROWS, batch_size=4), scores)


@pytest.mark.parametrize("training", [True, False])
def test_model_is_left_as_it_was(training: bool) -> None:
    model = model_of("gpt_neox", tokenizer_of("bio_facts")).train(training)
    score(model, tokenizer_of("bio_facts"), ROWS[:1])
    assert model.training is training
    assert model(torch.zeros((2, 7), dtype=torch.int64)).logits.shape == (2, 7, len(tokenizer_of("bio_facts")))
    assert all(weight.grad is None for weight in model.parameters())


def test_model_is_left_as_it_was_after_an_error() -> None:
    model = model_of("llama", tokenizer_of("bio_facts")).train()
    model.lm_head.weight.data[3, 3] = math.nan
    with pytest.raises(ValueError):
        score(model, tokenizer_of("bio_facts"), ROWS)
    assert model.training
    assert not model.lm_head._forward_pre_hooks


def test_dropout_is_off() -> None:
    tokenizer = tokenizer_of("bio_facts")
    model = model_of("gpt2", tokenizer).train()  # GPT-2 has dropout by default
    assert_scores_equal(score(model, tokenizer, ROWS), score(model.eval(), tokenizer, ROWS), abs=0)


def test_totals_are_those_of_plain_loops(scores: Scores) -> None:
    columns = {name: [row.tolist() for row in rows] for name, rows in scores.inputs(details=True).items()}
    assert scores.totals().detailed_summary(NAMES) == pytest.approx(plain_metrics(columns), rel=1e-9)


def test_inputs_are_the_columns_of_the_metric(scores: Scores) -> None:
    assert list(scores.inputs()) == ["predictions", "references", "nlls", "attribute_ids"]
    assert list(scores.inputs(details=True)) == [*scores.inputs(), "top_probabilities", "entropies"]


def test_scorer_is_a_name_of_the_package() -> None:
    assert bio_facts.score is score
    assert bio_facts.Scores is Scores


def test_tokens_of_probability_zero_do_not_change_the_entropy() -> None:
    masked, tokenizer = model_of("llama", tokenizer_of("bio_facts")), tokenizer_of("bio_facts")
    used = set(tokenizer(ROWS[0]["text"]).input_ids)
    never = torch.tensor([token for token in range(len(tokenizer)) if token not in used])
    masked.lm_head.register_forward_hook(lambda module, args, logits: logits.index_fill(-1, never, -math.inf))
    scores = score(masked, tokenizer, ROWS[:1])
    naive = naive_scores(masked, scores.references[0].tolist())
    is_value = scores.attribute_ids[0] > 0
    np.testing.assert_allclose(scores.entropies[0][is_value], np.array(naive["entropies"])[is_value], atol=1e-5)
    np.testing.assert_allclose(scores.nlls[0][is_value], np.array(naive["nlls"])[is_value], atol=1e-5)


def test_infinite_logits_are_refused(model: Any) -> None:
    class PoisonedTexts:
        """Poisons the output embedding before the third row."""

        def __iter__(self) -> Iterator[dict]:
            yield from ROWS[:2]
            poisoned.lm_head.weight.data[7] = math.inf
            yield ROWS[2]

    poisoned = model_of("llama", tokenizer_of("bio_facts"))
    with pytest.raises(ValueError, match=r"^row 2: the model's logits have NaN \(or infinity\); its weights must be finite$"):
        score(poisoned, tokenizer_of("bio_facts"), PoisonedTexts(), batch_size=1)


def test_row_with_nan_logits_is_named(model: Any) -> None:
    ids = np.tile(np.arange(5), (3, 1))
    ids[2] = 9
    poisoned = model_of("llama", tokenizer_of("bio_facts"))
    poisoned.get_input_embeddings().weight.data[9] = math.nan
    positions = np.ones((3, 4), dtype=bool)
    positions[0] = False
    with pytest.raises(ValueError, match=r"^row 12: the model's logits have NaN"):
        token_scores(poisoned, ids, positions, first_row=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be"),
        ({"batch_size": 2.5}, "batch_size is 2.5; it must be"),
        ({"max_length": 0}, "max_length is 0; it must be"),
        ({"max_length": "7"}, "max_length is '7'; it must be"),
    ],
)
def test_invalid_number_is_refused(model: Any, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        score(model, tokenizer_of("bio_facts"), ROWS, **arguments)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda size: BertLMHeadModel(BertConfig(vocab_size=size, **TINY)),
            "a BertLMHeadModel, whose logits at a position depend",
        ),
        (lambda size: GPT2Model(GPT2Config(vocab_size=size, **TINY_GPT2)), "model is a GPT2Model, which does not run"),
        (lambda size: torch.nn.Linear(2, 2), r"model is a Linear, which does not run on token ids alone \(.*dtype.*\)"),
        (lambda size: GPT2LMHeadModel(GPT2Config(vocab_size=99, **TINY_GPT2)), "and the model has 99 tokens"),
    ],
    ids=["bert", "no head", "no language model", "few tokens"],
)
def test_model_that_does_not_fit_is_refused(build: Any, message: str) -> None:
    tokenizer = tokenizer_of("bio_facts")
    with pytest.raises(ValueError, match=message):
        score(build(len(tokenizer)), tokenizer, ROWS)


def test_value_of_unknown_characters_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "is": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    row = {"text": "Ada is Rome", "attributes": [{"attribute": "birth_place", "start": 7, "end": 11}]}
    with pytest.raises(ValueError, match=r"^row 0: the value of birth_place has characters unknown to the tokenizer$"):
        score(
            GPT2LMHeadModel(GPT2Config(vocab_size=2, **TINY_GPT2)),
            PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]"),
            [row],
        )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (lambda: pd.DataFrame(ROWS), r'rows is a DataFrame; it must be a list of rows, which its .to_dict("records") gives'),
        (lambda: pa.Table.from_pylist(ROWS), "rows is a Table; it must be a list of rows, which its .to_pylist() gives"),
        (lambda: pa.RecordBatch.from_pylist(ROWS), "rows is a RecordBatch; it must be a list of rows, which its .to_pylist()"),
    ],
    ids=["pandas", "pyarrow", "record batch"],
)
def test_table_is_refused_with_the_method_that_gives_its_rows(model: Any, table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        score(model, tokenizer_of("bio_facts"), table())


def test_unknown_argument_is_refused(model: Any) -> None:
    with pytest.raises(TypeError, match="batchsize"):
        score(model, tokenizer_of("bio_facts"), ROWS, batchsize=3)


def test_slow_tokenizer_is_refused(model: Any) -> None:
    class Snail:
        is_fast = False

    with pytest.raises(ValueError, match=r"^tokenizer is a Snail; it must be a fast tokenizer of transformers, with character"):
        score(model, Snail(), ROWS)


@pytest.fixture(scope="module")
def batch() -> TokenBatch:
    return BiographyTokenizer(tokenizer_of("bio_facts"))(draw(CONFIGS["n1k"], "validation", range(4)))


@pytest.mark.parametrize("family", FAMILIES)
def test_totals_of_the_generators_tokens_equal_those_of_all_logits_one_row_at_a_time(family: str, batch: TokenBatch) -> None:
    model = model_of(family, tokenizer_of("bio_facts"))
    columns: dict[str, list[list]] = {"references": [], "attribute_ids": []}
    for ids, attributes, length in zip(batch.input_ids, batch.attribute_ids, batch.lengths, strict=True):
        columns["references"].append(ids[:length].tolist())
        columns["attribute_ids"].append(attributes[:length].tolist())
        for name, values in naive_scores(model, ids[:length].tolist()).items():
            columns.setdefault(name, []).append(values)
    expected = plain_metrics(columns)
    summary = score_tokens(model, batch).detailed_summary(NAMES)
    assert summary.pop("expected_calibration_error") == pytest.approx(expected.pop("expected_calibration_error"), abs=1e-3)
    assert summary == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_summary_of_scores_has_all_metrics_of_the_rows(scores: Scores) -> None:
    summary = scores.summary()
    columns = {name: np.concatenate(getattr(scores, name)) for name in ("nlls", "predictions", "references", "attribute_ids")}
    num_values = len(ROWS) * len(ATTRIBUTES)
    assert summary["num_values"] == num_values
    assert summary["attribute_loss"] == pytest.approx(columns["nlls"][columns["attribute_ids"] > 0].sum() / num_values)
    assert {"entropy", "expected_calibration_error", *(f"attribute_accuracy/{name}" for name in ATTRIBUTES)} <= set(summary)


def test_scores_are_shown_in_one_short_line(scores: Scores) -> None:
    summary = scores.summary()
    expected = (
        f"Scores(9 rows, 54 values: attribute_loss {summary['attribute_loss']:.3f} nats per value, "
        f"attribute_accuracy {summary['attribute_accuracy']:.3f})"
    )
    assert repr(scores) == expected
    assert repr(Scores()) == "Scores(0 rows, no values)"
