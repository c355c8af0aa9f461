"""load_model: all weights of a checkpoint, or one line that says what is wrong. On small folders."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from bio_facts.measure.models import load_model

NEOX = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 40}
LLAMA = NEOX | {"num_key_value_heads": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Whole checkpoints: GPT-NeoX has a separate output layer, GPT-2 ties it to the embedding."""
    root = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    models = {
        "neox": GPTNeoXForCausalLM(GPTNeoXConfig(**NEOX)),
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)),
        "llama": LlamaForCausalLM(LlamaConfig(**LLAMA)),
    }
    for name, model in models.items():
        model.save_pretrained(root / name)
    return {name: root / name for name in models}


def changed(
    folder: Path,
    to: Path,
    *,
    drop: str | None = None,
    weights: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """A copy without the weights whose names hold `drop`, with other weights and entries of the config."""
    shutil.copytree(folder, to)
    tensors = load_file(to / "model.safetensors") | (weights or {})
    tensors = {name: tensor for name, tensor in tensors.items() if drop is None or drop not in name}
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    entries = json.loads((to / "config.json").read_text()) | (config or {})
    (to / "config.json").write_text(json.dumps(entries))
    return to


def refusal(folder: str | Path) -> str:
    with pytest.raises(ValueError, match=r"^model is ") as caught:
        load_model(folder)
    assert repr(str(folder)) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("name", ["neox", "gpt2", "llama"])
def test_whole_checkpoint_is_loaded_without_a_word(
    folders: dict[str, Path], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(str(folders[name]), dtype=torch.float32)
    state = model.state_dict()
    stored = {
        key.replace("embed_out", "lm_head"): tensor for key, tensor in load_file(folders[name] / "model.safetensors").items()
    }
    assert all(torch.equal(state[key], tensor) for key, tensor in stored.items())
    assert ("lm_head.weight" in stored) == (name != "gpt2")  # tied weights are stored once
    assert not caplog.records


def test_dtype_is_that_of_the_checkpoint_or_as_asked(tmp_path: Path) -> None:
    GPTNeoXForCausalLM(GPTNeoXConfig(**NEOX)).to(torch.bfloat16).save_pretrained(tmp_path)
    assert load_model(tmp_path).dtype == torch.bfloat16
    assert load_model(tmp_path, dtype=torch.float32).dtype == torch.float32


def test_old_pickled_weights_are_loaded(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["gpt2"], tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    expected = load_model(folders["gpt2"]).state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in load_model(folder).state_dict().items())


@pytest.mark.parametrize(
    ("name", "change", "fragments"),
    [
        ("neox", {"drop": "layers.1."}, ["gpt_neox.layers.1.attention.dense.bias, ", "... (12 in all)"]),
        ("neox", {"drop": "layers.2.mlp.dense_4h_to_h.bias"}, [": gpt_neox.layers.2.mlp.dense_4h_to_h.bias;"]),
        ("neox", {"drop": "embed_out"}, [": lm_head.weight;"]),
        ("neox", {"drop": "embed_in"}, [": gpt_neox.embed_in.weight;"]),
        ("llama", {"drop": "lm_head"}, [": lm_head.weight;"]),
        ("llama", {"drop": "model.norm"}, [": model.norm.weight;"]),
        ("gpt2", {"drop": "wte"}, ["lm_head.weight, transformer.wte.weight;"]),
        ("neox", {"config": {"num_hidden_layers": 4}}, ["gpt_neox.layers.3.attention.dense.bias, ", "(12 in all)"]),
    ],
    ids=["layer", "bias", "output", "input", "untied output", "norm", "tied", "config has more layers"],
)
def test_missing_weights_are_an_error(
    folders: dict[str, Path], tmp_path: Path, name: str, change: dict[str, Any], fragments: list[str]
) -> None:
    message = refusal(changed(folders[name], tmp_path / "model", **change))
    assert "which lacks weights of a " in message
    assert all(fragment in message for fragment in fragments), message


def test_weights_of_a_shard_that_lacks_them_are_an_error(tmp_path: Path) -> None:
    GPTNeoXForCausalLM(GPTNeoXConfig(**NEOX)).save_pretrained(tmp_path, max_shard_size="10KB")
    file = sorted(tmp_path.glob("model-*.safetensors"))[1]
    kept = load_file(file)
    dropped = kept.popitem()[0]
    save_file(kept, file, metadata={"format": "pt"})
    assert "lacks weights" in (message := refusal(tmp_path)) and dropped in message
    file.unlink()
    assert "cannot be loaded" in (message := refusal(tmp_path)) and file.name in message


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"weights": {"embed_out.weight": torch.zeros(7, 16)}}, "lm_head.weight [7, 16] instead of [40, 16]"),
        ({"config": {"vocab_size": 50}}, "gpt_neox.embed_in.weight [40, 16] instead of [50, 16], lm_head.weight"),
        ({"config": {"hidden_size": 32}}, "gpt_neox.embed_in.weight [40, 16] instead of [40, 32], "),
    ],
    ids=["output", "vocab_size", "hidden_size"],
)
def test_weights_of_other_shapes_are_an_error(
    folders: dict[str, Path], tmp_path: Path, change: dict[str, Any], fragment: str
) -> None:
    message = refusal(changed(folders["neox"], tmp_path / "model", **change))
    assert "weights of other shapes than its config says: " + fragment in message


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"weights": {"extra.weight": torch.zeros(3)}}, "extra.weight"),
        ({"config": {"num_hidden_layers": 2}}, "gpt_neox.layers.2.attention.dense.bias, "),
    ],
    ids=["name", "config has fewer layers"],
)
def test_unexpected_weights_are_named_in_one_line(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any], names: str
) -> None:
    folder = changed(folders["neox"], tmp_path / "model", **change)
    load_model(folder)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        f"model is {str(folder)!r}, which has weights that a GPTNeoXForCausalLM does not use: {names}"
    )


@pytest.mark.parametrize(
    ("config", "fragment"),
    [
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bitsandbytes"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "bitsandbytes"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}, "optimum"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}, "gptqmodel"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"quantization_config": {}}, "quant_method"),
        ({"attn_implementation": "flash_attention_2"}, "FlashAttention2"),
        ({"_attn_implementation": "flash_attention_2"}, "FlashAttention2"),
        ({"attn_implementation": "nothing"}, '"nothing"'),
        ({"model_type": "nothing"}, "`nothing`"),
        ({"hidden_act": "nothing"}, "KeyError 'nothing'"),
        ({"hidden_size": "wide"}, "'wide'"),
        ({"dtype": "float99"}, "float99"),
        (
            {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}},
            "custom code",
        ),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_config_that_cannot_be_followed_is_one_line(
    folders: dict[str, Path], tmp_path: Path, config: dict[str, Any], fragment: str
) -> None:
    message = refusal(changed(folders["neox"], tmp_path / "model", config=config))
    assert "which cannot be loaded: " in message
    assert fragment in message


def _truncate(file: Path, num_bytes: int) -> None:
    file.write_bytes(file.read_bytes()[:num_bytes])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _truncate(folder / "model.safetensors", 20_000),
        lambda folder: _truncate(folder / "model.safetensors", 4),
        lambda folder: _truncate(folder / "model.safetensors", 0),
        lambda folder: (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        lambda folder: _truncate(folder / "config.json", 30),
        lambda folder: (folder / "config.json").write_text("null"),
        lambda folder: (folder / "config.json").write_text("[]"),
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "model.safetensors.index.json").write_text("{") and (folder / "model.safetensors").unlink(),
        shutil.rmtree,
    ],
)
def test_damaged_folder_is_one_line(folders: dict[str, Path], tmp_path: Path, damage: Callable[[Path], object]) -> None:
    folder = shutil.copytree(folders["neox"], tmp_path / "model")
    damage(folder)
    assert "which cannot be loaded: " in refusal(folder)


@pytest.mark.ecosystem
def test_adapter_is_loaded_with_its_base(folders: dict[str, Path], tmp_path: Path) -> None:
    import peft

    base = shutil.copytree(folders["neox"], tmp_path / "base")
    adapted = peft.get_peft_model(
        load_model(base), peft.LoraConfig(r=2, target_modules=["query_key_value"], init_lora_weights=False)
    )
    adapted.save_pretrained(tmp_path / "adapter")
    input_ids = torch.arange(10)[None]
    loaded = load_model(tmp_path / "adapter").eval()
    assert torch.allclose(loaded(input_ids).logits, adapted.eval()(input_ids).logits, atol=1e-5)

    lacking = shutil.copytree(tmp_path / "adapter", tmp_path / "lacking")
    tensors = load_file(lacking / "adapter_model.safetensors")
    tensors.popitem()
    save_file(tensors, lacking / "adapter_model.safetensors", metadata={"format": "pt"})
    assert "lacks weights" in refusal(lacking)

    changed(folders["neox"], tmp_path / "no_layer", drop="layers.1.")
    shutil.rmtree(base)
    shutil.copytree(tmp_path / "no_layer", base)
    with pytest.raises(ValueError, match=r"base', which lacks weights of a GPTNeoXForCausalLM"):
        load_model(tmp_path / "adapter")


def test_base_weights_beside_an_adapter_are_checked_too(folders: dict[str, Path], tmp_path: Path) -> None:
    """A folder that is both an adapter and its base model."""
    peft = pytest.importorskip("peft")
    both = shutil.copytree(folders["neox"], tmp_path / "both")
    lora = peft.LoraConfig(r=2, target_modules=["query_key_value"], init_lora_weights=False)
    adapted = peft.get_peft_model(load_model(both), lora)
    adapted.save_pretrained(tmp_path / "adapter")
    for file in (tmp_path / "adapter").glob("adapter_*"):
        shutil.copy(file, both)
    input_ids = torch.arange(10)[None]
    assert torch.allclose(load_model(both).eval()(input_ids).logits, adapted.eval()(input_ids).logits, atol=1e-5)
    message = refusal(changed(both, tmp_path / "lacking", drop="layers.1."))
    assert "which lacks weights of a GPTNeoXForCausalLM: gpt_neox.layers.1." in message


def test_reports_of_transformers_are_as_before_afterwards(folders: dict[str, Path], tmp_path: Path) -> None:
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    load_model(folders["neox"])
    refusal(tmp_path / "nothing")
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before
