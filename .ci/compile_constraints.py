"""Compiles constraints.txt: the version of every package that `make` installs, those that others depend on included.

python .ci/compile_constraints.py              (make constraints: keeps the versions that it holds)
python .ci/compile_constraints.py --upgrade    (make constraints UPGRADE=1: takes the newest ones, except those in KEPT)

Resolves all extras and dependency groups together, by pip in a new virtual environment, without installing them.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = "pip==26.3"  # resolves; one that knows dependency groups
# Not upgraded: PyTorch's CPU and CUDA builds must exist for it; committed pictures are compared with those of this matplotlib.
KEPT = ("torch", "matplotlib")


def canonical(name: str) -> str:
    """A name of a package as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Resolves and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = parser.parse_args().upgrade
    target = ROOT / "constraints.txt"
    pins = [line.partition("#")[0].strip() for line in target.read_text(encoding="utf-8").splitlines()]
    pins = [pin for pin in pins if pin and (not upgrade or pin.partition("==")[0] in KEPT)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = ",".join(project["project"]["optional-dependencies"])
    groups = [argument for group in project["dependency-groups"] for argument in ("--group", group)]

    with tempfile.TemporaryDirectory() as folder:
        python, report, constraint = (Path(folder) / name for name in ("venv/bin/python", "report.json", "constraints.txt"))
        constraint.write_text("\n".join(pins) + "\n", encoding="utf-8")
        subprocess.run([sys.executable, "-m", "venv", Path(folder) / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", PIP], check=True)
        resolve = ["install", "--dry-run", "--ignore-installed", "--report", report]
        subprocess.run(
            [python, "-m", "pip", *resolve, "--editable", f".[{extras}]", *groups, PIP],
            check=True,
            cwd=ROOT,
            env=os.environ | {"PIP_CONSTRAINT": str(constraint)},
        )
        packages = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]

    versions = {canonical(package["name"]): package["version"].partition("+")[0] for package in packages}  # 2.13.0+cpu: 2.13.0
    del versions[canonical(project["project"]["name"])]
    header = (
        "# Compiled by `make constraints` from all extras and dependency groups of pyproject.toml; do not edit by hand.\n"
        f"# Python {platform.python_version()} on {platform.system()}; packages that only other platforms need are not here.\n"
    )
    lines = "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))
    target.write_text(header + lines, encoding="utf-8")
    print(f"{target.name}: {len(versions)} packages")


if __name__ == "__main__":
    main()
