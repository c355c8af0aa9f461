"""The commands that publish on the Hugging Face Hub: bio-facts push and push-run."""

import argparse

from bio_facts.commands.parsers import Commands, add_num_workers, path_argument
from bio_facts.generate.config import DATA_VERSION
from bio_facts.publish.card import REPOSITORY
from bio_facts.publish.hub import push
from bio_facts.runs.push_run import push_run


def _push(arguments: argparse.Namespace) -> None:
    print(push(arguments.repo_id, arguments.folder, private=arguments.private, num_workers=arguments.num_workers))


def _push_run(arguments: argparse.Namespace) -> None:
    print(push_run(arguments.repo_id, arguments.folder, private=arguments.private))


def add_hub_commands(commands: Commands) -> None:
    """Add the commands that publish."""
    push_command = commands.add(
        "push",
        _push,
        "publish an export on the Hub",
        f"Verify an export, upload it as a dataset, and set the tag v{DATA_VERSION} last. An existing tag is never moved.\n"
        f"In the uploaded dataset card, REPO_ID replaces {REPOSITORY}. Log in first (hf auth login).",
        "  bio-facts push you/bio_facts --from export",
        resumes=True,
    )
    push_command.add_argument("repo_id", metavar="REPO_ID", help="such as you/bio_facts; created if it does not exist")
    push_command.add_argument(
        "--from", dest="folder", type=path_argument, required=True, metavar="DIR", help="folder written by bio-facts build"
    )

    push_run_command = commands.add(
        "push-run",
        _push_run,
        "publish the kept models of a run on the Hub",
        "Check the weight files of a finished run, and upload them as a model repository: a branch stepN for each model, with\n"
        "its tokenizer, model card, recipe and metrics; the last model also on main. The tag of the data version is set last.\n"
        "Rerunning the command completes an interrupted push. Log in first (hf auth login).",
        "  bio-facts push-run you/bio_facts-n2k --from runs/demo",
        resumes=True,
    )
    push_run_command.add_argument("repo_id", metavar="REPO_ID", help="such as you/bio_facts-n2k; created if it does not exist")
    push_run_command.add_argument(
        "--from", dest="folder", type=path_argument, required=True, metavar="RUN", help="output folder of a finished run"
    )
    add_num_workers(push_command)
    for command in (push_command, push_run_command):
        command.add_argument("--private", action="store_true", help="make the repository private if it is created")
