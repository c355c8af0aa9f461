"""Models that runs keep, read by transformers 4: the same logits (to 1e-4) and token ids as by the installed version.

python tests/old_transformers.py --folder .compat/transformers-4     (make compat)

One small model of each type, saved as a run saves it. transformers 4 is installed into the folder, and shadows the installed
version in a process of its own; everything else is shared.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

VERSION = "4.57.6"
TEXT = "Penny Kurtis Miles lives in Zaria."
INPUT_IDS = torch.arange(5, 65).reshape(2, 30)
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 128, "pad_token_id": None, "use_cache": False,
}  # fmt: skip
MODEL_TYPES: dict[str, dict[str, Any]] = {  # those of the recipes, and others with rotary embeddings
    "gpt_neox": {"partial_rotary_factor": 0.5},
    "llama": {"num_key_value_heads": 1},
    "mistral": {"num_key_value_heads": 1},
    "recurrent_gemma": {
        "lru_width": 32, "attention_window_size": 64, "num_key_value_heads": 1, "block_types": ["recurrent"],
        "partial_rotary_factor": 0.5,
    },
    "gpt2": {},
}  # fmt: skip


def small_model(model_type: str, tokenizer: Any) -> Any:
    """A model with random weights, large enough that positions matter."""
    fields = SIZES | MODEL_TYPES[model_type] | {"vocab_size": len(tokenizer), "bos_token_id": 188, "eos_token_id": 188}
    factor = fields.pop("partial_rotary_factor", 1.0)
    if model_type != "gpt2":
        fields["rope_parameters"] = {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": factor}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **fields)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model


def keep(folder: Path) -> None:
    """Save models as a run keeps them, with their logits and the ids of a text."""
    from bio_facts.measure.tokens import load_tokenizer
    from bio_facts.runs.checkpoints import keep_model

    tokenizer = load_tokenizer("bio_facts")
    torch.manual_seed(0)
    for model_type in MODEL_TYPES:
        model = small_model(model_type, tokenizer)
        keep_model(model, tokenizer, folder / model_type, 0)
        torch.save({"logits": logits_of(model), "ids": tokenizer(TEXT).input_ids}, folder / model_type / "expected.pt")


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=INPUT_IDS).logits
    return logits


def read(folder: Path) -> None:
    """Compare what this process's transformers reads."""
    for model_type in MODEL_TYPES:
        expected = torch.load(folder / model_type / "expected.pt")
        place = folder / model_type / "models" / "step-0"
        difference = float((logits_of(AutoModelForCausalLM.from_pretrained(place).eval()) - expected["logits"]).abs().max())
        ids = AutoTokenizer.from_pretrained(place)(TEXT)["input_ids"]
        if difference > 1e-4 or ids != expected["ids"]:
            raise SystemExit(f"{model_type}: logits differ by {difference:g}; ids {ids}, expected {expected['ids']}")
        print(f"transformers {transformers.__version__}: {model_type}, logits differ by at most {difference:g}, same ids")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where transformers 4 and the models are kept")
    parser.add_argument("--read", action="store_true", help="compare the models in the folder")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if arguments.read:
        return read(folder / "models")
    packages = folder / f"packages-{VERSION}"
    if not packages.is_dir():
        unfinished = packages.with_suffix(".partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        pins = [f"transformers=={VERSION}", "huggingface_hub<1", "tokenizers<0.23"]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(unfinished), *pins]
        subprocess.run(command, check=True)
        unfinished.rename(packages)
    shutil.rmtree(folder / "models", ignore_errors=True)
    keep(folder / "models")
    environment = os.environ | {"PYTHONPATH": str(packages), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    subprocess.run([sys.executable, __file__, "--folder", str(folder), "--read"], env=environment, check=True)


if __name__ == "__main__":
    main()
