"""Build the documentation as a web site: make docs, or

  python docs/build.py                                            # into the folder `site`; open site/html/index.html
  python docs/build.py --repository https://github.com/ME/REPO    # files that are no pages are links into this repository

Pages are docs/*.md, the notebooks docs/*.ipynb, and all other Markdown of the repository. The page of the claims is made from
the committed results, that of the API from docstrings. Links and pictures of all of them are those of the repository, as on
GitHub; here they lead to the pages of the site. Exit code 1 if a link leads nowhere, or if a page would load anything from
another site.
"""

import argparse
import functools
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from check_site import problems
from links import PageLinks
from notebook_page import notebook_text

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "eval"))
from claims import claims  # noqa: E402 - a script, not a package
from publish_results import SCALES, overview, recipe_text  # noqa: E402
from report import Entry, read_entry  # noqa: E402

# The guide in its order. Other pages of docs/ follow it.
GUIDE = ("index", "three_phases", "load_data", "train", "score", "look_inside", "interpretability", "publish", "harnesses")
LAST = ("claims", "api")
CLAIMS_MARK = "<!-- claims -->\n"
CONFIG_FILE = "zensical.toml"
NAV_MARK = "nav = []"


def markdown_files() -> list[Path]:
    """All Markdown files of the repository and the notebooks of docs/, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "docs/*.ipynb"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return [Path(name) for name in names if name and (ROOT / name).is_file()]


def place(source: Path) -> Path:
    """Where a file is among the pages: those of docs/ at the top; any other one below `repository`, by its folder's name."""
    if source.parts[0] == "docs":
        return Path(*source.parts[1:]).with_suffix(".md")
    path = source.parent.with_suffix(".md") if source.name == "README.md" and len(source.parts) > 1 else source
    return Path("repository") / path.parent / path.name.lower()


def claims_text(links: PageLinks) -> str:
    """The table of all claims, and each judged one with its measures and its figure."""
    entries = [{scale: read_entry(claim, scale) for scale in SCALES} for claim in claims()]
    texts = [links.rewritten(overview(entries), Path("README.md"), Path("claims.md"))]
    for by_scale in entries:
        if any(entry.verdict is not None for entry in by_scale.values()):
            texts.append(_claim_text(by_scale, links))
    return "\n".join(texts)


def _claim_text(entries: dict[str, Entry], links: PageLinks) -> str:
    claim = next(iter(entries.values())).claim
    readme = claim.recipes.relative_to(ROOT) / "README.md"
    pictures = [
        f"![The figure of {claim.label} at {scale} scale](../../../eval/results/{claim.name}/{scale}{entry.figure.suffix})\n"
        for scale, entry in entries.items()
        if entry.figure is not None
    ]
    text = "\n".join([recipe_text(entries), *pictures, "[Recipe, and differences from the paper](README.md)\n"])
    return f"## {claim.heading}\n\nThe paper: {claim.paper}\n\n{links.rewritten(text, readme, Path('claims.md'))}"


def write_pages(site: Path, repository: str | None) -> None:
    """All pages below site/pages, with the pictures that they show."""
    sources = {source: place(source) for source in markdown_files()}
    links = PageLinks(ROOT, site / "pages", sources, repository)
    for source, target in sources.items():
        page = site / "pages" / target
        page.parent.mkdir(parents=True, exist_ok=True)
        rewritten = functools.partial(links.rewritten, source=source, page=target)
        if source.suffix == ".ipynb":
            text = notebook_text(ROOT / source, page, rewritten)
        else:
            text = rewritten(without_front_matter((ROOT / source).read_text(encoding="utf-8")))
        if CLAIMS_MARK in text:
            text = text.replace(CLAIMS_MARK, claims_text(links))
        page.write_text(text, encoding="utf-8")


def without_front_matter(text: str) -> str:
    """A page without the YAML at its beginning, which dataset cards have."""
    return text.partition("\n---\n")[2].lstrip() if text.startswith("---\n") else text


def title(page: Path) -> str:
    """The first heading of a page, or its name."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return next((line[2:].strip() for line in lines if line.startswith("# ")), page.stem)


def navigation(pages: Path) -> str:
    """The value of `nav` in TOML: the guide, other pages of docs/, claims and API, then the documents of the repository."""
    names = {page.stem for page in pages.glob("*.md")}
    others = sorted(names - {*GUIDE, *LAST})
    docs = [pages / f"{name}.md" for name in (*GUIDE, *others, *LAST) if name in names]
    repository = sorted(page for page in (pages / "repository").glob("*.md"))
    recipes = sorted(page for page in (pages / "repository").rglob("*/**/*.md"))
    items = [
        *_items(docs, pages),
        _group("Documents", _items(repository, pages)),
        _group("Recipes and parts", _items(recipes, pages)),
    ]
    return f"nav = [{', '.join(items)}]"


def _items(pages: list[Path], folder: Path) -> Iterator[str]:
    return (f"{{{json.dumps(title(page))} = {json.dumps(page.relative_to(folder).as_posix())}}}" for page in pages)


def _group(name: str, items: Iterator[str]) -> str:
    return f"{{{json.dumps(name)} = [{', '.join(items)}]}}"


def copy_package(target: Path) -> None:
    """The modules of bio_facts, each folder with an __init__.py, without which the reader of docstrings does not see it."""
    for module in sorted((ROOT / "bio_facts").rglob("*.py")):
        copy = target / module.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        (copy.parent / "__init__.py").touch()
        shutil.copyfile(module, copy)


def main() -> None:
    """Write the pages and build the site."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=ROOT / "site", metavar="DIR", help="default: site; it is replaced")
    parser.add_argument("--repository", default=urls.get("Repository"), metavar="URL", help="default: that of pyproject.toml")
    arguments = parser.parse_args()
    site: Path = arguments.output_dir.resolve()
    if site.exists() and not (site / CONFIG_FILE).is_file():
        parser.error(f"output-dir is {str(site)!r}, which is no site of this command; expected a new folder")
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    config = (ROOT / "docs" / "site.toml").read_text(encoding="utf-8")
    (site / CONFIG_FILE).write_text(config, encoding="utf-8")
    try:
        write_pages(site, arguments.repository)
    except ValueError as error:
        parser.error(str(error))
    copy_package(site / "source")
    (site / CONFIG_FILE).write_text(config.replace(NAV_MARK, navigation(site / "pages"), 1), encoding="utf-8")
    built = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=site)
    if built.returncode:
        sys.exit(1)
    found = problems(site / "html")
    if found:
        sys.exit("\n".join(found))
    print(f"site: {site / 'html' / 'index.html'}")


if __name__ == "__main__":
    main()
