"""Writes the shards of an export on a cluster, as the README describes: python cluster_build.py slurm|ray EXPORT LOGS"""

import functools
import sys
from pathlib import Path
from typing import Any

import bio_facts

CONFIGS = {"small": bio_facts.CONFIGS["n1k"].replace(num_biographies=100_000)}  # three shards; train takes a second or so


def note_processes(folder: Path, data: Any, rank: int, world_size: int) -> Any:
    """A step that writes which process runs the task `rank`, after its parent: of Ray, that is the worker."""
    import os  # here, because the workers get the function without its module

    folder.mkdir(exist_ok=True)
    (folder / str(rank)).write_text(f"{os.getppid()} {os.getpid()}")
    return data


def main() -> None:
    """Start the tasks; with Ray, until all have ended."""
    from datatrove.executor import RayPipelineExecutor, SlurmPipelineExecutor

    from bio_facts.publish.datatrove_steps import WriteShards

    kind, export, logs = sys.argv[1:]
    steps = [functools.partial(note_processes, Path(f"{logs}-processes")), WriteShards(CONFIGS, export)]
    settings = {"tasks": 3, "workers": 2, "mem_per_cpu_gb": 1, "logging_dir": logs}
    if kind == "slurm":
        SlurmPipelineExecutor(steps, time="00:05:00", partition="cpu", **settings).run()
    else:
        import ray

        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000)
        RayPipelineExecutor(steps, **settings).run()


if __name__ == "__main__":
    main()
