"""What features do: every number is that of two plain passes, a planted cause is found, and the job
keeps what it measured.
"""

import math
import statistics

import pytest
import torch

from features.records import EffectRecord
from tests.workers import planted_sae
from workers.pipeline.model.hooks import edit_hook, resolve_hook
from workers.pipeline.steering import causal_effects, changes
from workers.pipeline.steering.causal_effects import FeatureCase
from workers.pipeline.steering.interventions import FeatureIntervention
from workers.pipeline.steering.text_activations import Lens

HOOK = "blocks.1.hook_resid_post"
TEXTS = [([0, 40, 51, 62, 70], [2, 3]), ([0, 33, 20, 45], [1]), ([0, 80, 81, 82, 83, 84], [1, 4])]
TOKENS = [7, 9, 30]


@pytest.fixture
def lens():
    return Lens(planted_sae.sae("standard"), HOOK, True)


def plain(language, ids, places, change):
    """KL, CE and centred logit change of one text, position by position."""

    def edit(x):
        x = x.clone()
        for place in places:
            x[0, place] = change(x[0, place])
        return x

    with torch.no_grad():
        z = language.model(torch.tensor([ids])).logits[0]
        with edit_hook(resolve_hook(language.model, HOOK), edit):
            y = language.model(torch.tensor([ids])).logits[0]
    kls, ces, logits = [], [], []
    for place in places:
        p, q = y[place].log_softmax(-1), z[place].log_softmax(-1)
        kls.append(float(sum(p.exp() * (p - q))))
        moved = y[place] - z[place]
        logits.append(float(moved[TOKENS].mean() - moved.mean()))
        if place + 1 < len(ids):
            ces.append(float(q[ids[place + 1]] - p[ids[place + 1]]))
    return statistics.mean(kls), statistics.mean(ces), statistics.mean(logits)


@pytest.mark.parametrize("method", ["ablate", "add"])
def test_every_number_is_that_of_two_plain_passes(llama, lens, method):
    intervention = FeatureIntervention(lens, 7, method, 1.0, "maximum", 3.0)
    (found,) = changes.measure_changes(llama, TEXTS, [[intervention] * 3], TOKENS)
    d = lens.sae.W_dec[7]

    def change(y):
        return (
            y + 3.0 * d if method == "add" else y - lens.sae.encode(y[None])[0, 7].clamp(min=0) * d
        )

    for row, (ids, places) in enumerate(TEXTS):
        kl, ce, logit = plain(llama, ids, places, change)
        assert found.kl[row] == pytest.approx(kl, rel=1e-3, abs=1e-5)
        assert found.ce[row] == pytest.approx(ce, rel=1e-3, abs=1e-5)
        assert found.logit[row] == pytest.approx(logit, rel=1e-3, abs=1e-5)


def test_on_a_text_it_is_ablated_where_it_fires_and_added_where_it_does_not(llama, lens):
    ids, fires = [0, 40, 51, 62, 70], [2, 3]
    reads, writes = causal_effects.measure_on_text(
        llama, lens, FeatureCase(7, 3.0, TOKENS, [(ids, fires)])
    )
    assert (reads.positions, writes.positions) == ([2, 3], [1, 4]), "never the special token"
    d = lens.sae.W_dec[7]
    gone = plain(llama, ids, fires, lambda y: y - lens.sae.encode(y[None])[0, 7].clamp(min=0) * d)
    come = plain(llama, ids, [1, 4], lambda y: y + 3.0 * d)
    for role, wanted in ((reads, gone), (writes, come)):
        assert [role.kl.value, role.ce.value, role.logit.value] == pytest.approx(
            wanted, rel=1e-3, abs=1e-5
        )
        assert statistics.mean(role.kl_at) == pytest.approx(role.kl.value)
        assert 0 < role.kl.control < role.kl.control_max, "sixteen directions are not one"
    assert (
        causal_effects.measure_on_text(llama, lens, FeatureCase(7, 3.0, TOKENS, [(ids, [])]))[0]
        is None
    )


def test_texts_in_blocks_give_the_same(llama, lens, monkeypatch):
    intervention = FeatureIntervention(lens, 7, "add", 1.0, "maximum", 3.0)
    (whole,) = changes.measure_changes(llama, TEXTS, [[intervention] * 3], TOKENS)
    monkeypatch.setattr(changes, "LOGITS_AT_ONCE", 1)
    (parts,) = changes.measure_changes(llama, TEXTS, [[intervention] * 3], TOKENS)
    assert parts.logit == pytest.approx(whole.logit, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(parts.logit_changes, whole.logit_changes)


def test_a_feature_is_added_only_where_it_is_silent(llama, lens):
    ids = [0, *range(40, 62)]
    with torch.no_grad():
        states = llama.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[2][0]
    (read,) = causal_effects.activations_of_texts(llama, lens, [ids])
    found = {
        index: causal_effects.inactive_positions(llama, lens, index, ids, read, 0)
        for index in range(16)
    }
    assert sum(map(bool, found.values())) > 4
    for index, places in found.items():
        assert all(place % 8 == index % 8 and place > 0 for place in places)
        assert (lens.sae.encode(states)[places, index] <= 0).all()


def test_the_interval_is_students():
    mean, half, effect = causal_effects.mean_with_interval([1.0, 2.0, 3.0, 6.0])
    assert (mean, effect) == (3.0, pytest.approx(3 / statistics.stdev([1, 2, 3, 6])))
    assert half == pytest.approx(3.182446 * statistics.stdev([1, 2, 3, 6]) / 2, rel=1e-5)
    assert math.isinf(causal_effects.mean_with_interval([1.0])[1])


def test_a_planted_cause_is_found_and_a_direction_that_nothing_reads_is_none():
    """The residual stream is the embedding: feature 0 writes the unembedding of token 9, feature 1
    what no token reads.
    """
    language = planted_sae.language(exact=True)
    language.model.lm_head.weight[:, 31] = 0
    sae = planted_sae.sae("standard", features=2)
    sae.W_dec[0] = language.model.lm_head.weight[9] / language.model.lm_head.weight[9].norm()
    sae.W_dec[1] = 0
    sae.W_dec[1, 31] = 1
    lens = Lens(sae, "blocks.0.hook_resid_post", True)
    neutral = [[0, *range(start, start + 40)] for start in range(4, 12)]
    cases = [FeatureCase(index, 30.0, [9], TEXTS_OF_PLANTED) for index in (0, 1)]
    found = [
        new
        for new in causal_effects.measure_causal_effects(language, lens, cases, 2, neutral)
        if isinstance(new, EffectRecord)
    ]
    cause, none = found
    assert cause.promoted[0] == 9
    assert cause.writes.low > 0
    assert cause.writes.logit > 3 * abs(cause.writes.control_logit)
    assert abs(none.writes.logit) < 0.5
    assert none.writes.n == cause.writes.n == 8
    again = [
        new
        for new in causal_effects.measure_causal_effects(language, lens, cases, 2, neutral)
        if isinstance(new, EffectRecord)
    ]
    assert again == found


TEXTS_OF_PLANTED = [([0, 8, 9, 10], [1, 2]), ([0, 30, 31, 32], [2])]


def test_it_stops_and_features_with_too_few_texts_are_left_out(llama, lens):
    case = FeatureCase(7, 3.0, TOKENS, TEXTS[:1])
    neutral = [[0, *range(40, 60)]] * 2
    assert not [
        new
        for new in causal_effects.measure_causal_effects(llama, lens, [case], 1, neutral)
        if isinstance(new, EffectRecord)
    ]
    assert (
        list(
            causal_effects.measure_causal_effects(
                llama, lens, [case], 1, neutral, should_stop=lambda: True
            )
        )
        == []
    )
