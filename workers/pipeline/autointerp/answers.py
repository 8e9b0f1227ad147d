r"""What a language model says in an answer, without what it is wrapped in: thoughts, channels, end
marks, fences, markup.

    final_text("<think>cats?</think>\nLABEL: cats<|im_end|>")  ->  "LABEL: cats"
    final_text("<think>cats? LABEL: a few words")             ->  ""     it never came to an answer

Every reader of answers begins here: `explainers.parse_label`, `judge.parse_rating` and
`scorers.parse_answer`. A mark that an answer quotes (“the mark `</s>`”) is text and stays.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_CHARACTERS = 20_000
"""What is longer, without its thoughts, is no answer: a model that repeats itself writes that."""
MAX_OBJECTS = 60
"""Braces that are tried as the beginning of a JSON object."""
_THOUGHTS = (
    r"(?:[\w-]+:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad|"
    r"inner_thoughts|chain_of_thought)"
)
_OPENING = re.compile(
    rf"<{_THOUGHTS}(?: [^<>\n]*)?>|\[THINK\]|◁think▷|<\|(?:begin_of_thought|START_THINKING)\|>"
    r"|<details\b[^<>\n]*reasoning[^<>\n]*>|<\|channel>thought\b",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"</{_THOUGHTS}>|\[/THINK\]|◁/think▷|<\|(?:end_of_thought|END_THINKING)\|>|</details>"
    r"|<channel\|>",
    re.IGNORECASE,
)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_PLAIN_CHANNELS = re.compile(r"analysis(?:[A-Z].*?)?assistant\s*final", re.DOTALL)
"""Channels whose marks a server removed: `analysisThe user …assistantfinalLABEL: cats`."""
_START_MARKS = re.compile(
    r"\s*(?:<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>|\[gMASK\]|<sop>|<｜begin▁of▁sentence｜>"
    r"|<\|im_start\|>(?:assistant)?|<start_of_turn>(?:model)?|<｜Assistant｜>|<\|assistant\|>"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>|<\|start\|>assistant|<\|message\|>"
    r"|<\|(?:START_RESPONSE|START_TEXT|CHATBOT_TOKEN|begin_of_solution|begin_of_box)\|>"
    r"|\[/INST\]|#{2,} ?(?:Response|Assistant):?\s*\n)"
)
_END_MARKS = re.compile(
    r"</s>|<eos>|<end_of_turn>|<start_of_turn>|<\|im_end\|>|<\|im_start\|>|<\|eot_id\|>|<\|eom_id\|>"
    r"|<\|end\|>|<\|return\|>|<\|call\|>|<\|endoftext\|>|<\|end_of_text\|>|<\|end_of_turn\|>"
    r"|<\|endofprompt\|>|<\|end_of_solution\|>|<\|end_of_box\|>|<\|start_header_id\|>|<\|start\|>"
    r"|<\|(?:END_RESPONSE|END_TEXT|END_OF_TURN_TOKEN|START_OF_TURN_TOKEN|user|assistant|system)\|>"
    r"|<｜end▁of▁sentence｜>|<｜User｜>|<\|eot\|>|<turn\|>|<\|turn>|\[INST\]|\[EOS\]|<pad>"
)
_WRAPPER = re.compile(
    r"\s*<(answer|response|output|final|final_answer|result)>(.*)</\1>\s*",
    re.DOTALL | re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]*(?:```+|~~~+)[ \t]*[\w+-]*[ \t]*$", re.MULTILINE)
_BOXED = re.compile(r"\\boxed\s*\{\s*((?:[^{}]|\{[^{}]*\})*)\}")
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")


def encodable(text: str) -> str:
    """Return the text as it can be sent: without NUL, halves of a surrogate pair joined, and U+FFFD
    for one alone.
    """
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def final_text(answer: str) -> str:
    """Return what the answer says in the end, stripped; empty if it holds only thoughts."""
    text = _final_channel(answer)
    text = _without_thoughts(_without_start_marks(text))
    text = without_marks(text)
    if len(text) > MAX_CHARACTERS:
        return ""
    while wrapped := _WRAPPER.fullmatch(text):
        text = wrapped[2]
    text = _BOXED.sub(lambda box: _LATEX_TEXT.sub(r"\1", box[1]), text)
    return _FENCE.sub("", text).strip()


def without_marks(text: str) -> str:
    """Return the text up to its first end mark, without the marks of its beginning."""
    text = _without_start_marks(text)
    ends = (one for one in _END_MARKS.finditer(text) if not _is_quoted(text, one))
    end = next(ends, None)
    return text[: end.start()] if end else text


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects in a text that are JSON, or that Python would read as such, in order. Those
    inside others are not yielded on their own; objects in a list are.
    """
    position = text.find("{")
    for _ in range(MAX_OBJECTS):
        if position < 0:
            return
        value, end = _object_at(text, position)
        if value is not None:
            yield value
        position = text.find("{", end)


def field_of(value: dict[str, Any], names: tuple[str, ...]) -> tuple[bool, Any]:
    """Return whether an object has a field of one of these names, and the first one's value. Case,
    spaces and underscores do not count. An object that holds nothing but another is that one.
    """
    fields = {_plain_name(name): field for name, field in reversed(list(value.items()))}
    for name in names:
        if name in fields:
            return True, fields[name]
    inner = [field for field in value.values() if isinstance(field, dict)]
    return field_of(inner[0], names) if len(inner) == len(value) == 1 else (False, None)


def _plain_name(name: object) -> str:
    return re.sub(r"[\s_-]+", "", str(name)).lower()


def _object_at(text: str, position: int) -> tuple[dict[str, Any] | None, int]:
    """The object that begins here, and where to search on."""
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, position)
        return value, end
    except (ValueError, RecursionError):
        pass
    end = text.find("}", position) + 1
    candidate = text[position:end]
    if not end or "{" in candidate[1:]:
        return None, position + 1
    for repaired in (_without_trailing_comma(candidate), _double_quoted(candidate)):
        try:
            return json.loads(repaired, strict=False), end
        except (ValueError, RecursionError):
            continue
    return None, position + 1


def _without_trailing_comma(text: str) -> str:
    return re.sub(r",\s*([}\]])", r"\1", text)


def _double_quoted(text: str) -> str:
    """An object of plain strings that is Python's or JavaScript's: {'label': 'cats', rating: 2}."""
    text = re.sub(r"'((?:[^'\\\n]|\\.)*)'(?=\s*[:,}\]])", lambda one: json.dumps(one[1]), text)
    text = re.sub(r"([{,]\s*)([A-Za-z_]\w*)(?=\s*:)", r'\1"\2"', text)
    words = {"None": "null", "True": "true", "False": "false"}
    return re.sub(r"(?<=:)\s*(None|True|False)\b", lambda one: words[one[1]], text)


def _final_channel(text: str) -> str:
    """The last message of the final channel where a model writes channels (gpt-oss)."""
    channels = list(_CHANNEL.finditer(text))
    if any(not _is_quoted(text, one) for one in channels):
        final = [one for one in channels if one[1].lower() == "final"]
        return text[final[-1].end() :] if final else ""
    if match := _PLAIN_CHANNELS.match(text.lstrip()):
        return text.lstrip()[match.end() :]
    return "" if re.match(r"\s*analysis[A-Z]\w* ", text) else text


def _without_thoughts(text: str) -> str:
    """The text after the last thought; empty where a thought is open at the end.

    A template may have written the opening tag, so that an answer has the closing one only.
    """
    closing = [one for one in _CLOSING.finditer(text) if not _is_between_quotes(text, one)]
    rest = text[closing[-1].end() :] if closing else text
    opening = [
        one
        for one in _OPENING.finditer(rest)
        if not _is_between_quotes(rest, one) and not rest[: one.start()].rpartition("\n")[2].strip()
    ]
    return "" if opening else rest


def _without_start_marks(text: str) -> str:
    while match := _START_MARKS.match(text):
        text = text[match.end() :]
    return text.lstrip()


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    """Whether the answer speaks of a mark rather than uses it: it stands between quotes."""
    before = text[: mark.start()].rpartition("\n")[2]
    after = text[mark.end() :].partition("\n")[0]
    if _is_between_quotes(text, mark):
        return True
    for opening, closing in ("``", '""', "“”", "‘’", "«»"):
        opened = (
            before.count(opening) % 2 == 1
            if opening == closing
            else before.rfind(opening) > before.rfind(closing)
        )
        if opened and closing in after:
            return True
    return False


def _is_between_quotes(text: str, mark: re.Match[str]) -> bool:
    before, after = text[: mark.start()].rstrip()[-1:], text[mark.end() :].lstrip()[:1]
    return before + after in ("``", '""', "''", "“”", "‘’", "«»")
