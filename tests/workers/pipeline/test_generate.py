"""Steered texts from one batch with a cache: the same as with one plain hook and no cache, and
measured as defined.
"""

import itertools

import pytest
import torch

from features.records import InvalidInput
from tests.workers import planted_sae, steering_model
from workers.pipeline.steering import generate as generation
from workers.pipeline.steering.generate import SteeredPositions, Step, decode
from workers.pipeline.steering.interventions import FeatureIntervention
from workers.pipeline.steering.measurements import MeasuredFeature, Measurements
from workers.pipeline.steering.sampling import Sampling
from workers.pipeline.steering.text_activations import Lens

HOOK = "blocks.1.hook_resid_post"
METHODS = [
    ("add", "maximum", 2.0),
    ("add", "norm", -0.8),
    ("clamp", "maximum", 1.5),
    ("scale", "maximum", 4.0),
    ("ablate", "maximum", 0.0),
    ("project", "maximum", 0.0),
]
POSITIONS = [
    SteeredPositions("all"),
    SteeredPositions("prompt"),
    SteeredPositions("generated"),
    SteeredPositions("chosen", (1, 3)),
    SteeredPositions("all", (), True),
]


@pytest.fixture
def lens():
    return Lens(planted_sae.sae("standard"), HOOK, True)


@pytest.fixture
def prompt(llama):
    return [
        llama.tokenizer.bos_token_id,
        *llama.tokenizer("def cat(self): return", add_special_tokens=False)["input_ids"],
    ]


def busiest(language, lens, prompt):
    """A feature that fires on many tokens of the prompt."""
    with torch.no_grad():
        states = language.model(
            input_ids=torch.tensor([prompt]), output_hidden_states=True
        ).hidden_states
        codes = lens.sae.encode(states[2][0, 1:])
    return int((codes > 0).sum(0).argmax())


def texts(news, row):
    steps = [new for new in news if isinstance(new, Step)]
    return [step.ids[row] for step in steps if step.ids[row] is not None]


def measured(news, name, row):
    """A measured list of one text, whole."""
    return list(
        itertools.chain(
            *(
                getattr(new, name)[row]
                for new in news
                if isinstance(new, Measurements) and new.start >= 0
            )
        )
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize(("method", "unit", "strength"), METHODS)
def test_greedy_text_is_that_of_a_plain_hook_without_a_cache(
    languages, family, method, unit, strength
):
    language = languages[family]
    ids = language.tokenizer("def cat(self): return", add_special_tokens=False)["input_ids"]
    prompt = [language.tokenizer.bos_token_id, *ids]
    lens = Lens(planted_sae.sae("standard"), HOOK, True)
    intervention = FeatureIntervention(
        lens, busiest(language, lens, prompt), method, strength, unit, 3.0
    )
    for positions in POSITIONS:
        news = list(decode(language, [[intervention]], prompt, positions, Sampling(12)))
        expected, _ = steering_model.greedy(language, intervention, prompt, positions)
        assert texts(news, 1) == expected, positions
        plain, _ = steering_model.greedy(
            language, intervention._replace(method="scale", strength=1.0), prompt
        )
        assert texts(news, 0) == plain, "the default is not steered"


def test_measured_numbers_are_those_of_two_whole_passes(llama, lens, prompt):
    index = busiest(llama, lens, prompt)
    intervention = FeatureIntervention(lens, index, "add", 2.0, "maximum", 3.0)
    measured_feature = MeasuredFeature(lens, index, [5, 9])
    news = list(
        decode(llama, [[intervention]], prompt, sampling=Sampling(20), features=[measured_feature])
    )
    ids, logits = steering_model.greedy(llama, intervention, prompt, length=20)
    p = torch.stack(logits).log_softmax(-1)
    with torch.no_grad():
        out = llama.model(input_ids=torch.tensor([prompt + ids]), output_hidden_states=True)
    q = out.logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    codes = lens.sae.encode(out.hidden_states[2][0])[:, index].clamp(min=0)
    close = {"rel": 1e-3, "abs": 2e-5}
    assert measured(news, "kl", 1) == pytest.approx((p.exp() * (p - q)).sum(-1).tolist(), **close)
    surprise = -q.gather(1, torch.tensor(ids)[:, None])[:, 0]
    assert measured(news, "surprise", 1) == pytest.approx(surprise.tolist(), **close)
    told = list(
        itertools.chain(
            *(n.activations[0][1] for n in news if isinstance(n, Measurements) and n.start >= 0)
        )
    )
    assert told == pytest.approx(codes[len(prompt) :].tolist(), rel=1e-3, abs=1e-3)
    mass = list(
        itertools.chain(
            *(n.mass[0][1] for n in news if isinstance(n, Measurements) and n.start >= 0)
        )
    )
    assert mass == pytest.approx(p.exp()[:, [5, 9]].sum(-1).tolist(), **close)
    first = next(new for new in news if isinstance(new, Measurements))
    assert first.start == -1
    counted = [0.0 if token in llama.special_ids.tolist() else 1.0 for token in prompt]
    on_prompt = codes[: len(prompt)] * torch.tensor(counted)
    assert first.activations[0][0] == pytest.approx(on_prompt.tolist(), rel=1e-3, abs=1e-3)
    logprobs = [new.logprobs[1] for new in news if isinstance(new, Step)]
    assert logprobs == pytest.approx(
        p.gather(1, torch.tensor(ids)[:, None])[:, 0].tolist(), **close
    )


def test_eight_strengths_in_one_batch_are_the_eight_alone(llama, lens, prompt):
    strengths = [-3.0, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0]
    interventions = [
        FeatureIntervention(lens, 7, "add", strength, "maximum", 3.0) for strength in strengths
    ]
    together = list(
        decode(
            llama, [[intervention] for intervention in interventions], prompt, sampling=Sampling(10)
        )
    )
    for row, intervention in enumerate(interventions, 1):
        assert (
            texts(together, row) == steering_model.greedy(llama, intervention, prompt, length=10)[0]
        )
    assert texts(together, 4) == texts(together, 0)


def test_the_same_seed_gives_the_same_text_and_the_default_does_not_feel_the_steering(
    llama, lens, prompt
):
    intervention = FeatureIntervention(lens, 7, "add", 2.0, "maximum", 3.0)
    sampling = Sampling(30, 1.0, 0.9, seed=4)
    runs = [list(decode(llama, [[intervention]], prompt, sampling=sampling)) for _ in range(2)]
    assert texts(runs[0], 1) == texts(runs[1], 1)
    other = list(decode(llama, [[intervention._replace(strength=-4.0)]], prompt, sampling=sampling))
    assert texts(other, 0) == texts(runs[0], 0)
    assert texts(other, 1) != texts(runs[0], 1)
    another = list(decode(llama, [[intervention]], prompt, sampling=sampling._replace(seed=5)))
    assert texts(another, 0) != texts(runs[0], 0)


def test_an_intervention_of_nothing_gives_the_default_text_with_the_same_chance(
    llama, lens, prompt
):
    intervention = FeatureIntervention(lens, 7, "scale", 1.0)
    news = list(decode(llama, [[intervention]], prompt, sampling=Sampling(30, 1.2, seed=1)))
    assert texts(news, 0) == texts(news, 1)


def test_a_text_that_ends_stays_ended(llama, lens, prompt, monkeypatch):
    intervention = FeatureIntervention(lens, 7, "add", 2.0, "maximum", 3.0)
    whole = list(decode(llama, [[intervention]], prompt, sampling=Sampling(10)))
    end = texts(whole, 1)[3]
    monkeypatch.setattr(generation, "end_ids", lambda _: [end])
    news = list(decode(llama, [[intervention]], prompt, sampling=Sampling(10)))
    mine = texts(news, 1)
    assert mine == texts(whole, 1)[: mine.index(end) + 1]
    assert len(measured(news, "kl", 1)) == len(mine)


def test_it_stops_between_two_tokens(llama, lens, prompt):
    asked = iter([False, False, True])
    intervention = FeatureIntervention(lens, 7, "add", 2.0, "maximum", 3.0)
    news = list(
        decode(
            llama, [[intervention]], prompt, sampling=Sampling(30), should_stop=lambda: next(asked)
        )
    )
    assert len(texts(news, 1)) == len(measured(news, "kl", 1)) == 2


@pytest.mark.parametrize(
    ("where", "sampling", "field"),
    [
        (SteeredPositions(), Sampling(64), "length"),
        (SteeredPositions("chosen", (99,)), Sampling(4), "tokens"),
        (SteeredPositions("chosen", ()), Sampling(4), "where"),
        (SteeredPositions("chosen", (0,)), Sampling(4), "where"),
        (SteeredPositions("generated"), Sampling(1), "where"),
    ],
)
def test_what_cannot_be_done_is_refused(llama, lens, prompt, where, sampling, field):
    intervention = FeatureIntervention(lens, 7, "ablate")
    with pytest.raises(InvalidInput) as refused:
        list(decode(llama, [[intervention]], prompt, where, sampling))
    assert refused.value.field == field


def test_a_model_that_breaks_down_is_told_and_gives_no_text(llama, lens, prompt):
    intervention = FeatureIntervention(lens, 7, "add", 1e38, "maximum", 1e38)
    with pytest.raises(InvalidInput, match="finite"):
        list(decode(llama, [[intervention]], prompt, sampling=Sampling(4)))
