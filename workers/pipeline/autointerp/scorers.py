"""Scores of a label on held-out texts, by asking a model that sees only the label; and what the
answers come to.

- Detection: five texts in a prompt; in which does the feature fire? Firing and silent texts, mixed.
- Fuzzing: five texts in which it fires, some tokens marked: those on which it fires, or as many
  others; are the marks right?
- Simulation: a text token by token; how active is the feature on each, 0 to 10? Pearson correlation
  over all tokens.
- Intruder: five texts without a label, four in which it fires; which is the fifth? It measures the
  feature, not the label.

An answer that cannot be read counts as unparsed, never as right or wrong. A label that says
“always” gets every text called firing: recall 1, specificity 0, balanced accuracy 0.5.
"""

import json
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from workers.pipeline.autointerp.examples import STRONG, Material, mark, marked

TOGETHER = 5
"""Texts in one prompt: cheaper than one each, with little harm to the answers."""
MOST_TOKENS = {"detection": 60, "fuzzing": 60, "simulation": 800, "intruder": 200}
SIMULATED = 6
"""Texts of one simulation, half of them firing."""


class Quiz(NamedTuple):
    """One prompt of a scorer about a feature: `truth` is what a right answer says of each of its
    texts (or tokens).
    """

    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here
    kind: str
    messages: list[dict[str, str]]
    truth: list[float]


def detection(material: Material, label: str, negatives: str, seed: int) -> list[Quiz]:
    """Firing and silent texts in equal numbers, shuffled."""
    silent = material.hard if negatives == "hard" else material.random
    count = min(len(material.firing), len(silent))
    texts = [(text.plain, 1.0) for text in material.firing[:count]] + [
        (text.plain, 0.0) for text in silent[:count]
    ]
    task = (
        f"A language model has a feature that is active on: {label}\nIn which of these texts "
        "is it active on some token?"
    )
    return _mixed(material.index, "detection", task, texts, seed)


def fuzzing(material: Material, label: str, seed: int) -> list[Quiz]:
    """Firing texts with right marks, and as many with as many marks on tokens where the feature is
    silent.
    """
    draw = random.Random(f"{seed} {material.index}")
    texts = []
    for place, text in enumerate(material.firing):
        strong = [value >= STRONG * material.maximum for value in text.values]
        silent = [i for i, value in enumerate(text.values) if value <= 0]
        wrong = set(draw.sample(silent, min(sum(strong), len(silent))))
        if place % 2 and wrong:
            texts.append((mark(text.tokens, [i in wrong for i in range(len(text.tokens))]), 0.0))
        else:
            texts.append((marked(text, material.maximum), 1.0))
    task = (
        f"A language model has a feature that is active on: {label}\n"
        "In each text some tokens are marked << >>. In which texts are the marked tokens those "
        "on which it is active?"
    )
    return _mixed(material.index, "fuzzing", task, texts, seed)


def simulation(material: Material, label: str, seed: int) -> list[Quiz]:
    """A few texts, firing and silent in turns, each a prompt of its own."""
    texts = [text for both in zip(material.firing, material.random, strict=False) for text in both][
        :SIMULATED
    ]
    task = (
        f"A language model has a feature that is active on: {label}\nHow active is it on each "
        "token of this text, from 0 (silent)"
        " to 10 (the most)? Answer with a JSON list of one whole number for each token, in "
        "order, and nothing else."
    )
    return [
        Quiz(
            material.index,
            "simulation",
            _prompt(task, [json.dumps(text.tokens, ensure_ascii=False)]),
            list(text.values),
        )
        for text in texts
    ]


def intruder(material: Material, seed: int) -> list[Quiz]:
    """Four firing texts and a silent one, as often as there are; no label is shown."""
    draw = random.Random(f"{seed} {material.index} intruder")
    quizzes = []
    for number, other in enumerate(material.random):
        four = material.firing[4 * number : 4 * number + 4]
        if len(four) < 4:
            break
        place = draw.randrange(TOGETHER)
        texts = [text.plain for text in four]
        texts.insert(place, other.plain)
        task = (
            "Four of these five texts have something in common that the fifth has not: a word, a "
            "meaning, a place in the text."
            " Which is the fifth? Answer with a JSON list of its number and nothing else, such "
            "as [3]."
        )
        quizzes.append(Quiz(material.index, "intruder", _prompt(task, texts), [float(place + 1)]))
    return quizzes


def read(quiz: Quiz, answer: str) -> list[float | None]:
    """What the answer says of each text or token, in the order of `truth`; None for all where it
    cannot be read.
    """
    found = re.findall(r"\[[^\[\]]*\]", answer)
    nothing: list[float | None] = [None] * len(quiz.truth)
    try:
        said = json.loads(found[-1]) if found else None
        numbers = [float(one) for one in said] if isinstance(said, list) else []
    except (ValueError, TypeError):
        return nothing
    highest = {"simulation": 10, "intruder": TOGETHER}.get(quiz.kind, 1)
    if len(numbers) != len(quiz.truth) or any(not 0 <= number <= highest for number in numbers):
        return nothing
    if quiz.kind != "simulation" and any(number != int(number) for number in numbers):
        return nothing
    return list(numbers)


def _mixed(
    index: int, kind: str, task: str, texts: Sequence[tuple[str, float]], seed: int
) -> list[Quiz]:
    shuffled = list(texts)
    random.Random(f"{seed} {index} {kind}").shuffle(shuffled)
    ask = (
        "Answer with a JSON list of one 1 (yes) or 0 (no) for each text, in order, and nothing "
        "else."
    )
    groups = [shuffled[start : start + TOGETHER] for start in range(0, len(shuffled), TOGETHER)]
    return [
        Quiz(
            index,
            kind,
            _prompt(f"{task} {ask}", [text for text, _ in group]),
            [truth for _, truth in group],
        )
        for group in groups
    ]


def _prompt(task: str, texts: Sequence[str]) -> list[dict[str, str]]:
    told = (
        "\n\n".join(f"{number}.\n{text}" for number, text in enumerate(texts, 1))
        if len(texts) > 1
        else texts[0]
    )
    return [{"role": "system", "content": task}, {"role": "user", "content": told}]
