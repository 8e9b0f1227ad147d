"""Prompts that score a label on held-out texts by asking a model that sees only the label, and how
their answers are parsed.

- Detection: five texts in a prompt; in which does the feature fire? Firing and silent texts, mixed.
- Fuzzing: five texts in which it fires, some tokens marked: those on which it fires, or as many
  others; are the marks right?
- Simulation: a text token by token; how active is the feature on each, 0 to 10? Pearson correlation
  over all tokens.
- Intruder: five texts without a label, four in which it fires; which is the fifth? It measures the
  feature, not the label.

An answer that cannot be parsed counts as unparsed, never as right or wrong. For a label that says
“always”, every text is called firing: recall 1, specificity 0, balanced accuracy 0.5.
"""

import json
import random
from collections.abc import Sequence
from typing import NamedTuple

from workers.pipeline.autointerp.examples import (
    STRONG_SHARE,
    FeatureExamples,
    mark_active_tokens,
    mark_tokens,
)
from workers.pipeline.autointerp.number_answers import parse_numbers

TEXTS_PER_PROMPT = 5
"""Texts in one prompt: cheaper than one prompt each, with little effect on the answers."""
MAX_TOKENS = {"detection": 60, "fuzzing": 60, "simulation": 800, "intruder": 200}
SIMULATED_TEXTS = 6
"""Texts of a simulation, half of them firing."""


class ScorerPrompt(NamedTuple):
    """A prompt of a scorer about a feature.

    `labels` are the right answers for its texts, or for the tokens of its text.
    """

    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    kind: str
    messages: list[dict[str, str]]
    labels: list[float]


def detection(
    examples: FeatureExamples, label: str, negatives: str, seed: int
) -> list[ScorerPrompt]:
    """Return prompts with firing and silent texts in equal numbers, shuffled."""
    silent = examples.hard if negatives == "hard" else examples.random
    count = min(len(examples.firing), len(silent))
    texts = [(text.plain, 1.0) for text in examples.firing[:count]] + [
        (text.plain, 0.0) for text in silent[:count]
    ]
    task = (
        f"A language model has a feature that is active on: {label}\nIn which of these texts "
        "is it active on some token?"
    )
    return _mixed(examples.index, "detection", task, texts, seed)


def fuzzing(examples: FeatureExamples, label: str, seed: int) -> list[ScorerPrompt]:
    """Return prompts with firing texts: half of them marked rightly, half with as many marks on
    tokens where the feature is silent.
    """
    generator = random.Random(f"{seed} {examples.index}")
    texts = []
    for number, text in enumerate(examples.firing):
        strong = [value >= STRONG_SHARE * examples.maximum for value in text.values]
        silent = [i for i, value in enumerate(text.values) if value <= 0]
        wrong = set(generator.sample(silent, min(sum(strong), len(silent))))
        if number % 2 and wrong:
            texts.append(
                (mark_tokens(text.tokens, [i in wrong for i in range(len(text.tokens))]), 0.0)
            )
        else:
            texts.append((mark_active_tokens(text, examples.maximum), 1.0))
    task = (
        f"A language model has a feature that is active on: {label}\n"
        "In each text some tokens are marked << >>. In which texts are the marked tokens those "
        "on which it is active?"
    )
    return _mixed(examples.index, "fuzzing", task, texts, seed)


def simulation(examples: FeatureExamples, label: str, seed: int) -> list[ScorerPrompt]:
    """Return a prompt for each of a few texts, alternately firing and silent."""
    texts = [text for both in zip(examples.firing, examples.random, strict=False) for text in both][
        :SIMULATED_TEXTS
    ]
    task = (
        f"A language model has a feature that is active on: {label}\nHow active is it on each "
        "token of this text, from 0 (silent)"
        " to 10 (the most)? Answer with a JSON list of one whole number for each token, in "
        "order, and nothing else."
    )
    return [
        ScorerPrompt(
            examples.index,
            "simulation",
            _prompt(task, [json.dumps(text.tokens, ensure_ascii=False)]),
            list(text.values),
        )
        for text in texts
    ]


def intruder(examples: FeatureExamples, seed: int) -> list[ScorerPrompt]:
    """Return prompts with four firing texts and a silent one, without a label."""
    generator = random.Random(f"{seed} {examples.index} intruder")
    prompts = []
    for number, other in enumerate(examples.random):
        four = examples.firing[4 * number : 4 * number + 4]
        if len(four) < 4:
            break
        position = generator.randrange(TEXTS_PER_PROMPT)
        texts = [text.plain for text in four]
        texts.insert(position, other.plain)
        task = (
            "Four of these five texts have something in common that the fifth has not: a word, a "
            "meaning, a place in the text."
            " Which is the fifth? Answer with a JSON list of its number and nothing else, such "
            "as [3]."
        )
        prompts.append(
            ScorerPrompt(examples.index, "intruder", _prompt(task, texts), [float(position + 1)])
        )
    return prompts


def parse_answer(prompt: ScorerPrompt, answer: str) -> list[float | None]:
    """Return the answer for each text or token, in the order of `labels`; None for all of them if
    the answer cannot be parsed.
    """
    highest = {"simulation": 10, "intruder": TEXTS_PER_PROMPT}.get(prompt.kind, 1)
    count, whole = len(prompt.labels), prompt.kind != "simulation"
    numbers = parse_numbers(answer, count, highest, whole)
    return [None] * count if numbers is None else list(numbers)


def _mixed(
    index: int, kind: str, task: str, texts: Sequence[tuple[str, float]], seed: int
) -> list[ScorerPrompt]:
    shuffled = list(texts)
    random.Random(f"{seed} {index} {kind}").shuffle(shuffled)
    request = (
        "Answer with a JSON list of one 1 (yes) or 0 (no) for each text, in order, and nothing "
        "else."
    )
    groups = [
        shuffled[start : start + TEXTS_PER_PROMPT]
        for start in range(0, len(shuffled), TEXTS_PER_PROMPT)
    ]
    return [
        ScorerPrompt(
            index,
            kind,
            _prompt(f"{task} {request}", [text for text, _ in group]),
            [label for _, label in group],
        )
        for group in groups
    ]


def _prompt(task: str, texts: Sequence[str]) -> list[dict[str, str]]:
    content = (
        "\n\n".join(f"{number}.\n{text}" for number, text in enumerate(texts, 1))
        if len(texts) > 1
        else texts[0]
    )
    return [{"role": "system", "content": task}, {"role": "user", "content": content}]
