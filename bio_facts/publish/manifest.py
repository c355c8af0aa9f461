"""The manifest of an export: which configs it holds, and for each split the number of rows, bytes and the content digest.

It depends on nothing but the configs and DATA_VERSION: two builds of the same configs have the same manifest. That of
`bio-facts build templates --output-dir export`:

    {
      "data_version": "1.0.0",
      "configs": {
        "templates": {
          "table": "templates",
          "fingerprint": "99ee2e3273157f2a",
          "parameters": {},
          "splits": {
            "train": {
              "num_rows": 150,
              "num_bytes": 15320,
              "content_digest": "97e686905d3e46ce0673f13cacd0be59192df36c82926993323c1d7934277cb3"
            }
          }
        }
      }
    }
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bio_facts.files import write_text
from bio_facts.generate.config import CONFIGS, DATA_VERSION, BaseConfig, config_from
from bio_facts.publish.tables import num_rows

MANIFEST = "manifest.json"
CARD = "README.md"
_ENTRY_KEYS = {"table", "fingerprint", "parameters", "splits"}


def specification(configs: Mapping[str, BaseConfig]) -> dict[str, Any]:
    """The manifest of an export of these configs (name -> config), without the sizes and digests of its rows.

    Raises:
        ValueError: for no configs, a name that cannot be a folder name, or the name of another config.
    """
    if not configs:
        raise ValueError("there are no configs; an export must hold at least one")
    return {
        "data_version": DATA_VERSION,
        "configs": {
            _checked_name(name, config): {
                "table": config.table,
                "fingerprint": config.fingerprint,
                "parameters": config.parameters,
                "splits": {split: {"num_rows": count} for split, count in num_rows(config).items()},
            }
            for name, config in sorted(configs.items())
        },
    }


def _checked_name(name: str, config: BaseConfig) -> str:
    if not isinstance(config, BaseConfig):
        raise ValueError(f"config {name!r} is {config!r}; it must be a config such as CONFIGS['n64k']")
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"config name is {name!r}; it must be letters, digits, hyphens and periods, for it names a folder")
    if name in CONFIGS and CONFIGS[name].fingerprint != config.fingerprint:
        raise ValueError(
            f"config {name!r} differs from the named config {name}; choose another name, "
            f"such as {name}-{config.fingerprint[:8]}"
        )
    return name


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the export in `folder`.

    Raises:
        ValueError: if there is none, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        without_digests(manifest)
        for entry in manifest["configs"].values():
            if not entry.keys() >= _ENTRY_KEYS or not isinstance(entry["parameters"], dict):
                raise ValueError("an entry lacks a key, or its parameters are not a JSON object")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{folder} is not an export of bio-facts: it has no {MANIFEST}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: it is not a manifest of bio-facts") from error
    return manifest  # type: ignore[no-any-return]


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of the export in `folder`."""
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def without_digests(manifest: dict[str, Any]) -> dict[str, Any]:
    """The specification in a manifest: all but the sizes and digests of rows."""
    configs = {
        name: entry | {"splits": {split: {"num_rows": counts["num_rows"]} for split, counts in entry["splits"].items()}}
        for name, entry in manifest["configs"].items()
    }
    return {"data_version": manifest["data_version"], "configs": configs}


def summary(manifest: dict[str, Any]) -> str:
    """Data version, configs and fingerprints of a manifest, for error messages."""
    names = ", ".join(f"{name} ({entry['fingerprint']})" for name, entry in manifest["configs"].items())
    return f"data {manifest['data_version']} of {names}"


def configs_of(manifest: dict[str, Any], folder: Path) -> dict[str, BaseConfig]:
    """The configs (name -> config) of the manifest in `folder`.

    Raises:
        ValueError: if it is of another data version, or of configs that this version does not have.
    """
    if manifest["data_version"] != DATA_VERSION:
        raise ValueError(
            f"{folder} holds data {manifest['data_version']}; this is bio-facts for data {DATA_VERSION}: "
            "install the release that wrote it"
        )
    path = folder / MANIFEST
    try:
        configs = {name: config_from(entry["table"], entry["parameters"]) for name, entry in manifest["configs"].items()}
        expected = specification(configs)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if without_digests(manifest) != expected:
        raise ValueError(f"{path} is damaged: fingerprints or row counts do not match its parameters")
    return configs
