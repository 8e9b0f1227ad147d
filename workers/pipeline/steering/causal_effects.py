"""What a feature does to the model, measured by changing it: taken away where it fires, added where
it does not.

For each text, over its positions p that are changed, with T the tokens that the feature promotes
most and z the logits:

    kl      mean of KL(P || Q), Q the model's next-token distribution as it is, P the changed one's
    after the same tokens ce      mean of the changed cross-entropy of the token that follows, less
    the unchanged logit   mean over T of the change of z, less the mean change over the vocabulary:
    a shift of all logits is no effect

Input role (`reads`): in texts where it fires the feature is ablated at every position where it
does. Output role (`writes`): in texts of which nobody chose a word for it, its maximum is added at
every eighth position, where it does not fire; `promoted` are the tokens whose logits then rise
most. Each is set beside a random direction of equal norm in the same places of the same texts, one
direction a text. With e the difference between the feature and its control, text by text:

    mean of e with its 95% interval (Student's t, n texts)         effect = mean of e / standard
    deviation of e

where e is of kl for the input role, and of logit for the output role.

On a text that somebody typed (`on_text`) there is one text and so no interval over texts: the
feature is ablated wherever it fires in it, added wherever it does not, and set beside sixteen
random directions in the same places.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from scipy.stats import t as student
from torch import Tensor

from features.records import AgainstRandom, CauseRecord, HereRecord, Progress, RoleRecord
from workers.pipeline.model.activations import harvest
from workers.pipeline.model.language import Language
from workers.pipeline.steering.interventions import Push, Steering, directions, encode
from workers.pipeline.steering.typed_text import Lens

EVERY = 8
PROMOTED = 5
DIRECTIONS = 16
LOGITS_AT_ONCE = 1 << 24
Marked = tuple[Sequence[int], Sequence[int]]
"""Token ids of a text, and positions in it."""


class Case(NamedTuple):
    """A feature: its maximum, the tokens that it promotes by its direction, and texts with the
    positions where it fires.
    """

    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here
    maximum: float
    tokens: Sequence[int]
    texts: Sequence[Marked]


class Changed(NamedTuple):
    """What a push does in each of some texts: a number a text, KL at each of its places, and the
    mean change of every logit.
    """

    kl: list[float]
    ce: list[float]
    logit: list[float]
    places: list[list[float]]
    risen: Float[Tensor, " vocabulary"]


@torch.no_grad()
def causes(
    language: Language,
    lens: Lens,
    cases: Iterable[Case],
    total: int,
    neutral: Sequence[Sequence[int]],
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | CauseRecord]:
    """Yield a record for each of `total` cases, and progress. `neutral` are token ids; ends where
    `should_stop` turns true.
    """
    read = harvested(language, lens, neutral)
    for done, case in enumerate(cases):
        if should_stop():
            return
        yield Progress(done, total, "features", "changing features")
        push = Push(lens, case.index, "ablate", 0.0, "maximum", case.maximum)
        fires = [text for text in case.texts if text[1]]
        quiet = [
            (ids, silent(language, lens, case.index, ids, x, seed))
            for ids, x in zip(neutral, read, strict=True)
        ]
        added = [text for text in quiet if text[1]]
        reads = _role(language, push, fires, case.tokens, seed, "kl")
        writes = _role(
            language, push._replace(method="add", strength=1.0), added, case.tokens, seed, "logit"
        )
        if reads and writes:
            yield CauseRecord(case.index, reads[0], writes[0], writes[1])
    yield Progress(total, total, "features", "changing features")


@torch.no_grad()
def on_text(
    language: Language, lens: Lens, case: Case, seed: int = 0
) -> tuple[HereRecord | None, HereRecord | None]:
    """Both roles of a feature in the one text of its case: ablated where it fires, its maximum
    added where it does not.

    None where the text has no such place; special tokens are left as they are.
    """
    ((ids, fires),) = case.texts
    special = set(language.special_ids.tolist())
    quiet = [
        place for place, token in enumerate(ids) if token not in special and place not in fires
    ]
    push = Push(lens, case.index, "ablate", 0.0, "maximum", case.maximum)
    added = push._replace(method="add", strength=1.0)
    places = ((push, fires), (added, quiet))
    reads, writes = (_here(language, one, (ids, at), case.tokens, seed) for one, at in places)
    return reads, writes


def changed(
    language: Language,
    texts: Sequence[Marked],
    variants: Sequence[Sequence[Push]],
    tokens: Sequence[int],
) -> list[Changed]:
    """What each variant, a push for every text, does at its positions. Texts as they are and
    changed go in one batch.
    """
    longest, vocabulary = (
        max(len(ids) for ids, _ in texts),
        int(language.model.config.get_text_config().vocab_size),
    )
    size = max(1, LOGITS_AT_ONCE // ((1 + len(variants)) * longest * vocabulary))
    found = [
        Changed([], [], [], [], torch.zeros(vocabulary, device=language.device)) for _ in variants
    ]
    for first in range(0, len(texts), size):
        some = texts[first : first + size]
        ids, mask = _padded(language, some)
        rows: list[list[Push]] = [[]] * len(some) + [
            [push] for pushes in variants for push in pushes[first : first + size]
        ]
        with Steering(language, rows).at(mask.repeat(1 + len(variants), 1)):
            logits = language.model(
                input_ids=ids.repeat(1 + len(variants), 1), use_cache=False
            ).logits
        for row, (text, places) in enumerate(some):
            z = logits[row, list(places)].float()
            followed = [
                (i, text[place + 1]) for i, place in enumerate(places) if place + 1 < len(text)
            ]
            for number, one in enumerate(found, 1):
                _compare(
                    one, z, logits[number * len(some) + row, list(places)].float(), followed, tokens
                )
    return [one._replace(risen=one.risen / len(texts)) for one in found]


def _compare(
    found: Changed, z: Tensor, y: Tensor, followed: Sequence[tuple[int, int]], tokens: Sequence[int]
) -> None:
    """Add one text: z its logits at the positions as they are, y changed; `followed` are places in
    them, and the next token.
    """
    q, p = z.log_softmax(-1), y.log_softmax(-1)
    moved = (y - z) - (y - z).mean(-1, keepdim=True)
    found.risen.add_(moved.mean(0))
    kl = (p.exp() * (p - q)).sum(-1).clamp(min=0)
    found.places.append(kl.tolist())
    found.kl.append(float(kl.mean()))
    found.logit.append(float(moved[:, list(tokens)].mean()))
    found.ce.append(
        sum(float(q[i, token] - p[i, token]) for i, token in followed) / max(len(followed), 1)
    )


def harvested(
    language: Language, lens: Lens, texts: Sequence[Sequence[int]]
) -> list[Float[Tensor, "pos d_in"]]:
    """What the SAE reads of each text."""
    return [
        next(harvest(language, [lens.hook], [torch.tensor([list(ids)])]))[lens.hook][0]
        for ids in texts
    ]


def silent(
    language: Language,
    lens: Lens,
    index: int,
    ids: Sequence[int],
    read: Float[Tensor, "pos d_in"],
    seed: int,
) -> list[int]:
    """Every eighth position of a text, from one that the seed and the feature say, where the
    feature does not fire.
    """
    places = list(range((seed + index) % EVERY, len(ids), EVERY))
    codes, _ = encode(lens, [index], read[places], language)
    special = set(language.special_ids.tolist())
    return [
        place
        for place, code in zip(places, codes[:, 0].tolist(), strict=True)
        if code == 0 and ids[place] not in special
    ]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, half width of its 95% interval by Student's t, and effect size: mean / spread, 0 where
    nothing varies.
    """
    n, mean = len(values), sum(values) / len(values)
    spread = (
        math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else math.inf
    )
    half = float(student.ppf(0.975, n - 1)) * spread / math.sqrt(n) if n > 1 else math.inf
    return mean, half, mean / spread if spread else 0.0


def _role(
    language: Language,
    push: Push,
    texts: Sequence[Marked],
    tokens: Sequence[int],
    seed: int,
    by: str,
) -> tuple[RoleRecord, list[int]] | None:
    """The role and the tokens that rose most; None where fewer than two texts say anything."""
    if len(texts) < 2:
        return None
    controls = _controls(push, len(texts), seed)
    mine, other = changed(language, texts, [[push] * len(texts), controls], tokens)
    mean, half, effect = interval(
        [a - b for a, b in zip(getattr(mine, by), getattr(other, by), strict=True)]
    )
    means = {name: sum(getattr(mine, name)) / len(texts) for name in ("kl", "ce", "logit")}
    means |= {
        f"control_{name}": sum(getattr(other, name)) / len(texts) for name in ("kl", "ce", "logit")
    }
    top = mine.risen.topk(min(PROMOTED, len(mine.risen))).indices.tolist()
    role = RoleRecord(
        **means, difference=mean, low=mean - half, high=mean + half, effect=effect, n=len(texts)
    )
    return role, top


def _here(
    language: Language, push: Push, text: Marked, tokens: Sequence[int], seed: int
) -> HereRecord | None:
    if not text[1]:
        return None
    (mine,) = changed(language, [text], [[push]], tokens)
    (other,) = changed(language, [text] * DIRECTIONS, [_controls(push, DIRECTIONS, seed)], tokens)
    top = mine.risen.topk(min(PROMOTED, len(mine.risen))).indices.tolist()
    kl, ce, logit = (
        _beside(getattr(mine, name)[0], getattr(other, name)) for name in ("kl", "ce", "logit")
    )
    return HereRecord(list(text[1]), mine.places[0], kl, ce, logit, top)


def _beside(value: float, others: Sequence[float]) -> AgainstRandom:
    return AgainstRandom(value, sum(others) / len(others), max(others))


def _controls(push: Push, count: int, seed: int) -> list[Push]:
    chance = torch.Generator().manual_seed(seed * 1_000_003 + push.index)
    like = directions(push)
    return [
        push._replace(direction=torch.randn(like.shape, generator=chance).to(like.device))
        for _ in range(count)
    ]


def _padded(
    language: Language, texts: Sequence[Marked]
) -> tuple[Int64[Tensor, "texts pos"], Bool[Tensor, "texts pos"]]:
    """Ids, padded on the right, which a causal model does not see; and which positions
    are changed.
    """
    longest = max(len(ids) for ids, _ in texts)
    ids = torch.zeros(len(texts), longest, dtype=torch.int64)
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for row, (text, places) in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(list(text))
        mask[row, list(places)] = True
    return ids.to(language.device), mask.to(language.device)
