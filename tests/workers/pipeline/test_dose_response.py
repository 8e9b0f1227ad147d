"""Sweeps over strengths: what is measured is what plain passes say, and the marks are where the
rule puts them.
"""

import math
from itertools import pairwise

import pytest
import torch

from features.records import Progress
from tests.workers import planted_sae, steering_model
from workers.pipeline.model.hooks import edit_hook, resolve_hook
from workers.pipeline.steering import dose_response
from workers.pipeline.steering.generate import SteeredPositions
from workers.pipeline.steering.interventions import FeatureIntervention
from workers.pipeline.steering.sampling import Sampling
from workers.pipeline.steering.text_activations import Lens

HOOK = "blocks.1.hook_resid_post"
STRENGTHS = [0.0, 1.0, 4.0]


@pytest.fixture
def intervention():
    return FeatureIntervention(
        Lens(planted_sae.sae("standard"), HOOK, True), 7, "add", 1.0, "maximum", 3.0
    )


@pytest.fixture
def neutral(llama):
    return [
        [0, *llama.tokenizer(text, add_special_tokens=False)["input_ids"]]
        for text in ("def cat", "return self.x")
    ]


def swept(llama, intervention, neutral, **changes):
    settings = {"controls": 2, "samples": 2} | changes
    news = list(
        dose_response.measure_dose_response(
            llama,
            intervention,
            STRENGTHS,
            [0, 20, 30],
            SteeredPositions(),
            Sampling(8),
            [5, 9],
            neutral,
            **settings,
        )
    )
    assert [new.done for new in news[:-1]] == sorted(new.done for new in news[:-1])
    return news[-1]


def test_every_measure_is_what_plain_passes_say(llama, intervention, neutral):
    found = swept(llama, intervention, neutral)
    for place, strength in enumerate(STRENGTHS):
        one = intervention._replace(strength=strength)
        ids, logits = steering_model.greedy(llama, one, [0, 20, 30], length=8)
        assert found.texts[place + 1] == ids
        with torch.no_grad():
            out = llama.model(
                input_ids=torch.tensor([[0, 20, 30, *ids]]), output_hidden_states=True
            )
        codes = intervention.lens.sae.encode(out.hidden_states[2][0])[3:, 7].clamp(min=0)
        assert found.feature["concept"][place] == pytest.approx(
            codes.mean().item() / 3, rel=1e-3, abs=1e-4
        )
        q = out.logits[0, 2:-1].log_softmax(-1).gather(1, torch.tensor(ids)[:, None])
        assert found.feature["surprise"][place] == pytest.approx(-q.mean().item(), rel=1e-3)
        mass = torch.stack(logits).softmax(-1)[:, [5, 9]].sum(-1).mean().item()
        assert found.feature["mass"][place] == pytest.approx(mass, rel=1e-3, abs=1e-6)
        pairs = list(pairwise(ids))
        assert found.feature["distinct"][place] == pytest.approx(len(set(pairs)) / len(pairs))
        assert found.feature["damage"][place] == pytest.approx(
            damage(llama, one, neutral), rel=1e-3, abs=1e-4
        )


def damage(language, intervention, texts):
    """Cross-entropy with one plain hook, less that without."""
    losses = {True: [], False: []}
    for text in texts:
        for on in losses:
            edit = (
                (
                    lambda x: torch.cat(
                        [
                            x[:, :1],
                            x[:, 1:] + intervention.strength * 3 * intervention.lens.sae.W_dec[7],
                        ],
                        1,
                    )
                )
                if on
                else None
            )
            with (
                torch.no_grad(),
                edit_hook(resolve_hook(language.model, HOOK), edit or (lambda x: None)),
            ):
                logits = language.model(torch.tensor([text])).logits[0, :-1].log_softmax(-1)
            losses[on] += (-logits.gather(1, torch.tensor(text)[1:, None])[:, 0]).tolist()
    return sum(losses[True]) / len(losses[True]) - sum(losses[False]) / len(losses[False])


def test_nothing_is_added_at_strength_zero_whatever_the_direction(llama, intervention, neutral):
    found = swept(llama, intervention, neutral)
    for name in dose_response.MEASURES:
        for other in [found.feature, *({name: row} for row in found.control[name])]:
            assert other[name][0] == pytest.approx(found.default[name], rel=1e-4, abs=1e-5)


def test_controls_follow_from_the_seed_and_are_no_two_alike(intervention):
    first, second = dose_response.random_directions(intervention, 2, 3)
    assert not torch.equal(first, second)
    assert torch.equal(first, dose_response.random_directions(intervention, 2, 3)[0])


def values(*rows):
    names = ("concept", "surprise", "damage", "distinct")
    return [dict(zip(names, row, strict=True)) | {"mass": row[0]} for row in rows]


DEFAULT = {"concept": 0.05, "mass": 0.05, "surprise": 2.0, "damage": 0.0, "distinct": 0.9}


@pytest.mark.parametrize(
    ("rows", "control", "expected"),
    [
        ([(0.1, 2.0, 0.1, 0.9), (0.5, 2.9, 0.5, 0.8), (0.9, 3.1, 0.9, 0.8)], [0, 0, 0], (1, 2)),
        ([(0.1, 2.0, 0.1, 0.9), (0.5, 2.9, 1.5, 0.8), (0.9, 2.1, 0.9, 0.8)], [0, 0, 0], (2, None)),
        ([(0.1, 2.0, 0.1, 0.9), (0.5, 2.0, 0.1, 0.4), (0.9, 1.0, 0.9, 0.1)], [0, 0, 0], (0, 1)),
        (
            [(0.1, 2.0, 0.1, 0.9), (0.5, 2.0, 0.1, 0.9), (0.4, 2.0, 0.1, 0.9)],
            [0.2, 0.6, 0.3],
            (2, None),
        ),
        ([(0.04, 2.0, 0.1, 0.9)], [0.0], (None, None)),
        ([(0.9, 5.0, 0.1, 0.9)], [0.0], (None, 0)),
    ],
)
def test_the_marks_are_where_the_rule_puts_them(rows, control, expected):
    assert dose_response.best_and_breaking(values(*rows), control, DEFAULT) == expected


def test_it_stops_when_it_is_told(llama, intervention, neutral):
    news = list(
        dose_response.measure_dose_response(
            llama,
            intervention,
            STRENGTHS,
            [0, 20],
            SteeredPositions(),
            Sampling(8),
            [5],
            neutral,
            should_stop=lambda: True,
        )
    )
    assert all(isinstance(new, Progress) for new in news)
    assert not math.isnan(dose_response.next_token_loss(llama, neutral, []))
