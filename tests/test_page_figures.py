"""Figures within a page: SVG as elements, PNG as an address with the data."""

import base64
from pathlib import Path
from xml.etree import ElementTree

import pytest
from page_figures import figure_html

from bio_facts.runs.figures import draw_seeds, label_axes, new_figure, save_figure

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{}</svg>'


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A figure with two curves of 200 points."""
    path = tmp_path_factory.mktemp("figure") / "mini.svg"
    figure, (axes,) = new_figure(1, "Losses & accuracies")
    draw_seeds(axes, {seed: (range(200), [seed + x % 7 for x in range(200)]) for seed in (0, 1)}, "black", "seen")
    label_axes(axes, "training step", "loss")
    save_figure(figure, path)
    return path


def test_figure_is_elements_with_its_text(drawn: Path) -> None:
    root = ElementTree.fromstring(figure_html(drawn, "c1", "C1: a < b"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib.items() >= {"role": "img", "aria-label": "C1: a < b"}.items()
    texts = {element.text for element in root.iter() if element.tag.endswith("}text")}
    assert texts >= {"Losses & accuracies", "training step", "loss", "seen"}


def test_html_begins_with_the_figure_and_has_no_prefixed_elements(drawn: Path) -> None:
    html = figure_html(drawn, "c1", "C1")
    assert html.startswith("<svg ")
    assert "<metadata" not in html and "<ns0:" not in html and "<svg:" not in html


def test_ids_and_what_refers_to_them_are_those_of_the_page(drawn: Path) -> None:
    first, second = (ElementTree.fromstring(figure_html(drawn, name, "")) for name in ("c1", "c2"))
    ids = [{element.get("id") for element in root.iter() if element.get("id")} for root in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    links = {element.get("{http://www.w3.org/1999/xlink}href", "") for element in first.iter()} - {""}
    clips = {element.get("clip-path", "") for element in first.iter()} - {""}
    assert links and links <= {f"#{name}" for name in ids[0]}
    assert clips and clips <= {f"url(#{name})" for name in ids[0]}


def test_png_is_an_image_with_its_data(tmp_path: Path) -> None:
    (tmp_path / "mini.png").write_bytes(b"\x89PNG picture")
    html = figure_html(tmp_path / "mini.png", "c1", 'a "b"')
    data = base64.b64encode(b"\x89PNG picture").decode()
    assert html == f'<img src="data:image/png;base64,{data}" alt="a &quot;b&quot;">'


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        (SVG.format("<script>1</script>"), "has 'script', which matplotlib does not write"),
        (SVG.format('<g onload="alert(1)"/>'), "has 'onload'"),
        (SVG.format("<foreignObject/>"), "has 'foreignObject'"),
        ('<html xmlns="http://www.w3.org/1999/xhtml"/>', "has '{http://www.w3.org/1999/xhtml}html'"),
        ("<svg>", "is no SVG (no element found"),
        ("", "is no SVG (no element found"),
    ],
)
def test_file_that_matplotlib_did_not_write_is_refused(text: str, fragment: str, tmp_path: Path) -> None:
    (tmp_path / "mini.svg").write_text(text)
    with pytest.raises(ValueError) as error:
        figure_html(tmp_path / "mini.svg", "c1", "C1")
    assert str(error.value).startswith(f"{tmp_path / 'mini.svg'} ")
    assert fragment in str(error.value)
