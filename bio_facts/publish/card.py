"""The dataset card of an export: dataset_card.md, with its YAML, parameters, table of configs and a record filled in."""

import json
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import yaml

from bio_facts.files import asset
from bio_facts.generate.config import BaseConfig, Config, all_settings, config_from
from bio_facts.generate.pools import full_pool_sizes
from bio_facts.measure.baseline import split_no_knowledge_loss
from bio_facts.publish.row_tokens import num_tokens
from bio_facts.publish.tables import record_batch

_CONFIGS_MARK = "<!-- built configs -->"
_PARAMETERS_MARK = "<!-- parameters -->"
_RECORD_MARK = "<!-- record -->"
_REPOSITORY_MARK = "<!-- repository -->"
_DEFAULT_CONFIG = "n64k"
REPOSITORY = "<you>/bio_facts"  # in the card of an export; push replaces it by the name of the repository
_EXAMPLE = f'load_dataset("{REPOSITORY}", "n1k", split="validation"'  # in the source; an export's card names one of its configs
_USE_OF_EXAMPLE = """row = data[0]
for entry in row["attributes"]:
    print(entry["attribute"], entry["value"], row["text"][entry["start"] : entry["end"]])
"""
_SIZE_CATEGORIES = (
    (1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"), (1e8, "10M<n<100M"),
    (1e9, "100M<n<1B"), (1e10, "1B<n<10B"), (1e11, "10B<n<100B"), (1e12, "100B<n<1T"), (float("inf"), "n>1T"),
)  # fmt: skip


def render_card(manifest: dict[str, Any], num_bytes: Mapping[str, int]) -> str:
    """README.md of the export with this manifest. num_bytes: config name -> size of its Parquet files."""
    _, front_matter, body = asset("dataset_card.md").read_text(encoding="utf-8").split("---\n", 2)
    configs = manifest["configs"]
    total = sum(split["num_rows"] for entry in configs.values() for split in entry["splits"].values())
    front = yaml.safe_load(front_matter) | {
        "size_categories": [next(category for limit, category in _SIZE_CATEGORIES if total < limit)],
        "configs": [_config_entry(name, entry, _default(configs)) for name, entry in configs.items()],
        "dataset_info": [
            {
                "config_name": name,
                "splits": [
                    {"name": split, "num_bytes": counts["num_bytes"], "num_examples": counts["num_rows"]}
                    for split, counts in entry["splits"].items()
                ],
                "download_size": num_bytes[name],
                "dataset_size": sum(counts["num_bytes"] for counts in entry["splits"].values()),
            }
            for name, entry in configs.items()
        ],
    }
    name = _default(configs)
    split = _example_split(configs[name])
    filled = {
        _CONFIGS_MARK: _configs_table(manifest, num_bytes),
        _PARAMETERS_MARK: _parameters_table(),
        _RECORD_MARK: _record(name, configs[name], split),
        _REPOSITORY_MARK: _repository(),
    }
    for mark, text in filled.items():
        assert body.count(mark) == 1, mark
        body = body.replace(mark, text)
    body = body.replace(_EXAMPLE, f'load_dataset("{REPOSITORY}", "{name}", split="{split}"')
    if configs[name]["table"] != Config.table:
        body = body.replace(_USE_OF_EXAMPLE, "print(data[0])\n")
    header = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n{body}"


def _default(configs: dict[str, Any]) -> str:
    of_biographies = [name for name, entry in configs.items() if entry["table"] == Config.table]
    return _DEFAULT_CONFIG if _DEFAULT_CONFIG in configs else (of_biographies or list(configs))[0]


def _example_split(entry: dict[str, Any]) -> str:
    return "validation" if entry["table"] == Config.table else str(next(iter(entry["splits"])))


def _config_entry(name: str, entry: dict[str, Any], default: str) -> dict[str, Any]:
    files = [{"split": split, "path": f"data/{name}/{split}-*.parquet"} for split in entry["splits"]]
    return {"config_name": name, "data_files": files} | ({"default": True} if name == default else {})


def _configs_table(manifest: dict[str, Any], num_bytes: Mapping[str, int]) -> str:
    total = _size(sum(num_bytes.values()))
    lines = [
        f"This copy has data version {manifest['data_version']} and these configs, {total} in all:",
        "",
        "| config | no-knowledge loss (nats per value) | rows | size | tokens | parameters | fingerprint |",
        "|---|---:|---|---:|---:|---|---|",
    ]
    for name, entry in manifest["configs"].items():
        config = config_from(entry["table"], entry["parameters"])
        loss = f"{split_no_knowledge_loss(config, 'validation'):.4f}" if isinstance(config, Config) else ""
        counts = ", ".join(f"{split} {sizes['num_rows']:,}" for split, sizes in entry["splits"].items())
        tokens = num_tokens(config)
        cells = [name, loss, counts, _size(num_bytes[name]), "" if tokens is None else f"{tokens / 1e6:.3g} million"]
        lines.append(f"| {' | '.join(cells)} | {_parameters(config)} | `{entry['fingerprint']}` |")
    return "\n".join(lines)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 100_000 else f"{num_bytes / 1e3:,.0f} kB"


def _record(name: str, entry: dict[str, Any], split: str) -> str:
    """The first row of a split, as JSON with a line for each column, or for each entry of a list of structs."""
    (row,) = record_batch(config_from(entry["table"], entry["parameters"]), split, [0]).to_pylist()
    return f"The first row of {name}/{split}:\n\n```json\n{_json(row)}\n```"


def _json(row: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n    " + ",\n    ".join(map(text, value)) + "\n  ]"
        return json.dumps(value, ensure_ascii=False)

    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {text(value)}" for name, value in row.items()) + "\n}"


def _repository() -> str:
    """A link to the repository, which the metadata of the installed package have once it is public."""
    try:
        urls = metadata.metadata("bio-facts").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    links = dict(url.split(", ", 1) for url in urls)
    return f": [repository]({links['Repository']})" if "Repository" in links else ""


def _parameters(config: BaseConfig) -> str:
    full = full_pool_sizes()
    smaller = {pool: size for pool, size in config.parameters.get("pool_sizes", {}).items() if size != full[pool]}
    others = {name: value for name, value in config.parameters.items() if name != "pool_sizes"}
    return ", ".join(f"{name} {value}" for name, value in (others | smaller).items())


def _parameters_table() -> str:
    lines = [f"| `{name}` | {setting.help} |" for name, setting in all_settings().items()]
    return "\n".join(["| parameter | meaning |", "|---|---|", *lines])
