"""The same bytes everywhere: makes virtual environments, without torch, and compares in each.

python tests/compat.py --folder .compat     (make compat)

In each environment: every digest of goldens.json; n1k from the builder (serial, with processes, streamed), from an export as
Parquet, and, with datasets before 4, by loading_script. Two environments at a time; they are kept in the folder and used again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEWEST = "newest interpreter"

# Name -> what is pinned; all but the newest interpreter run on the one that runs this.
ENVIRONMENTS = {
    "datasets 5.2, numpy 2.4": ["datasets==5.2.0", "numpy==2.4.6", "pyarrow==26.0.1"],
    "datasets 5.2, numpy 1.26": ["datasets==5.2.0", "numpy==1.26.4", "pyarrow==25.0.0"],
    "datasets 3.6": ["datasets==3.6.0"],
    NEWEST: ["datasets==5.2.0"],
}


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
    return result.stdout


def newest_interpreter() -> Path | None:
    """The interpreter of highest version on the PATH or below pyenv, if it is newer than the one that runs this."""
    folders = [Path(part) for part in os.environ["PATH"].split(os.pathsep) if part]
    pyenv_root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders += sorted((pyenv_root / "versions").glob("*/bin"))
    interpreters = {}
    for candidate in {path for folder in folders for path in folder.glob("python3.[0-9]*") if path.name.count(".") == 1}:
        program = "import sys, venv, ensurepip; print(*sys.version_info[:3], sys.version_info.releaselevel)"
        result = subprocess.run([str(candidate), "-c", program], capture_output=True, text=True)
        *version, level = result.stdout.split() or ["", ""]
        if result.returncode == 0 and level == "final":
            interpreters[tuple(map(int, version))] = candidate
    newest = max(interpreters, default=sys.version_info[:3])
    return interpreters[newest] if newest[:2] > sys.version_info[:2] else None


def make(folder: Path, interpreter: Path, pins: list[str]) -> Path:
    """A virtual environment with the package, installed as a wheel, and its python."""
    python = folder / "bin" / "python"
    stamp = folder / ".pins"
    if not stamp.exists() or stamp.read_text() != json.dumps([str(interpreter), *pins]):
        shutil.rmtree(folder, ignore_errors=True)
        run(interpreter, "-m", "venv", folder)
        run(python, "-m", "pip", "install", "--quiet", *pins, "huggingface_hub", "pandas", "shtab")
        stamp.write_text(json.dumps([str(interpreter), *pins]))
    run(python, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", ROOT)
    run(python, "-m", "pip", "check")
    return python


def check(folder: Path, number: int) -> str:
    """The line of an environment, of those in ENVIRONMENTS."""
    name, pins = list(ENVIRONMENTS.items())[number]
    start = time.monotonic()
    interpreter = newest_interpreter() if name == NEWEST else Path(sys.executable)
    if interpreter is None:
        return f"{name}: NOT RUN, there is none newer than {sys.version.split()[0]}"
    python = make(folder / f"environment-{number}", interpreter, pins)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HOME": str(folder / f"cache-{number}"), "HF_HUB_OFFLINE": "1"}
    shutil.rmtree(folder / f"cache-{number}", ignore_errors=True)
    versions = run(python, ROOT / "tests" / "compat_check.py", folder / f"cache-{number}", environment=environment)
    return f"{name}: {versions.splitlines()[-1]} ({time.monotonic() - start:.0f} s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".compat", help="where environments are kept (default: .compat)")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as pool:  # each waits for downloads, or computes on one core
        for line in pool.map(partial(check, folder), range(len(ENVIRONMENTS))):
            print(line, flush=True)


if __name__ == "__main__":
    main()
