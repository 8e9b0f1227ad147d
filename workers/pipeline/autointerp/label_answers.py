"""The label in an answer of a language model.

Read are, in this order, the last line that begins with LABEL:, a `label` of JSON or of XML, and an
answer of a single line. Whatever else an answer is, it has no label: nothing is guessed.
"""

import re
from typing import Any

from workers.pipeline.autointerp.answers import field_of, final_text, json_objects, without_marks

MAX_LABEL_LENGTH = 300
"""Characters of a label; a longer text is not accepted as one."""
PLACEHOLDERS = ("a few words", "...", "…", "label", "your label")
"""What the prompt has where the label belongs, without brackets."""
FIELDS = ("label", "finallabel", "featurelabel", "explanation", "description", "answer", "name")
_LINE = re.compile(
    r"^[ \t*_#>~•–\"'`-]*(?:(?:final|my|the|feature|answer:)\s+)*label[\s*_`]*(?:[:：=]|\bis:)"
    r"[\s*_]*(.+)$",
    re.MULTILINE | re.IGNORECASE,
)
_TAG = re.compile(r"<label>(.*?)</label>", re.DOTALL | re.IGNORECASE)
_QUOTES = ('""', "''", "“”", "``", "‘’", "«»", "„“", "「」")
_CONFIDENCE = re.compile(
    r"\s*[,;(\[–-]*\s*confidence\s*[:=]\s*[\d.]+\s*%?\s*[)\]]?$", re.IGNORECASE
)

_MARKUP = r"^<(label|answer|b|strong|i|em|p|u|span|mark|code)>(.*)</\1>$"

_PATTERN = (
    r"(?:patterns?|themes?|commonalit(?:y|ies)|common (?:thread|feature|element|factor)s?|"
    r"concepts?|connections?|relations?(?:hip)?s?|rules?|meaning|labels?|answers?)\b(?! matching)"
)
_CANNOT = (
    r"(?:i |we |it |one |a pattern )?(?:cannot|can ?not|can[’']t|could ?n[o’']t|could not|"
    r"(?:am |are |was |were )?(?:unable|not able) to|(?:is )?(?:impossible|hard|difficult) to)"
)
_DETERMINE = (
    r"(?:be )?(?:\w+ly )?(?:determine|identif|find|found|discern|tell|say|see|provide|give|given|"
    r"infer|assist|help|comply|label|name|establish|conclude|decide|explain|answer|fulfil|do that|"
    r"make out|spot|detect)"
)
_NO_LABEL = re.compile(
    "|".join(
        [
            r"unknown|none|null|nil|n/?a|various|miscellaneous|varied|mixed|none of .*",
            r"not clear|method \d.*|there (?:does|do|did) not (?:seem|appear) to be\b.*",
            r"(?:undetermined|indeterminate|inconclusive)\b.*",
            r"unclear(?:[.,;:—–(-].*| (?:pattern|feature|meaning|what|which|from|purpose)\b.*)?",
            r"(?:i(?:[’']m| am) )?not (?:sure|certain|determinable|discernible|identifiable)\b.*",
            r"(?:i[’']m |i am |we are )?sorry\b[,;:.!].*|(?:i[’']m|i am) sorry\b.*|as an ai\b.*",
            r"i (?:must|have to) decline.*|(?:i )?(?:refuse|decline) to\b.*",
            r"(?:i[’']m|i am) (?:unable|not able)\b.*",
            r"(?:(?:varied|mixed|various|unclear)[ ,;/–-]+)?"
            r"(?:there (?:is|are|was|were|seems to be|appears to be) )?(?:no|not an?|not any)"
            rf" (?:[\w/-]+,? ){{0,4}}?{_PATTERN}.*",
            rf"(?:the )?{_PATTERN} (?:is|are|remains?) (?:unclear|unknown|not clear).*",
            rf"{_CANNOT} {_DETERMINE}.*",
            r"(?:there is |i have )?(?:insufficient|not enough|too little|too few)"
            r" (?:evidence|information|data|context|examples?|details?|texts?)\b.*",
            r"(?:various|random|diverse|mixed|unrelated|different) (?:and )?"
            r"(?:unrelated |random |diverse )?(?:tokens|words|texts|contexts|topics|things)",
        ]
    ),
    re.IGNORECASE,
)
"""What a model says if it sees no pattern, or declines."""


def parse_label(answer: str) -> str | None:
    """Return the label in an answer, without quotes and full stop; None if there is none, or if the
    model declined or saw no pattern.
    """
    text = final_text(answer)
    lines = [line for line in text.splitlines() if line.strip()]
    if labels := _LINE.findall(text):
        return _checked(labels[-1])
    if found := [value for one in json_objects(text) if (value := _label_field(one)) is not None]:
        return _checked(found[-1])
    if tags := _TAG.findall(text):
        return _checked(tags[-1])
    if len(lines) != 1 or re.match(r"\s*[\[{<]", text):
        return None
    return _checked(lines[0])


def _label_field(value: dict[str, Any]) -> str | None:
    """The label of a JSON object, empty if it says that there is none; None if it has no such
    field.
    """
    has_label, label = field_of(value, FIELDS)
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if not has_label:
        return None
    return label if isinstance(label, str) else ""


def _checked(label: str) -> str | None:
    """The label without what does not belong to it; None if it is none."""
    label = label.strip()
    if label.startswith("{"):
        fields = [_label_field(one) for one in json_objects(label)]
        return _checked(fields[0]) if len(fields) == 1 and fields[0] else None
    if label[:1] == "[" and re.fullmatch(r"\[\s*([\"'])(.*)\1\s*\]", label):
        label = label[1:-1]
    literal = len(label) > 2 and label[0] == label[-1] == "`" and "`" not in label[1:-1]
    label = _cleaned(label)
    if not label or label in _QUOTES or len(label) > MAX_LABEL_LENGTH:
        return None
    if label.lower().strip("[]<>() :") in PLACEHOLDERS:
        return None
    return None if not literal and _NO_LABEL.fullmatch(label) else label


def _cleaned(label: str) -> str:
    """The label without marks, emphasis, quotes around all of it, and its full stop."""
    before, label = None, " ".join(without_marks(label).split())
    while label != before:
        before = label
        label = re.sub(r"^(?:[-•]|#{2,})\s+(?=\S)", "", _CONFIDENCE.sub("", label))
        label = re.sub(r"^(\*\*|__|\*)(?!\s)(.+?)(?<!\s)\1$", r"\2", label)
        label = re.sub(_MARKUP, r"\2", label, flags=re.IGNORECASE).strip()
        label = re.sub(r"([\"'”`])[,;]$", r"\1", label.strip("* ") or label)
        if len(label) > 1 and not label.endswith(".."):
            label = label.removesuffix(".").strip()
        for quote in '`"':
            if len(label) > 1 and label.count(quote) == 1 and label.endswith(quote):
                label = label[:-1].strip()
        quotes, inner = label[:1] + label[-1:], label[1:-1]
        if len(label) > 2 and quotes in _QUOTES and not set(quotes) & set(inner):
            label = inner.strip() or label
    return label
