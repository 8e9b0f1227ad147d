"""Prompts that ask for a label; `label_answers` reads the answers. The prompts are our own.

Every prompt asks for a last line that begins with LABEL:, so that a model may think before it
answers.
"""

from collections.abc import Callable

from workers.pipeline.autointerp.examples import (
    ExampleText,
    FeatureExamples,
    activation_level,
    mark_active_tokens,
)

MAX_TOKENS = 300
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


def from_examples(examples: FeatureExamples) -> str:
    """Show the strongest texts, with << >> around the tokens on which the feature is active."""
    return _numbered(
        "Texts, with << >> around the active tokens:",
        [_marked(text, examples) for text in examples.learn],
    )


def from_pairs(examples: FeatureExamples) -> str:
    """Show the strongest texts token by token, each with an activation from 0 to 10."""
    texts = [
        "\n".join(
            f"{_quoted(t)}\t{activation_level(v, examples.maximum)}"
            for t, v in zip(*text, strict=True)
        )
        for text in examples.learn
    ]
    return _numbered(
        "Texts, a token in a line with its activation from 0 (silent) to 10 (the most):", texts
    )


def from_logits(examples: FeatureExamples) -> str:
    """Show the tokens on which the feature peaks, the tokens after them, those that it promotes and
    suppresses, and its strongest texts.
    """
    peaks = [max(range(len(text.values)), key=text.values.__getitem__) for text in examples.learn]
    at = [_quoted(text.tokens[peak]) for text, peak in zip(examples.learn, peaks, strict=True)]
    after = [
        _quoted("".join(text.tokens[peak + 1 : peak + 3]))
        for text, peak in zip(examples.learn, peaks, strict=True)
    ]
    lists = {
        "Tokens on which it is most active": at,
        "What follows them": after,
        "Next tokens that it makes more likely": list(map(_quoted, examples.promotes)),
        "Next tokens that it makes less likely": list(map(_quoted, examples.suppresses)),
    }
    summary = "\n".join(f"{name}: {', '.join(words)}" for name, words in lists.items())
    return (
        f"{summary}\n\n{from_examples(examples)}\n\nWhere what it makes likely explains it best, "
        "say “says …” or “predicts …”."
    )


def contrastive(examples: FeatureExamples) -> str:
    """Show the same as `from_examples`, and similar texts in which the feature is not active."""
    alike = [text.plain for text in examples.alike]
    silent = (
        _numbered("Texts that look alike, in all of which it is silent:", alike) if alike else ""
    )
    return (
        f"{from_examples(examples)}\n\n{silent}\n\nThe label must hold for the first texts "
        "and for none of the others."
    ).strip()


EXPLAINERS: dict[str, Callable[[FeatureExamples], str]] = {
    "examples": from_examples,
    "pairs": from_pairs,
    "logits": from_logits,
    "contrastive": contrastive,
}
"""The user message of each explainer, by the name after “explainer:” in a label's method."""


def messages(explainer: str, examples: FeatureExamples) -> list[dict[str, str]]:
    """Return the prompt of one of `EXPLAINERS` about a feature."""
    return [
        {"role": "system", "content": TASK},
        {"role": "user", "content": EXPLAINERS[explainer](examples)},
    ]


def _marked(text: ExampleText, examples: FeatureExamples) -> str:
    return mark_active_tokens(text, examples.maximum)


def _numbered(title: str, texts: list[str]) -> str:
    return "\n\n".join([title, *(f"{number}.\n{text}" for number, text in enumerate(texts, 1))])


def _quoted(token: str) -> str:
    return repr(token)
