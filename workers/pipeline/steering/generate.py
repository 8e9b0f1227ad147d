"""Texts of one prompt side by side: the first as the model writes it, the others steered, in one
batch with a KV cache.

    for news in decode(language, [[push], [other]], prompt, where, sampling, watched):
        ...                                             # Step: a token of every text; Measured:
        what they are like

A position is steered by what its token is: a token of the prompt, or one that was generated. The
first new token follows from the prompt's last position, so where only generated tokens are steered
it is never changed. Where the prompt is not steered, it is read once for all texts.

What the unsteered model makes of each steered text is measured by reading the text with it, a few
tokens in one pass with a cache of its own; of its own text it is known from the writing. With P the
steered model's next-token distribution after a prefix (temperature 1, no penalty) and Q the
unsteered one's after the same prefix:

    logprob = log P(token)       surprise = -log Q(token)       kl = KL(P || Q) = sum P (log P - log
    Q)

and `activations` are those of the unsteered model that reads the text: how much of the feature the
text itself holds.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformers import DynamicCache

from workers.pipeline.errors import BadInput
from workers.pipeline.model.hooks import reading, resolve
from workers.pipeline.model.language import Language
from workers.pipeline.steering.interventions import Push, Steering, encode
from workers.pipeline.steering.sampling import Sampler, Sampling
from workers.pipeline.steering.typed_text import Lens

READ_EVERY = 32
LOGITS_AT_ONCE = 1 << 24
"""Logits kept until they are measured: 64 MB of float32, however many texts there are."""


class Where(NamedTuple):
    """Which positions are steered; `tokens` are positions of the prompt, and special tokens are
    spared unless `special`.
    """

    mode: Literal["all", "prompt", "generated", "chosen"] = "all"
    tokens: tuple[int, ...] = ()
    special: bool = False

    def spared(self, special: Int64[Tensor, " special"]) -> set[int]:
        """Tokens that are never steered."""
        return set() if self.special else set(special.tolist())


class Step(NamedTuple):
    """The next token of each text and its log-probability; None where the text has ended."""

    ids: list[int | None]
    logprobs: list[float | None]


class Measured(NamedTuple):
    """What was measured of the tokens from the `start`-th on, a list for each text; of the prompt
    where `start` is negative.

    `activations` and `mass` are by watched feature, then by text: `mass` is P of the feature's own
    top tokens together.
    """

    start: int
    kl: list[list[float]]
    surprise: list[list[float]]
    activations: list[list[list[float]]]
    mass: list[list[list[float]]]


class Watched(NamedTuple):
    """A feature whose activation is told, and the tokens that it promotes."""

    lens: Lens
    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here
    tokens: Sequence[int] = ()


def steered_of(
    where: Where, prompt: Sequence[int], special: Int64[Tensor, " special"]
) -> Bool[Tensor, "1 pos"]:
    """Which positions of the prompt are steered."""
    spared = where.spared(special)
    chosen = (
        where.tokens
        if where.mode == "chosen"
        else range(len(prompt) if where.mode in ("all", "prompt") else 0)
    )
    steered = torch.zeros(1, len(prompt), dtype=torch.bool)
    steered[0, [place for place in chosen if prompt[place] not in spared]] = True
    return steered


def require_room(
    language: Language, prompt: Sequence[int], where: Where, sampling: Sampling
) -> None:
    """`BadInput`, by field, where nothing could be steered or the text does not fit
    into the model.
    """
    if len(prompt) + sampling.length > language.context_size:
        most = language.context_size - len(prompt)
        asked = f"The prompt has {len(prompt):,} tokens and {sampling.length:,} new ones are wanted"
        raise BadInput(
            "length",
            f"{asked}; this model holds {language.context_size:,}, so at most {max(most, 0):,} "
            "new.",
        )
    if where.mode == "chosen" and not all(0 <= token < len(prompt) for token in where.tokens):
        raise BadInput(
            "tokens", f"The prompt has the tokens 0 to {len(prompt) - 1:,}; choose among those."
        )
    steers_prompt = steered_of(where, prompt, language.special_ids).any()
    if not steers_prompt and not (where.mode in ("all", "generated") and sampling.length > 1):
        raise BadInput(
            "where",
            "No position would be steered: choose others, or let special tokens be steered too.",
        )


@torch.no_grad()
def decode(
    language: Language,
    rows: Sequence[Sequence[Push]],
    prompt: Sequence[int],
    where: Where = Where(),  # noqa: B008  # an immutable tuple
    sampling: Sampling = Sampling(),  # noqa: B008
    watched: Sequence[Watched] = (),
    should_stop: Callable[[], bool] = lambda: False,
    measure: bool = True,
) -> Iterator[Step | Measured]:
    """Yield the tokens of the default text and of one text for each of `rows`, and what was
    measured of them.

    Ends where all texts have ended, after `sampling.length` tokens, or where `should_stop` turns
    true. `BadInput` names what cannot be done.
    """
    require_room(language, prompt, where, sampling)
    texts, device = 1 + len(rows), language.device
    steering, reader = (
        Steering(language, [[], *rows]),
        _Reader(language, watched, texts) if measure else None,
    )
    now, cache = _read_prompt(
        language, steering, prompt, steered_of(where, prompt, language.special_ids), reader
    )
    if reader:
        yield reader.begin(cache, now[:1])
    sampler, ends = Sampler(sampling, texts, now.shape[1], device), set(end_ids(language))
    spared, steers, live = (
        where.spared(language.special_ids),
        where.mode in ("all", "generated"),
        [True] * texts,
    )
    for step in range(sampling.length):
        if should_stop():
            break
        chosen, told = sampler.draw(now), now.log_softmax(-1)
        drawn, counted = chosen.tolist(), torch.tensor(live, device=device)
        yield _step(drawn, told.gather(1, chosen[:, None])[:, 0].tolist(), live)
        live = [on and token not in ends for on, token in zip(live, drawn, strict=True)]
        last = not any(live) or step + 1 == sampling.length
        if last and not reader:
            break
        at = torch.tensor([[steers and token not in spared] for token in drawn])
        with _watched(reader), _maybe(steering, at):
            logits, cache = _forward(language, chosen[:, None], cache)
        if reader:
            yield from reader.add(chosen, told, counted)
        if last:
            break
        now = logits[:, -1].float()
    if reader:
        yield from reader.measure()


def _read_prompt(
    language: Language,
    steering: Steering,
    prompt: Sequence[int],
    steered: Bool[Tensor, "1 pos"],
    reader: "_Reader | None",
) -> tuple[Float[Tensor, "texts vocabulary"], Any]:
    """Logits of the first token of each text, and the cache; read once for all texts where nothing
    of the prompt is steered.
    """
    rows = steering.rows if steered.any() else 1
    ids = torch.tensor([list(prompt)], device=language.device).expand(rows, -1)
    with _watched(reader), _maybe(steering, steered.to(language.device).expand(rows, -1)):
        logits, cache = _forward(
            language, ids, DynamicCache(config=language.model.config), last=True
        )
    if rows < steering.rows:
        cache.batch_repeat_interleave(steering.rows)
    return logits[:, -1].expand(steering.rows, -1).float(), cache


def end_ids(language: Language) -> list[int]:
    """Tokens after which a text is over."""
    known = getattr(language.model.generation_config, "eos_token_id", None)
    known = language.tokenizer.eos_token_id if known is None else known
    return [] if known is None else [known] if isinstance(known, int) else list(known)


class _Reader:
    """The unsteered model reading the steered texts, some tokens at a time; the default text is
    read as it is written.
    """

    def __init__(self, language: Language, watched: Sequence[Watched], texts: int) -> None:
        self.language, self.watched, self.steered = language, watched, texts - 1
        self._points = [
            resolve(language.model, hook) for hook in {feature.lens.hook for feature in watched}
        ]
        self._seen: dict[str, Tensor] = {}
        self._default: dict[str, list[Tensor]] = {point.name: [] for point in self._points}
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self._start = 0
        self._every = READ_EVERY
        self._cache: Any = None
        self._next = torch.zeros(0)

    def watching(self) -> ExitStack:
        """Keep what the hooks of the watched features hold."""
        stack = ExitStack()
        for point in self._points:
            stack.enter_context(
                reading(point, lambda x, point=point: self._seen.update({point.name: x}))
            )  # type: ignore[misc]
        return stack

    def begin(self, cache: Any, logits: Float[Tensor, "1 vocabulary"]) -> Measured:
        """Take over what the unsteered model made of the prompt, the first row of the pass that
        read it.
        """
        self._cache = copy.deepcopy(cache)
        self._cache.batch_select_indices(
            torch.zeros(self.steered, dtype=torch.int64, device=logits.device)
        )
        self._next = logits.float().log_softmax(-1).expand(self.steered, -1)
        self._every = max(
            1, min(READ_EVERY, LOGITS_AT_ONCE // ((self.steered + 1) * logits.shape[1]))
        )
        prompt = [
            self._activations(feature, self._seen[feature.lens.hook][:1])
            for feature in self.watched
        ]
        return Measured(-1, [], [], prompt, [])

    def add(self, chosen: Tensor, told: Tensor, counted: Tensor) -> Iterator[Measured]:
        """One more token of each text, which the pass that was watched has taken in; measured when
        enough of them wait.
        """
        self._waiting.append((chosen, told, counted))
        for hook, seen in self._default.items():
            seen.append(self._seen[hook][:1])
        if len(self._waiting) >= self._every:
            yield from self.measure()

    def measure(self) -> Iterator[Measured]:
        """Read the tokens that wait."""
        if not self._waiting:
            return
        ids, told, counted = (torch.stack(parts, 1) for parts in zip(*self._waiting, strict=True))
        self._waiting = []
        with self.watching():
            logits, self._cache = _forward(self.language, ids[1:], self._cache)
        after = logits.float().log_softmax(-1)
        before, self._next = torch.cat([self._next[:, None], after[:, :-1]], 1), after[:, -1]
        before = torch.cat([told[:1], before])
        surprise = -before.gather(-1, ids[..., None])[..., 0]
        kl = (told.exp() * (told - before)).sum(-1).clamp(min=0)
        mass = [_mass(told, feature.tokens) for feature in self.watched]
        default = {hook: torch.cat(seen, 1) for hook, seen in self._default.items()}
        both = {hook: torch.cat([seen, self._seen[hook]]) for hook, seen in default.items()}
        read = [self._activations(feature, both[feature.lens.hook]) for feature in self.watched]
        self._default = {hook: [] for hook in default}
        lengths = counted.sum(1).tolist()
        start, self._start = self._start, self._start + ids.shape[1]
        yield Measured(
            start,
            _cut(kl.tolist(), lengths),
            _cut(surprise.tolist(), lengths),
            [_cut(rows, lengths) for rows in read],
            [_cut(rows, lengths) for rows in mass],
        )

    def _activations(
        self, feature: Watched, x: Float[Tensor, "texts pos d_in"]
    ) -> list[list[float]]:
        codes, _ = encode(feature.lens, [feature.index], x.flatten(0, 1), self.language)
        return codes.view(x.shape[:2]).tolist()


def _cut(rows: list[list[float]], lengths: list[int]) -> list[list[float]]:
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def _mass(told: Float[Tensor, "texts pos vocabulary"], tokens: Sequence[int]) -> list[list[float]]:
    return told[..., list(tokens)].exp().sum(-1).tolist()


def _step(drawn: list[int], logprobs: list[float], live: list[bool]) -> Step:
    ids = [token if on else None for token, on in zip(drawn, live, strict=True)]
    return Step(ids, [logprob if on else None for logprob, on in zip(logprobs, live, strict=True)])


def _watched(reader: _Reader | None) -> Any:
    """Keep what the reader wants to see, where there is one."""
    return reader.watching() if reader else nullcontext()


def _maybe(steering: Steering, where: Bool[Tensor, "rows pos"]) -> Any:
    """Steer where there is a position to steer in a row that is not the default's."""
    return steering.at(where) if len(where) == steering.rows and where.any() else nullcontext()


def _forward(
    language: Language, ids: Int64[Tensor, "rows pos"], cache: Any, last: bool = False
) -> tuple[Tensor, Any]:
    keep = {"logits_to_keep": 1} if last and "logits_to_keep" in _takes(language.model) else {}
    out = language.model(input_ids=ids, past_key_values=cache, use_cache=True, **keep)
    return out.logits, out.past_key_values


def _takes(model: Any) -> frozenset[str]:
    return frozenset(inspect.signature(type(model).forward).parameters)
