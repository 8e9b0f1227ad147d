"""Conversations of chat corpora: the formats that they are stored in, and their text in a model's
chat template.

A document is a conversation if its column has a list of turns instead of a text, either {role,
content} (`messages`) or ShareGPT's {from, value}. ShareGPT's roles become those of chat templates;
other roles keep their names.
"""

import json
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from features.records import InvalidInput

Conversation = list[dict[str, str]]
Content = str | Conversation
"""The content of a document: a text, or turns as [{role, content}]."""

ROLE_OF_SHAREGPT = {
    "human": "user",
    "gpt": "assistant",
    "bing": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
}
_TEMPLATE_ERRORS = (
    *(TemplateError, TypeError, ValueError, LookupError, AttributeError),
    *(ArithmeticError, RecursionError, ImportError),
)
"""What a template raises: it is a program that its model's authors wrote."""
TURN_KEYS = (("role", "content"), ("from", "value"))


def as_content(value: Any) -> Content:
    """Return the text or conversation in a cell of a corpus; None is an empty text.

    Raises `ValueError` if it is neither. The message is written for users, to follow the name of
    the cell.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, dict):  # a list of structs, stored by column
        value = _turns_from_columns(value)
    if not isinstance(value, list):
        raise ValueError(f"holds {type(value).__name__}, neither text nor a conversation")
    return [_parse_turn(turn, number) for number, turn in enumerate(value, 1)]


def whole_characters(text: str) -> str:
    """Return the text with U+FFFD for each half of a surrogate pair, which no encoding has."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def content_key(content: Content) -> str:
    """Return a string that identifies the content. The held-out part is chosen by its hash."""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def content_text(content: Content, name: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the text of document `name`, a conversation in the tokenizer's chat template.

    Raises `InvalidInput("corpus")` if there is no template or it cannot render the conversation.
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
        return render_chat(content, tokenizer)
    except TemplateRefusal as refusal:
        roles = ", ".join(turn["role"] for turn in content[:8])
        raise InvalidInput(
            "corpus", f"The model's chat template refuses {name} ({roles}): {refusal}"
        ) from refusal


class TemplateRefusal(ValueError):
    """A chat template cannot write a conversation; the message is the template's own."""


def render_chat(
    messages: Conversation, tokenizer: PreTrainedTokenizerBase, *, reply: bool = False
) -> str:
    """Return a conversation in the tokenizer's chat template; with `reply`, up to where the model's
    next turn begins.

    Raises `TemplateRefusal` for whatever a template does not take: a role, a missing `bos_token`, a
    function that it does not know, its own syntax.
    """
    try:
        return str(
            tokenizer.apply_chat_template(messages, add_generation_prompt=reply, tokenize=False)
        )
    except _TEMPLATE_ERRORS as error:
        line = getattr(error, "lineno", None)
        reason = str(error).rpartition("<locals>.")[2].rstrip(".") or type(error).__name__
        raise TemplateRefusal(f"{reason} (line {line})" if line else reason) from error


def _turns_from_columns(columns: dict[str, Any]) -> list[dict[str, Any]]:
    lists = {name: values for name, values in columns.items() if isinstance(values, list)}
    if not lists or len({len(values) for values in lists.values()}) != 1:
        raise ValueError(
            f"holds an object ({', '.join(map(str, columns))}), neither text nor a conversation"
        )
    return [dict(zip(lists, turn, strict=True)) for turn in zip(*lists.values(), strict=True)]


def _parse_turn(turn: Any, number: int) -> dict[str, str]:
    for role, content in TURN_KEYS:
        if isinstance(turn, dict) and isinstance(turn.get(role), str):
            name = str(turn[role])
            return {
                "role": ROLE_OF_SHAREGPT.get(name, whole_characters(name)),
                "content": _turn_text(turn.get(content), number),
            }
    fields = ", ".join(map(str, turn)) if isinstance(turn, dict) else f"a {type(turn).__name__}"
    raise ValueError(
        f"has a turn {number} without role and content (or from and value); it has {fields}"
    )


def _turn_text(content: Any, number: int) -> str:
    """The text of a turn, which may be a list of text parts, or None if it only calls a tool."""
    if content is None:
        return ""
    if isinstance(content, str):
        return whole_characters(content)
    if isinstance(content, list) and all(_is_text(part) for part in content):
        return whole_characters("".join(part["text"] for part in content))
    raise ValueError(f"has a turn {number} whose content is no text")


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )
