"""README.md as the package's page on PyPI, where relative links lead nowhere: a metadata hook of hatchling.

With a Repository in [project.urls] of pyproject.toml, links and pictures are there. Without one, links are plain text and
pictures are left out.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s]+)\)")
_DEFINITION = re.compile(r"^(\[[^\]]+\]): (?!https?://|#)(\S+)\n", flags=re.MULTILINE)  # [C1]: train/recipes/three_phases


def pypi_text(text: str, repository: str | None) -> str:
    """The Markdown of a README without relative links. repository: an address on GitHub, or None."""

    def linked(match: re.Match[str]) -> str:
        is_picture, label, path = match.groups()
        if repository is None:
            return "" if is_picture else label
        return f"{is_picture}[{label}]({repository}/{'raw' if is_picture else 'blob'}/HEAD/{path})"

    text = _LINK.sub(linked, text)
    if repository is not None:
        return _DEFINITION.sub(rf"\1: {repository}/blob/HEAD/\2\n", text)
    for label, _ in _DEFINITION.findall(text):
        text = re.sub(rf"\[([^\]]*)\]{re.escape(label)}", r"\1", text)  # [shown][C1 mini]
    return _DEFINITION.sub("", text)


class PypiReadme(MetadataHookInterface):
    """Sets `readme`, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling with the table [project]."""
        repository = metadata.get("urls", {}).get("Repository")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": pypi_text(text, None if repository is None else repository.rstrip("/")),
        }
