"""Manifests: the sample in the documentation is one, and a damaged one is refused with the name of the file."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bio_facts.generate.config import TemplatesConfig
from bio_facts.publish import manifest as manifest_module
from bio_facts.publish.build import build
from bio_facts.publish.manifest import configs_of, read_manifest

TEMPLATES = {"templates": TemplatesConfig()}


@pytest.fixture(scope="module")
def manifest_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The manifest of an export of the templates."""
    folder = tmp_path_factory.mktemp("built") / "export"
    build(TEMPLATES, folder, 1)
    return (folder / "manifest.json").read_text()


def write_changed(folder: Path, text: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Write the manifest with its entry `templates` changed."""
    manifest = json.loads(text)
    change(manifest["configs"]["templates"])
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_sample_in_the_documentation_is_the_manifest_of_templates(manifest_text: str) -> None:
    assert textwrap.indent(manifest_text, " " * 4) in (manifest_module.__doc__ or "")


def test_configs_of_a_manifest_are_those_that_were_built(manifest_text: str, tmp_path: Path) -> None:
    write_changed(tmp_path, manifest_text, lambda entry: None)
    assert configs_of(read_manifest(tmp_path), tmp_path) == TEMPLATES


@pytest.mark.parametrize(
    "change",
    [
        *(lambda entry, key=key: entry.pop(key) for key in ("table", "fingerprint", "parameters", "splits")),
        lambda entry: entry.update(parameters=None),
        lambda entry: entry["splits"]["train"].pop("num_rows"),
    ],
)
def test_entry_without_one_of_its_keys_is_damaged(
    change: Callable[[dict[str, Any]], object], manifest_text: str, tmp_path: Path
) -> None:
    write_changed(tmp_path, manifest_text, change)
    with pytest.raises(ValueError) as error:
        read_manifest(tmp_path)
    assert str(error.value) == f"{tmp_path / 'manifest.json'} is damaged: it is not a manifest of bio-facts"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"table": "people"}, "no config has table 'people' and parameters {}"),
        (
            {"table": "individuals", "parameters": {"num_individuals": -1}},
            "num_individuals is -1; it must be an integer from 1 to 400,000,000",
        ),
    ],
)
def test_entry_of_no_config_is_refused_with_the_name_of_the_file(
    entry: dict[str, Any], reason: str, manifest_text: str, tmp_path: Path
) -> None:
    write_changed(tmp_path, manifest_text, lambda templates: templates.update(entry))
    with pytest.raises(ValueError) as error:
        configs_of(read_manifest(tmp_path), tmp_path)
    assert str(error.value) == f"{tmp_path / 'manifest.json'} is damaged: {reason}"
