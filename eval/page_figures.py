"""Figures as HTML that needs no other file."""

import base64
import html
import re
from pathlib import Path
from xml.etree import ElementTree

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# What matplotlib draws with: no scripts, and nothing that holds HTML.
_ELEMENTS = {"svg", "defs", "style", "g", "path", "clipPath", "rect", "use", "text", "tspan", "image", "pattern"}
ElementTree.register_namespace("", _SVG)  # HTML knows <svg>, not <ns0:svg>
ElementTree.register_namespace("xlink", _XLINK)


def figure_html(path: Path, name: str, title: str) -> str:
    """The figure in an SVG or PNG file as HTML. The text of an SVG can be selected and searched.

    name: an identifier that no other figure of the page has. title: the text in place of the figure, for screen readers.

    Raises:
        ValueError: if an SVG is not one that matplotlib wrote.
    """
    if path.suffix == ".png":
        encoded = base64.b64encode(path.read_bytes()).decode()
        return f'<img src="data:image/png;base64,{encoded}" alt="{html.escape(title)}">'
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is no SVG ({error}); draw the figure again") from error
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        tag = element.tag.removeprefix(f"{{{_SVG}}}")
        unknown = [tag] * (tag not in _ELEMENTS) + [key for key in element.attrib if key.startswith("on")]
        if unknown:
            raise ValueError(f"{path} has {unknown[0]!r}, which matplotlib does not write; draw the figure again")
        for key, value in element.attrib.items():  # two figures may have the same ids
            if key == "id":
                value = f"{name}-{value}"
            elif key == f"{{{_XLINK}}}href":
                value = re.sub("^#", f"#{name}-", value)
            element.set(key, value.replace("url(#", f"url(#{name}-"))
    root.set("role", "img")
    root.set("aria-label", title)
    return ElementTree.tostring(root, encoding="unicode")
