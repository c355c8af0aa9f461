"""The dataset card of an export: dataset_card.md, with its YAML, parameters and table of configs filled in."""

from typing import Any

import yaml

from bio_facts.files import asset
from bio_facts.generate.config import BaseConfig, Config, all_settings, config_from
from bio_facts.generate.pools import full_pool_sizes
from bio_facts.measure.baseline import split_no_knowledge_loss

_CONFIGS_MARK = "<!-- built configs -->"
_PARAMETERS_MARK = "<!-- parameters -->"
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


def render_card(manifest: dict[str, Any]) -> str:
    """README.md of the export with this manifest."""
    _, front_matter, body = asset("dataset_card.md").read_text(encoding="utf-8").split("---\n", 2)
    configs = manifest["configs"]
    total = sum(split["num_rows"] for entry in configs.values() for split in entry["splits"].values())
    metadata = yaml.safe_load(front_matter) | {
        "size_categories": [next(category for limit, category in _SIZE_CATEGORIES if total < limit)],
        "configs": [_config_entry(name, entry, _default(configs)) for name, entry in configs.items()],
        "dataset_info": [
            {
                "config_name": name,
                "splits": [
                    {"name": split, "num_bytes": counts["num_bytes"], "num_examples": counts["num_rows"]}
                    for split, counts in entry["splits"].items()
                ],
            }
            for name, entry in configs.items()
        ],
    }
    assert body.count(_CONFIGS_MARK) == body.count(_PARAMETERS_MARK) == 1
    body = body.replace(_CONFIGS_MARK, _configs_table(manifest)).replace(_PARAMETERS_MARK, _parameters_table())
    header = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    name = _default(configs)
    has_biographies = configs[name]["table"] == Config.table
    split = "validation" if has_biographies else next(iter(configs[name]["splits"]))
    body = body.replace(_EXAMPLE, f'load_dataset("{REPOSITORY}", "{name}", split="{split}"')
    if not has_biographies:
        body = body.replace(_USE_OF_EXAMPLE, "print(data[0])\n")
    return f"---\n{header}---\n{body}"


def _default(configs: dict[str, Any]) -> str:
    of_biographies = [name for name, entry in configs.items() if entry["table"] == Config.table]
    return _DEFAULT_CONFIG if _DEFAULT_CONFIG in configs else (of_biographies or list(configs))[0]


def _config_entry(name: str, entry: dict[str, Any], default: str) -> dict[str, Any]:
    files = [{"split": split, "path": f"data/{name}/{split}-*.parquet"} for split in entry["splits"]]
    return {"config_name": name, "data_files": files} | ({"default": True} if name == default else {})


def _configs_table(manifest: dict[str, Any]) -> str:
    lines = [
        f"This copy has data version {manifest['data_version']} and these configs:",
        "",
        "| config | no-knowledge loss (nats per value) | rows | parameters | fingerprint |",
        "|---|---:|---|---|---|",
    ]
    for name, entry in manifest["configs"].items():
        config = config_from(entry["table"], entry["parameters"])
        loss = f"{split_no_knowledge_loss(config, 'validation'):.4f}" if isinstance(config, Config) else ""
        counts = ", ".join(f"{split} {sizes['num_rows']:,}" for split, sizes in entry["splits"].items())
        lines.append(f"| {name} | {loss} | {counts} | {_parameters(config)} | `{entry['fingerprint']}` |")
    return "\n".join(lines)


def _parameters(config: BaseConfig) -> str:
    full = full_pool_sizes()
    smaller = {pool: size for pool, size in config.parameters.get("pool_sizes", {}).items() if size != full[pool]}
    others = {name: value for name, value in config.parameters.items() if name != "pool_sizes"}
    return ", ".join(f"{name} {value}" for name, value in (others | smaller).items())


def _parameters_table() -> str:
    lines = [f"| `{name}` | {setting.help} |" for name, setting in all_settings().items()]
    return "\n".join(["| parameter | meaning |", "|---|---|", *lines])
