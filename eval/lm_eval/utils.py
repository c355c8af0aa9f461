"""Documents and results of the harness tasks.

A document is one value of one row, read from the Parquet of an export, or a row of the config cloze.
"""

import difflib
import functools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from huggingface_hub import snapshot_download

import bio_facts
from bio_facts.generate.choices import draw_choices
from bio_facts.generate.config import Config, config_from
from bio_facts.publish.manifest import MANIFEST, read_manifest
from bio_facts.publish.shards import read_shard, shards

HOW = "pass --metadata data=DIR,config=n1k"
_CLOZE = ("num_individuals", "population_seed", "pool_sizes", "num_choices")  # parameters of the config cloze
_NAMES = tuple(dict.fromkeys(("data", "config", "data_revision", *_CLOZE)))  # keys of --metadata for these tasks
_MIN_SIMILARITY = 0.76  # ratio of difflib; that of data_rev and data_revision
_MIN_ABBREVIATION = 5  # letters; such as choice, which stands for num_choices
_SIMILAR_NAMES_OF_MODELS = ("revision", "code_revision", "adapter_revision", "hf_config")


def load_recall(
    *,
    split: str,
    attribute: str,
    data: str | None = None,
    config: str | None = None,
    data_revision: str | None = None,
    **others: object,
) -> dict[str, datasets.Dataset]:
    """One document for each row of a split that states the attribute: `context`, the text before the value, and `continuation`,
    the value.

    The harness passes `split` and `attribute` from the task, the other arguments from --metadata, and all of --model_args.

    Args:
        data: a folder that bio-facts build wrote, or the id of a Hub repository that bio-facts push filled.
        config: a config in it, such as n1k.
        data_revision: of the Hub repository (`revision` is the model's).

    Raises:
        ValueError: if there is no such data, or one of the other names looks like a misspelled one.
    """
    check_names(others)
    folder = data_folder(data, config, split, data_revision)
    return {split: datasets.Dataset.from_list(documents(folder, str(config), split, attribute))}


def load_choice(
    *,
    split: str,
    attribute: str,
    data: str | None = None,
    config: str | None = None,
    data_revision: str | None = None,
    num_choices: int = 4,
    **others: object,
) -> dict[str, datasets.Dataset]:
    """As load_recall, with `choices`: the value, at index `answer`, and other values of its pool.

    Raises:
        ValueError: as load_recall, or if the attribute has fewer values than num_choices.
    """
    check_names(others)
    folder = data_folder(data, config, split, data_revision)
    docs = documents(folder, str(config), split, attribute)
    pool_sizes = _config(folder, str(config)).pool_sizes
    ids = np.array([doc["biography_id"] for doc in docs], dtype=np.int64)
    values, answers = draw_choices(attribute, [doc["value"] for doc in docs], ids, split, num_choices, pool_sizes)
    return {
        split: datasets.Dataset.from_list(
            [
                doc | {"choices": [doc["space"] + value for value in row], "answer": answer}
                for doc, row, answer in zip(docs, values, answers.tolist(), strict=True)
            ]
        )
    }


def load_cloze(
    *,
    split: str,
    data: str | None = None,
    config: str = "cloze",
    data_revision: str | None = None,
    **others: Any,
) -> dict[str, datasets.Dataset]:
    """The rows of the config cloze, generated with the parameters that --metadata has, or those of the dataset `data`.

    Args:
        data: a folder that bio-facts build wrote, or the id of a Hub repository that bio-facts push filled.
        config: of cloze tasks, in it.
        data_revision: of the Hub repository.

    Raises:
        ValueError: if a parameter is invalid or is given with data, or a name looks like a misspelled one.
    """
    check_names(others)
    parameters = {name: others[name] for name in _CLOZE if name in others}
    if data is None:
        return {split: bio_facts.load_dataset("cloze", split=split, **parameters)}
    if parameters:
        raise ValueError(f"--metadata has data={data} and {', '.join(parameters)}; the data have their parameters already")
    return {split: datasets.load_dataset(data, config, split=split, revision=data_revision)}


def cloze_results(doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """recall_results for the value, and acc: whether its log-likelihood is the highest of all choices."""
    log_likelihoods = [log_likelihood for log_likelihood, _ in results]
    target = doc["target_index"]
    recall = recall_results({**doc, "value": doc["target"]}, [results[target]])
    return recall | {"acc": float(int(np.argmax(log_likelihoods)) == target)}


def recall_results(doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """attribute_loss: minus the log-likelihood summed over the value's tokens, nats. attribute_accuracy: are all arg-max?"""
    ((log_likelihood, is_greedy),) = results
    if math.isnan(log_likelihood):
        raise ValueError(f"biography {doc['biography_id']}, {doc['attribute']} {doc['value']!r}: its log-likelihood is NaN")
    return {"attribute_loss": -log_likelihood, "attribute_accuracy": float(is_greedy)}


def check_names(others: Mapping[str, object]) -> None:
    """ValueError for a name like a misspelled key of these tasks; others belong to --model_args or to other tasks."""
    for name, value in others.items():
        plain = name.casefold().replace("-", "_")
        letters = plain.replace("_", "")
        close = difflib.get_close_matches(plain, _NAMES, n=1, cutoff=_MIN_SIMILARITY)
        if len(letters) >= _MIN_ABBREVIATION:
            close = close or [known for known in _NAMES if letters in known.replace("_", "")]
        if close and name not in (*_NAMES, *_SIMILAR_NAMES_OF_MODELS):
            raise ValueError(f"--metadata or --model_args has {name}={value}; is it {close[0]}? {HOW}")


# Where the data are


def data_folder(data: str | None, config: str | None, split: str, revision: str | None) -> Path:
    """The folder of an export. From a Hub repository, only the split and the manifest are downloaded, or taken from the cache.

    Raises:
        ValueError: if there is no such export.
    """
    for name, given in (("data", data), ("config", config)):
        if not isinstance(given, str) or not given:
            raise ValueError(f"{name} is {given!r}; say where the biographies are: {HOW}")
    assert data is not None
    folder = Path(data).expanduser()
    if folder.is_dir():
        return folder
    must = "it must be a folder that bio-facts build wrote, or the id of a dataset on the Hub that bio-facts push filled"
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", data):
        raise ValueError(f"data is {data!r}, and there is no folder {folder.absolute()}; {must}")
    try:
        patterns = [MANIFEST, f"data/{config}/{split}-*.parquet"]
        return Path(snapshot_download(data, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except (OSError, ValueError) as error:  # errors of huggingface_hub are subclasses
        reason = " ".join(str(error).split())
        raise ValueError(
            f"data is {data!r}, but there is no folder {folder.absolute()}, nor can it be had from the Hub ({reason}); {must}"
        ) from error


def _config(folder: Path, name: str) -> Config:
    entries = read_manifest(folder)["configs"]
    names = [key for key, entry in entries.items() if entry["table"] == Config.table]
    if name not in names:
        raise ValueError(f"config is {name!r}; the configs of biographies in {folder} are {', '.join(names) or 'none'}")
    config = config_from(entries[name]["table"], entries[name]["parameters"])
    assert isinstance(config, Config)
    return config


@functools.lru_cache(maxsize=2)  # the six tasks of a split, one for each attribute, read the same rows
def _rows(folder: Path, config: str, split: str) -> list[dict[str, Any]]:
    of_config = shards(config, _config(folder, config))
    of_split = [shard for shard in of_config if shard.split == split]
    if not of_split:
        raise ValueError(
            f"config is {config!r}, which has no split {split}; it has {', '.join({s.split: 0 for s in of_config})}"
        )
    return [row for shard in of_split for _, batch in read_shard(shard, folder) for row in batch.to_pylist()]


def documents(folder: Path, config: str, split: str, attribute: str) -> list[dict[str, Any]]:
    """One dict for each row of the split that states the attribute, in row order: all biographies, and a sixth of the rows that
    have one question each."""
    rows = _rows(folder, config, split)
    return [_document(row, entry) for row in rows for entry in row["attributes"] if entry["attribute"] == attribute]


def _document(row: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    before = row["text"][: entry["start"]]
    context = before.removesuffix(" ")  # the space belongs to the value's first token
    return {
        "biography_id": row["biography_id"],
        "individual_id": row["individual_id"],
        "attribute": entry["attribute"],
        "value": entry["value"],
        "template_id": entry["template_id"],
        "context": context,
        "space": before[len(context) :],
        "continuation": before[len(context) :] + entry["value"],
    }
