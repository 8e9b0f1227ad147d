"""Conversations of chat corpora: the shapes they are stored in, and their text by a model's own
chat template.

A document is a conversation where its column holds a list of turns instead of a text, as {role,
content} (`messages`) or as ShareGPT's {from, value}. Roles keep their names but for ShareGPT's,
which become those that templates know.
"""

import json
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from features.records import InvalidInput

Conversation = list[dict[str, str]]
Content = str | Conversation
"""What a document holds: its text, or its turns as [{role, content}]."""

SHAREGPT = {
    "human": "user",
    "gpt": "assistant",
    "bing": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
}
KEYS = (("role", "content"), ("from", "value"))


def as_content(value: Any) -> Content:
    """The text or the conversation in a cell of a corpus; None is an empty text. Raises
    `ValueError` in words.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):  # a list of structs, stored by column
        value = _by_turn(value)
    if not isinstance(value, list):
        raise ValueError(f"holds {type(value).__name__}, neither text nor a conversation")
    return [_turn(turn, number) for number, turn in enumerate(value, 1)]


def content_key(content: Content) -> str:
    """One string for one content: what the held-out part is chosen by."""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def content_text(content: Content, name: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of document `name` as the model reads it: a conversation through the tokenizer's
    chat template.

    Raises `InvalidInput("corpus")` where there is no template, or where it refuses the
    conversation.
    """
    if isinstance(content, str):
        return content
    if not tokenizer.chat_template:
        model = tokenizer.name_or_path or "the model"
        raise InvalidInput(
            "corpus",
            f"{name} is a conversation, but the tokenizer of {model} has no chat template.",
        )
    try:
        return str(tokenizer.apply_chat_template(content, tokenize=False))
    except (TemplateError, TypeError, ValueError) as error:
        roles = ", ".join(turn["role"] for turn in content[:8])
        raise InvalidInput(
            "corpus", f"The model's chat template refuses {name} ({roles}): {error}"
        ) from error


def _by_turn(columns: dict[str, Any]) -> list[dict[str, Any]]:
    lists = {name: values for name, values in columns.items() if isinstance(values, list)}
    if not lists or len({len(values) for values in lists.values()}) != 1:
        raise ValueError(
            f"holds an object ({', '.join(map(str, columns))}), neither text nor a conversation"
        )
    return [dict(zip(lists, turn, strict=True)) for turn in zip(*lists.values(), strict=True)]


def _turn(turn: Any, number: int) -> dict[str, str]:
    for role, content in KEYS:
        if isinstance(turn, dict) and isinstance(turn.get(role), str):
            name = str(turn[role])
            return {"role": SHAREGPT.get(name, name), "content": _words(turn.get(content), number)}
    there = ", ".join(map(str, turn)) if isinstance(turn, dict) else f"a {type(turn).__name__}"
    raise ValueError(
        f"has a turn {number} without role and content (or from and value); it has {there}"
    )


def _words(content: Any, number: int) -> str:
    """A turn's text; of a list of parts, those that are text. A turn that only calls a tool has
    none.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(_is_text(part) for part in content):
        return "".join(part["text"] for part in content)
    raise ValueError(f"has a turn {number} whose content is no text")


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )
