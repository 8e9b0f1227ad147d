"""An SAE is loaded on one scale, whatever way it was trained and saved, or refused with what is
wrong.
"""

import hashlib
import json
import re

import pytest
import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_training_class
from sae_lens.training.activation_scaler import ActivationScaler
from safetensors.torch import load_file, save_file

from features.records import InvalidInput
from workers.pipeline.model.hooks import resolve_hook
from workers.pipeline.sae.folder import CONFIG, SCALER, WEIGHTS
from workers.pipeline.sae.folding import inference_form, saved_decoder_norms
from workers.pipeline.sae.io import content_hash, load_sae, save_sae
from workers.pipeline.sae.reconstruct import require_fit

SPECIFIC = {
    "topk": {"k": 4},
    "batchtopk": {"k": 4.0},
    "matryoshka_batchtopk": {"k": 4.0, "matryoshka_widths": [16, 48]},
    "standard": {},
    "jumprelu": {},
    "gated": {},
}
SCALE = 0.25
X = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) * 8


def training_sae(architecture: str):
    """Random weights with decoder norms from 0.2 to 3, trained (it says) on inputs multiplied by a
    scale.
    """
    torch.manual_seed(1)
    cls, config = get_sae_training_class(architecture)
    mode = "expected_average_only_in"
    sae = cls(config(d_in=16, d_sae=48, normalize_activations=mode, **SPECIFIC[architecture]))
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            if name != "threshold":
                parameter.copy_(torch.randn_like(parameter) * 0.3)
        sae.W_dec.mul_(torch.linspace(0.2, 3, 48)[:, None] / sae.W_dec.norm(dim=-1, keepdim=True))
        if architecture == "jumprelu":
            sae.threshold.uniform_(0.1, 0.5)
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(0.8)
    return sae


def reference(sae, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(activation times decoder norm, reconstruction) in the units of x, straight from the training
    SAE's definition.
    """
    scaled = x * SCALE
    if hasattr(sae, "topk_threshold"):
        pre = ((scaled - sae.b_dec) @ sae.W_enc + sae.b_enc).relu() * sae.W_dec.norm(dim=-1)
        codes = pre * (pre > sae.topk_threshold)
        return codes / SCALE, (
            codes @ (sae.W_dec / sae.W_dec.norm(dim=-1, keepdim=True)) + sae.b_dec
        ) / SCALE
    codes = sae.encode(scaled)
    by_norm = (
        codes
        if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False)
        else codes * sae.W_dec.norm(dim=-1)
    )
    return by_norm / SCALE, sae.decode(codes) / SCALE


@pytest.mark.parametrize("architecture", SPECIFIC)
def test_a_checkpoint_is_folded_to_unit_decoders_on_the_scale_of_the_model(architecture, tmp_path):
    sae = training_sae(architecture)
    sae.save_model(tmp_path)
    ActivationScaler(scaling_factor=SCALE).save(str(tmp_path / SCALER))
    loaded = load_sae(str(tmp_path))
    with torch.no_grad():
        codes, rebuilt = reference(sae, X)
    assert (codes != 0).any()
    torch.testing.assert_close(loaded.encode(X), codes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(loaded.decode(loaded.encode(X)), rebuilt, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(loaded.W_dec.norm(dim=-1), torch.ones(48))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("architecture", SPECIFIC)
def test_a_checkpoint_without_its_scale_is_refused(architecture, tmp_path):
    training_sae(architecture).save_model(tmp_path)
    assert "unfolded" in refusal(tmp_path).message


@pytest.mark.parametrize("architecture", SPECIFIC)
def test_saving_and_loading_changes_no_activation(architecture, tmp_path):
    sae = training_sae(architecture)
    sae.fold_activation_norm_scaling_factor(SCALE)
    digest = save_sae(sae, str(tmp_path / "sae"), torch.zeros(48))
    loaded = load_sae(str(tmp_path / "sae"))
    again = save_sae(loaded, str(tmp_path / "again"))
    torch.testing.assert_close(load_sae(str(tmp_path / "again")).encode(X), loaded.encode(X))
    assert digest == content_hash(str(tmp_path / "sae")) != again
    theirs = SAE.load_from_disk(tmp_path / "again")
    torch.testing.assert_close(theirs.encode(X), loaded.encode(X))


def test_saving_replaces_what_was_there_and_leaves_nothing_else(tmp_path):
    sae = training_sae("topk")
    (tmp_path / "sae").mkdir()
    (tmp_path / "sae" / "old.txt").write_text("old")
    save_sae(sae, str(tmp_path / "sae"))
    assert [path.name for path in tmp_path.iterdir()] == ["sae"]
    assert sorted(path.name for path in (tmp_path / "sae").iterdir()) == [CONFIG, WEIGHTS]


def test_the_norms_that_are_folded_away_are_kept(tmp_path):
    sae = training_sae("standard")
    sae.fold_activation_norm_scaling_factor(SCALE)
    save_sae(sae, str(tmp_path / "sae"))
    loaded = load_sae(str(tmp_path / "sae"))
    torch.testing.assert_close(saved_decoder_norms(loaded), torch.linspace(0.2, 3, 48) / SCALE)
    assert "saved_decoder_norms" not in loaded.state_dict()
    again = inference_form(training_sae("topk"))  # not loaded: its norms are those of its rows
    assert torch.equal(saved_decoder_norms(again), again.W_dec.norm(dim=1))


def test_a_topk_that_chose_without_decoder_norms_keeps_its_choice(tmp_path):
    cls, config = get_sae_training_class("topk")
    sae = cls(
        config(d_in=16, d_sae=48, k=4, rescale_acts_by_decoder_norm=False, decoder_init_norm=0.5)
    )
    sae.save_model(tmp_path)
    torch.testing.assert_close(load_sae(str(tmp_path)).encode(X), sae.encode(X).detach())


def test_hook_z_is_read_flat(tmp_path):
    sae = training_sae("standard")
    sae.fold_activation_norm_scaling_factor(SCALE)
    sae.cfg.reshape_activations, sae.cfg.metadata.hook_name = "hook_z", "blocks.0.attn.hook_z"
    save_sae(sae, str(tmp_path / "sae"))
    loaded = load_sae(str(tmp_path / "sae"))
    assert loaded.decode(loaded.encode(X)).shape == X.shape


@pytest.fixture
def folder(tmp_path):
    sae = training_sae("standard")
    sae.fold_activation_norm_scaling_factor(SCALE)
    save_sae(sae, str(tmp_path / "sae"))
    return tmp_path / "sae"


def refusal(folder) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_sae(str(folder))
    assert caught.value.field == "source"
    return caught.value


def rewrite(folder, change) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def test_a_renamed_tensor_is_named(folder):
    rewrite(folder, lambda weights: weights.update(encoder=weights.pop("W_enc")))
    message = refusal(folder).message
    assert "lacks W_enc and has encoder too much" in message
    assert "cfg.json says 'standard'" in message


def test_a_tensor_of_another_shape_is_named(folder):
    rewrite(folder, lambda weights: weights.update(b_enc=torch.zeros(47)))
    assert "b_enc is [47]" in (message := refusal(folder).message)
    assert "cfg.json makes it [48]" in message


def test_an_encoder_that_is_stored_the_other_way_round_is_refused(folder):
    rewrite(folder, lambda weights: weights.update(W_enc=weights["W_enc"].T.contiguous()))
    assert "W_enc is [48, 16]" in refusal(folder).message


def test_weights_that_are_not_finite_are_named(folder):
    rewrite(folder, lambda weights: weights["b_dec"].fill_(float("nan")))
    assert "b_dec" in refusal(folder).message


def test_a_pickle_is_refused_as_one(folder):
    (folder / WEIGHTS).rename(folder / "ae.pt")
    assert "ae.pt is a pickle" in refusal(folder).message


def test_a_pickle_under_the_name_of_safetensors_is_refused(folder):
    torch.save({"W_enc": torch.zeros(16, 48)}, folder / WEIGHTS)
    assert "not a whole safetensors file" in refusal(folder).message


@pytest.mark.parametrize("content", ["{", "[]", '{"architecture": "psychic"}', "{}"])
def test_a_broken_configuration_is_refused(folder, content):
    (folder / CONFIG).write_text(content)
    refusal(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"d_sae": 50}, r"but cfg.json makes it \[50, 16\]"),
        ({"d_in": "16"}, "d_in is '16'"),
        ({"d_sae": -1}, "d_sae is -1"),
        ({"architecture": ["standard"]}, "architecture"),
        ({"architecture": "temporal"}, "'temporal'"),
        ({"architecture": "gated"}, "lacks b_gate, b_mag, r_mag and has b_enc too much"),
        ({"architecture": "topk"}, "k is None"),
        ({"architecture": "topk", "k": 49}, "k is 49.*d_sae is 48"),
        ({"normalize_activations": "strange"}, "strange"),
        ({"reshape_activations": "hook_z"}, "hook_z"),
        ({"metadata": None}, "metadata"),
    ],
)
def test_a_setting_that_cannot_be_is_named(folder, change, says):
    config = json.loads((folder / CONFIG).read_text())
    config["metadata"]["hook_name"] = "blocks.0.hook_resid_post"
    (folder / CONFIG).write_text(json.dumps(config | change))
    assert re.search(says, refusal(folder).message)


@pytest.mark.parametrize("content", ["{", "[]", '{"scaling_factor": 0}', '{"scaling_factor": NaN}'])
@pytest.mark.parametrize("architecture", ["standard", "topk"])
def test_a_scale_that_cannot_be_is_refused(architecture, content, tmp_path):
    training_sae(architecture).save_model(tmp_path)
    (tmp_path / SCALER).write_text(content)
    assert SCALER in refusal(tmp_path).message


def test_cut_weights_and_a_missing_folder_are_refused(folder, tmp_path):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    refusal(folder)
    assert "no folder" in refusal(tmp_path / "nowhere").message


def test_an_sae_of_another_width_does_not_fit_the_hook(folder, llama):
    with pytest.raises(InvalidInput, match=r"16 dimensions.*has 32") as caught:
        require_fit(load_sae(str(folder)), resolve_hook(llama.model, "blocks.1.hook_resid_post"))
    assert caught.value.field == "hook"


def test_the_page_of_files_names_what_is_hashed(tmp_path):
    from explorer.views.files import HASHED

    for number, name in enumerate(HASHED):
        (tmp_path / name).write_text(str(number))
    assert content_hash(str(tmp_path)) == hashlib.sha256(b"012").hexdigest()
