"""Pre-train a language model on biographies made on the fly, and score what it knows as it learns.

  python train/pretrain.py --config train/recipes/three_phases/mini.yaml --output_dir runs/demo --seed 10
  python train/pretrain.py --config train/recipes/three_phases/smoke.yaml --output_dir runs/smoke      # seconds
  accelerate launch --num_processes 2 train/pretrain.py --config RECIPE.yaml --output_dir runs/two     # two GPUs
  python train/pretrain.py --config runs/demo/config.json --output_dir runs/again                      # repeat a run

The same command again resumes a run that was cut, and exits at once if it is complete. The folder then holds
config.json, metrics.jsonl (one line per evaluated step and split) and the last two checkpoints, each of which loads
with AutoModelForCausalLM and AutoTokenizer. A GPU is used if there is one; ACCELERATE_USE_CPU=true keeps to the CPU.
"""

import sys

from arguments import parse_arguments


def main() -> None:
    """Run the recipe to its end; exit code 2 and one line on stderr for input that cannot be used."""
    arguments = parse_arguments(__doc__ or "")
    recipe, output_dir = arguments.recipe, arguments.output_dir

    try:  # heavy libraries are imported once the arguments are right
        from run_folder import (
            check_folder,
            check_metrics,
            check_shapes,
            join_processes,
            latest_checkpoint,
            lock,
            write_config,
        )

        processes = join_processes()
        if processes.is_main_process:
            check_folder(output_dir, recipe)
            held = lock(output_dir)  # noqa: F841 - released when the process ends
            latest_checkpoint(output_dir)  # removes what a kill left incomplete
        processes.wait_for_everyone()
        checkpoint = latest_checkpoint(output_dir)
        if checkpoint is not None:
            done = int(checkpoint.name.removeprefix("checkpoint-"))
            check_metrics(output_dir, recipe, done)
            if done == recipe.num_steps:
                print(f"{output_dir} is complete: {checkpoint}")
                return

        from training import build_model, build_trainer, keep_freed_memory

        from bio_facts.tokenization import BiographyTokenizer, load_tokenizer

        tokenizer = load_tokenizer(recipe.tokenizer)
        biographies = BiographyTokenizer(tokenizer)
        model = build_model(recipe, tokenizer, biographies.max_length)
        if checkpoint is not None:
            check_shapes(checkpoint, model)
        trainer = build_trainer(recipe, output_dir, model, tokenizer, biographies)
        if processes.is_main_process:
            write_config(output_dir, recipe)
    except ValueError as error:
        sys.exit(_refusal(error))
    keep_freed_memory()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    print(f"{output_dir} is complete: checkpoint-{recipe.num_steps}")


def _refusal(error: ValueError) -> int:
    print(f"pretrain.py: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
