"""The Trainer of a run: schedules of the learning rate, checks of each step, evaluations and checkpoints."""

import copy
import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bio_facts.checks import needs
from bio_facts.runs.attention_by_products import attend_by_products
from bio_facts.runs.evaluation import RecipeEvaluation
from bio_facts.runs.folder import METRICS_FILE
from bio_facts.runs.loss import TrainingLoss
from bio_facts.runs.recipe import Recipe
from bio_facts.runs.trackers import PROJECT, name_project, run_name
from bio_facts.runs.training import BiographyDataset, Collator

with needs("train", "training"):
    import torch
    from accelerate import PartialState
    from transformers import Trainer, TrainerCallback, TrainingArguments

# lr_schedule of a recipe -> lr_scheduler_type of transformers
_SCHEDULERS = {
    "cosine": "cosine_with_min_lr",
    "constant": "constant_with_warmup",
    "constant_then_linear": "warmup_stable_decay",
}


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
