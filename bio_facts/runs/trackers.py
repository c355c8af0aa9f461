"""Experiment trackers that transformers logs to: which of them can be used here, and the name of a run there.

Imports transformers, and thereby torch, when a tracker is asked for.
"""

import importlib.util
import os
from collections.abc import Collection, Sequence

from bio_facts.checks import needs

# Tracker -> the packages of which it needs any one; kubeflow needs none.
_PACKAGES = {
    "azure_ml": ("azureml.core",), "clearml": ("clearml",), "codecarbon": ("codecarbon",), "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub",), "dvclive": ("dvclive",), "flyte": ("flytekit",), "mlflow": ("mlflow",), "neptune": ("neptune",),
    "swanlab": ("swanlab",), "tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "wandb": ("wandb",),
}  # fmt: skip
_NOT_LISTED = ("flyte", "azure_ml")  # transformers may not list them as available though they are
_PROJECT_VARIABLES = ("WANDB_PROJECT", "COMET_PROJECT_NAME", "MLFLOW_EXPERIMENT_NAME", "CLEARML_PROJECT", "SWANLAB_PROJECT")
_NAME_VARIABLES = {"wandb": "WANDB_NAME", "mlflow": "MLFLOW_RUN_NAME"}
PROJECT = "bio_facts"  # unless their own variable names another


def usable_trackers(names: Sequence[str]) -> list[str]:
    """The trackers of `names`, after a check of each; for ["all"] those that can be used here, for ["none"] none.

    Raises:
        ValueError: for a tracker that transformers does not know, whose package is not installed, or that is not set up.
    """
    if list(names) in ([], ["none"]):
        return []
    with needs("train", "report_to"):
        from transformers.integrations import get_reporting_integration_callbacks
        from transformers.integrations.integration_utils import get_available_reporting_integrations

    available = get_available_reporting_integrations()
    if list(names) == ["all"]:
        return [name for name in available if _is_installed(name)]
    for name in names:
        try:
            get_reporting_integration_callbacks([name])
        except ValueError as error:
            raise ValueError(f"report_to is {name!r}; it must be none, all, or trackers of transformers: {error}") from error
        if not _is_installed(name):
            package = _PACKAGES[name][0].replace("_", "-").replace(".", "-")
            raise ValueError(f"report_to is {name!r}, whose package is not installed: pip install {package}")
        if name not in available and name not in _NOT_LISTED:
            raise ValueError(
                f"report_to is {name!r}, which transformers finds not set up here; see the tracker's documentation"
            )
    return list(dict.fromkeys(names))


def _is_installed(name: str) -> bool:
    packages = _PACKAGES.get(name)
    return packages is None or any(_is_package(package) for package in packages)


def _is_package(name: str) -> bool:
    """Whether there is code to import: a folder of that name, such as the ./wandb that wandb writes, is no package."""
    try:
        spec = importlib.util.find_spec(name)
    except ImportError:  # of a parent package
        return False
    return spec is not None and spec.origin is not None


def name_project() -> None:
    """Set the project of all trackers to ours, unless the user has set another."""
    for name in _PROJECT_VARIABLES:
        os.environ.setdefault(name, PROJECT)


def run_name(trackers: Collection[str], default: str) -> str:
    """The name of the run: the user's, from the variable of one of `trackers`, otherwise `default`."""
    named = (os.environ.get(variable) for tracker, variable in _NAME_VARIABLES.items() if tracker in trackers)
    return next(filter(None, named), default)
