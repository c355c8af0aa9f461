"""The commands that publish on the Hugging Face Hub: bio-facts push, push-run and push-space."""

import argparse
from pathlib import Path

from bio_facts.checks import needs
from bio_facts.commands.data import build_unless_built
from bio_facts.commands.parsers import Commands, add_num_workers, path_argument
from bio_facts.generate.config import DATA_VERSION
from bio_facts.hub import check_repo_id
from bio_facts.publish.canonical import CANONICAL, CANONICAL_FOLDER
from bio_facts.publish.card import REPOSITORY
from bio_facts.publish.hub import push
from bio_facts.publish.space import push_space
from bio_facts.runs.push_run import push_run


def _push(arguments: argparse.Namespace) -> None:
    folder: Path | None = arguments.folder
    if arguments.canonical:
        check_repo_id(arguments.repo_id, "you/bio_facts")
        folder = folder or CANONICAL_FOLDER
        with needs("hub", "push"):
            import huggingface_hub  # noqa: F401  # before the minutes that the build takes
        build_unless_built(CANONICAL, folder, arguments.num_workers)
    elif folder is None:
        raise ValueError("the following arguments are required: --from, or --canonical")
    print(push(arguments.repo_id, folder, private=arguments.private, num_workers=arguments.num_workers))


def _push_run(arguments: argparse.Namespace) -> None:
    print(push_run(arguments.repo_id, arguments.folder, private=arguments.private))


def _push_space(arguments: argparse.Namespace) -> None:
    print(push_space(arguments.repo_id, private=arguments.private))


def add_hub_commands(commands: Commands) -> None:
    """Add the commands that publish."""
    push_command = commands.add(
        "push",
        _push,
        "publish an export on the Hub",
        f"Verify an export, upload it as a dataset in one commit, and then set the tag v{DATA_VERSION}. An existing tag is\n"
        f"never moved. In the uploaded dataset card, REPO_ID replaces {REPOSITORY}. With --canonical, build the canonical\n"
        f"set first: {', '.join(CANONICAL)}. Rerunning the command completes an\n"
        "interrupted build or push. Log in first (hf auth login).",
        "  bio-facts push you/bio_facts --from export\n  bio-facts push --canonical you/bio_facts",
        resumes=True,
    )
    push_command.add_argument("repo_id", metavar="REPO_ID", help="such as you/bio_facts; created if it does not exist")
    push_command.add_argument(
        "--from", dest="folder", type=path_argument, metavar="DIR", help="folder written by bio-facts build, or to build in"
    )
    push_command.add_argument(
        "--canonical",
        action="store_true",
        help=f"build the canonical set, if it is not built, in the folder of --from (default: {CANONICAL_FOLDER}), and push it",
    )

    push_run_command = commands.add(
        "push-run",
        _push_run,
        "publish the kept models of a run on the Hub",
        "Check the weight files of a finished run, and upload them as a model repository: a branch stepN for each model, with\n"
        "its tokenizer, model card, recipe and metrics; the last model also on main. The tag of the data version is set last.\n"
        "Rerunning the command completes an interrupted push. Log in first (hf auth login).",
        "  bio-facts push-run you/bio_facts-demo --from runs/demo",
        resumes=True,
    )
    push_run_command.add_argument("repo_id", metavar="REPO_ID", help="such as you/bio_facts-demo; created if it does not exist")
    push_run_command.add_argument(
        "--from", dest="folder", type=path_argument, required=True, metavar="RUN", help="output folder of a finished run"
    )

    push_space_command = commands.add(
        "push-space",
        _push_space,
        "publish the metric on the Hub",
        "Upload the metric attribute_recall and its page as a Space, from which evaluate.load takes it. A Space that has them\n"
        "gets the files of this version. Log in first (hf auth login).",
        "  bio-facts push-space you/attribute_recall",
        resumes=True,
    )
    push_space_command.add_argument(
        "repo_id", metavar="REPO_ID", help="such as you/attribute_recall; created if it does not exist"
    )

    add_num_workers(push_command)
    for command in (push_command, push_run_command, push_space_command):
        command.add_argument("--private", action="store_true", help="make the repository private if it is created")
