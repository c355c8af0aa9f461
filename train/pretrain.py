"""Train a language model on biographies generated on the fly, and measure how much of them it recalls as it learns.

Pre-training: a fresh model.
  python train/pretrain.py --config train/recipes/three_phases/mini.yaml --output-dir runs/demo --seed 10
  python train/pretrain.py --config train/recipes/three_phases/smoke.yaml --output-dir runs/smoke      # seconds
  accelerate launch --num_processes 2 train/pretrain.py --config RECIPE.yaml --output-dir runs/two     # two GPUs
  python train/pretrain.py --config runs/demo/config.json --output-dir runs/again                      # repeat a run

Fine-tuning: the last model of a finished run (--source) of the same seed, on other biographies.
  python train/pretrain.py --config train/recipes/fine_tuning/mini.yaml --arm quarter --seed 10 \\
      --source runs/demo --output-dir runs/fine_tuning-10

Attention patching (paper section 3.1, Fig. 3): the model that --source kept at step attention.start_step, trained on the same
samples as the source; in each forward pass it is given the attention patterns of the model of step attention.reference_step.
  python train/pretrain.py --config train/recipes/attention_patching/mini.yaml --arm after --seed 10 \\
      --source runs/demo --output-dir runs/patching-10

Rerunning a command resumes an interrupted run, and does nothing if the run is complete. The folder then holds config.json,
metrics.jsonl (one line per evaluated step and split) and the last two checkpoints, each of which loads with
AutoModelForCausalLM and AutoTokenizer. A GPU is used if there is one; ACCELERATE_USE_CPU=true selects the CPU.
"""

import sys

from bio_facts.checks import exit_with_error
from bio_facts.runs.arguments import parse_arguments
from bio_facts.runs.environment import apply_recipe


def main() -> None:
    """Run the recipe. Exit code 2 and one line on stderr for wrong input, 1 if the training diverges."""
    arguments = parse_arguments(__doc__ or "")
    recipe, output_dir = arguments.recipe, arguments.output_dir
    try:
        # Setup. The environment is settled before torch and transformers are imported, which read it once.
        apply_recipe(recipe)
        from bio_facts.measure.tokens import BiographyTokenizer
        from bio_facts.runs.checkpoints import (
            checkpoint_step,
            latest_checkpoint,
            load_weights,
            remove_incomplete_checkpoints,
            source_model,
        )
        from bio_facts.runs.folder import RunFolder
        from bio_facts.runs.machine import join_processes, keep_freed_memory
        from bio_facts.runs.precision import use_precision
        from bio_facts.runs.trackers import usable_trackers
        from bio_facts.runs.trainer import build_trainer, place_to_start
        from bio_facts.runs.training import build_dataset, build_model, build_tokenizer

        report_to = usable_trackers(arguments.report_to)
        processes = join_processes()
        precision = use_precision(recipe.precision, processes.device.type)

        # Folder: a new one, or that of this run, which then resumes from its last complete checkpoint.
        source, folder = source_model(recipe), RunFolder(output_dir)
        if processes.is_main_process:
            config = recipe.as_config() | {"registration": arguments.registration}
            folder.check_run(config)
            folder.lock()
            remove_incomplete_checkpoints(output_dir)
        processes.wait_for_everyone()
        checkpoint = latest_checkpoint(output_dir)
        resumed_step = None if checkpoint is None else checkpoint_step(checkpoint)
        if resumed_step is not None:
            folder.check_metrics(recipe, resumed_step)
            if folder.is_finished(resumed_step):
                print(f"{output_dir} is complete: {checkpoint}")
                return
            if processes.is_main_process and not arguments.allow_other_machine:
                folder.check_machine(precision)

        # Data
        tokenizer = build_tokenizer(recipe, source)
        biographies = BiographyTokenizer(tokenizer, recipe.data.pool_sizes, recipe.data.formats)
        dataset = build_dataset(recipe, biographies)

        # Model
        model = build_model(recipe, tokenizer, biographies.max_length, source)
        if checkpoint is not None:
            load_weights(checkpoint, model)

        # Trainer, with the evaluation that writes metrics.jsonl
        trainer = build_trainer(recipe, output_dir, model, tokenizer, dataset, report_to, precision)
        if processes.is_main_process:
            folder.write_config(config, precision, resumed_step)
    except ValueError as error:
        exit_with_error(error)

    # Train
    if processes.is_main_process:
        print(f"precision: {precision}", file=sys.stderr)
    keep_freed_memory()
    start = checkpoint or place_to_start(recipe, output_dir, trainer, source)
    try:
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
    except FloatingPointError as error:
        last = latest_checkpoint(output_dir)
        advice = "there is no checkpoint before it" if last is None else f"the last good checkpoint is {last}"
        exit_with_error(f"{error}; {advice}; a lower learning_rate may help", code=1)
    print(f"{output_dir} is complete: checkpoint-{trainer.state.global_step}")


if __name__ == "__main__":
    main()
