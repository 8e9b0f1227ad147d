"""Each method on a model made by hand, whose residual stream is its embedding: what comes out is
the formula, to the bit.
"""

import math

import pytest
import torch
from sae_lens import StandardSAE, StandardSAEConfig

from features.records import MAX_INTERVENTIONS, InvalidInput
from tests.workers import planted_sae
from workers.pipeline.model.hooks import observe_hook, resolve_hook
from workers.pipeline.steering.interventions import (
    FeatureIntervention,
    validate_interventions,
)
from workers.pipeline.steering.steered_forward import Steering
from workers.pipeline.steering.text_activations import Lens

HOOK, AFTER = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
IDS = torch.tensor([[0, 4, 9, 30], [0, 7, 9, 12], [0, 4, 4, 51]])
EVERYWHERE = torch.ones(IDS.shape, dtype=torch.bool)


@pytest.fixture(scope="module")
def language():
    return planted_sae.language(exact=True)


def made(weights=None, d_in=planted_sae.HIDDEN, **config):
    """An SAE of two features: 0 reads dimension 0 and writes dimension 1, 1 reads 2 and writes 0
    and 3 (length 1 together).
    """
    sae = StandardSAE(StandardSAEConfig(d_in=d_in, d_sae=2, **config)).requires_grad_(False)
    for parameter in sae.parameters():
        parameter.zero_()
    sae.W_enc[0, 0] = sae.W_enc[2, 1] = 1.0
    sae.W_dec[0, 1], sae.W_dec[1, 0], sae.W_dec[1, 3] = 1.0, 0.6, 0.8
    return sae


@pytest.fixture
def lens():
    return Lens(made(), HOOK, True)


def stream(language, rows, mask=EVERYWHERE):
    """What the next block reads, as the interventions leave it, and what it would have read."""
    seen = []
    steering = Steering(language, rows)
    with (
        torch.no_grad(),
        observe_hook(resolve_hook(language.model, AFTER), lambda x: seen.append(x.clone())),
    ):
        language.model(IDS)
        with steering.at(mask):
            language.model(IDS)
    return seen[1], seen[0]


def formula(intervention, y):
    a0, a1 = y[..., 0].clamp(min=0), y[..., 2].clamp(min=0)
    a, d = (
        (a0, torch.zeros_like(y[0, 0]))
        if intervention.index == 0
        else (a1, torch.zeros_like(y[0, 0]))
    )
    if intervention.index == 0:
        d[1] = 1.0
    else:
        d[0], d[3] = 0.6, 0.8
    s, m, a = intervention.strength, intervention.maximum, a[..., None]
    return {
        "add": y + (s * y.norm(dim=-1, keepdim=True) if intervention.unit == "norm" else s * m) * d,
        "clamp": y + (s * m - a) * d,
        "scale": y + (s - 1) * a * d,
        "ablate": y - a * d,
        "project": y - (y @ d)[..., None] * d,
    }[intervention.method]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("method", ["add", "norm", "clamp", "scale", "ablate", "project"])
def test_every_method_is_its_formula(language, lens, method, index):
    unit = "norm" if method == "norm" else "maximum"
    intervention = FeatureIntervention(
        lens, index, "add" if method == "norm" else method, -1.5, unit, 2.0
    )
    after, before = stream(language, [[], [intervention], [intervention]])
    torch.testing.assert_close(after[1:], formula(intervention, before)[1:], rtol=1e-6, atol=1e-6)
    if index == 0 and method != "norm":
        assert torch.equal(after[1:], formula(intervention, before)[1:]), "in eighths it is exact"
    assert torch.equal(after[0], before[0]), "a row without interventions is left alone"


def test_ablating_what_is_at_zero_changes_nothing(language, lens):
    intervention = FeatureIntervention(lens, 0, "ablate")
    after, before = stream(language, [[intervention]] * 3)
    silent = before[..., 0] <= 0
    assert silent.any()
    assert not silent.all()
    assert torch.equal(after[silent], before[silent])
    assert (after[~silent] != before[~silent]).any(-1).all()


def test_only_the_positions_of_the_mask_are_changed(language, lens):
    mask = torch.zeros_like(EVERYWHERE)
    mask[0, 1] = mask[2, 3] = True
    after, before = stream(
        language, [[FeatureIntervention(lens, 0, "add", 1.0, "maximum", 2.0)]] * 3, mask
    )
    assert torch.equal((after != before).any(-1), mask)


def test_features_read_what_arrives_before_any_of_them_changes_it(language, lens):
    second = Lens(made(), HOOK, True)
    interventions = [
        FeatureIntervention(lens, 1, "scale", 3.0),
        FeatureIntervention(second, 0, "clamp", 2.0, maximum=1.0),
        FeatureIntervention(lens, 0, "add", 1.0, maximum=2.0),
    ]
    after, before = stream(language, [interventions, interventions[::-1], []])
    expected = (
        sum(formula(intervention, before) - before for intervention in interventions) + before
    )
    torch.testing.assert_close(after[:2], expected[:2], rtol=1e-6, atol=1e-6)


def test_directions_are_projected_out_last_and_together(language, lens):
    interventions = [
        FeatureIntervention(lens, 0, "project"),
        FeatureIntervention(lens, 1, "project"),
        FeatureIntervention(lens, 0, "add", 5.0, maximum=2.0),
    ]
    after, before = stream(
        language, [interventions, [*interventions, FeatureIntervention(lens, 0, "project")], []]
    )
    for row in (0, 1):
        torch.testing.assert_close(
            after[row] @ lens.sae.W_dec.T, torch.zeros(4, 2), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(after[row][:, 4:], before[row][:, 4:])


@pytest.mark.parametrize("mode", ["layer_norm", "constant_norm_rescale"])
def test_an_sae_that_normalises_tokens_is_steered_in_their_own_units(language, mode):
    sae = made(normalize_activations=mode)
    lens = Lens(sae, HOOK, True)
    after, before = stream(
        language,
        [
            [FeatureIntervention(lens, 0, "ablate")],
            [FeatureIntervention(lens, 0, "add", 2.0, maximum=1.5)],
            [],
        ],
    )
    codes = sae.encode(before[0])
    full = sae.decode(codes)
    sae.encode(before[0])
    without = sae.decode(codes * torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(after[0], before[0] + without - full, rtol=1e-5, atol=1e-5)
    codes = sae.encode(before[1])
    full = sae.decode(codes)
    sae.encode(before[1])
    more = sae.decode(codes + torch.tensor([3.0, 0.0]))
    torch.testing.assert_close(after[1], before[1] + more - full, rtol=1e-5, atol=1e-5)


def test_a_topk_is_ablated_as_it_was_chosen_among_all(language):
    lens = Lens(planted_sae.sae("topk", exact=True), HOOK, True)
    codes = lens.sae.encode(planted_stream(language)).flatten(0, 1)
    index = int((codes > 0).sum(0).argmax())
    after, before = stream(language, [[FeatureIntervention(lens, index, "ablate")]] * 3)
    codes = lens.sae.encode(before)
    kept = codes.clone()
    kept[..., index] = 0
    expected = before + (kept - codes) @ lens.sae.W_dec
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-5)


def planted_stream(language):
    seen = []
    with (
        torch.no_grad(),
        observe_hook(resolve_hook(language.model, HOOK), lambda x: seen.append(x.clone())),
    ):
        language.model(IDS)
    return seen[0]


def test_a_control_has_the_length_of_what_it_stands_for(language, lens):
    direction = torch.randn(planted_sae.HIDDEN) * 7
    intervention = FeatureIntervention(lens, 1, "add", 2.0, "maximum", 3.0, direction)
    after, before = stream(language, [[intervention]] * 3)
    change = after - before
    torch.testing.assert_close(change.norm(dim=-1), torch.full((3, 4), 6.0))
    torch.testing.assert_close(change[0, 0] / 6, direction / direction.norm())


def test_a_hook_that_is_not_reached_is_told_and_no_text_goes_by_unsteered(language, lens):
    steering = Steering(language, [[FeatureIntervention(lens, 0, "ablate")]])
    with pytest.raises(InvalidInput, match="cannot be steered"), steering.at(EVERYWHERE[:1]):
        pass


def test_an_sae_of_another_model_is_refused(language):
    with pytest.raises(InvalidInput, match="reads 24 dimensions") as refused:
        Steering(language, [[FeatureIntervention(Lens(made(d_in=24), HOOK, True), 0)]])
    assert refused.value.field == "hook"
    with pytest.raises(InvalidInput, match="no hook"):
        Steering(
            language, [[FeatureIntervention(Lens(made(), "blocks.9.hook_resid_post", True), 0)]]
        )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"strength": 1e9}, "strength"),
        ({"strength": math.nan}, "strength"),
        ({"strength": -math.inf}, "strength"),
        ({"index": 2}, "index"),
        ({"index": -1}, "index"),
        ({"maximum": 0.0}, "unit"),
    ],
)
def test_pushes_that_make_no_sense_are_refused(lens, changes, field):
    intervention = FeatureIntervention(lens, 0, "add", 1.0, "maximum", 2.0)
    validate_interventions([intervention])
    with pytest.raises(InvalidInput) as refused:
        validate_interventions([intervention._replace(**changes)])
    assert refused.value.field == field


@pytest.mark.parametrize("count", [0, MAX_INTERVENTIONS + 1, 200])
def test_no_feature_and_too_many_are_refused(lens, count):
    with pytest.raises(InvalidInput, match="1 to 32") as refused:
        validate_interventions([FeatureIntervention(lens, 0, "ablate")] * count)
    assert refused.value.field == "features"
