"""Steering as it is defined: one plain forward hook a feature, the whole text anew for every token,
no cache, one text.
"""

import torch

from workers.pipeline.model.hooks import edit_hook, resolve_hook
from workers.pipeline.steering.generate import SteeredPositions


def positions(where, ids, prompt, special):
    """Which positions of a text are steered, one at a time."""
    chosen = []
    for place, token in enumerate(ids):
        inside = {
            "all": True,
            "prompt": place < prompt,
            "generated": place >= prompt,
            "chosen": place in where.chosen and place < prompt,
        }[where.mode]
        chosen.append(inside and (where.include_special or token not in special.tolist()))
    return chosen


def changed(intervention, y):
    """One activation vector y, by the formulas of the documentation."""
    sae, d = intervention.lens.sae, intervention.lens.sae.W_dec[intervention.index]
    a = sae.encode(y[None])[0, intervention.index].clamp(min=0)
    match intervention.method:
        case "add" if intervention.unit == "norm":
            return y + intervention.strength * y.norm() * d / d.norm()
        case "add":
            return y + intervention.strength * intervention.maximum * d
        case "clamp":
            return y + (intervention.strength * intervention.maximum - a) * d
        case "scale":
            return y + (intervention.strength - 1) * a * d
        case "ablate":
            return y - a * d
        case "project":
            return y - (y @ d) / (d @ d) * d


@torch.no_grad()
def greedy(language, intervention, prompt, where=SteeredPositions(), length=12, end=True):  # noqa: B008
    """The steered continuation, and the logits that each token was chosen by."""
    ids, logits = list(prompt), []
    point = resolve_hook(language.model, intervention.lens.hook)
    for _ in range(length):
        steered = positions(where, ids, len(prompt), language.special_ids)

        def edit(x, steered=steered):
            x = x.clone()
            for place, on in enumerate(steered):
                if on:
                    x[0, place] = changed(intervention, x[0, place])
            return x

        with edit_hook(point, edit):
            logits.append(
                language.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            )
        ids.append(int(logits[-1].argmax()))
        if end and ids[-1] == language.tokenizer.eos_token_id:
            break
    return ids[len(prompt) :], logits
