"""Links of Markdown in the repository, as links between the pages of the site."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

# Code in blocks, links, and code in a line; a link may have code as its text.
_LINK = re.compile(
    r"^```.*?^```$|^ {4}\S.*?$|(?P<picture>!?)\[(?P<label>(?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?://|mailto:|#)(?P<link>[^)\s]+)\)"
    r"|`[^`\n]+`",
    flags=re.DOTALL | re.MULTILINE,
)
_DEFINITION = re.compile(r"^(\[[^\]]+\]): (?!https?://|#)(\S+)$", flags=re.MULTILINE)  # [C1]: train/recipes/three_phases
_PICTURES = (".png", ".svg", ".jpg")


class PageLinks:
    """Rewrites links for pages in `folder`.

    Args:
        pages: file of the repository -> its page in `folder`. A folder with a README.md stands for that.
        repository: an address on GitHub for links to files that are no pages; None: these links are plain text.
    """

    def __init__(self, root: Path, folder: Path, pages: Mapping[Path, Path], repository: str | None) -> None:
        self._root, self._folder, self._pages = root, folder, pages
        self._repository = None if repository is None else repository.rstrip("/")

    def rewritten(self, text: str, source: Path, page: Path) -> str:
        """The text of a file of the repository, with the links that it needs as (part of) a page.

        Raises:
            ValueError: if a link leads to no file.
        """
        removed: list[str] = []

        def linked(match: re.Match[str]) -> str:
            if match["link"] is None:  # code
                return match[0]
            target = self._target(match["link"], source, page)
            return f"{match['picture']}[{match['label']}]({target})" if target is not None else match["label"]

        def defined(match: re.Match[str]) -> str:
            target = self._target(match[2], source, page)
            if target is None:
                removed.append(match[1])
                return ""
            return f"{match[1]}: {target}"

        text = _DEFINITION.sub(defined, _LINK.sub(linked, text))
        for label in removed:  # [shown][C1 mini] -> shown
            text = re.sub(rf"\[([^\]]*)\]{re.escape(label)}", r"\1", text)
        return text

    def _target(self, link: str, source: Path, page: Path) -> str | None:
        """Where a link leads from a page; None for a file that is not on the site, without a repository."""
        name, hash_sign, anchor = link.partition("#")
        path = Path(os.path.normpath(source.parent / name))
        if not (self._root / path).exists():
            raise ValueError(f"{source} links to {link}, which is no file of the repository")
        known = next((self._pages[known] for known in (path, path / "README.md") if known in self._pages), None)
        if known is None and path.suffix in _PICTURES:
            known = Path("pictures") / path
            (self._folder / known).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._root / path, self._folder / known)
        if known is not None:
            return Path(os.path.relpath(known, page.parent)).as_posix() + hash_sign + anchor
        kind = "tree" if (self._root / path).is_dir() else "blob"
        return None if self._repository is None else f"{self._repository}/{kind}/HEAD/{path.as_posix()}"
