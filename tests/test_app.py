"""The page of eval/attribute_recall: its functions, and the page itself in a real browser."""

import html
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT, SCRIPT_ENVIRONMENT, SMOKE, ecosystem, load_recipe, run_script

import bio_facts
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.measure.metrics import attribute_totals

pytestmark = ecosystem("evaluate", "gradio")
evaluate = pytest.importorskip("evaluate")
FOLDER = ROOT / "eval" / "attribute_recall"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
EXAMPLE_TEXT = (FOLDER / "example.json").read_text(encoding="utf-8")
EXAMPLE = json.loads(EXAMPLE_TEXT)
HOSTILE = [
    "<script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "${1+1}{{value}}",
    '" onx="&amp;',
]
SMALL: dict[str, Any] = {  # a value that is wrong in its second token, one that is right, and a second row
    "predictions": [[-1, 7, 8, 9], [-1, 4]],
    "references": [[5, 7, 6, 9], [5, 3]],
    "nlls": [[0, 0.5, 2.25, 3.0], [0, 9]],
    "attribute_ids": [[0, 1, 1, 2], [0, 6]],
}
NOT_FLAT = ("groups", "tokens", "predicted_tokens", "num_possible_values", "auroc_groups")


def loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"tested_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def app() -> Any:
    return loaded(FOLDER / "app.py")


def changed(**columns: Any) -> str:
    return json.dumps({name: value for name, value in (SMALL | columns).items() if value is not None})


def metrics_of(scores: dict[str, Any], group: str | None = None) -> dict[str, float]:
    """The same numbers by bio_facts.measure.metrics, without evaluate and without the app."""
    rows = [k for k in range(len(scores["references"])) if group is None or scores["groups"][k] == group]
    flat = {name: np.concatenate([scores[name][k] for k in rows]) for name in scores if name not in NOT_FLAT}
    totals = attribute_totals(
        nlls=flat["nlls"],
        correct=flat["predictions"] == flat["references"],
        attribute_ids=flat["attribute_ids"].astype(np.int64),
        row_lengths=np.array([len(scores["references"][k]) for k in rows]),
        num_attributes=len(ATTRIBUTES),
        top_probabilities=flat.get("top_probabilities"),
        entropies=flat.get("entropies"),
    )
    return totals.detailed_summary(tuple(ATTRIBUTES)) if "entropies" in flat else totals.summary(tuple(ATTRIBUTES))


# Files of the folder


def test_example_is_small_and_written_by_its_script() -> None:
    assert len(EXAMPLE_TEXT.encode()) < 200_000
    assert loaded(ROOT / "eval" / "make_example.py").as_json(EXAMPLE) == EXAMPLE_TEXT


def test_example_is_about_biographies_of_the_mini_recipe() -> None:
    data = load_recipe(ROOT / "train/recipes/three_phases/mini.yaml", {"seed": 20}).data
    rows = [row for split in ("validation", "unseen") for row in bio_facts.rows(bio_facts.draw(data, split, range(6)))]
    assert ["".join(tokens) for tokens in EXAMPLE["tokens"]] == [row["text"] for row in rows]
    for row, ids in zip(rows, EXAMPLE["attribute_ids"], strict=True):
        order = [k for k, before in zip(ids, [0, *ids[:-1]], strict=True) if k and k != before]
        assert [list(ATTRIBUTES)[k - 1] for k in order] == [item["attribute"] for item in row["attributes"]]


@pytest.fixture(scope="module")
def untrained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that make_example.py reads of a finished run, with an untrained model."""
    from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer
    from bio_facts.runs.folder import RunFolder
    from bio_facts.runs.training import build_model

    folder, recipe, tokenizer = tmp_path_factory.mktemp("run"), load_recipe(SMOKE, {}), load_tokenizer("bio_facts")
    RunFolder(folder).write_config(recipe.as_config())
    for saved in (build_model(recipe, tokenizer, BiographyTokenizer(tokenizer).max_length), tokenizer):
        saved.save_pretrained(folder / f"checkpoint-{recipe.num_steps}")
    return folder


def test_example_script_makes_what_the_page_takes(untrained_run: Path, tmp_path: Path, app: Any) -> None:
    made = tmp_path / "made.json"
    result = run_script("eval/make_example.py", untrained_run, "--output-file", made)
    assert result.returncode == 0, result.stderr
    scores = app.parse(made.read_text(encoding="utf-8"))
    assert list(scores) == list(EXAMPLE)
    assert app.compute(scores)["num_values"] == 72
    assert scores["num_possible_values"]["birth_date"] == 4 * 12 * 28


def test_example_script_refuses_an_unfinished_run(untrained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((untrained_run / "config.json").read_bytes())
    with pytest.raises(ValueError, match="which has no checkpoint-30; it must be finished"):
        loaded(ROOT / "eval" / "make_example.py").example(tmp_path)


def test_card_has_the_metadata_of_a_space_and_the_tested_gradio() -> None:
    metadata = yaml.safe_load(CARD.split("---\n")[1])
    assert metadata["sdk"] == "gradio"
    assert metadata["license"] == "apache-2.0"
    assert set(metadata["tags"]) == {"evaluate", "metric"}
    assert (FOLDER / metadata["app_file"]).is_file()
    assert len(metadata["short_description"]) <= 60  # the Hub's limit
    assert f"\ngradio=={metadata['sdk_version']}\n" in (ROOT / "constraints.txt").read_text()
    assert f"gradio=={metadata['sdk_version']}`" in CARD


CARD_BLOCKS = re.findall(r"^```python\n(.*?)^```$", CARD, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", CARD_BLOCKS)
def test_examples_of_the_card_print_their_comments(block: str, untrained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = block.replace("<you>/attribute_recall", str(FOLDER)).replace("<model>", str(untrained_run / "checkpoint-30"))
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.strip()
    comments = re.findall(r"\)  # (.*)$", block, flags=re.MULTILINE)
    if comments:
        assert printed == comments[-1]
    else:
        assert "attribute_loss/birth_place" in printed


def test_card_has_five_examples() -> None:
    assert len(CARD_BLOCKS) == 5


def test_app_imports_nothing_but_what_the_space_installs() -> None:
    imported = set(re.findall(r"^(?:import|from) (\w+)", (FOLDER / "app.py").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"evaluate", "gradio"}  # gradio comes with the Space


# Functions


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", ["not JSON"]),
        ("{", ["not JSON", "line 1 column 2"]),
        ("[" * 100_000, ["not JSON"]),
        ("[1]", ["'[1]'", "an object with the columns predictions, references"]),
        (changed(nlls=None), ["column nlls is missing"]),
        (changed(losses=[1]), ["unknown column 'losses'"]),
        (changed(nlls=3), ["column nlls", "'3'", "a list"]),
        (changed(references=3), ["column references", "'3'", "a list"]),
        (changed(nlls=[[1, 2, 3, 4]]), ["column nlls has 1 rows", "references has 2"]),
        (changed(nlls=[[1, 2, 3, 4], 5]), ["row 1, column nlls", "'5'"]),
        (changed(nlls=[[1, 2, 3, "<b>"], [1, 2]]), ["row 0, column nlls: token 3", "'<b>'", "a number"]),
        (changed(nlls=[[1, 2, 3, True], [1, 2]]), ["row 0, column nlls: token 3", "'True'", "a number"]),
        (changed(nlls=[[1, 2, 3, None], [1, 2]]), ["row 0, column nlls: token 3", "'None'", "a number"]),
        (changed(references=[[1, 2, 3, 4.5], [1, 2]]), ["row 0, column references: token 3", "'4.5'", "an integer"]),
        (changed(references=[[1, 2, 3, 2**70], [1, 2]]), ["row 0, column references: token 3", str(2**70), "an integer"]),
        (changed(tokens=[["a", "b", "c", 1], ["d", "e"]]), ["row 0, column tokens: token 3", "'1'", "a string"]),
        (changed(tokens=[["a", "b", "c"], ["d", "e"]]), ["row 0, column tokens", "3 tokens", "references has 4"]),
        (changed(predicted_tokens=[["a"], ["d", "e"]]), ["row 0, column predicted_tokens", "1 tokens"]),
        (changed(groups=["a"]), ["column groups has 1 rows"]),
        (changed(groups=["a", 1]), ["row 1, column groups", "'1'"]),
        (changed(entropies=SMALL["nlls"]), ["column top_probabilities is missing"]),
        (changed(auroc_groups=["a", "b"]), ["column top_probabilities is missing"]),
        (changed(attribute_names="city"), ["attribute_names is 'city'", "a list of strings"]),
        (changed(num_possible_values={"birth_place": "many"}), ["num_possible_values", "'many'"]),
        (changed(num_possible_values=[3]), ["num_possible_values is [3]"]),
    ],
)
def test_scores_of_wrong_shape_are_refused(app: Any, text: str, fragments: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        app.parse(text)
    for fragment in fragments:
        assert fragment in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(nlls=[[0, 1, -2, 3], [0, 1]]), "row 0, column nlls: token 2 is -2.0"),
        (changed(nlls=[[0, 1, float("nan"), 3], [0, 1]]), "row 0, column nlls: token 2 is nan"),
        (changed(nlls=[[0, 1, 2], [0, 1]]), "row 0, column nlls: it has 3 tokens; references has 4"),
        (changed(attribute_ids=[[0, 1, 1, 7], [0, 1]]), "row 0, column attribute_ids: token 3 is 7; it must be from 0 to 6"),
        (changed(attribute_ids=[[0] * 4, [0] * 2]), "there are no values"),
        (changed(num_possible_values={"city": 3}), "num_possible_values names 'city'"),
        (json.dumps({name: [] for name in SMALL}), "there are no rows"),
        (changed(nlls="<script>"), "&lt;script&gt;"),
    ],
)
def test_invalid_scores_show_one_error_and_nothing_else(app: Any, text: str, message: str) -> None:
    scores, shown, choice, biography = app.show(text)
    assert (scores, biography, choice["visible"]) == (None, "", False)
    assert message in html.unescape(shown) or message in shown
    assert "<script" not in shown
    assert "<table" not in shown
    assert "Traceback" not in shown


def test_groups_without_confidence_are_those_of_the_metric(app: Any) -> None:
    scores = {name: EXAMPLE[name] for name in (*SMALL, "groups")}
    metrics = app.compute(scores)
    for prefix, group in (("", None), ("validation/", "validation"), ("unseen/", "unseen")):
        for key, value in metrics_of(scores, group).items():
            assert metrics[f"{prefix}{key}"] == pytest.approx(value, rel=1e-12), key


def test_a_group_without_values_has_no_numbers(app: Any) -> None:
    scores = app.parse(changed(groups=["a", "b"], attribute_ids=[[0, 1, 1, 2], [0, 0]]))
    metrics = app.compute(scores)
    assert "a/attribute_loss" in metrics
    assert not [key for key in metrics if key.startswith("b/")]
    shown = app.render_numbers(metrics, list(ATTRIBUTES), ["a", "b"]) + app.render_charts(metrics, list(ATTRIBUTES), ["a", "b"])
    assert '<th scope="row">b</th><td><span>-</span>' in shown


def test_confidence_needs_no_groups(app: Any) -> None:
    scores = {name: column for name, column in EXAMPLE.items() if name not in ("groups", "auroc_groups")}
    metrics = app.compute(app.parse(json.dumps(scores)))
    assert metrics["entropy"] == pytest.approx(metrics_of(EXAMPLE)["entropy"], rel=1e-12)


def test_other_attribute_names_and_pools_are_shown(app: Any) -> None:
    text = changed(attribute_names=["a", "<b>", "c", "d", "e", "f_g"], num_possible_values={"a": 10, "<b>": 10, "f_g": 10})
    _, shown, _, biography = app.show(text)
    assert "2.303" in shown
    assert "f g" in shown and "f g" in app.show_row(json.loads(text), 1)
    assert "&lt;b&gt;" in shown and "&lt;b&gt;" in biography
    assert "<b>" not in shown + biography


def test_bars_are_as_long_as_their_numbers(app: Any) -> None:
    metrics = app.compute(SMALL)
    shown = app.render_charts(metrics, list(ATTRIBUTES), [])
    widths = [float(width) for width in re.findall(r'width:([\d.]+)%"></b>', shown)]
    baselines = [float(left) for left in re.findall(r"left:([\d.]+)%", shown)]
    largest = 1.04 * np.log(200 * 12 * 28)  # the no-knowledge loss of birth_date, above all losses
    assert widths == pytest.approx([100 * 2.75 / largest, 100 * 3 / largest, 100 * 9 / largest, 0, 100, 0], abs=0.01)
    assert baselines == pytest.approx([100 * np.log(size) / largest for size in (800, 800, 200 * 12 * 28)], abs=0.01)


def test_only_the_first_six_groups_are_charted_and_the_page_says_so(app: Any) -> None:
    many = {name: column[:1] * 9 for name, column in SMALL.items()} | {"groups": [f"g{k}" for k in range(9)]}
    _, shown, _, _ = app.show(json.dumps(many))
    assert "The first 6 of 9 groups." in shown
    assert shown.count('<span class="label">g5</span>') == 2 * 2  # two attributes, loss and accuracy
    assert '<span class="label">g6</span>' not in shown


def test_infinite_losses_are_shown(app: Any) -> None:
    _, shown, _, biography = app.show(changed(nlls=[[0, 0.5, float("inf"), 3.0], [0, 9]]))
    assert "∞" in shown and "∞" in biography
    assert "nan%" not in shown + biography and "inf%" not in shown + biography


@pytest.mark.parametrize("number", ["null", "NaN", "Infinity"])
def test_tokens_outside_of_values_without_numbers_are_not_scored(app: Any, number: str) -> None:
    """Such as the first token of a prompt, for which APIs give no log-probability."""
    assert SMALL["attribute_ids"][0][0] == 0
    nlls = [["?", *SMALL["nlls"][0][1:]], *SMALL["nlls"][1:]]
    predictions = [[4, *SMALL["predictions"][0][1:]], *SMALL["predictions"][1:]]
    _, shown, _, biography = app.show(changed(nlls=nlls, predictions=predictions).replace('"?"', number))
    assert (shown, biography) == app.show(changed())[1::2]
    assert biography.count('title="not scored"') == 1
    assert "NaN" not in biography and "nan" not in biography and "∞" not in biography


def test_biography_marks_values_right_or_wrong_without_color(app: Any) -> None:
    shown = app.render_biography(SMALL | {"tokens": [["In", " New", " York", " Law"], ["a", "b"]]}, 0, list(ATTRIBUTES))
    values = re.findall(r'<span class="value (\w+)">(.*?)<span class="tag">(.*?)</span>', shown.split("biography")[1])
    assert [(verdict, tag) for verdict, _, tag in values] == [("wrong", "✗ birth place"), ("right", "✓ current location")]
    assert [re.sub("<.*?>", "", tokens) for _, tokens, _ in values] == ["New York", "Law"]
    assert "birth place: 2.250 nats, predicted &#x27; #8&#x27;" in shown  # without its text
    with_texts = app.render_biography(
        SMALL | {"predicted_tokens": [["", " New", " Rome", " Law"], ["", "?"]]}, 0, list(ATTRIBUTES)
    )
    assert "<td>#7 #6</td><td>New Rome</td>" in with_texts
    assert shown.count('title="not scored"') == 1
    spaced = app.render_biography(SMALL | {"tokens": [["a", "  ", "b", " c"], ["d", "e"]]}, 0, list(ATTRIBUTES))
    text = re.sub("<.*?>", "", re.sub('<span class="tag">.*?</span>', "", spaced.split("</p>")[1]))
    assert text == "a  b c"
    assert re.findall(r'data value="([\d.]+)"', shown) == ["2.75", "3.0"]


def test_depth_of_color_grows_with_loss_up_to_its_end(app: Any) -> None:
    depths = [app.depth(nll) for nll in (0, 0.1, 1, 4, 8, 100, float("inf"))]
    assert depths == sorted(depths)
    assert (depths[0], depths[-3], depths[-1]) == (0, 1, 1)


def test_all_text_is_escaped(app: Any) -> None:
    text = changed(
        tokens=[HOSTILE, HOSTILE[:2]],
        predicted_tokens=[HOSTILE, HOSTILE[2:]],
        groups=HOSTILE[:2],
        attribute_names=[*HOSTILE, "e", "f"],
    )
    scores, shown, choice, biography = app.show(text)
    everything = shown + biography + app.show_row(scores, 1)
    assert not re.search(r"<(script|img)|\"\s+onx=", everything)
    for hostile in HOSTILE:
        assert hostile in html.unescape(biography)
    assert [row for _, row in choice["choices"]] == [0, 1]


# The page in a browser


def wait_until_served(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def url(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as a Space has it: a copy of the folder under another name, started from elsewhere, without bio_facts."""
    folder = tmp_path_factory.mktemp("space")
    shutil.copytree(FOLDER, folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "absent").mkdir()
    (folder / "absent" / "bio_facts.py").write_text("raise ImportError('bio_facts is not installed')")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"GRADIO_SERVER_PORT": str(port), "PYTHONPATH": str(folder / "absent"), "HF_HOME": str(folder / "home")}
    proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
    environment = {name: value for name, value in SCRIPT_ENVIRONMENT.items() if name not in proxies} | settings
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, folder / "app" / "app.py"], cwd="/", env=environment, stdout=output, stderr=output
        )
    try:
        wait_until_served(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert "Traceback" not in log.read_text()


def opened(browser: Any, url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.set_default_timeout(30_000)
    page.problems = []
    page.on(
        "request",
        lambda request: page.problems.append(request.url) if not request.url.startswith((url, "data:", "blob:")) else 0,
    )
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#biography .token")
    return page


@pytest.fixture(scope="module")
def page(browser: Any, url: str) -> Any:
    return opened(browser, url)


def numbers_on(page: Any) -> dict[str, float]:
    pairs = page.eval_on_selector_all("#numbers data", "all => all.map(item => [item.dataset.key, item.value])")
    return {key: float(value) for key, value in pairs if key}


def paste(page: Any, text: str) -> None:
    page.fill("#scores textarea", text)
    page.click("#go")


def test_page_starts_with_the_numbers_of_the_example(page: Any) -> None:
    shown = numbers_on(page)
    recall = evaluate.load(str(FOLDER), "details")
    options = {name: EXAMPLE[name] for name in ("num_possible_values", "auroc_groups")}
    columns = {name: EXAMPLE[name] for name in (*SMALL, "top_probabilities", "entropies", "groups")}
    metrics = recall.compute(**columns, **options)
    assert shown == {key: metrics[key] for key in shown}
    assert len(shown) == 10 + 6 * 9 + 2 * 10 + 1  # all, each attribute without calibration, two groups, AUROC
    for prefix, group in (("", None), ("validation/", "validation"), ("unseen/", "unseen")):
        for key, value in metrics_of(EXAMPLE, group).items():
            if f"{prefix}{key}" in shown:
                assert shown[f"{prefix}{key}"] == pytest.approx(value, rel=1e-9), key
    first = page.locator("#numbers tbody tr").first.inner_text().split("\t")
    assert first[:2] == ["all attributes", f"{metrics['attribute_loss']:.3f}"]
    assert page.problems == []


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("light", 1280, 900, "light"),
        ("dark", 1280, 900, "dark"),
        ("mobile", 400, 800, "light"),
        ("mobile_dark", 400, 800, "dark"),
    ],
)
def test_page_fits_the_window(browser: Any, url: str, tmp_path: Path, name: str, width: int, height: int, scheme: str) -> None:
    page = opened(browser, url, width, height, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark"), background
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    assert (tmp_path / f"{name}.png").stat().st_size > 20_000
    assert page.problems == []
    page.close()


def test_another_row_is_chosen(page: Any) -> None:
    assert page.locator("#biography .value.right").count() - 1 == 6  # and one in the legend
    page.click("#row input")
    page.get_by_role("option").nth(6).click()
    page.wait_for_function("document.querySelectorAll('#biography .biography .value.wrong').length == 6")
    page.keyboard.press("Escape")
    tokens = page.locator("#biography .biography .token").all_inner_texts()
    assert "".join("".join(tokens).split()) == "".join("".join(EXAMPLE["tokens"][6]).split())
    titles = page.eval_on_selector_all("#biography .biography .token", "all => all.map(item => item.title)")
    assert [title for title in titles if title.startswith("birth date: ")]
    depths = page.eval_on_selector_all(
        "#biography .biography .token", "all => all.map(i => i.style.getPropertyValue('--depth'))"
    )
    assert [float(depth) for depth in depths] == pytest.approx([min(1, nll / 8) ** 0.5 for nll in EXAMPLE["nlls"][6]], abs=1e-3)


def test_pasted_scores_then_invalid_ones_then_the_example_are_shown(page: Any, tmp_path: Path) -> None:
    paste(page, changed(tokens=[HOSTILE, ["a", "b"]], groups=HOSTILE[:2]))
    page.wait_for_function("document.querySelectorAll('#biography .biography .token').length == 4")
    expected = metrics_of(SMALL)
    assert {key: value for key, value in numbers_on(page).items() if key in expected} == pytest.approx(expected, rel=1e-12)
    assert page.locator("#biography .biography .token").all_inner_texts() == HOSTILE
    assert page.title() == "Attribute recall"

    paste(page, changed(nlls=[[0, 1, -2, 3], [0, 1]]))
    page.wait_for_selector("#numbers .refusal")
    message = "row 0, column nlls: token 2 is -2.0; it must be a number of at least 0, in nats, wherever attribute_ids is not 0"
    assert page.locator("#numbers").inner_text().strip() == f"These scores cannot be used. {message}"
    assert numbers_on(page) == {}
    assert not page.locator("#row").is_visible()
    assert page.locator("#biography .token").count() == 0
    page.screenshot(path=tmp_path / "error.png")

    page.click("#example")
    page.wait_for_selector("#biography .token")
    assert numbers_on(page)["num_values"] == 72
    assert page.input_value("#scores textarea") == EXAMPLE_TEXT
    assert page.problems == []


def test_a_file_is_uploaded(page: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(changed())
    page.set_input_files("#upload ~ input[type=file], input[type=file]", tmp_path / "mine.json")
    page.wait_for_function("document.querySelectorAll('#biography .biography .token').length == 4")
    assert numbers_on(page)["attribute_loss"] == pytest.approx((2.75 + 3 + 9) / 3)
    assert page.input_value("#scores textarea") == changed()
    assert page.problems == []
