"""Generate several texts from one prompt: the first unsteered, the others steered, in one batch.

    for record in decode(language, [[intervention], [other]], prompt, positions, sampling):
        ...          # Step: the next token of every text. Measurements: numbers about the tokens.

The texts share a KV cache. The prompt is run once for all texts if none of its positions is
steered. The first new token follows from the prompt's last position, so it does not change if only
generated tokens are steered. A text ends at the model's end-of-text token; its row runs on, without
being reported, until all texts have ended.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from features.records import InvalidInput
from workers.pipeline.model.language import Language
from workers.pipeline.steering.interventions import FeatureIntervention
from workers.pipeline.steering.measurements import (
    MeasuredFeature,
    Measurements,
    UnsteeredReader,
    forward_with_cache,
    new_cache,
    select_rows,
)
from workers.pipeline.steering.sampling import Sampler, Sampling
from workers.pipeline.steering.steered_forward import Steering


class SteeredPositions(NamedTuple):
    """Which positions are steered.

    `chosen` are positions of the prompt, for the mode "chosen". Special tokens and outliers
    (attention sinks) are steered only if `include_special` is true.
    """

    mode: Literal["all", "prompt", "generated", "chosen"] = "all"
    chosen: tuple[int, ...] = ()
    include_special: bool = False

    def excluded_tokens(self, special: Int64[Tensor, " special"]) -> set[int]:
        """Return the token ids that are never steered."""
        return set() if self.include_special else set(special.tolist())


class Step(NamedTuple):
    """The next token of each text and its log-probability; None for a text that has ended."""

    ids: list[int | None]
    logprobs: list[float | None]


def prompt_mask(
    positions: SteeredPositions, prompt: Sequence[int], special: Int64[Tensor, " special"]
) -> Bool[Tensor, "1 pos"]:
    """Return which positions of the prompt are steered."""
    excluded = positions.excluded_tokens(special)
    candidates: Sequence[int] = ()
    if positions.mode == "chosen":
        candidates = positions.chosen
    elif positions.mode in ("all", "prompt"):
        candidates = range(len(prompt))
    mask = torch.zeros(1, len(prompt), dtype=torch.bool)
    mask[0, [position for position in candidates if prompt[position] not in excluded]] = True
    return mask


def validate_generation(
    language: Language, prompt: Sequence[int], positions: SteeredPositions, sampling: Sampling
) -> None:
    """Raise `InvalidInput`, named by field, if the text does not fit into the model's context, or
    if no position would be steered.
    """
    if len(prompt) + sampling.length > language.context_size:
        most = language.context_size - len(prompt)
        asked = f"The prompt has {len(prompt):,} tokens and {sampling.length:,} new ones are wanted"
        raise InvalidInput(
            "length",
            f"{asked}; this model holds {language.context_size:,}, so at most {max(most, 0):,} "
            "new.",
        )
    if positions.mode == "chosen" and not all(0 <= at < len(prompt) for at in positions.chosen):
        raise InvalidInput(
            "tokens", f"The prompt has the tokens 0 to {len(prompt) - 1:,}; choose among those."
        )
    steers_prompt = prompt_mask(positions, prompt, language.special_ids).any()
    steers_generated = positions.mode in ("all", "generated") and sampling.length > 1
    if not steers_prompt and not steers_generated:
        raise InvalidInput(
            "where",
            "No position would be steered: choose others, or let special tokens be steered too.",
        )


@torch.no_grad()
def decode(
    language: Language,
    rows: Sequence[Sequence[FeatureIntervention]],
    prompt: Sequence[int],
    positions: SteeredPositions = SteeredPositions(),  # noqa: B008  # an immutable tuple
    sampling: Sampling = Sampling(),  # noqa: B008
    features: Sequence[MeasuredFeature] = (),
    should_stop: Callable[[], bool] = lambda: False,
    measure: bool = True,
) -> Iterator[Step | Measurements]:
    """Yield the tokens of the unsteered text and of one text for each of `rows`, and measurements.

    `prompt` are token ids. Ends when all texts have ended, after `sampling.length` tokens, or when
    `should_stop` returns true. Raises `InvalidInput`, named by field.
    """
    validate_generation(language, prompt, positions, sampling)
    texts, device = 1 + len(rows), language.device
    steering = Steering(language, [[], *rows], positions.include_special)
    reader = UnsteeredReader(language, features, texts) if measure else None
    mask = prompt_mask(positions, prompt, language.special_ids)
    logits, cache = _run_prompt(language, steering, prompt, mask, reader)
    if reader:
        yield reader.begin(cache, logits[:1], prompt)
    sampler, ends = Sampler(sampling, texts, logits.shape[1], device), set(end_ids(language))
    excluded = positions.excluded_tokens(language.special_ids)
    steers_generated, live = positions.mode in ("all", "generated"), [True] * texts
    for step in range(sampling.length):
        if should_stop():
            break
        tokens, logprobs = sampler.draw(logits), logits.log_softmax(-1)
        ids, counted = tokens.tolist(), torch.tensor(live, device=device)
        yield _step(ids, logprobs.gather(1, tokens[:, None])[:, 0].tolist(), live)
        live = [on and token not in ends for on, token in zip(live, ids, strict=True)]
        last = not any(live) or step + 1 == sampling.length
        if last and not reader:
            break
        mask = torch.tensor([[steers_generated and token not in excluded] for token in ids])
        with _recording(reader), _steered(steering, mask):
            output, cache = forward_with_cache(language, tokens[:, None], cache)
        if reader:
            yield from reader.add(tokens, logprobs, counted)
        if last:
            break
        logits = output[:, -1].float()
    if reader:
        yield from reader.measure()


def end_ids(language: Language) -> list[int]:
    """Return the token ids after which a text ends."""
    ids = getattr(language.model.generation_config, "eos_token_id", None)
    ids = language.tokenizer.eos_token_id if ids is None else ids
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


def _run_prompt(
    language: Language,
    steering: Steering,
    prompt: Sequence[int],
    mask: Bool[Tensor, "1 pos"],
    reader: UnsteeredReader | None,
) -> tuple[Float[Tensor, "texts vocabulary"], Any]:
    """Return the logits of the first token of each text, and the cache."""
    rows = steering.rows if mask.any() else 1
    ids = torch.tensor([list(prompt)], device=language.device).expand(rows, -1)
    with _recording(reader), _steered(steering, mask.to(language.device).expand(rows, -1)):
        logits, cache = forward_with_cache(language, ids, new_cache(language), last_only=True)
    if rows < steering.rows:
        select_rows(cache, torch.zeros(steering.rows, dtype=torch.int64, device=language.device))
    return logits[:, -1].expand(steering.rows, -1).float(), cache


def _step(ids: list[int], logprobs: list[float], live: list[bool]) -> Step:
    return Step(
        [token if on else None for token, on in zip(ids, live, strict=True)],
        [logprob if on else None for logprob, on in zip(logprobs, live, strict=True)],
    )


def _recording(reader: UnsteeredReader | None) -> AbstractContextManager[Any]:
    return reader.recording() if reader else nullcontext()


def _steered(steering: Steering, mask: Bool[Tensor, "rows pos"]) -> AbstractContextManager[None]:
    """Steer if the mask has a position, and a row for every text."""
    return steering.at(mask) if len(mask) == steering.rows and mask.any() else nullcontext()
