"""Prompts that ask for a label, and reading it from the answer. The prompts are ours; what they
show is said at each.

Every prompt ends by asking for one last line that begins with LABEL:, so that a model may think
before it answers.
"""

import re
from collections.abc import Callable

from workers.pipeline.autointerp.examples import Material, Text, marked, steps

LONGEST = 300
"""Characters of a label that are taken from an answer; a longer one is no label."""
MOST_TOKENS = 300
TASK = """\
You study one feature of a language model: a direction inside it that is active on some tokens of \
a text and silent on all \
others. Say in a few words what the tokens on which it is active have in common. Be as specific \
as the evidence allows and no \
more: name the token itself if it is always the same, else its role, its topic or what comes \
next. Mention neither the marks \
nor the words “feature”, “token” or “activates”.
Think briefly if you like, then end with one line:
LABEL: a few words"""
QUOTES = ('""', "''", "“”", "``")
REFUSALS = re.compile(
    r"^(unclear|unknown|none|n/?a|no pattern.*|method \d.*|not sure.*|cannot .*)$", re.IGNORECASE
)


def from_examples(material: Material) -> str:
    """Its strongest texts, with << >> around the tokens on which it is active."""
    return _numbered(
        "Texts, with << >> around the active tokens:",
        [_shown(text, material) for text in material.learn],
    )


def from_pairs(material: Material) -> str:
    """Its strongest texts token by token, each with an activation from 0 to 10."""
    texts = [
        "\n".join(f"{_quoted(t)}\t{steps(v, material.maximum)}" for t, v in zip(*text, strict=True))
        for text in material.learn
    ]
    return _numbered(
        "Texts, a token in a line with its activation from 0 (silent) to 10 (the most):", texts
    )


def from_logits(material: Material) -> str:
    """The tokens on which it peaks, the tokens after them, those that it promotes and suppresses,
    and its texts.
    """
    peaks = [max(range(len(text.values)), key=text.values.__getitem__) for text in material.learn]
    at = [_quoted(text.tokens[peak]) for text, peak in zip(material.learn, peaks, strict=True)]
    after = [
        _quoted("".join(text.tokens[peak + 1 : peak + 3]))
        for text, peak in zip(material.learn, peaks, strict=True)
    ]
    lists = {
        "Tokens on which it is most active": at,
        "What follows them": after,
        "Next tokens that it makes more likely": list(map(_quoted, material.promotes)),
        "Next tokens that it makes less likely": list(map(_quoted, material.suppresses)),
    }
    told = "\n".join(f"{name}: {', '.join(words)}" for name, words in lists.items())
    return (
        f"{told}\n\n{from_examples(material)}\n\nWhere what it makes likely explains it best, "
        "say “says …” or “predicts …”."
    )


def contrastive(material: Material) -> str:
    """The same as `from_examples`, with texts that look alike and in which it is silent."""
    alike = [text.plain for text in material.alike]
    silent = (
        _numbered("Texts that look alike, in all of which it is silent:", alike) if alike else ""
    )
    return (
        f"{from_examples(material)}\n\n{silent}\n\nThe label must hold for the first texts "
        "and for none of the others."
    ).strip()


EXPLAINERS: dict[str, Callable[[Material], str]] = {
    "examples": from_examples,
    "pairs": from_pairs,
    "logits": from_logits,
    "contrastive": contrastive,
}
"""By the name that follows “explainer:” in a label's method."""


def messages(explainer: str, material: Material) -> list[dict[str, str]]:
    """The prompt of one of `EXPLAINERS` about a feature."""
    return [
        {"role": "system", "content": TASK},
        {"role": "user", "content": EXPLAINERS[explainer](material)},
    ]


def read(answer: str) -> str | None:
    """The label in an answer, without quotes and full stop; None where there is none,
    or a refusal.
    """
    found = re.findall(r"^\W*LABEL\W*:[\s*]*(.+?)\s*$", answer, re.MULTILINE | re.IGNORECASE)
    lines = [line for line in answer.strip().splitlines() if line.strip()]
    if not found and len(lines) != 1:
        return None
    label = (found[-1] if found else lines[0]).strip().strip("* ").removesuffix(".").strip()
    if len(label) > 1 and label[0] + label[-1] in QUOTES:
        label = label[1:-1].strip()
    return None if not label or len(label) > LONGEST or REFUSALS.match(label) else label


def _shown(text: Text, material: Material) -> str:
    return marked(text, material.maximum)


def _numbered(title: str, texts: list[str]) -> str:
    return "\n\n".join([title, *(f"{number}.\n{text}" for number, text in enumerate(texts, 1))])


def _quoted(token: str) -> str:
    return repr(token)
