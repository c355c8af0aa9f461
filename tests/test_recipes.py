from pathlib import Path

import pytest
from conftest import SMOKE, load_recipe

from bio_facts.tokenization import load_tokenizer


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--learning_rte", "1"], ["--learning_rte", "learning_rate"]),
        (["--learning_rate", "0"], ["learning_rate is 0", "above 0"]),
        (["--learning_rate", "-1e-3"], ["learning_rate is -0.001", "above 0"]),
        (["--learning_rate", "fast"], ["learning_rate is 'fast'", "above 0"]),
        (["--learning_rate", ".nan"], ["learning_rate is nan", "above 0"]),
        (["--seed", "-1"], ["seed is -1", "from 0 to"]),
        (["--seed", "1.5"], ["seed is 1.5", "an integer"]),
        (["--dataset_parameters.num_individuals", "0"], ["num_individuals is 0", "400,000,000"]),
        (["--dataset_parameters.num_individuals", "900000000"], ["num_individuals is 900000000", "400,000,000"]),
        (["--dataset", "n3k"], ["config is 'n3k'", "bio-facts configs"]),
        (["--dataset_parameters.pool_sizes", "{birth_place: 4}"], ["'birth_place'", "cities"]),
        (["--dataset_parameters.pool_sizes.cities", "801"], ["'cities'", "801", "from 1 to 800"]),
        (["--dataset_parameters.pool_sizes", "[1]"], ["pool_sizes is [1]"]),
        (["--model_config", "3"], ["model_config is 3", "mapping"]),
        (["--tokenizer", "no/such_tokenizer"], ["'no/such_tokenizer'", "bio_facts"]),
        (["--tokenizer", "/no/such/path.json"], ["'/no/such/path.json'", "a path"]),
        (["--num_eval_biographies", "16001"], ["num_eval_biographies is 16001", "16,000"]),
        (["--eval_every", "5"], ["eval_every is 5", "[[125, 2000]"]),
        (["--save_every", "3"], ["save_every is 3", "step 3", "evaluation"]),
        (["--batch_size", "0"], ["batch_size is 0", "at least 1"]),
        (["--adam_beta1", "1"], ["adam_beta1 is 1", "below 1"]),
        (["--no_dot.x", "1"], ["--no_dot.x", "recipe keys"]),
        (["--seed", "4294967296"], ["seed is 4294967296", "4,294,967,295"]),
        (["--num_steps", "1000000000000"], ["num_steps is 1000000000000", "10,000,000"]),
        (["--dataset", "[n1k]"], ["config is ['n1k']", "bio-facts configs"]),
        (["--model_config.hidden_size.x", "5"], ["--model_config.hidden_size.x", "32", "mapping"]),
        (["--model_config.hidden_act", "2020-01-01"], ["JSON"]),
        (["--eval_every", "[[5,30"], ["eval_every is '[[5,30'", "YAML"]),
        (["--eval_every", "[[5, 30], [5, 20]]"], ["eval_every is [[5, 30], [5, 20]]", "growing"]),
        (["--config", "missing.yaml"], ["'missing.yaml'", "YAML file"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, arguments: list[str], fragments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from arguments import parse_arguments

    with pytest.raises(SystemExit) as stopped:
        parse_arguments("", ["--config", str(SMOKE), "--output_dir", str(tmp_path / "run"), *arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert len(error.splitlines()) == 1
    assert all(fragment in error for fragment in fragments), error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("seed: [", ["not valid YAML"]),
        ("- 1", ["[1]", "mapping"]),
        ("recipe:", ["None", "mapping"]),
        ("seed: 1\nseed: 2", ["'seed' stands twice"]),
        ("seed: 1\nlearning_rat: 1", ["'learning_rat'", "learning_rate"]),
        ("seed: 1", ["lacks dataset"]),
        ("seed: 1\ndataset: n1k\nmodel_config: {hidden_size: 8}", ["model_type", "gpt_neox"]),
    ],
)
def test_bad_recipe_files_are_refused(tmp_path: Path, text: str, fragments: list[str]) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ValueError) as refused:
        load_recipe(tmp_path / "recipe.yaml", {})
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        ({"model_type": "gpt_nox"}, ["model_config.model_type is 'gpt_nox'"]),
        ({"hiden_size": 8}, ["model_config.hiden_size", "GPTNeoXConfig"]),
        ({"hidden_size": 33}, ["model_config", "divisible"]),
        ({"vocab_size": 100}, ["vocab_size", "is 100", "of at least 6,036"]),
        ({"vocab_size": "many"}, ["vocab_size", "is 'many'", "integer"]),
        ({"max_position_embeddings": 10}, ["max_position_embeddings", "is 10", "of at least 172"]),
        ({"to_dict": 3}, ["model_config.to_dict is no field"]),
    ],
)
def test_models_that_cannot_be_are_refused(overrides: dict, fragments: list[str]) -> None:
    from training import build_model

    recipe = load_recipe(SMOKE, {f"model_config.{key}": value for key, value in overrides.items()})
    with pytest.raises(ValueError) as refused:
        build_model(recipe, load_tokenizer("bio_facts"), longest=172)
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32},
        {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 256},
        {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4},
    ],
    ids=lambda fields: fields["model_type"],
)
def test_other_causal_models_are_built_from_their_own_fields(fields: dict) -> None:
    from training import build_model

    config = build_model(load_recipe(SMOKE, {"model_config": fields}), load_tokenizer("bio_facts"), longest=172).config
    assert {key: getattr(config, key) for key in fields} == fields


def test_model_that_sees_later_tokens_is_refused() -> None:
    from training import build_model

    fields = {"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
    with pytest.raises(ValueError, match=r"model is a Bert\w+, which sees later tokens; it must be a causal one"):
        build_model(load_recipe(SMOKE, {"model_config": fields}), load_tokenizer("bio_facts"), longest=172)


def test_eval_steps_follow_the_schedule_and_hold_the_first_and_last() -> None:
    recipe = load_recipe(SMOKE, {"num_steps": 33, "eval_every": [[5, 10], [10, 40]], "save_every": 10})
    assert recipe.eval_steps == {0, 5, 10, 20, 30, 33}


def test_the_model_is_the_stock_class_of_the_protocol() -> None:
    from training import build_model
    from transformers import GPTNeoXForCausalLM

    model = build_model(load_recipe(SMOKE, {}), load_tokenizer("bio_facts"), longest=172)
    assert type(model) is GPTNeoXForCausalLM
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert not model.config.use_parallel_residual
    assert model.config.rope_parameters["partial_rotary_factor"] == 1.0
    assert model.gpt_neox.rotary_emb.inv_freq.numel() * 2 == model.config.hidden_size // model.config.num_attention_heads
