"""The pieces of a training run that train/pretrain.py puts together: data, model, Trainer."""

import contextlib
import copy
import ctypes
import functools
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.checks import check_integer, needs
from bio_facts.generate.config import Config
from bio_facts.generate.splits import draw
from bio_facts.measure.attention import patch_attention
from bio_facts.measure.causality import check_causal
from bio_facts.measure.models import load_model
from bio_facts.measure.tokens import BiographyTokenizer, TokenBatch, load_tokenizer
from bio_facts.measure.word_tokenizer import WORD_TOKENIZER, word_tokenizer
from bio_facts.runs.attention_by_products import attend_by_products
from bio_facts.runs.checkpoints import kept_model
from bio_facts.runs.evaluation import RecipeEvaluation
from bio_facts.runs.folder import METRICS_FILE
from bio_facts.runs.loss import IGNORED_LABEL, TrainingLoss
from bio_facts.runs.recipe import Recipe, plain
from bio_facts.runs.trackers import PROJECT, name_project, run_name

with needs("train", "training"):
    import torch
    from accelerate import PartialState
    from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed

# lr_schedule of a recipe -> lr_scheduler_type of transformers
_SCHEDULERS = {
    "cosine": "cosine_with_min_lr",
    "constant": "constant_with_warmup",
    "constant_then_linear": "warmup_stable_decay",
}
_MIN_BLOCK_ROWS = 4_096
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_MADV_HUGEPAGE, _HUGE_PAGE = 14, 2**21  # madvise of Linux
_HUGE_HEAP = 2**31  # bytes


def keep_freed_memory() -> None:
    """Let the C library reuse freed memory, in pages of 2 MB where the system has them; without effect outside glibc.

    Tensors of megabytes are allocated in every step. By default glibc maps fresh pages for them each time, and pages have
    4 kB, which on a CPU takes a considerable share of a step.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.malloc.restype = ctypes.c_void_p
        start = libc.malloc(ctypes.c_size_t(_HUGE_HEAP))  # address space; memory is taken where it is used
        if start:
            aligned = -(-start // _HUGE_PAGE) * _HUGE_PAGE
            size = (start + _HUGE_HEAP - aligned) // _HUGE_PAGE * _HUGE_PAGE
            libc.madvise(ctypes.c_void_p(aligned), ctypes.c_size_t(size), _MADV_HUGEPAGE)
            libc.free(ctypes.c_void_p(start))


class BiographyDataset(torch.utils.data.Dataset[TokenBatch]):
    """Train rows 0..size-1 of a config as tokens, made on access in blocks, the next one while this one is in use.

    Made alone, a batch of 16 rows takes ten times as long a row as in a block of thousands.
    """

    def __init__(self, data: Config, tokenizer: BiographyTokenizer, size: int, batch_size: int = 1) -> None:
        self.data, self.tokenizer, self.size = data, tokenizer, size
        self._rows_of_block = batch_size * max(1, _MIN_BLOCK_ROWS // batch_size)  # whole batches
        self._blocks: dict[int, Future[TokenBatch]] = {}
        self._worker = ThreadPoolExecutor(1)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> TokenBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> TokenBatch:
        number = indices[0] // self._rows_of_block
        rows = np.asarray(indices) - number * self._rows_of_block
        if rows.min() < 0 or rows.max() >= self._rows_of_block:
            return self.tokenizer(draw(self.data, "train", np.asarray(indices)))
        block = self._block(number)
        lengths = block.lengths[rows]
        longest = int(lengths.max())
        return TokenBatch(block.input_ids[rows, :longest], block.attribute_ids[rows, :longest], lengths)

    def num_tokens(self, start: int, stop: int) -> int:
        """How many tokens rows start..stop-1 have, padding not counted."""
        total, size = 0, self._rows_of_block
        for number in range(start // size, -(-stop // size)):
            lengths = self._block(number, with_next=False).lengths
            total += int(lengths[max(0, start - number * size) : stop - number * size].sum())
        return total

    def _block(self, number: int, with_next: bool = True) -> TokenBatch:
        wanted = [number, number + 1] if with_next else [number]
        for block in wanted:
            rows = range(block * self._rows_of_block, min((block + 1) * self._rows_of_block, self.size))
            if block not in self._blocks and rows:
                self._blocks[block] = self._worker.submit(lambda rows: self.tokenizer(draw(self.data, "train", rows)), rows)
        for old in [block for block in self._blocks if block < number - 1]:
            del self._blocks[old]
        return self._blocks[number].result()


@dataclass(frozen=True)
class Collator:
    """Batches for a causal model, which the Trainer saves the tokenizer of in every checkpoint.

    As the Trainer's processing_class, the tokenizer would give the model's config its pad token: in many models that sets a
    row of the embedding to zero and keeps it there, also when the checkpoint is loaded again.
    """

    tokenizer: Any

    def __call__(self, batch: TokenBatch) -> dict[str, torch.Tensor]:
        """input_ids and labels [B, L]; padding is on the right and in no loss, so a causal model needs no attention mask."""
        input_ids = torch.from_numpy(batch.input_ids)
        is_token = torch.arange(input_ids.shape[1]) < torch.from_numpy(batch.lengths)[:, None]
        return {"input_ids": input_ids, "labels": input_ids.masked_fill(~is_token, IGNORED_LABEL)}


def build_tokenizer(recipe: Recipe, source: Path | None = None) -> Any:
    """The tokenizer of a recipe. A run with a source takes the one saved with the source's model, which knows its token ids.

    Args:
        source: the folder that `source_model` gives for this recipe.

    Raises:
        ValueError: if it cannot be loaded.
    """
    if source is not None:
        return load_tokenizer(str(source))
    if recipe.tokenizer == WORD_TOKENIZER:
        return word_tokenizer(recipe.data.pool_sizes, recipe.data.formats)
    return load_tokenizer(recipe.tokenizer)


def build_dataset(recipe: Recipe, biographies: BiographyTokenizer) -> BiographyDataset:
    """The samples of all steps of a recipe, in their order."""
    return BiographyDataset(recipe.data, biographies, recipe.num_steps * recipe.batch_size, recipe.batch_size)


def build_model(recipe: Recipe, tokenizer: Any, max_length: int, source: Path | None = None) -> Any:
    """The model that a run starts from: a freshly initialized stock model of transformers, or that of its source.

    Args:
        max_length: tokens of the longest biography possible.
        source: the folder that `source_model` gives for this recipe.

    Raises:
        ValueError: if there is no such model, it lacks weights, or its sizes do not fit the tokenizer.
    """
    if source is None:
        model = _fresh_model(recipe, tokenizer, max_length)
    else:
        model = load_model(source, dtype=torch.float32)
        check_integer("vocab_size of source (for this tokenizer)", model.config.vocab_size, minimum=len(tokenizer))
    check_causal(model)
    if recipe.attention:
        reference = kept_model(Path(str(recipe.source)), recipe.attention["reference_step"])
        patch_attention(model, load_model(reference, dtype=torch.float32))
    return model


def _fresh_model(recipe: Recipe, tokenizer: Any, max_length: int) -> Any:
    fields = plain(recipe.model_config)
    model_type = fields.pop("model_type")
    try:
        default = AutoConfig.for_model(model_type)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"model_config.model_type is {model_type!r}, which transformers does not know; try gpt_neox"
        ) from error
    standard_names = {name: standard for standard, name in default.attribute_map.items()}  # n_positions of GPT-2, say
    fields = {standard_names.get(key, key): value for key, value in fields.items()}
    for key in fields:
        if key not in default.to_dict() and key not in default.attribute_map:
            raise ValueError(f"model_config.{key} is no field of {type(default).__name__}; see its documentation")
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    fields = {"vocab_size": len(tokenizer), "max_position_embeddings": max_length} | tokens | fields
    for key, least in (("vocab_size", len(tokenizer)), ("max_position_embeddings", max_length)):
        check_integer(f"model_config.{key} (for this tokenizer)", fields[key], minimum=least)
    set_seed(recipe.seed)
    try:
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **fields))
    except Exception as error:  # each model checks its fields in its own way
        raise ValueError(f"model_config {plain(recipe.model_config)} is refused by transformers: {error}") from error


def place_to_start(recipe: Recipe, output_dir: Path, trainer: Trainer, source: Path | None) -> Path | None:
    """A folder for Trainer to resume from if a run does not start at step 0: the source's model, without optimizer."""
    if recipe.first_step == 0 or source is None:
        return None
    folder = output_dir / f"start-{recipe.first_step}"
    shutil.copytree(source, folder, dirs_exist_ok=True)
    trainer.data_collator.tokenizer.save_pretrained(folder)
    state = copy.deepcopy(trainer.state)
    state.compute_steps(trainer.args, recipe.num_steps)  # the Trainer takes from here how often it saves
    state.global_step, state.max_steps, state.train_batch_size = (
        recipe.first_step,
        recipe.num_steps,
        trainer.args.train_batch_size,
    )
    state.save_to_json(str(folder / "trainer_state.json"))
    return folder


def _scheduler_settings(recipe: Recipe) -> dict[str, Any]:
    """What transformers' scheduler of a recipe is given beside the peak and the number of steps."""
    if recipe.lr_schedule == "cosine":
        return {"min_lr": recipe.final_learning_rate}
    if recipe.lr_schedule == "constant_then_linear":
        lowest = recipe.final_learning_rate / recipe.learning_rate
        return {"num_decay_steps": recipe.num_steps // 5, "decay_type": "linear", "min_lr_ratio": lowest}
    return {}


def _scaled(rate: Callable[[int], float], first_step: float, factor: float, step: int) -> float:
    return rate(step) * (factor if step >= first_step else 1)


class ScheduleFrom(TrainerCallback):  # type: ignore[misc]
    """Sets the learning rate to that of the step that a run starts at."""

    def __init__(self, first_step: int) -> None:
        self.first_step = first_step

    def on_train_begin(self, args: Any, state: Any, control: Any, lr_scheduler: Any = None, **kwargs: Any) -> None:
        """Take the steps that were not taken, unless the run is resumed, when its checkpoint has the schedule."""
        if state.global_step == self.first_step:
            for _ in range(self.first_step):
                lr_scheduler.step()


class CheckedTrainer(Trainer):  # type: ignore[misc]
    """A Trainer that ends with a FloatingPointError at the first step whose loss is not finite, before it is taken.

    rate_factor: (step, factor), as learning_rate_factor of a recipe.
    """

    rate_factor: Sequence[float] | None = None

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """See Trainer."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss is {loss.item()} at step {self.state.global_step + 1}")
        return loss

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """See Trainer; from the step of rate_factor on, rates are multiplied by its factor."""
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        if self.rate_factor is not None:
            first_step, factor = self.rate_factor
            scheduler.lr_lambdas = [functools.partial(_scaled, rate, first_step, factor) for rate in scheduler.lr_lambdas]
        return scheduler

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the Trainer would go through all modules in each step."""
        return 0


def build_trainer(
    recipe: Recipe,
    output_dir: Path,
    model: Any,
    tokenizer: Any,
    dataset: BiographyDataset,
    report_to: Sequence[str] = (),
    precision: str = "float32",
) -> Trainer:
    """A Trainer that runs the recipe: samples in index order, an evaluation that writes metrics.jsonl, two checkpoints kept.

    Args:
        report_to: trackers that can be used here, such as tensorboard; they get the numbers of metrics.jsonl.
        precision: "float32" or "bf16", as use_precision gives it.

    Raises:
        ValueError: if the batch cannot be divided among the processes and their forwards.
    """
    name_project()
    num_processes, on_cpu = PartialState().num_processes, PartialState().device.type == "cpu"
    num_forwards = num_processes * recipe.gradient_accumulation_steps
    in_bf16 = precision == "bf16"
    if on_cpu:
        attend_by_products(model, precision)
    arguments = TrainingArguments(
        output_dir=str(output_dir),
        max_steps=recipe.num_steps,
        per_device_train_batch_size=max(1, recipe.batch_size // num_forwards),
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=_SCHEDULERS[recipe.lr_schedule],
        lr_scheduler_kwargs=_scheduler_settings(recipe),
        warmup_steps=recipe.lr_warmup_steps,
        adam_beta1=recipe.adam_beta1,
        adam_beta2=recipe.adam_beta2,
        adam_epsilon=recipe.adam_epsilon,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        logging_strategy="no",
        logging_nan_inf_filter=False,  # CheckedTrainer ends the run
        save_strategy="steps",
        save_steps=recipe.save_every,
        save_total_limit=2,
        report_to=list(report_to) or "none",
        run_name=run_name(report_to, output_dir.absolute().name),
        project=PROJECT,
        bf16=in_bf16,
        torch_compile=recipe.torch_compile,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        seed=recipe.seed,
    )
    if arguments.train_batch_size * num_forwards != recipe.batch_size:
        raise ValueError(
            f"batch_size is {recipe.batch_size}; it must be a multiple of the number of processes, {num_processes}, times "
            f"gradient_accumulation_steps, {recipe.gradient_accumulation_steps} "
            "(several GPUs: start with accelerate launch, one process each)"
        )
    trainer = CheckedTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        data_collator=Collator(tokenizer),
        compute_loss_func=TrainingLoss(model, torch.bfloat16 if in_bf16 else torch.float32),
    )
    trainer.rate_factor = recipe.learning_rate_factor
    evaluation = RecipeEvaluation(recipe, dataset, output_dir / METRICS_FILE, tokenizer).attach(trainer)
    if not arguments.report_to:
        evaluation.log = None  # the Trainer would print it
    trainer.add_callback(ScheduleFrom(recipe.first_step))
    return trainer
