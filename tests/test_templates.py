import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.pools import read_lines
from bio_facts.generate.templates import Template, check_templates, question_orders, questions, templates

LINES = [(attribute, k, line) for attribute in ATTRIBUTES for k, line in enumerate(read_lines(f"templates/{attribute}.txt"))]
WORDS = st.from_regex(r"[A-Za-zÀ-ž0-9]([A-Za-zÀ-ž0-9', ]{0,15}[A-Za-zÀ-ž0-9])?", fullmatch=True)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_attribute_has_25_templates(attribute: str) -> None:
    assert len(templates()[attribute]) == 25


def test_all_150_templates_are_distinct() -> None:
    assert len({template for of_attribute in templates().values() for template in of_attribute}) == 150


def test_all_150_lines_are_distinct_without_case_and_punctuation() -> None:
    assert len({"".join(filter(str.isalpha, line.lower())) for _, _, line in LINES}) == 150


def test_templates_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        templates()["major"] = ()  # type: ignore[index]


# Questions

QUESTION_LINES = {attribute: read_lines(f"questions/{attribute}.txt") for attribute in ATTRIBUTES}


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_question_asks_about_the_name_and_ends_in_its_answer(attribute: str) -> None:
    assert len(questions()[attribute]) == 10
    for question, line in zip(questions()[attribute], QUESTION_LINES[attribute], strict=True):
        assert line.endswith("? Answer: {value}.")
        assert line.count("?") == line.count(":") == 1
        assert question.fill("NAME", "VALUE") == line.replace("{name}", "NAME").replace("{value}", "VALUE")


def test_all_60_questions_differ_without_case_and_punctuation_also_from_all_templates() -> None:
    lines = [line for of_attribute in QUESTION_LINES.values() for line in of_attribute] + [line for _, _, line in LINES]
    assert len({"".join(filter(str.isalpha, line.lower())) for line in lines}) == 60 + 150


def test_reference_questions() -> None:
    assert [lines[0].removesuffix(" Answer: {value}.") for lines in QUESTION_LINES.values()] == [
        "Where was {name} born?",
        "Where does {name} live now?",
        "Which university did {name} attend?",
        "What did {name} major in?",
        "Which company does {name} work for?",
        "When was {name} born?",
    ]


def test_question_orders_are_all_ways_to_hold_out_two_of_ten() -> None:
    orders = question_orders()
    assert orders.shape == (45, 10)
    assert (np.sort(orders, axis=1) == np.arange(10)).all()
    assert (np.diff(orders[:, :8].astype(int)) > 0).all()
    assert len({tuple(held_out) for held_out in orders[:, 8:].tolist()}) == 45


def test_question_without_answer_before_its_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"What is value {k} of {{name}}? Answer: {{value}}." for k in range(9)]
    monkeypatch.setattr("bio_facts.generate.templates.read_lines", lambda _: [*lines, "Where is {name}? In {value}."])
    with pytest.raises(ValueError) as error:
        questions.__wrapped__()
    template = Template.parse("Where is {name}? In {value}.")
    assert str(error.value) == f"question {template} must have '? Answer:' before the value"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(LINES), WORDS, WORDS)
def test_fill_replaces_the_placeholders_of_the_line(line: tuple[str, int, str], name: str, value: str) -> None:
    attribute, template_id, text = line
    expected = name.join(text.split("{name}"))
    expected = value.join(expected.split("{value}"))
    assert templates()[attribute][template_id].fill(name, value) == expected


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_name_and_a_cue_come_before_the_value(attribute: str) -> None:
    before_value = [template.fill("NAME", "VALUE").partition("VALUE")[0] for template in templates()[attribute]]
    assert [text for text in before_value if "NAME" not in text or len(text.replace("NAME", "").split()) < 2] == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{name} was born.", "has placeholders ['{name}']; it must have {name} and {value}, once each"),
        ("Someone lives in {value}.", "has placeholders ['{value}']"),
        ("{name} and {name} live in {value}.", "has placeholders ['{name}', '{name}', '{value}']"),
        ("{name} lives in {value} or {value}.", "has placeholders ['{name}', '{value}', '{value}']"),
        ("{name} lives in {city}.", "has placeholders ['{name}', '{city}']"),
        ("In {value} lives {name}.", "has the value before the name; the name must come first"),
        ("{name} lives in {value}", "ends in a period"),
        ("{name} lives in {value}!", "ends in a period"),
        ("{name}  lives in {value}.", "must be one sentence with single spaces"),
        (" {name} lives in {value}.", "must be one sentence with single spaces"),
        ("Now({name} lives in {value}.", "must have a space before each placeholder"),
        ("{name} lives in({value}.", "must have a space before each placeholder"),
        ("{name}lives in {value}.", "must have a space or punctuation after each placeholder"),
        ("{name} lives in {value}town.", "must have a space or punctuation after each placeholder"),
        ("{name}, {value}.", "has no words before the value"),
        ("{name} {value}.", "has no words before the value"),
    ],
)
def test_bad_template_is_refused_with_the_line_and_what_is_wrong(line: str, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        Template.parse(line)
    assert str(error.value).startswith(f"template {line!r}")
    assert problem in str(error.value)


def test_parse_keeps_text_before_between_and_after() -> None:
    parsed = Template.parse("Today, {name}'s home is {value}, they say.")
    assert parsed == Template(head="Today,", cue="'s home is", tail=", they say.")


def test_wrong_number_of_templates_is_refused() -> None:
    with pytest.raises(ValueError, match="major has 24 templates; it must have 25"):
        check_templates("major", templates()["major"][:24], 25)


def test_same_template_in_other_case_is_refused() -> None:
    twice = (*templates()["major"][:24], Template.parse("{name} MAJORED in {value}."))
    with pytest.raises(ValueError, match=r"major has the same template twice: .*MAJORED"):
        check_templates("major", twice, 25)
