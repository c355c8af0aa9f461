"""A page for attribute_recall: paste or upload scores, and see metrics, charts, and biographies token by token.

  python app.py                            # http://127.0.0.1:7860; works from any folder, without bio_facts
  GRADIO_SERVER_PORT=8000 python app.py

The HTML that shows the scores is made here, by functions that take plain values and escape all text.
"""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

if missing := [name for name in ("evaluate", "gradio") if find_spec(name) is None]:
    # Not with bio_facts.checks.needs: the page must run without bio_facts.
    print(
        f'app.py: error: the page needs {" and ".join(missing)}: pip install "bio-facts[eval]", or what README.md names',
        file=sys.stderr,
    )
    sys.exit(2)

import evaluate
import gradio as gr

HERE = Path(__file__).resolve().parent
EXAMPLE = (HERE / "example.json").read_text(encoding="utf-8")
INTRODUCTION = """<h1>Attribute recall</h1>
<p>How well does a language model recall facts? A value, such as the birthplace in a biography, is one or more tokens. Its loss
is the sum of their losses. It is right if each of them is the token that the model finds most likely after the true tokens
before it.</p>"""
FORMAT = (
    "An object with the columns predictions (arg-max ids), references (ids), nlls (nats), attribute_ids (0: not in a value), "
    "one list of numbers for each sequence. Optional: tokens, predicted_tokens (strings to show), top_probabilities and "
    "entropies (both), groups (a name for each sequence), attribute_names, num_possible_values, auroc_groups."
)
REQUIRED = {"predictions": int, "references": int, "nlls": float, "attribute_ids": int}
DETAILS = {"top_probabilities": float, "entropies": float}
_NUMBERS = ("nlls", *DETAILS)
STRINGS = {"tokens": str, "predicted_tokens": str}
COLUMNS = REQUIRED | DETAILS | STRINGS | {"groups": str}
OPTIONS = {"attribute_names": list, "num_possible_values": dict, "auroc_groups": list}  # arguments of the metric
KINDS = {int: "an integer", float: "a number", str: "a string", list: "a list of strings", dict: "names with numbers"}
METRICS = {  # key: heading, unit, how it is written
    "attribute_loss": ("Loss", "nats per value", ".3f"),
    "pool_no_knowledge_loss": ("No-knowledge loss", "nats per value", ".3f"),
    "attribute_accuracy": ("Accuracy", "% of values", ".1%"),
    "first_token_accuracy": ("First token right", "% of values", ".1%"),
    "first_token_probability": ("First token probability", "mean over values", ".3f"),
    "token_loss": ("Token loss", "nats per value token", ".3f"),
    "top_probability": ("Confidence", "mean over value tokens", ".3f"),
    "entropy": ("Entropy", "nats per value token", ".3f"),
    "expected_calibration_error": ("Calibration error", "over value tokens", ".3f"),
    "num_values": ("Values", "count", ",d"),
}
DEEPEST_COLOR = 8.0  # nats
NUM_CHARTED_GROUPS = 6
Scores = dict[str, Any]


def parse(text: str) -> Scores:
    """Columns and options from JSON. Checks their shapes and types; the metric itself checks the values.

    Raises:
        ValueError: names what is wrong, with row and column.
    """
    try:
        scores = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the scores are not JSON: {error}") from error
    if not isinstance(scores, dict):
        raise ValueError(f"the scores are {text.strip()[:40]!r}; they must be an object with the columns {', '.join(REQUIRED)}")
    for name in scores:
        if name not in COLUMNS | OPTIONS:
            raise ValueError(f"unknown column {name!r}; there can be {', '.join(COLUMNS | OPTIONS)}")
    required = {**REQUIRED, **(DETAILS if set(scores) & {*DETAILS, "auroc_groups"} else {})}
    for name in [*required, *["groups"] * ("auroc_groups" in scores)]:
        if name not in scores:
            raise ValueError(f"column {name} is missing; these scores must have {', '.join(required)}")
    _mark_unscored(scores)
    for name, kind in COLUMNS.items():
        if name in scores:
            _check_column(name, scores[name], kind, scores["references"])
    for name, kind in OPTIONS.items():
        value = scores.get(name, kind())
        items = list(value.values()) if isinstance(value, dict) else value
        if not isinstance(value, kind) or not all(_is(item, float if kind is dict else str) for item in items):
            raise ValueError(f"{name} is {value!r}; it must be {KINDS[kind]}")
    return scores


def _mark_unscored(scores: Scores) -> None:
    """Set null, NaN and infinity of tokens in no value to 0, or -1 in predictions: APIs have no number for the first token."""
    ids = scores["attribute_ids"]
    columns = [scores[name] for name in ("predictions", *_NUMBERS) if name in scores]
    if not all(isinstance(rows, list) and all(isinstance(row, list) for row in rows) for rows in [ids, *columns]):
        return  # _check_column reports it
    for name in _NUMBERS:
        for row, (numbers, of_row) in enumerate(zip(scores.get(name, []), ids, strict=False)):
            for token, (item, attribute_id) in enumerate(zip(numbers, of_row, strict=False)):
                is_number = item is not None and (not isinstance(item, float) or math.isfinite(item))
                if attribute_id == 0 and not is_number:
                    numbers[token] = 0.0
                    if name == "nlls" and row < len(scores["predictions"]) and token < len(scores["predictions"][row]):
                        scores["predictions"][row][token] = -1
    for predictions, of_row in zip(scores["predictions"], ids, strict=False):
        for token, (item, attribute_id) in enumerate(zip(predictions, of_row, strict=False)):
            if attribute_id == 0 and item is None:
                predictions[token] = -1


def _check_column(name: str, column: Any, kind: type, references: Any) -> None:
    if not isinstance(column, list):
        raise ValueError(f"column {name} is {str(column)[:40]!r}; it must be a list with one item for each sequence")
    if isinstance(references, list) and len(column) != len(references):
        raise ValueError(f"column {name} has {len(column)} rows; references has {len(references)}, and all must have as many")
    for index, row in enumerate(column):
        if not isinstance(row, str if name == "groups" else list):
            expected = "the name of a group" if name == "groups" else "a list with one item for each token"
            raise ValueError(f"row {index}, column {name}: it is {str(row)[:40]!r}; it must be {expected}")
        for token, item in enumerate(row if name != "groups" else ()):
            if not _is(item, kind):
                raise ValueError(f"row {index}, column {name}: token {token} is {str(item)[:40]!r}; it must be {KINDS[kind]}")
        if name in STRINGS and len(row) != len(references[index]):
            raise ValueError(f"row {index}, column {name}: it has {len(row)} tokens; references has {len(references[index])}")


def _is(item: Any, kind: type) -> bool:
    """Whether an item of JSON is of a kind; true and false are no numbers, and numbers must fit their 64 bits."""
    if kind is str or isinstance(item, bool) or not isinstance(item, int):
        return isinstance(item, kind) and not isinstance(item, bool)
    return abs(item) < 2**63


def compute(scores: Scores) -> dict[str, float]:
    """The results of the metric beside this file: overall, per attribute, and for each group as `seen/attribute_loss`."""
    options = {name: scores[name] for name in OPTIONS if name in scores}
    labels = scores.get("groups")
    if set(DETAILS) <= set(scores):
        columns = {name: scores[name] for name in REQUIRED | DETAILS}
        columns["groups"] = labels or ["all"] * len(scores["references"])
        return dict(_load("details").compute(**columns, **options))
    columns = {name: scores[name] for name in REQUIRED}
    results = dict(_load("default").compute(**columns, **options))
    for label in groups_of(scores):
        rows = [k for k, other in enumerate(scores["groups"]) if other == label and any(scores["attribute_ids"][k])]
        if rows:
            columns_of_group = {name: [column[k] for k in rows] for name, column in columns.items()}
            results_of_group = _load("default").compute(**columns_of_group, **options)
            results |= {f"{label}/{key}": value for key, value in results_of_group.items()}
    return results


def _load(config: str) -> Any:
    """A new metric for each call, because it keeps its inputs; loaded by file, because a Space's folder has another name."""
    return evaluate.load(str(HERE / "attribute_recall.py"), config, keep_in_memory=True)


def attribute_names(scores: Scores) -> list[str]:
    """The names of the attribute ids 1, 2, ...; those of the metric if the scores have none."""
    given: list[str] | None = scores.get("attribute_names")
    return given or list(sys.modules[type(_load("default")).__module__].BIO_FACTS_ATTRIBUTES)


def groups_of(scores: Scores) -> list[str]:
    """The names of the groups, in order of first appearance."""
    return list(dict.fromkeys(scores.get("groups", [])))


def number(value: float | None, metric: str, key: str = "") -> str:
    """A rounded number, with the exact one as the value of its <data> element; a dash if there is none."""
    if value is None:
        return "<span>-</span>"
    text = "∞" if math.isinf(value) else format(value, METRICS[metric][2]).replace("%", " %")
    return f'<data value="{value!r}" data-key="{escape(key)}">{text}</data>'


def plain(name: str) -> str:
    """An attribute's name with spaces, escaped."""
    return escape(name.replace("_", " "))


def table(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], label: str) -> str:
    """A table in a box that scrolls. heads: (heading, unit) of each column; rows: cells of HTML, the first is a heading."""
    head = "".join(f'<th scope="col">{heading}<small>{unit}</small></th>' for heading, unit in heads)
    body = "".join(f'<tr><th scope="row">{first}</th><td>{"</td><td>".join(rest)}</td></tr>' for first, *rest in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def render_numbers(results: Mapping[str, float], names: Sequence[str], groups: Sequence[str]) -> str:
    """All metrics: a row for each attribute that has values, then a row for each group."""
    html = ""
    attributes = [(plain(name), f"{{}}/{name}") for name in names if f"num_values/{name}" in results]
    for what, rows in (
        ("Attribute", [("all attributes", "{}"), *attributes]),
        ("Group", [(escape(label), f"{label}/{{}}") for label in groups]),
    ):
        keys = {metric: [key.replace("{}", metric) for _, key in rows] for metric in METRICS}
        shown = [metric for metric in METRICS if any(key in results for key in keys[metric])]
        cells = [
            [label, *(number(results.get(keys[metric][k]), metric, keys[metric][k]) for metric in shown)]
            for k, (label, _) in enumerate(rows)
        ]
        html += table([(what, ""), *(METRICS[metric][:2] for metric in shown)], cells, f"By {what.lower()}") if rows else ""
    if "confidence_auroc" in results:
        value = number(results["confidence_auroc"], "top_probability", "confidence_auroc")
        html += f'<p class="note">AUROC of confidence, one group against the other: {value} (0.5: no difference).</p>'
    return html


def render_charts(results: Mapping[str, float], names: Sequence[str], groups: Sequence[str]) -> str:
    """Two bar charts, loss and accuracy: for each attribute one bar, or one for each of the first groups."""
    bars = [(label, f"{label}/") for label in groups[:NUM_CHARTED_GROUPS]] or [("all", "")]
    names = [name for name in names if f"num_values/{name}" in results]
    losses = [results.get(f"{prefix}attribute_loss/{name}", 0) for _, prefix in bars for name in names]
    baselines = {name: results.get(f"pool_no_knowledge_loss/{name}") for name in names}
    finite = [loss for loss in [*losses, *(baseline or 0 for baseline in baselines.values())] if math.isfinite(loss)]
    charts = ""
    for metric, largest in (("attribute_loss", max(finite, default=0) * 1.04 or 1), ("attribute_accuracy", 1.0)):
        charts += f"<section><h3>{METRICS[metric][0]} <small>{METRICS[metric][1]}</small></h3>"
        for name in names:
            baseline = baselines[name] if metric == "attribute_loss" else None
            mark = "" if baseline is None else f'<i class="line" style="left:{100 * baseline / largest:.2f}%"></i>'
            charts += f'<div class="attribute">{plain(name)}</div>'
            for k, (label, prefix) in enumerate(bars):
                value = results.get(f"{prefix}{metric}/{name}")
                charts += (
                    f'<div class="bar"><span class="label">{escape(label)}</span><span class="track"><b class="group{k}" '
                    f'style="width:{100 * min(1, (value or 0) / largest):.2f}%"></b>{mark}</span>{number(value, metric)}</div>'
                )
        charts += "</section>"
    line = '<i class="line"></i> No-knowledge loss: that of a model that knows all possible values, and nobody. '
    note = line * any(baseline is not None for baseline in baselines.values())
    note += f"The first {len(bars)} of {len(groups)} groups." * (len(groups) > len(bars))
    return f'<div class="charts">{charts}</div><p class="note">{note}</p>'


def values_of(scores: Scores, row: int) -> Iterator[tuple[int, list[int], bool]]:
    """Runs of tokens with equal attribute id, 0 included: the id, the indices of the tokens, whether all are the arg-max."""
    ids, predictions, references = (scores[name][row] for name in ("attribute_ids", "predictions", "references"))
    for attribute_id, run in groupby(range(len(ids)), key=lambda k: ids[k]):
        indices = list(run)
        yield attribute_id, indices, all(predictions[k] == references[k] for k in indices)


def row_labels(scores: Scores) -> list[tuple[str, int]]:
    """(label, row) of each biography, for the menu."""
    labels = []
    for row in range(len(scores["references"])):
        right = [is_right for attribute_id, _, is_right in values_of(scores, row) if attribute_id]
        group = f" · {scores['groups'][row]}" if "groups" in scores else ""
        labels.append((f"Row {row}{group} · {sum(right)} of {len(right)} values right", row))
    return labels


def render_biography(scores: Scores, row: int, names: Sequence[str]) -> str:
    """One sequence: the higher a token's loss, the deeper its background; values are underlined and marked right or wrong."""
    predictions, nlls = scores["predictions"][row], scores["nlls"][row]
    texts, predicted_texts = (
        scores[strings][row] if strings in scores else [f" #{k}" for k in scores[ids][row]]
        for strings, ids in (("tokens", "references"), ("predicted_tokens", "predictions"))
    )
    text, rows = "", []
    for attribute_id, run, is_right in values_of(scores, row):
        name = plain(names[attribute_id - 1]) if attribute_id else ""
        tokens = ""
        for k in run:
            score = f"{nlls[k]:.3f} nats, predicted {predicted_texts[k]!r}" if predictions[k] >= 0 else "not scored"
            title = escape(score) if not name else f"{name}: {escape(score)}"
            token = texts[k].lstrip() if name and k == run[0] else texts[k]  # the space before a value is not underlined
            text += escape(texts[k].removesuffix(token))
            tokens += f'<span class="token" style="--depth:{depth(nlls[k]):.3f}" title="{title}">{escape(token)}</span>'
        if attribute_id:
            sign, verdict = ("✓", "right") if is_right else ("✗", "wrong")
            tokens = f'<span class="value {verdict}">{tokens}<span class="tag">{sign} {name}</span></span>'
            strings = (escape("".join(column[k] for k in run).strip()) for column in (texts, predicted_texts))
            cells = [name, *strings, f'<span class="{verdict}">{sign} {verdict}</span>']
            cells.append(number(float(sum(nlls[k] for k in run)), "attribute_loss"))
            rows.append(cells + [number(scores[key][row][run[0]], "entropy") for key in DETAILS if key in scores])
        text += tokens
    heads = [("Value of", ""), ("Text", ""), ("Predicted", "token by token"), ("", ""), ("Loss", "nats")]
    heads += [("Confidence", "first token"), ("Entropy", "nats, first token")] * ("entropies" in scores)
    return f'{render_legend()}<p class="biography">{text}</p><div class="values">{table(heads, rows, "Values")}</div>'


def depth(nll: float) -> float:
    """Depth of a token's background, 0 to 1: the square root of its loss, so that small losses are distinguishable."""
    return math.sqrt(min(max(nll, 0.0), DEEPEST_COLOR) / DEEPEST_COLOR)


def render_legend() -> str:
    """The meaning of colors and lines."""
    steps = [(nats, f"{nats:g}{'+' * (nats == DEEPEST_COLOR)}") for nats in (0, 0.5, 1, 2, 4, DEEPEST_COLOR)]
    swatches = " ".join(f'<span class="token" style="--depth:{depth(nats):.3f}">{text}</span>' for nats, text in steps)
    right, wrong = (
        f'<span class="value {verdict}">value<span class="tag">{sign}</span></span> {meaning}'
        for verdict, sign, meaning in (("right", "✓", "all its tokens are right"), ("wrong", "✗", "not all are"))
    )
    return f'<p class="note legend">Loss of a token, nats: {swatches}<br>{right} &ensp; {wrong}</p>'


def page_html(html: str) -> str:
    """HTML that style.css applies to."""
    return f'<div class="ar">{html}</div>'


def show(text: str) -> tuple[Scores | None, str, Any, str]:
    """All that depends on the scores: the scores, numbers and charts (or the error), the menu of rows, the first row."""
    try:
        scores = parse(text)
        results, names, groups = compute(scores), attribute_names(scores), groups_of(scores)
    except ValueError as error:
        message = f'<div class="refusal" role="alert"><b>These scores cannot be used.</b> {escape(str(error))}</div>'
        return None, page_html(message), gr.update(choices=[], value=None, visible=False), ""
    html = f"<h2>Numbers</h2>{render_numbers(results, names, groups)}<h2>Charts</h2>{render_charts(results, names, groups)}"
    choice = gr.update(choices=row_labels(scores), value=0, visible=True)
    return scores, page_html(f"{html}<h2>Token by token</h2>"), choice, show_row(scores, 0)


def show_row(scores: Scores | None, row: int | None) -> str:
    """The biography of one row; empty if there are no scores."""
    return "" if scores is None or row is None else page_html(render_biography(scores, row, attribute_names(scores)))


def show_file(path: str) -> tuple[Any, ...]:
    """The text of an uploaded file, and what `show` returns for it."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return text, *show(text)


def build_page() -> gr.Blocks:
    """The page, which shows the example first."""
    scores, numbers, choices, biography = show(EXAMPLE)
    with gr.Blocks(title="Attribute recall", analytics_enabled=False) as page:
        gr.HTML(page_html(INTRODUCTION))
        given = gr.Textbox(EXAMPLE, label="Scores (JSON)", info=FORMAT, lines=5, max_lines=5, elem_id="scores")
        with gr.Row():
            go = gr.Button("Show these scores", variant="primary", elem_id="go", min_width=120)
            upload = gr.UploadButton("Upload a file", file_types=[".json"], elem_id="upload", min_width=120)
            again = gr.Button("Back to the example", elem_id="example", min_width=120)
        shown = [gr.State(scores), gr.HTML(numbers, elem_id="numbers")]
        row = gr.Dropdown(choices["choices"], value=0, label="Biography", elem_id="row")
        shown += [row, gr.HTML(biography, elem_id="biography")]
        go.click(show, given, shown, api_visibility="private")
        upload.upload(show_file, upload, [given, *shown], api_visibility="private")
        again.click(lambda: (EXAMPLE, *show(EXAMPLE)), None, [given, *shown], api_visibility="private")
        row.input(show_row, [shown[0], row], shown[-1], api_visibility="private")
    return page


if __name__ == "__main__":
    theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    theme.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")
    build_page().launch(theme=theme, css_paths=HERE / "style.css", ssr_mode=False, footer_links=[], max_file_size="20mb")
