"""What a run computes in: chosen by capability, the same on resume, and never looser than it says."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from test_attention_by_products import tiny_model

from bio_facts.runs.attention_by_products import attend_by_products
from bio_facts.runs.precision import has_bf16_instructions, use_precision

ZEN_2, ZEN_5, SAPPHIRE_RAPIDS, SKYLAKE = (
    set(), {"avx512", "avx512_bf16"}, {"avx512", "avx512_bf16", "amx_tile"}, {"avx512"},
)  # fmt: skip


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.fixture
def cpu_with(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(instructions: set[str]) -> None:
        for name in ("avx512", "avx512_bf16", "amx_tile"):
            monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in instructions, raising=False)

    return use


@pytest.mark.parametrize(
    ("instructions", "chosen"),
    [(ZEN_2, "float32"), (SKYLAKE, "float32"), (ZEN_5, "bf16"), (SAPPHIRE_RAPIDS, "bf16")],
    ids=["Zen 2", "Skylake", "Zen 5", "Sapphire Rapids"],
)
def test_auto_is_decided_by_the_instructions_of_the_cpu(instructions: set[str], chosen: str, cpu_with: Any) -> None:
    cpu_with(instructions)
    assert use_precision("auto", "cpu") == chosen


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_the_recipe_says_is_used_whatever_the_cpu_can_do(precision: str, cpu_with: Any) -> None:
    for instructions in (ZEN_2, ZEN_5):
        cpu_with(instructions)
        assert use_precision(precision, "cpu") == precision


def test_cpu_that_pytorch_does_not_know_has_no_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("avx512", "avx512_bf16", "amx_tile"):
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported", raising=False)
    assert not has_bf16_instructions("cpu")
    assert not has_bf16_instructions("mps")


@pytest.mark.parametrize(
    ("instructions", "device", "setting"),
    [
        (ZEN_2, "cpu", "highest"), (SKYLAKE, "cpu", "medium"), (ZEN_5, "cpu", "medium"),
        (SAPPHIRE_RAPIDS, "cpu", "highest"), (ZEN_5, "cuda", "highest"),
    ],
)  # fmt: skip
def test_float32_products_are_float32_whatever_the_process_had_set(
    instructions: set[str], device: str, setting: str, cpu_with: Any
) -> None:
    cpu_with(instructions)
    torch.set_float32_matmul_precision("medium" if setting == "highest" else "highest")
    torch.backends.cudnn.allow_tf32 = True
    use_precision("float32", device)
    assert torch.get_float32_matmul_precision() == setting
    assert not torch.backends.cudnn.allow_tf32


def test_products_on_this_cpu_have_the_error_of_float32() -> None:
    use_precision("float32", "cpu")
    left, right = (torch.randn(200, 200, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    exact = left.double() @ right.double()
    assert ((left @ right).double() - exact).abs().max() < 2**-14 * exact.abs().max()


def test_importing_bio_facts_changes_no_setting() -> None:
    import subprocess
    import sys

    code = (
        "import torch; torch.set_float32_matmul_precision('high'); import bio_facts, bio_facts.measure.callbacks, "
        "bio_facts.runs.training, bio_facts.runs.precision; print(torch.get_float32_matmul_precision())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "high"


PRODUCTS = "bio_facts_products"  # the name of our attention


@pytest.mark.parametrize(
    ("instructions", "precision", "attention"),
    [
        (ZEN_2, "float32", "sdpa"), (ZEN_2, "bf16", PRODUCTS), (ZEN_5, "float32", PRODUCTS), (ZEN_5, "bf16", PRODUCTS),
        (SAPPHIRE_RAPIDS, "float32", "sdpa"), (SAPPHIRE_RAPIDS, "bf16", PRODUCTS),
    ],
)  # fmt: skip
def test_attention_is_pytorchs_where_that_is_fast(
    instructions: set[str], precision: str, attention: str, cpu_with: Any
) -> None:
    cpu_with(instructions)
    model = tiny_model("gpt_neox")
    attend_by_products(model, precision)
    assert model.config._attn_implementation == attention


def test_attention_that_is_not_pytorchs_is_left_alone() -> None:
    model = tiny_model("gpt_neox", "flex_attention")
    attend_by_products(model, "bf16")
    assert model.config._attn_implementation == "flex_attention"
