"""Answers of language models in every wrapping that endpoints of today give them: the answer is
read, or it is unread, and no wrapping becomes part of it.
"""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from workers.pipeline.autointerp import label_answers
from workers.pipeline.autointerp.answers import encodable, final_text
from workers.pipeline.autointerp.label_answers import parse_label
from workers.pipeline.autointerp.number_answers import parse_numbers, parse_rating

WRAPPINGS = {
    "plain": "{}",
    "think": "<think>LABEL: a few words. RATING: 0, 1 or 2. [0, 0, 0]</think>\n\n{}",
    "empty think": "<think>\n\n</think>\n{}",
    "closing tag only": "Is it [0, 0, 0]? LABEL: no. RATING: 0</think>{}",
    "thinking": "<thinking>\nLABEL: no\n</thinking>\n{}",
    "magistral": "[THINK]LABEL: no[/THINK]{}",
    "kimi": "◁think▷LABEL: no◁/think▷{}",
    "cohere": "<|START_THINKING|>no<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
    "seed": "<seed:think>LABEL: no</seed:think>{}",
    "harmony": "<|channel|>analysis<|message|>LABEL: no<|end|><|start|>assistant<|channel|>final"
    "<|message|>{}<|return|>",
    "harmony without marks": "analysisWe need it. RATING: 0assistantfinal{}",
    "gemma channel": "<|channel>thought\nLABEL: no<channel|>{}<turn|>",
    "glm box": "<|begin_of_box|>{}<|end_of_box|>",
    "chatml": "<|im_start|>assistant\n{}<|im_end|>",
    "runs on": "{}<|im_end|>\n<|im_start|>user\nLABEL: no\nRATING: 0\n[0, 0, 0]",
    "llama 2": "<s>{}</s>",
    "llama 3": "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
    "gemma": "{}<end_of_turn>\n<eos>",
    "deepseek": "{}<｜end▁of▁sentence｜>",
    "answer tags": "<answer>\n{}\n</answer>",
    "fence": "```\n{}\n```",
    "named fence": "Here it is:\n```text\n{}\n```",
}
UNREAD = {
    "open think": "<think>\n{}",
    "open thinking": "<thinking>{}",
    "analysis only": "<|channel|>analysis<|message|>{}",
    "analysis without marks": "analysisThe user wants this.\n{}",
    "only thoughts": "{}\n</think>\n",
    "second thoughts": "<think>no</think>\n<think>{}",
    "open magistral": "[THINK]{}",
}
LABELS = [
    "dates in April",
    "the word “cat” after an article",
    "the end mark `</s>`",
    'the tag "<think>" in logs',
    "`a` and `b`",
    "JSON keys such as {\"label\": 1}",
    "lists such as [1, 0, 1]",
    "cannot and its contractions before a verb",
    "日本 in names",
]  # fmt: skip


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS)
def test_no_wrapping_becomes_part_of_an_answer(wrapping: str) -> None:
    for label in LABELS:
        assert parse_label(wrapping.format(f"LABEL: {label}")) == label
    assert parse_label(wrapping.format('{"label": "dates in April"}')) == "dates in April"
    assert parse_numbers(wrapping.format("[1, 0, 1]"), 3, 1, True) == [1, 0, 1]
    assert parse_rating(wrapping.format("RATING: 2")) == 2
    assert parse_rating(wrapping.format('{"rating": 1}')) == 1


@pytest.mark.parametrize("wrapping", UNREAD.values(), ids=UNREAD)
def test_what_never_came_to_an_answer_is_unread(wrapping: str) -> None:
    assert parse_label(wrapping.format("LABEL: a few words")) is None
    assert parse_label(wrapping.format('{"label": "cats"}')) is None
    assert parse_numbers(wrapping.format("[1, 0, 1]"), 3, 1, True) is None
    assert parse_rating(wrapping.format("RATING: 2")) is None


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ('{"label": "dates in April", "confidence": 0.9}', "dates in April"),
        ('```json\n{"label": "dates in April", "confidence": 0.9}\n```', "dates in April"),
        ('Sure:\n```json\n{\n  "label": "cats",\n  "score": 1,\n}\n```\nI hope it helps.', "cats"),
        ("{'label': 'cats', 'confidence': None}", "cats"),
        ('{label: "cats", confidence: 0.9}', "cats"),
        ('{"result": {"Label": "cats"}}', "cats"),
        ('[{"label": "cats"}]', "cats"),
        ('{"label": ["cats"]}', "cats"),
        ('LABEL: {"label": "cats"}', "cats"),
        ('LABEL: ["cats"]', "cats"),
        ("label: cats\nconfidence: 0.9", "cats"),
        ("LABEL: cats (confidence: 0.9)", "cats"),
        ("<label>cats</label>", "cats"),
        (r"LABEL: \boxed{\text{cats}}", "cats"),
        ("**LABEL:**\n- **cats**.", "cats"),
        ('"LABEL: cats"', "cats"),
        ("LABEL：日期", "日期"),
        ("LABEL: `None`", "None"),
        ('{"label": "dates in Apr', None),
        ('{"label": null}', None),
        ('{"label": ["cats", "dogs"]}', None),
        ('["cats"]', None),
        ('{"confidence": 0.9}', None),
        ("LABEL: ``", None),
        ("LABEL: a few words", None),
        ("LABEL: <a few words>", None),
    ],
)
def test_a_label_is_what_the_answer_says_it_is(answer: str, label: str | None) -> None:
    assert parse_label(answer) == label


@pytest.mark.parametrize(
    "sentence",
    [
        "No clear pattern",
        "I cannot determine a pattern from these texts",
        "No single, consistent theme across the texts",
        "There is no obvious common thread.",
        "There does not seem to be a pattern",
        "I can’t identify what these have in common.",
        "It is difficult to determine the pattern",
        "Unable to determine",
        "The pattern is unclear",
        "varied / no clear pattern",
        "Unclear: the texts differ",
        "insufficient evidence",
        "various unrelated tokens",
        "None of the above",
        "N/A",
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I must not say.",
    ],
)
def test_no_pattern_and_a_refusal_are_no_label(sentence: str) -> None:
    assert parse_label(f"LABEL: {sentence}") is None
    assert parse_label(sentence) is None
    assert parse_label(f'{{"label": "{sentence}"}}') is None


@pytest.mark.parametrize(
    "label", ["no longer", "not enough", "unable to + verb", "sorry", "no pattern matching in Rust",
              "unclear speech marked [inaudible]", "mixed case", "cannot be followed by a noun"],
)  # fmt: skip
def test_labels_that_begin_like_a_refusal_are_labels(label: str) -> None:
    assert parse_label(f"LABEL: {label}") == label


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ("[1,0,1,1,0]\nTexts [1] and [3] mention dates", [1, 0, 1, 1, 0]),
        ("[1,0,1,1,0] as texts [1] and [3] mention dates", [1, 0, 1, 1, 0]),
        ("First I had [0,0,0,0,0], now\n[1,0,1,1,0]", [1, 0, 1, 1, 0]),
        ("Text 1: 1\nText 2: 0\nText 3: 1\nText 4: 1\nText 5: 0", [1, 0, 1, 1, 0]),
        ("1. yes\n2. no\n3. yes\n4. yes\n5. no", [1, 0, 1, 1, 0]),
        ('{"1": 1, "2": 0, "3": 1, "4": 1, "5": 0}', [1, 0, 1, 1, 0]),
        ('{"answers": ["yes", "no", "yes", "yes", "no"]}', [1, 0, 1, 1, 0]),
        ("[true, false, true, true, false]", [1, 0, 1, 1, 0]),
        ("1, 0, 1, 1, 0", [1, 0, 1, 1, 0]),
        ("It may be [0,0,0,0,0] or [1,0,1,1,0], who knows", None),
        ("[1,0,1,1,2]", None),
        ("[1,0,1,1", None),
        ("[1,0,1,1,1" + "0" * 400 + "]", None),
    ],
)
def test_a_list_is_told_from_the_brackets_of_an_explanation(
    answer: str, numbers: list[float] | None
) -> None:
    assert parse_numbers(answer, 5, 1, True) == numbers


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("[3]\nTexts [1], [2], [4] and [5] share a date.", 3),
        ("[3] because [1] and [2] share a date.", 3),
        ("[1] and [2] share a date. Answer: [3]", 3),
        ("The answer is 3.", 3),
        ('{"intruder": 3}', 3),
        ("[1] cats\n[2] cats\n[3] dogs\n[4] cats\n[5] cats", None),
        ("[1] is about cats like [2], unlike [3]", None),
        ("[6]", None),
    ],
)
def test_an_intruder_is_told_from_the_texts_that_are_named(answer: str, number: int | None) -> None:
    assert parse_numbers(answer, 1, 5, True) == (None if number is None else [number])


@pytest.mark.parametrize(
    ("answer", "rating"),
    [
        ("RATING: 2/2", 2),
        ("RATING: 1/2", 1),
        ("RATING: 2 (clearly present)", 2),
        ('{"rating": 2}', 2),
        ('{"rating": "2", "why": "it names 3"}', 2),
        ("RATING: 2 out of 2", 2),
        ("RATING: 1 - in passing", 1),
        ("RATING: 2/5", None),
        ("RATING: 1 or 2", None),
        ("RATING: 2, because 1 is low", None),
        ('{"rating": true}', None),
    ],
)
def test_a_rating_may_have_a_scale_and_a_remark(answer: str, rating: int | None) -> None:
    assert parse_rating(answer) == rating


def test_what_a_database_cannot_hold_is_replaced() -> None:
    assert encodable("a\0b\ud83dc\ud83e\udde0") == "ab\ufffdc🧠"


PIECES = [
    *(part for text in [*WRAPPINGS.values(), *UNREAD.values()] for part in text.split("{}")),
    *("LABEL:", "RATING:", "[1, 0, 1]", "[", "]", "{", "}", '"label":', '{"rating": 2', "```json"),
    *("\\boxed{", "1. yes", "2/2", "NaN", "1e999", "{'a': ", "<label>", "\ud83d", "\0", "\u2028"),
]
ANSWERS = st.lists(st.sampled_from(PIECES) | st.text(max_size=30), max_size=12).map("".join)


def check_any_answer(answer: str) -> None:
    """Whatever it is, it is read or unread."""
    label = parse_label(answer)
    if label is not None:
        assert 0 < len(label) <= label_answers.MAX_LABEL_LENGTH
        assert label == label.strip()
        assert "\n" not in label
    numbers = parse_numbers(answer, 3, 10, False)
    assert numbers is None or (len(numbers) == 3 and all(0 <= one <= 10 for one in numbers))
    assert parse_rating(answer) in (None, 0, 1, 2)
    assert final_text(answer) == final_text(answer).strip()
    encodable(answer).encode()


@given(ANSWERS)
@example("[" * 5000)
@example("{" * 5000)
@example('{"a":' * 3000)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_text_is_read_or_unread(answer: str) -> None:
    check_any_answer(answer)


@pytest.mark.full
@given(ANSWERS)
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_ten_thousand_texts_are_read_or_unread(answer: str) -> None:
    check_any_answer(answer)
