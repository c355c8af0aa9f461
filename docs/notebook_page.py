"""A notebook, with the outputs that it was saved with, as Markdown."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def notebook_text(notebook: Path, page: Path, rewritten: Callable[[str], str]) -> str:
    """The Markdown of a notebook; `rewritten` is applied to its text. Its pictures are written into the folder of the page."""
    parts: list[str] = []
    num_pictures = 0
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(rewritten(source))
            continue
        parts.append(_block("python", source))
        for output in cell["outputs"]:
            data: dict[str, Any] = output.get("data", {})
            if "image/png" in data:
                picture = page.with_name(f"{page.stem}-{num_pictures}.png")
                picture.write_bytes(base64.b64decode("".join(data["image/png"])))
                parts.append(f"![Output of the code above]({picture.name})")
                num_pictures += 1
            elif text := "".join(output.get("text", data.get("text/plain", ""))).strip("\n"):
                parts.append(_block("text", text))
    return "\n\n".join(parts) + "\n"


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
