"""The output folder of a run: config.json (which run it is), metrics.jsonl (its evaluations), and checks before it is used."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from bio_facts.files import FOLDER_LOCKS, UNFINISHED, lock_folder, write_text
from bio_facts.runs.early_stopping import ends_run
from bio_facts.runs.machine import machine_difference, this_machine
from bio_facts.runs.recipe import Recipe

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"


class RunFolder:
    """The output folder of a run. Reads each of its two files once, when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of config.json. OSError if there is no such file, ValueError if it is not JSON."""
        config: dict[str, Any] = json.loads((self.path / CONFIG_FILE).read_text(encoding="utf-8"))
        return config

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, none if there is no file; an incomplete last line is left out.

        Raises:
            ValueError: naming the first line that is not one of ours.
        """
        path = self.path / METRICS_FILE
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        metrics = []
        for number, line in enumerate(lines, start=1):
            try:
                metrics.append(json.loads(line))
                metrics[-1]["step"], metrics[-1]["split"]
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{path}, line {number} is {line!r}; it must be the JSON of an evaluation") from error
        return metrics

    def check_run(self, config: Mapping[str, Any]) -> None:
        """ValueError unless the folder is new, empty or holds the run of this config (`Recipe.as_config`). Writes nothing."""
        try:
            names = sorted(file.name for file in self.path.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise ValueError(
                f"output_dir is {str(self.path)!r}, which is no folder that can be read ({error.strerror})"
            ) from error
        if CONFIG_FILE in names:
            self._check_same_run(config)
            return
        foreign = [name for name in names if name not in FOLDER_LOCKS and not _is_unfinished_config(name)]
        if foreign:
            raise ValueError(
                f"output_dir {self.path} holds {foreign[0]!r} and no {CONFIG_FILE}; it must be empty, new, or a run to resume"
            )

    def _check_same_run(self, config: Mapping[str, Any]) -> None:
        path, expected = self.path / CONFIG_FILE, _identity(config)
        try:
            recipe = self.config["recipe"]
            settings = recipe | {key: self.config.get(key) for key in expected.keys() - recipe.keys()}
            if missing := {"versions", "device"} - self.config.keys():  # runs of every version have them
                raise KeyError(*sorted(missing))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is not the config.json of a run ({error!r}); choose another output_dir") from error
        if "data_digest" in expected and settings["data_digest"] is None:
            raise ValueError(f"{path} has no data_digest: an earlier version of bio_facts made it; choose another output_dir")
        for key, value in expected.items():
            if settings.get(key) != value:
                raise ValueError(
                    f"output_dir {self.path} holds another run: its {key} is {settings.get(key)!r}, not {value!r}; "
                    "choose another folder or the same settings"
                )

    def lock(self) -> None:
        """Create the folder if it does not exist, and lock it until this process ends or drops this object.

        Raises:
            ValueError: if another process holds the lock, or the folder cannot be written.
        """
        self._lock = lock_folder("output_dir", self.path)

    def check_metrics(self, recipe: Recipe, last_step: int) -> None:
        """ValueError naming the first evaluation up to `last_step` that the metrics lack."""
        evaluated = {(line["step"], line["split"]) for line in self.metrics}
        for step in sorted(step for step in recipe.eval_steps if step <= last_step):
            for split in recipe.evaluated_splits:
                if (step, split) not in evaluated:
                    raise ValueError(
                        f"{self.path / METRICS_FILE} lacks step {step} of {split}, before the checkpoint of step {last_step}; "
                        "restore it, or choose another output_dir"
                    )

    def is_finished(self, step: int) -> bool:
        """Whether the run has nothing left to do after its checkpoint of `step`."""
        last = next((line for line in self.metrics if (line["step"], line["split"]) == (step, "validation")), None)
        recipe = self.config["recipe"]
        return last is not None and ends_run(last, recipe["num_steps"], recipe.get("stop_below"))

    def check_machine(self, precision: str = "float32") -> None:
        """ValueError if the run was last trained on a machine, in a precision or with versions that give other last digits."""
        difference = machine_difference(self.config, this_machine(precision))
        if difference is not None:
            raise ValueError(
                f"output_dir {self.path} holds a run with {difference}; its last digits would differ: "
                "resume it where it began, or pass --allow-other-machine"
            )

    def write_config(self, config: Mapping[str, Any], precision: str = "float32", resumed_step: int | None = None) -> None:
        """Write the config.json that repeats the run; to that of a resumed run, only add the machine if it is another one."""
        machine = this_machine(precision)
        content = {**config, **machine}
        if resumed_step is not None:
            if machine_difference(self.config, machine) is None:
                return
            resumptions = [*self.config.get("resumed_on", []), {"step": resumed_step} | machine]
            content = self.config | {"resumed_on": resumptions}
        for file in self.path.iterdir():
            if _is_unfinished_config(file.name):  # of a process that was killed
                file.unlink()
        write_text(self.path / CONFIG_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _is_unfinished_config(name: str) -> bool:
    return name.startswith(f"{CONFIG_FILE}.") and name.endswith(UNFINISHED)


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run the same run: its settings, and the fingerprint and digest of its data if it has any."""
    identity: dict[str, Any] = json.loads(json.dumps(config))
    for key in ("dataset_parameters", "registration"):
        identity.pop(key, None)
    return identity.pop("recipe") | identity  # type: ignore[no-any-return]
