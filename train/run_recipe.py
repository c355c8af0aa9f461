"""What all training scripts do: run the recipe on the command line to its end, or on from where it was cut."""

import sys
from pathlib import Path

from bio_facts.runs.arguments import parse_arguments


def main(description: str) -> None:
    """Run the recipe; exit code 2 and one line on stderr for input that cannot be used."""
    arguments = parse_arguments(description)
    recipe, output_dir = arguments.recipe, arguments.output_dir

    try:  # heavy libraries are imported once the arguments are right
        from bio_facts.runs.environment import apply_recipe, use_full_precision

        apply_recipe(recipe)
        from bio_facts.runs.folder import (
            CONFIG_FILE,
            check_folder,
            check_metrics,
            checkpoint_step,
            is_finished,
            latest_checkpoint,
            load_weights,
            lock,
            source_model,
            write_config,
        )
        from bio_facts.runs.machine import check_machine, join_processes

        report_to = []
        if arguments.report_to:
            from bio_facts.runs.trackers import usable_trackers

            report_to = usable_trackers(arguments.report_to)
        processes = join_processes()
        if processes.is_main_process:
            check_folder(output_dir, recipe)
            source_model(recipe)
            held = lock(output_dir)  # noqa: F841 - released when the process ends
            latest_checkpoint(output_dir)  # removes what a kill left incomplete
        processes.wait_for_everyone()
        checkpoint = latest_checkpoint(output_dir)
        if checkpoint is not None:
            check_metrics(output_dir, recipe, checkpoint_step(checkpoint))
            if is_finished(output_dir, recipe, checkpoint_step(checkpoint)):
                print(f"{output_dir} is complete: {checkpoint}")
                return
            if processes.is_main_process and not arguments.allow_other_machine:
                check_machine(output_dir / CONFIG_FILE)

        from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer
        from bio_facts.runs.training import build_model, build_trainer, keep_freed_memory, place_to_start

        use_full_precision()
        tokenizer = load_tokenizer(recipe.tokenizer)
        biographies = BiographyTokenizer(tokenizer)
        model = build_model(recipe, tokenizer, biographies.max_length)
        if checkpoint is not None:
            load_weights(checkpoint, model)
        trainer = build_trainer(recipe, output_dir, model, tokenizer, biographies, report_to)
        if processes.is_main_process:
            write_config(output_dir, recipe, None if checkpoint is None else checkpoint_step(checkpoint))
    except ValueError as error:
        name = Path(sys.argv[0]).name
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    keep_freed_memory()
    resumed = place_to_start(recipe, output_dir, trainer) if checkpoint is None else checkpoint
    try:
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    except FloatingPointError as error:
        last = latest_checkpoint(output_dir)
        good = "there is no checkpoint before it" if last is None else f"the last good checkpoint is {last}"
        print(f"{Path(sys.argv[0]).name}: error: {error}; {good}; a lower learning_rate may help", file=sys.stderr)
        sys.exit(1)
    print(f"{output_dir} is complete: checkpoint-{trainer.state.global_step}")
