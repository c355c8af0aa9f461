import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import SMOKE, load_recipe

from bio_facts.measure.tokens import load_tokenizer


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
        (["--dataset_parameters.phases", "5"], ["phases is 5", "a list of [until_sample, weights]"]),
        (["--dataset_parameters.phases", "[[10, {poems: 1}]]"], ["phases[0] names format 'poems'", "biographies, questions"]),
        (["--dataset_parameters.phases", "[[128000, {questions: 0}]]"], ["weight of questions in phases[0] is 0"]),
        (
            ["--dataset_parameters", "{num_biographies: 9, phases: [[119, {questions: 1, biographies: 1}]]}"],
            ["num_steps x batch_size is 120 samples", "end at sample 119", "at most that"],
        ),
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
    from bio_facts.runs.arguments import parse_arguments

    with pytest.raises(SystemExit) as stopped:
        parse_arguments("", ["--config", str(SMOKE), "--output-dir", str(tmp_path / "run"), *arguments])
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
        ("seed: 1\nseed: 2", ["'seed' appears twice"]),
        ("seed: 1\nlearning_rat: 1", ["'learning_rat'", "learning_rate"]),
        ("seed: 1", ["lacks dataset"]),
        ("base: recipe.yaml", ["is its own base (recipe.yaml -> recipe.yaml)"]),
        ("seed: 1\narms: {one: {seeds: 3}}", ["seeds: 3", "list of integers"]),
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
    from bio_facts.runs.training import build_model

    recipe = load_recipe(SMOKE, {f"model_config.{key}": value for key, value in overrides.items()})
    with pytest.raises(ValueError) as refused:
        build_model(recipe, load_tokenizer("bio_facts"), max_length=172)
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
    from bio_facts.runs.training import build_model

    config = build_model(load_recipe(SMOKE, {"model_config": fields}), load_tokenizer("bio_facts"), max_length=172).config
    assert {key: getattr(config, key) for key in fields} == fields


def test_model_that_sees_later_tokens_is_refused() -> None:
    from bio_facts.runs.training import build_model

    fields = {"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
    with pytest.raises(
        ValueError, match=r"model is a Bert\w+, whose logits at a position depend on later tokens; it must be a causal one"
    ):
        build_model(load_recipe(SMOKE, {"model_config": fields}), load_tokenizer("bio_facts"), max_length=172)


def recipe_file(folder: Path, text: str, name: str = "recipe.yaml") -> Any:
    from bio_facts.runs.recipe_files import read_recipe_file

    (folder / "base.yaml").write_text(
        "dataset: n1k\nmodel_config: {model_type: gpt_neox, hidden_size: 8}\nnum_steps: 10\nsave_every: 5\n"
        "eval_every: [[5, 10]]\nseeds: [1]\nlearning_rate: 1e-3\ndataset_parameters: {num_individuals: 5}\n"
    )
    (folder / name).write_text(text)
    return read_recipe_file(folder / name)


def test_base_gives_its_settings_and_neither_its_seeds_nor_its_arms(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, "base: base.yaml\nmodel_config.hidden_size: 16\nlearning_rate: 2e-3\n")
    recipe = file.recipe(None, {})
    assert recipe.model_config == {"model_type": "gpt_neox", "hidden_size": 16}
    assert (recipe.num_steps, recipe.learning_rate) == (10, 0.002)
    assert (file.seeds, list(file.arms)) == ((), [""])


def test_arm_changes_its_own_settings_and_may_have_its_own_seeds(tmp_path: Path) -> None:
    text = "base: base.yaml\nseeds: [10, 11]\narms:\n  one: {}\n  two: {dataset_parameters.num_individuals: 6, seeds: [10]}\n"
    file = recipe_file(tmp_path, text)
    assert [file.seeds_of(arm) for arm in file.arms] == [(10, 11), (10,)]
    assert [file.recipe(arm, {}).data.num_individuals for arm in file.arms] == [5, 6]


def test_grid_has_an_arm_for_each_combination_in_the_order_of_its_axes(tmp_path: Path) -> None:
    text = """base: base.yaml
seeds: [10, 11]
arms:
  "k{individuals}-lr{rate}":
    grid: {individuals: [5, 6], rate: {slow: 1e-3, fast: 2e-3}}
    dataset_parameters.num_individuals: "{individuals}"
    learning_rate: "{rate}"
    seeds: [10]
  k6-lrslow: {dataset_parameters.num_individuals: 60, learning_rate: 1e-3}
"""
    file = recipe_file(tmp_path, text)
    recipes = {arm: file.recipe(arm, {}) for arm in file.arms}
    assert {arm: (recipe.data.num_individuals, recipe.learning_rate) for arm, recipe in recipes.items()} == {
        "k5-lrslow": (5, 0.001),
        "k5-lrfast": (5, 0.002),
        "k6-lrslow": (60, 0.001),  # listed by itself
        "k6-lrfast": (6, 0.002),
    }
    assert list(recipes) == ["k5-lrslow", "k5-lrfast", "k6-lrslow", "k6-lrfast"]
    assert [file.seeds_of(arm) for arm in file.arms] == [(10,), (10,), (10, 11), (10,)]


def test_source_takes_the_place_of_the_model_and_is_found_beside_the_file(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, "base: base.yaml\nsource: other/mini.yaml#few\n")
    assert file.source_of("") == (tmp_path / "other" / "mini.yaml", "few")
    recipe = file.recipe(None, {"source": "runs/x"})
    assert (recipe.source, recipe.model_config) == ("runs/x", {})


def test_next_source_seed_is_the_next_larger_of_the_seeds_of_the_arm(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, "base: base.yaml\narms: {own: {}, next: {source_seed: next}, other: {source_seed: 3}}")
    assert [file.source_seed_of("next", seed, [22, 20, 21]) for seed in (20, 21, 22)] == [21, 22, 20]
    assert file.source_seed_of("next", 20, [20]) == 20
    assert file.source_seed_of("own", 20, [20, 21]) is None
    with pytest.raises(ValueError, match=r"source_seed of arm 'other' of recipe .* is 3; expected next"):
        file.source_seed_of("other", 20, [20, 21])
    with pytest.raises(ValueError, match=r"arm is 'third'; recipe .* has 'own', 'next', 'other'"):
        file.source_of("third")


@pytest.mark.parametrize(
    ("text", "arm", "overrides", "fragments"),
    [
        ("base: base.yaml\narms: {one: {}, two: {}}", None, {}, ["several arms", "--arm: one, two"]),
        ("base: base.yaml\narms: {one: {}}", "three", {}, ["arm is 'three'", "one"]),
        ("base: base.yaml\narms: {a/b: {}}", None, {}, ["arm 'a/b'", "names a folder"]),
        ("base: base.yaml\narms: [one]", None, {}, ["arms: a mapping"]),
        ("base: base.yaml\narms: {a: {grid: [1]}}", None, {}, ["arms: a: grid: [1]", "{steps: [500, 900]}"]),
        ("base: base.yaml\narms: {a: {grid: {x: 1}}}", None, {}, ["arms: a: grid: {'x': 1}"]),
        ("base: base.yaml\narms: {a: {grid: {x: [1]}}}", None, {}, ["grid 'a' without {x}"]),
        ('base: base.yaml\narms: {"a{x}": {grid: {x: [1]}, seed: "{y}"}}', None, {}, ["which has no axis 'y'", "['x']"]),
        ('base: base.yaml\narms: {"a{x}": {grid: {x: [1, 1]}}}', None, {}, ["two", "arm 'a1'"]),
        ("base: base.yaml\nseeds: ten", None, {}, ["seeds: 'ten'", "[10, 11, 12]"]),
        ("base: nowhere.yaml", None, {}, ["nowhere.yaml", "not a file"]),
        ("base: base.yaml\nnum_steps.x: 3", None, {}, ["num_steps is 10, not a mapping"]),
        ("base: base.yaml\nsource: other.yaml", None, {}, ["source is 'other.yaml'", "--source DIR"]),
        ("base: base.yaml", None, {"source": "runs/x", "model_config": {"model_type": "gpt2"}}, ["that of source runs/x"]),
        ("base: base.yaml", None, {"attention": {"reference_step": 1, "start_step": 0}}, ["attention is given without source"]),
        ("base: base.yaml", None, {"source": "x", "attention": {"step": 1}}, ["must have reference_step and start_step"]),
        ("base: base.yaml", None, {"source": "x", "source_seed": 3}, ["source_seed is 3, but only attention patching has one"]),
        ("base: base.yaml", None, {"source_seed": "next"}, ["source_seed is 'next'", "an integer: --source-seed SEED"]),
        ("base: base.yaml", None, {"keep_models_at": [3]}, ["keep_models_at is [3]", "[0, 125]", "or log"]),
        ("base: base.yaml", None, {"keep_models_at": "all"}, ["keep_models_at is 'all'", "or log"]),
        ("base: base.yaml", None, {"stop_below": 1}, ["stop_below is 1", "below 1"]),
        ("base: base.yaml", None, {"lr_schedule": "linear"}, ["lr_schedule is 'linear'", "cosine, constant"]),
        ("base: base.yaml", None, {"precision": "half"}, ["precision is 'half'", "auto, float32, bf16"]),
        ("base: base.yaml", None, {"dataset_parameters.seed": 3}, ["dataset_parameters has a seed", "--seed"]),
        ("base: base.yaml", None, {"dataset_parameters.alpha": 1}, ["unknown parameter 'alpha'"]),
        ("base: base.yaml", None, {"dataset": "templates"}, ["'templates'", "no biographies"]),
        ("base: base.yaml", None, {"tokenizer": "nobody:x.model"}, ["no package 'nobody' is installed"]),
        ("base: base.yaml", None, {"tokenizer": "bio_facts:x.model"}, ["has no such file"]),
    ],
)
def test_bad_arms_bases_and_sources_are_refused(
    tmp_path: Path, text: str, arm: str | None, overrides: dict, fragments: list[str]
) -> None:
    with pytest.raises(ValueError) as refused:
        recipe_file(tmp_path, text).recipe(arm, overrides)
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value


def test_tokenizer_can_be_a_file_of_an_installed_package(tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, "base: base.yaml\ntokenizer: mistral_common:data/tokenizer.model.v1").recipe(None, {})
    assert len(load_tokenizer(recipe.tokenizer)) == 32_000


def test_dashes_and_underscores_in_recipe_keys_are_the_same(tmp_path: Path) -> None:
    from bio_facts.runs.arguments import parse_arguments

    beginning = ["--config", str(SMOKE), "--output-dir", str(tmp_path)]
    settings = [
        ("--learning_rate", "1e-3"),
        ("--model_config.hidden_size", "64"),
        ("--dataset_parameters.pool_sizes.cities", "3"),
    ]
    underscores = parse_arguments("", [*beginning, *(word for setting in settings for word in setting)]).recipe
    dashes = parse_arguments("", [*beginning, *(f"{flag.replace('_', '-')}={value}" for flag, value in settings)]).recipe
    assert dashes == underscores
    assert (dashes.learning_rate, dashes.model_config["hidden_size"], dashes.data.parameters["pool_sizes"]["cities"]) == (
        0.001,
        64,
        3,
    )


MEMORY = SMOKE.parent.parent / "associative_memory" / "smoke.yaml"


def test_memory_recipe_is_refused_by_pretrain_and_others_by_train_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import train_memory

    from bio_facts.runs.arguments import parse_arguments

    for parse, recipe, fragment in (
        (lambda argv: parse_arguments("", argv), MEMORY, "is for train_memory.py; run it with train/train_memory.py"),
        (train_memory.parse_arguments, SMOKE, "unknown recipe key 'dataset'"),
    ):
        with pytest.raises(SystemExit) as stopped:
            parse(["--config", str(recipe), "--output-dir", str(tmp_path / "run")])
        assert stopped.value.code == 2
        assert fragment in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "arguments", "fragments"),
    [
        ("num_new_pairs: 8", [], ["source is None", "--source DIR"]),
        ("num_new_pairs: 8\nsource: other.yaml", [], ["source is 'other.yaml'", "--source DIR"]),
        ("seed: 1", ["--learning_rate", "0"], ["learning_rate is 0"]),
        ("seed: 1", ["--weight-decay", "-1"], ["weight_decay is -1"]),
        ("seed: 1", ["--num-steps", "0"], ["num_steps is 0"]),
        ("seed: 1", ["--num-values", "1"], ["num_values is 1"]),
        ("seed: 1", ["--report-to", "tensorboard"], ["--report-to"]),
        ("dataset: n1k", [], ["unknown recipe key 'dataset'", "num_new_pairs"]),
        ("arms: {a: {}, b: {}}", [], ["several arms", "--arm: a, b"]),
        ("script: pretrain.py", [], ["train/pretrain.py"]),
    ],
)
def test_bad_memory_recipes_are_refused(
    tmp_path: Path, text: str, arguments: list[str], fragments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    import train_memory

    (tmp_path / "memory.yaml").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        train_memory.parse_arguments(["--config", str(tmp_path / "memory.yaml"), "--output-dir", str(tmp_path), *arguments])
    error = capsys.readouterr().err
    assert (stopped.value.code, len(error.splitlines())) == (2, 1)
    assert all(fragment in error for fragment in fragments), error


def test_eval_steps_follow_the_schedule_and_hold_the_first_and_last() -> None:
    recipe = load_recipe(SMOKE, {"num_steps": 33, "eval_every": [[5, 10], [10, 40]], "save_every": 10})
    assert recipe.eval_steps == {0, 5, 10, 20, 30, 33}


def test_log_spaced_models_add_evaluations_and_all_models_are_kept() -> None:
    schedule = {"num_steps": 33, "eval_every": [[15, 40]], "save_every": 15}
    assert load_recipe(SMOKE, schedule | {"keep_models_at": [15]}).kept_steps == {15}
    log_spaced = load_recipe(SMOKE, schedule | {"keep_models_at": "log"})
    assert log_spaced.kept_steps == log_spaced.eval_steps == {0, 1, 2, 4, 8, 15, 16, 30, 32, 33}


def test_the_model_is_the_stock_class_of_the_protocol() -> None:
    from transformers import GPTNeoXForCausalLM

    from bio_facts.runs.training import build_model

    model = build_model(load_recipe(SMOKE, {}), load_tokenizer("bio_facts"), max_length=172)
    assert type(model) is GPTNeoXForCausalLM
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert not model.config.use_parallel_residual
    assert model.config.rope_parameters["partial_rotary_factor"] == 1.0
    assert model.gpt_neox.rotary_emb.inv_freq.numel() * 2 == model.config.hidden_size // model.config.num_attention_heads


def test_recipe_cannot_be_changed_anywhere() -> None:
    recipe = load_recipe(SMOKE, {})
    before = recipe.as_dict()
    for mapping in (recipe.dataset_parameters, recipe.dataset_parameters["pool_sizes"], recipe.model_config, recipe.attention,
                    recipe.model_config["rope_parameters"]):  # fmt: skip
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["x"] = 1
    for steps in (recipe.eval_every, recipe.eval_every[0], recipe.keep_models_at):
        with pytest.raises(TypeError, match="does not support item assignment"):
            steps[0] = 1
    assert recipe.as_dict() == before == json.loads(json.dumps(before))


def test_recipe_and_file_keep_nothing_of_what_they_were_given() -> None:
    from bio_facts.runs.recipe import Recipe
    from bio_facts.runs.recipe_files import read_recipe_file

    given = load_recipe(SMOKE, {}).as_dict()
    recipe = Recipe(**given)
    given["dataset_parameters"]["pool_sizes"]["cities"] = 3
    given["eval_every"][0][0] = 1
    assert recipe == load_recipe(SMOKE, {})
    with pytest.raises(TypeError, match="does not support item assignment"):
        read_recipe_file(SMOKE).settings["model_config"]["hidden_size"] = 1  # type: ignore[index]


def test_recipe_can_be_copied_pickled_and_hashed(tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, "base: base.yaml\n").recipe(None, {"model_config.extra": {"deep": [1, {"er": 2}]}})
    for copied in (copy.deepcopy(recipe), pickle.loads(pickle.dumps(recipe))):
        assert copied == recipe
        assert hash(copied) == hash(recipe)
        assert copied.as_dict() == recipe.as_dict()
    assert dataclasses.asdict(recipe)["model_config"] == recipe.model_config
    with pytest.raises(TypeError, match="item assignment"):
        recipe.model_config["hidden_size"] = 1
