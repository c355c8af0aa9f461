import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from bio_facts.config import CONFIGS
from bio_facts.scoring import score_tokens
from bio_facts.splits import draw
from bio_facts.tokenization import BiographyTokenizer, TokenBatch, load_tokenizer

TOKENIZER = load_tokenizer("bio_facts")
SIZES = {"vocab_size": len(TOKENIZER), "bos_token_id": None, "eos_token_id": None}
SMALL = SIZES | {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
MODELS = {
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**SIZES, n_embd=16, n_layer=1, n_head=2)),
}


@pytest.fixture(scope="module")
def batch() -> TokenBatch:
    return BiographyTokenizer(TOKENIZER)(draw(CONFIGS["n1k"], "validation", range(4)))


@pytest.mark.parametrize("family", MODELS)
def test_totals_equal_those_of_all_logits_one_row_at_a_time(family: str, batch: TokenBatch) -> None:
    torch.manual_seed(0)
    model = MODELS[family]().eval()
    totals = score_tokens(model, batch)
    loss, top, entropy, correct = np.zeros(6), 0.0, 0.0, np.zeros(6)
    for ids, attributes, length in zip(batch.input_ids, batch.attribute_ids, batch.lengths, strict=True):
        with torch.no_grad():
            distribution = model(torch.from_numpy(ids[None, :length])).logits[0].double().softmax(-1)
        right = dict.fromkeys(range(1, 7), True)
        for position in np.flatnonzero(attributes):
            probabilities, attribute = distribution[position - 1], attributes[position]
            loss[attribute - 1] -= probabilities[ids[position]].log().item()
            right[attribute] &= probabilities.argmax().item() == ids[position]
            top += probabilities.max().item()
            entropy -= (probabilities * probabilities.log()).sum().item()
        correct += list(right.values())
    assert totals.loss_sum == pytest.approx(loss, rel=1e-5)
    assert list(totals.num_correct) == list(correct)
    assert list(totals.num_values) == [4] * 6
    assert totals.top_probability_sum == pytest.approx(top, rel=1e-4)
    assert totals.entropy_sum == pytest.approx(entropy, rel=1e-5)


def test_uniform_model_loses_log_vocabulary_per_token(batch: TokenBatch) -> None:
    model = MODELS["llama"]().eval()
    torch.nn.init.zeros_(model.lm_head.weight)
    totals = score_tokens(model, batch)
    assert totals.loss_sum.sum() == pytest.approx((batch.attribute_ids > 0).sum() * np.log(len(TOKENIZER)), rel=1e-6)


def test_model_gives_all_logits_again_afterwards(batch: TokenBatch) -> None:
    model = MODELS["gpt_neox"]().eval()
    score_tokens(model, batch)
    ids = torch.from_numpy(batch.input_ids)
    assert model(ids).logits.shape == (*ids.shape, len(TOKENIZER))
