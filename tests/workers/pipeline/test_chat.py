"""Chat corpora: every shape that conversations are stored in, read through the model's own
template, id by id.
"""

import copy
import dataclasses
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.records import InvalidInput
from features.token_spans import spans
from workers.pipeline.data.chat import as_content, content_text
from workers.pipeline.data.corpora import describe_corpus, load_documents
from workers.pipeline.data.tokens import pack, separate, special_ids, vocabulary
from workers.pipeline.model.prompts import prompt_ids

TALK = [
    {"role": "user", "content": "Où est le café?"},
    {"role": "assistant", "content": "日本 🧠 там."},
]
SHAREGPT = [{"from": "human", "value": "Où est le café?"}, {"from": "gpt", "value": "日本 🧠 там."}]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('Unknown role ' + "
    "m.role) }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)


@pytest.fixture(scope="module")
def chatty(tokenizer):
    """The byte-level tokenizer with ChatML's marks and template, which writes a BOS first."""
    more = copy.deepcopy(tokenizer)
    more.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    more.chat_template = TEMPLATE
    return more


def plain(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def written(talk) -> str:
    return "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in talk)


@pytest.mark.parametrize(
    "cell",
    [
        TALK,
        SHAREGPT,
        {"role": ["user", "assistant"], "content": [turn["content"] for turn in TALK]},
        [
            {"role": t["role"], "content": [{"type": "text", "text": t["content"]}], "weight": 1}
            for t in TALK
        ],
    ],
)
def test_every_shape_of_a_conversation_is_the_same_conversation(cell):
    assert as_content(cell) == TALK


def test_a_turn_that_only_calls_a_tool_says_nothing():
    assert as_content([{"role": "assistant", "content": None, "tool_calls": []}]) == [
        {"role": "assistant", "content": ""}
    ]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (7, "int, neither text nor a conversation"),
        ({"a": 1}, "object (a)"),
        (["hello"], "turn 1 without role and content"),
        ([*TALK, {"speaker": "x", "line": "y"}], "turn 3 without role"),
        ([{"role": "user", "content": 3}], "turn 1 whose content is no text"),
        (
            [{"role": "user", "content": [{"type": "image", "url": "x"}]}],
            "turn 1 whose content is no text",
        ),
    ],
)
def test_what_is_no_conversation_is_said_turn_by_turn(cell, says):
    with pytest.raises(ValueError, match=r".") as caught:
        as_content(cell)
    assert says in str(caught.value)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_chat_corpus_is_found_by_what_its_column_holds(tmp_path, suffix):
    rows = [{"messages": [*TALK, {"role": "user", "content": f"{n}"}], "id": n} for n in range(200)]
    file = tmp_path / f"chats.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert describe_corpus(str(file), "messages").chat
    training, held_out = (
        [content for _, content in load_documents(str(file), text_column="messages", held_out=part)]
        for part in (False, True)
    )
    assert len(training) + len(held_out) == 200
    assert held_out
    assert not [talk for talk in held_out if talk in training]
    assert {turn[2]["content"] for turn in training + held_out} == {str(n) for n in range(200)}


def test_a_row_that_holds_neither_is_named_with_its_place(tmp_path):
    (tmp_path / "c.jsonl").write_text(json.dumps({"messages": [{"who": "me"}]}) + "\n")
    with pytest.raises(
        InvalidInput, match=r"'messages' of c\.jsonl, line 1 has a turn 1 without role"
    ) as caught:
        describe_corpus(str(tmp_path / "c.jsonl"), "messages")
    assert caught.value.field == "text_column"


def test_a_conversation_is_its_template_without_a_second_bos(chatty):
    """The template writes a BOS; the context has one already."""
    contexts = list(separate([("chat", TALK)], chatty, 256))
    assert [c.token_ids for c in contexts] == [[0, *plain(chatty, written(TALK))]]
    assert contexts[0].token_ids.count(chatty.bos_token_id) == 1
    without = list(separate([("chat", TALK)], chatty, 256, prepend_bos=False))
    assert without[0].token_ids == contexts[0].token_ids[1:]


def test_packed_conversations_are_separated_by_one_bos(chatty):
    ids = plain(chatty, written(TALK))
    size = 2 * len(ids) + 2
    (context,) = pack([("a", TALK), ("b", TALK)], chatty, size)
    assert context.token_ids == [0, *ids, 0, *ids]


def test_the_marks_of_a_chat_are_special_and_its_letters_are_shown_whole(chatty):
    (context,) = separate([("chat", TALK)], chatty, 256)
    known = {token.token_id: (token.text, token.special) for token in vocabulary(chatty)}
    marks = {chatty.convert_tokens_to_ids(mark) for mark in ("<|im_start|>", "<|im_end|>")}
    assert marks < special_ids(chatty)
    boxes = spans(context.token_ids, known)
    assert "".join(box.text for box in boxes if not box.special) == "".join(
        f"{turn['role']}\n{turn['content']}\n" for turn in TALK
    )
    assert not any("\ufffd" in box.text for box in boxes)
    assert [box.text for box in boxes if box.special] == ["<|endoftext|>"] + [
        "<|im_start|>",
        "<|im_end|>",
    ] * 2


def test_a_tokenizer_without_a_template_is_named(tokenizer):
    with pytest.raises(
        InvalidInput, match=r"chats:3 is a conversation.*no chat template"
    ) as caught:
        content_text(TALK, "chats:3", tokenizer)
    assert caught.value.field == "corpus"


def test_a_conversation_that_the_template_refuses_is_named(chatty):
    with pytest.raises(InvalidInput, match=r"refuses chats:3 \(judge\): Unknown role judge"):
        content_text([{"role": "judge", "content": "x"}], "chats:3", chatty)


def test_texts_need_no_template(tokenizer):
    assert content_text("as it is", "d", tokenizer) == "as it is"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('System turns only') }}", "System turns only"),
        ("{{ bos_token + messages[0].content }}", "'bos_token' is undefined"),
        ("{{ tojson_pretty(messages) }}", "'tojson_pretty' is undefined"),
        ("{% for m in messages %}{{ m.content }}", "Unexpected end of template"),
        ("{{ messages[0].name.upper() }}", "has no attribute 'name'"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[1]['role'] }}", "list object has no element 1"),
        ("{% if messages[0].role == 'user' %}{{ raise_exception('Conversation roles must alternate'"
         ") }}{% endif %}", "Conversation roles must alternate"),
    ],
)  # fmt: skip
def test_a_template_that_raises_answers_in_its_own_words_at_the_mode(llama, template, words):
    tokenizer = copy.deepcopy(llama.tokenizer)
    tokenizer.bos_token = None
    tokenizer.chat_template = template
    language = dataclasses.replace(llama, tokenizer=tokenizer)
    with pytest.raises(InvalidInput) as caught:
        prompt_ids(language, "Hello", chat=True, bos=True)
    assert caught.value.field == "mode"
    assert words in caught.value.message
    assert "UndefinedError" not in caught.value.message
