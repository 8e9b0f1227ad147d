"""Whatever SAELens saves goes through `load_sae`, `dashboards` and `evaluate`, and shows what its
own definition says.
"""

from contextlib import ExitStack

import pytest
import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_class, get_sae_training_class
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from features.records import Evaluation, FeatureRange, FeatureRecord, InvalidInput, LogLine
from tests.workers import planted_sae
from tests.workers.pipeline.test_hooks import CONFIGS, FAMILIES, SIZE
from workers.pipeline.dashboards.compute import compute_dashboards
from workers.pipeline.dashboards.logit_lens import find_readout, masked_tokens
from workers.pipeline.model.hooks import observe_hook, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.evaluate import evaluate
from workers.pipeline.sae.io import load_sae
from workers.pipeline.steering.interventions import FeatureIntervention
from workers.pipeline.steering.steered_forward import Steering
from workers.pipeline.steering.text_activations import Lens, TextActivations

RESID, Z, MLP_IN = "blocks.1.hook_resid_post", "blocks.1.attn.hook_z", "blocks.1.mlp.hook_in"
ATTN_OUT, MLP_OUT = "blocks.1.hook_attn_out", "blocks.1.hook_mlp_out"
SPECIFIC = {"topk": {"k": 4, "rescale_acts_by_decoder_norm": True}, "abstopk": {"k": 4}}
TRAINED = {
    "batchtopk": {"k": 4.0},
    "matryoshka_batchtopk": {"k": 4.0, "matryoshka_widths": [16, 48]},
}
SAES = ["standard", "gated", "jumprelu", "topk"]
TRANSCODERS = ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"]
SEQUENCES = planted_sae.texts(24, 20)
IDS = torch.tensor([record.token_ids for record in SEQUENCES])
COUNTED = ~torch.isin(IDS, torch.tensor([planted_sae.BOS, planted_sae.EOS]))


@pytest.fixture(scope="module")
def language() -> Language:
    """A three-layer Llama whose attention is 48 wide inside and 32 outside."""
    torch.manual_seed(0)
    size = {
        "vocab_size": planted_sae.VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
    }
    config = LlamaConfig(**size, num_attention_heads=4, head_dim=12, initializer_range=0.3)
    return with_tokens(LlamaForCausalLM(config))


def with_tokens(model) -> Language:
    plain = planted_sae.language()
    return Language(
        model.eval().requires_grad_(False),
        plain.tokenizer,
        plain.device,
        plain.special_ids,
        "planted",
    )


def randomise(sae: SAE) -> SAE:
    """Weights that fire now and then, with decoder norms from 0.5 to 2."""
    sae.requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    for parameter in sae.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    sae.W_dec.mul_((torch.linspace(0.5, 2, 48) / sae.W_dec.norm(dim=-1))[:, None])
    for name in ("threshold", "topk_threshold"):
        if hasattr(sae, name):
            getattr(sae, name).fill_(0.7)
    return sae


def made(architecture: str, hook: str, d_in: int = 32, **options) -> SAE:
    cls, config = get_sae_class(architecture)
    sae = cls(config(d_in=d_in, d_sae=48, **SPECIFIC.get(architecture, {}), **options))
    sae.cfg.metadata.hook_name = hook
    return randomise(sae)


def saved(sae: SAE, folder) -> SAE:
    sae.save_model(folder)
    return load_sae(str(folder))


def activation(language: Language, *hooks: str) -> list[Tensor]:
    """The counted tokens' activations at `hooks`, from the whole model."""
    found: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for hook in hooks:
            point = resolve_hook(language.model, hook)
            stack.enter_context(
                observe_hook(point, lambda x, hook=hook: found.update({hook: x[COUNTED]}))
            )
        language.model(IDS)
    return [found[hook] for hook in hooks]


def shown(language: Language, sae: SAE, hook: str) -> list[FeatureRecord]:
    parts = compute_dashboards(language, sae, hook, SEQUENCES, 10**6)
    return [
        feature for part in parts if isinstance(part, FeatureRange) for feature in part.features
    ]


def measured(language: Language, sae: SAE, hook: str) -> Evaluation:
    return list(evaluate(language, sae, hook, SEQUENCES, 10**6))[-1]


def agree(
    language: Language, sae: SAE, hook: str, codes: Tensor, target: Tensor, rebuilt: Tensor
) -> None:
    """Dashboards show `codes`, and the evaluation measures `rebuilt` against `target`."""
    assert (codes != 0).sum() > 200
    features, values = shown(language, sae, hook), measured(language, sae, hook).values
    most = codes.abs().amax(0)
    torch.testing.assert_close(
        torch.tensor([feature.max_activation for feature in features]), most, atol=1e-3, rtol=1e-3
    )
    assert sum(feature.fires for feature in features) == pytest.approx(
        int((codes != 0).sum()), abs=2
    )
    assert values["l0"] == pytest.approx((codes != 0).double().sum().item() / len(codes), abs=0.01)
    error, total = (
        (target - rebuilt).pow(2).sum().item(),
        (target - target.mean(0)).pow(2).sum().item(),
    )
    assert values["explained_variance"] == pytest.approx(1 - error / total, rel=1e-3)


def as_defined(sae: SAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Activations along unit directions, and the reconstruction, of an SAE as it was saved."""
    codes = sae.encode(x)
    by_norm = getattr(sae.cfg, "rescale_acts_by_decoder_norm", False)
    return codes if by_norm else codes * sae.W_dec.norm(dim=-1), sae(x)


@pytest.mark.parametrize("b_dec_to_input", [True, False])
@pytest.mark.parametrize("mode", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", SAES)
def test_every_architecture_and_norm_shows_what_it_means(
    architecture, mode, b_dec_to_input, language, tmp_path
):
    sae = made(architecture, RESID, normalize_activations=mode, apply_b_dec_to_input=b_dec_to_input)
    (x,) = activation(language, RESID)
    codes, rebuilt = as_defined(sae, x)
    agree(language, saved(sae, tmp_path), RESID, codes, x, rebuilt)


@pytest.mark.parametrize("architecture", TRAINED)
def test_a_batchtopk_is_the_jumprelu_that_it_was_saved_as(architecture, language, tmp_path):
    cls, config = get_sae_training_class(architecture)
    sae = randomise(cls(config(d_in=32, d_sae=48, **TRAINED[architecture])))
    (x,) = activation(language, RESID)
    norms = sae.W_dec.norm(dim=-1)
    before = ((x - sae.b_dec) @ sae.W_enc + sae.b_enc).relu() * norms
    codes = before * (before > 0.7)
    sae.save_inference_model(tmp_path)
    agree(language, load_sae(str(tmp_path)), RESID, codes, x, codes / norms @ sae.W_dec + sae.b_dec)


def test_matching_pursuit_is_read_as_it_is(language, tmp_path):
    sae = made("matching_pursuit", RESID, max_iterations=5)
    sae.W_dec.div_(sae.W_dec.norm(dim=-1, keepdim=True))
    (x,) = activation(language, RESID)
    agree(language, saved(sae, tmp_path), RESID, sae.encode(x), x, sae(x))


def test_features_that_fire_in_both_directions_are_shown_in_both(language, tmp_path):
    sae = made("abstopk", RESID, rescale_acts_by_decoder_norm=True)
    (x,) = activation(language, RESID)
    codes = sae.encode(x)
    loaded = saved(sae, tmp_path)
    agree(language, loaded, RESID, codes, x, sae(x))
    features = shown(language, loaded, RESID)
    assert [sum(feature.histogram) for feature in features] == (codes != 0).sum(0).tolist()
    means = codes.abs().sum(0) / (codes != 0).sum(0).clamp(min=1)
    torch.testing.assert_close(
        torch.tensor([feature.mean_activation for feature in features]), means, atol=1e-4, rtol=1e-4
    )
    tops = torch.tensor(
        [
            top.values[top.positions.index(top.peak)] if feature.examples else 0.0
            for feature in features
            for top in feature.examples[:1] or [None]
        ]
    )
    strongest = codes.gather(0, codes.abs().argmax(0)[None])[0]
    assert (strongest < 0).sum() > 5
    torch.testing.assert_close(tops, strongest, atol=1e-3, rtol=1e-3)
    lines = [
        line.text
        for line in compute_dashboards(language, loaded, RESID, SEQUENCES, 9)
        if isinstance(line, LogLine)
    ]
    assert "both directions" in lines[0]


def steered_activation(language: Language, intervention: FeatureIntervention) -> Tensor:
    """The counted tokens' activations of the first context at the hook, steered everywhere."""
    steering, found = Steering(language, [[intervention]]), []
    point = resolve_hook(language.model, RESID)
    with (
        steering.at(torch.ones(1, IDS.shape[1], dtype=torch.bool)),
        observe_hook(point, found.append),
    ):
        language.model(IDS[:1])
    return found[0][0][COUNTED[0]]


def test_what_fires_below_zero_is_read_in_a_text_ablated_and_clamped(language, tmp_path):
    sae = saved(made("abstopk", RESID, rescale_acts_by_decoder_norm=True), tmp_path)
    lens, ids = Lens(sae, RESID, False), SEQUENCES[0].token_ids
    (x,) = activation(language, RESID)
    counted = int(COUNTED[0].sum())
    codes = sae.encode(x[:counted])
    _, tokens = TextActivations(language).features_of_context({"it": lens}, ids)["it"]
    fired = [token for token, counts in zip(tokens, COUNTED[0].tolist(), strict=True) if counts]
    for token, expected in zip(fired, codes, strict=True):
        order = expected.abs().argsort(descending=True)[:4]
        assert token.features == order.tolist()
        assert token.values == pytest.approx(expected[order].tolist(), abs=1e-4)
    place, index = (codes < -0.5).nonzero()[0].tolist()
    value, direction = codes[place, index], sae.W_dec[index]
    for method, change in (
        ("ablate", -value * direction),
        ("scale", (3.0 - 1) * value * direction),
        ("clamp", (3.0 * 2.0 - value) * direction),
    ):
        intervention = FeatureIntervention(lens, index, method, 3.0, maximum=2.0)
        edited = steered_activation(language, intervention)
        torch.testing.assert_close(edited[place] - x[place], change, atol=1e-3, rtol=1e-3)


def test_hook_z_with_reshaping_is_read_flat(language, tmp_path):
    sae = made("standard", Z, d_in=48, reshape_activations="hook_z")
    (z,) = activation(language, Z)
    codes, rebuilt = as_defined(sae, z.unflatten(-1, (4, 12)))
    agree(language, saved(sae, tmp_path), Z, codes, z, rebuilt.flatten(-2))


@pytest.mark.parametrize(("read", "written", "d_in"), [(MLP_IN, MLP_OUT, 32), (Z, ATTN_OUT, 48)])
@pytest.mark.parametrize("architecture", TRANSCODERS)
def test_a_transcoder_reads_one_hook_and_is_measured_at_another(
    architecture, read, written, d_in, language, tmp_path
):
    sae = made(architecture, read, d_in=d_in, d_out=32, apply_b_dec_to_input=False)
    sae.cfg.metadata.hook_name_out = written
    x, target = activation(language, read, written)
    loaded = saved(sae, tmp_path)
    agree(language, loaded, read, *as_defined(sae, x)[:1], target, sae(x))
    directions = sae.W_dec / sae.W_dec.norm(dim=-1, keepdim=True)
    effects = find_readout(language.model, masked_tokens(language)).logits(directions)
    tops = torch.tensor([feature.top_logits[0] for feature in shown(language, loaded, read)])
    torch.testing.assert_close(tops, effects.amax(1))


def test_a_transcoder_that_is_the_part_it_replaces_costs_the_model_nothing(language, tmp_path):
    sae = made("skip_transcoder", Z, d_in=48, d_out=32, apply_b_dec_to_input=False)
    sae.cfg.metadata.hook_name_out = ATTN_OUT
    sae.b_enc.fill_(-1e6)
    sae.b_dec.zero_()
    sae.W_skip.copy_(resolve_hook(language.model, Z).module.weight)
    values = measured(language, saved(sae, tmp_path), Z).values
    assert values["explained_variance"] == pytest.approx(1, abs=1e-6)
    assert values["ce_sae"] == pytest.approx(values["ce_original"], abs=1e-6)
    assert values["kl_zero"] > 0.01


@pytest.mark.parametrize(
    ("read", "written", "d_out", "says"),
    [
        (MLP_IN, None, 32, "hook_name_out"),
        (MLP_IN, "blocks.1.hook_mlp_out", 30, "30 dimensions"),
        ("blocks.1.hook_resid_post", MLP_OUT, 32, "comes before"),
    ],
)
def test_a_transcoder_whose_hooks_do_not_fit_is_refused(
    read, written, d_out, says, language, tmp_path
):
    sae = made("transcoder", read, d_out=d_out, apply_b_dec_to_input=False)
    if written:
        sae.cfg.metadata.hook_name_out = written
    loaded = saved(sae, tmp_path)
    with pytest.raises(InvalidInput, match=says):
        measured(language, loaded, read)
    if says != "comes before":
        with pytest.raises(InvalidInput, match=says):
            shown(language, loaded, read)


def test_an_sae_that_writes_where_only_the_mlp_reads_has_no_logits(language, tmp_path):
    with pytest.raises(InvalidInput, match="only the MLP reads"):
        shown(language, saved(made("standard", MLP_IN), tmp_path), MLP_IN)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_read_from_its_own_weights(family, languages, tmp_path):
    torch.manual_seed(0)
    size = SIZE | {"vocab_size": planted_sae.VOCABULARY}
    model = (
        languages[family].model
        if family in languages
        else AutoModelForCausalLM.from_config(CONFIGS[family](**size))
    )
    language, sae = with_tokens(model), made("topk", RESID)
    with torch.no_grad():
        x = model(IDS, output_hidden_states=True).hidden_states[2][COUNTED]
    agree(language, saved(sae, tmp_path), RESID, sae.encode(x), x, sae(x))
