"""Checks the HTML of a site: every link within it leads to a page and an anchor, and nothing is loaded from elsewhere."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

_LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}  # element -> attribute
_NOT_LOADED = {"canonical", "next", "prev", "alternate"}  # rel of link


class _Page(HTMLParser):
    """ids: all anchors. links, loaded: addresses."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        attributes = {name: value or "" for name, value in attrs}
        self.ids |= {attributes[name] for name in ("id", "name") if name in attributes}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        address = attributes.get(_LOADED.get(tag, ""))
        if address is not None and attributes.get("rel") not in _NOT_LOADED:
            self.loaded.append(address)


def problems(html: Path) -> list[str]:
    """One line for each link or loaded file of a site that is wrong, in the order of the pages."""
    pages = {path.resolve(): _Page(path) for path in sorted(html.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(html.resolve())
        if name.name == "404.html":  # its links are those of a page at the root of a domain
            continue
        for address in page.loaded:
            url = urlparse(address)
            if url.scheme not in ("", "data") or url.netloc:
                found.append(f"{name} loads {address} from another site")
        for address in [*page.links, *page.loaded]:
            url = urlparse(address)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{name} links to {address}, which does not exist")
            elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids | {"__skip"}:
                found.append(f"{name} links to {address}, where there is no such anchor")
    return found
