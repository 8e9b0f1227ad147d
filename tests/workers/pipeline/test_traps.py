"""Mistakes that cost others months and that no other test stands beside: none of them
happens here.
"""

import json

import pytest
import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig, StandardSAE, StandardSAEConfig
from safetensors.torch import load_file, save_file
from tokenizers import processors

from features.records import Evaluation, FeatureRange, FeatureRecord, InvalidInput
from tests.workers import planted_sae
from tests.workers.conftest import make_tokenizer
from workers.pipeline.dashboards import encoding
from workers.pipeline.dashboards.compute import compute_dashboards
from workers.pipeline.data.tokens import pack
from workers.pipeline.model.language import Language
from workers.pipeline.sae.evaluate import evaluate
from workers.pipeline.sae.folder import CONFIG, SCALER, WEIGHTS
from workers.pipeline.sae.io import load_sae

HOOK = "blocks.1.hook_resid_post"
SEQUENCES = planted_sae.texts(20, 16)
IDS = torch.tensor([record.token_ids for record in SEQUENCES])


def shown(language: Language, sae, hook: str = HOOK) -> list[FeatureRecord]:
    parts = compute_dashboards(language, sae, hook, SEQUENCES, 10**6)
    return [
        feature for part in parts if isinstance(part, FeatureRange) for feature in part.features
    ]


def maxima(features: list[FeatureRecord]) -> torch.Tensor:
    return torch.tensor([feature.max_activation for feature in features])


def on_planted_text(language: Language) -> Language:
    """A model of the other fixtures, with the tokens and special ids of the planted texts."""
    plain = planted_sae.language()
    return Language(language.model, plain.tokenizer, plain.device, plain.special_ids, "planted")


# C3
def test_a_tokenizer_that_adds_bos_itself_does_not_add_a_second_one():
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    assert tokenizer("cat")["input_ids"][0] == 0
    (sequence,) = pack([("a", "The cat saw a dog.")], tokenizer, 6)
    assert sequence.token_ids[0] == 0
    assert 0 not in sequence.token_ids[1:]


# C7
def test_topk_chooses_among_all_features_however_few_tokens_are_encoded_at_once(monkeypatch):
    language, sae = planted_sae.language(), planted_sae.sae("topk")
    whole = shown(language, sae, planted_sae.HOOK)
    monkeypatch.setattr(encoding, "ENCODE_BLOCK", 1)
    single = shown(language, sae, planted_sae.HOOK)
    assert [feature.fires for feature in single] == [feature.fires for feature in whole]
    tokens = int((~torch.isin(IDS, language.special_ids)).sum())
    assert 0 < sum(feature.fires for feature in whole) <= 4 * tokens
    torch.testing.assert_close(maxima(single), maxima(whole))


def cat_at_its_threshold(folder, threshold: float):
    """A folder with an SAE whose only feature is exactly 2 on " cat" and fires above
    `threshold`.
    """
    language = planted_sae.language(exact=True)
    embedding = language.model.get_input_embeddings().weight
    embedding[:, 0] = 0.0
    embedding[planted_sae.CAT, 0] = 2.0
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=planted_sae.HIDDEN, d_sae=1)).requires_grad_(False)
    sae.W_enc.zero_()
    sae.W_dec.zero_()
    sae.W_enc[0], sae.W_dec[0, 0], sae.threshold[0] = 1.0, 1.0, threshold
    sae.save_model(folder)
    return language


# C8
@pytest.mark.parametrize(("threshold", "fires"), [(1.9375, True), (2.0, False)])
def test_an_activation_that_equals_its_threshold_does_not_fire(threshold, fires, tmp_path):
    language = cat_at_its_threshold(tmp_path, threshold)
    (feature,) = shown(language, load_sae(str(tmp_path)), planted_sae.HOOK)
    assert feature.fires == (int((IDS == planted_sae.CAT).sum()) if fires else 0)
    assert (IDS == planted_sae.CAT).any()


# C8, C20
def test_weights_and_thresholds_of_half_precision_are_computed_with_in_float32(tmp_path):
    cat_at_its_threshold(tmp_path, 1.5)
    halves = {name: tensor.bfloat16() for name, tensor in load_file(tmp_path / WEIGHTS).items()}
    save_file(halves, tmp_path / WEIGHTS)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | {"dtype": "bfloat16"}))
    sae = load_sae(str(tmp_path))
    assert {tensor.dtype for tensor in sae.state_dict().values()} == {torch.float32}
    x = torch.zeros(1, planted_sae.HIDDEN)
    x[0, 0] = 1.50390625 + 2**-12  # bfloat16 would round this away
    assert sae.encode(x).item() == x[0, 0].item()


# C14
@pytest.mark.parametrize("work", [compute_dashboards, evaluate])
def test_contexts_longer_than_the_model_takes_are_refused(work, languages):
    language, sae = on_planted_text(languages["gpt2"]), planted_sae.sae("standard")
    with pytest.raises(InvalidInput, match="65 tokens, but the model takes 64") as refused:
        list(work(language, sae, HOOK, planted_sae.texts(2, 65), 100))
    assert refused.value.field == "context_size"
    list(work(language, sae, HOOK, planted_sae.texts(2, 64), 100))


# C4, of an SAE that is no training checkpoint by its configuration
@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu"])
def test_an_inference_sae_that_was_never_folded_is_folded_too(architecture, tmp_path):
    sae = planted_sae.sae(architecture)
    sae.cfg.normalize_activations = "expected_average_only_in"
    sae.save_model(tmp_path)
    (tmp_path / SCALER).write_text('{"scaling_factor": 0.5}')
    x = torch.randn(50, planted_sae.HIDDEN)
    expected = sae.encode(x * 0.5) * sae.W_dec.norm(dim=-1) / 0.5
    assert (expected > 0).any()
    torch.testing.assert_close(load_sae(str(tmp_path)).encode(x), expected, rtol=1e-4, atol=1e-4)


def centred_sae(folder):
    """Trained, it says, on weights whose mean TransformerLens had taken out; feature 0 reads just
    that mean.
    """
    torch.manual_seed(4)
    sae = StandardSAE(StandardSAEConfig(d_in=32, d_sae=40)).requires_grad_(False)
    sae.W_enc.normal_()
    sae.W_enc[:, 0] = 1.0
    sae.cfg.metadata.model_from_pretrained_kwargs = {"center_writing_weights": True}
    sae.save_model(folder)
    return load_sae(str(folder))


# C12
@pytest.mark.parametrize(
    ("family", "centres"), [("gpt2", True), ("gpt_neox", True), ("llama", False)]
)
def test_an_sae_of_a_centred_residual_stream_reads_one_where_the_model_has_layer_norm(
    family, centres, languages, tmp_path
):
    language, sae = on_planted_text(languages[family]), centred_sae(tmp_path)
    with torch.no_grad():
        x = language.model(IDS, output_hidden_states=True).hidden_states[2]
    x = x[~torch.isin(IDS, language.special_ids)]
    read = x - x.mean(-1, keepdim=True) if centres else x
    assert x.mean(-1).abs().max() > 0.1
    codes = sae.encode(read)
    torch.testing.assert_close(maxima(shown(language, sae)), codes.amax(0), atol=1e-3, rtol=1e-3)
    assert (codes[:, 0].max() < 1e-3) == centres
    (result,) = [
        r for r in evaluate(language, sae, HOOK, SEQUENCES, 10**6) if isinstance(r, Evaluation)
    ]
    rebuilt = sae.decode(codes) + (x - read)
    error, total = (x - rebuilt).pow(2).sum().item(), (x - x.mean(0)).pow(2).sum().item()
    assert result.values["explained_variance"] == pytest.approx(1 - error / total, rel=1e-3)


# C12, for hooks that do not write to the residual stream
def test_an_sae_of_hook_z_reads_no_centred_stream(languages, tmp_path):
    language, sae, hook = (
        on_planted_text(languages["gpt2"]),
        centred_sae(tmp_path),
        "blocks.1.attn.hook_z",
    )
    seen = []
    handle = language.model.transformer.h[1].attn.c_proj.register_forward_hook(
        lambda _, args, __: seen.append(args[0])
    )
    language.model(IDS)
    handle.remove()
    codes = sae.encode(seen[0][~torch.isin(IDS, language.special_ids)])
    torch.testing.assert_close(
        maxima(shown(language, sae, hook)), codes.amax(0), atol=1e-3, rtol=1e-3
    )
