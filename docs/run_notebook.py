"""Run the notebook and save it with its outputs: make notebook, or

python docs/run_notebook.py

What goes to stderr (the progress of training, warnings with paths of the machine) and the times of cells are not saved.
"""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "three_phases.ipynb"


def kept(outputs: list[Any]) -> list[Any]:
    """Outputs without stderr; texts on stdout that follow each other are one."""
    result: list[Any] = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if result and output.get("name") == result[-1].get("name") == "stdout":
            result[-1]["text"] += output["text"]
        else:
            result.append(output)
    return result


def main() -> None:
    """Run it from its first to its last cell; an error in a cell ends the program and leaves the file as it was."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=None, record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = kept(cell.outputs)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
