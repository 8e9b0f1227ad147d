"""SAEs of other libraries are read as their formats define them, or named with the way in."""

import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from features.records import InvalidInput
from workers.pipeline.sae.folder import CONFIG, WEIGHTS
from workers.pipeline.sae.io import load_sae
from workers.pipeline.sae.settings import describe_settings
from workers.pipeline.sae.sources import copy_from_folder

D_IN, D_SAE, K = 16, 48, 4
X = torch.randn(50, D_IN, generator=torch.Generator().manual_seed(0))
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
SPARSIFY = {
    "expansion_factor": 3,
    "normalize_decoder": True,
    "num_latents": D_SAE,
    "k": K,
    "d_in": D_IN,
}


def tensors(**shapes):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


def sparsify(folder, dtype=torch.float32, **settings):
    """A folder of sparsify, and its tensors."""
    folder.mkdir()
    weights = tensors(
        **{"encoder.weight": (D_SAE, D_IN), "encoder.bias": (D_SAE,)},
        W_dec=(D_SAE, D_IN),
        b_dec=(D_IN,),
    )
    weights["W_dec"] /= weights["W_dec"].norm(dim=1, keepdim=True)
    weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
    save_file(weights, folder / "sae.safetensors")
    (folder / CONFIG).write_text(json.dumps(SPARSIFY | settings))
    return folder, {name: tensor.float() for name, tensor in weights.items()}


def imported(folder, tmp_path):
    fetched = copy_from_folder(str(folder), tmp_path / "target")
    assert describe_settings(fetched.config) == []
    return fetched, load_sae(str(tmp_path / "target"))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sparsify_is_a_topk_of_the_input_without_its_bias(dtype, signed, tmp_path):
    folder, w = sparsify(tmp_path / "layers.5", dtype, signed=signed)
    fetched, sae = imported(folder, tmp_path)
    before = (X - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"]
    before = before if signed else before.relu()
    best = before.abs().topk(K, dim=1).indices
    codes = torch.zeros_like(before).scatter(1, best, before.gather(1, best))
    torch.testing.assert_close(sae.encode(X), codes, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(sae.decode(codes), codes @ w["W_dec"] + w["b_dec"])
    assert fetched.provenance["format"] == "sparsify"
    assert fetched.config["metadata"]["hf_hook_name"] == "layers.5"


def test_gemma_scope_is_a_jumprelu(tmp_path):
    w = tensors(W_enc=(D_IN, D_SAE), W_dec=(D_SAE, D_IN), b_enc=(D_SAE,), b_dec=(D_IN,))
    w["threshold"] = torch.full((D_SAE,), 0.7)
    (tmp_path / "sae").mkdir()
    np.savez(tmp_path / "sae" / "params.npz", **{name: t.numpy() for name, t in w.items()})
    _, sae = imported(tmp_path / "sae" / "params.npz", tmp_path)
    before = X @ w["W_enc"] + w["b_enc"]
    codes = before * (before > 0.7)
    norms = w["W_dec"].norm(dim=1)
    torch.testing.assert_close(sae.encode(X), codes * norms, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        sae.decode(sae.encode(X)), codes @ w["W_dec"] + w["b_dec"], atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("skip", [False, True])
def test_gemma_scope_2_is_a_jumprelu_transcoder_if_it_writes_elsewhere(skip, tmp_path):
    w = tensors(w_enc=(D_IN, D_SAE), w_dec=(D_SAE, D_IN), b_enc=(D_SAE,), b_dec=(D_IN,))
    w["threshold"] = torch.full((D_SAE,), 0.7)
    if skip:
        w |= tensors(affine_skip_connection=(D_IN, D_IN))
    folder = tmp_path / "sae"
    folder.mkdir()
    save_file(w, folder / "params.safetensors")
    settings = {
        "architecture": "jump_relu",
        "model_name": "gemma-3-1b",
        "hf_hook_point_in": "model.layers.3.pre_feedforward_layernorm.output",
        "hf_hook_point_out": "model.layers.3.post_feedforward_layernorm.output",
    }
    (folder / "config.json").write_text(json.dumps(settings))
    _, sae = imported(folder, tmp_path)
    before = X @ w["w_enc"] + w["b_enc"]
    codes = before * (before > 0.7)
    rebuilt = codes @ w["w_dec"] + w["b_dec"]
    rebuilt = rebuilt + X @ w["affine_skip_connection"] if skip else rebuilt
    torch.testing.assert_close(sae(X), rebuilt, atol=1e-3, rtol=1e-3)
    assert ("skip" in sae.cfg.architecture()) == skip


def refusal(source, tmp_path) -> str:
    with pytest.raises(InvalidInput) as caught:
        copy_from_folder(str(source), tmp_path / "target")
    assert caught.value.field == "source"
    return caught.value.message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"activation": "groupmax"}, "groupmax"),
        ({"transcode": True}, "TopK encoder"),
        ({"num_latents": 50}, "num_latents is 50"),
        ({"input_scale": 2.0}, "input_scale"),
        ({"d_in": "16"}, "d_in is '16'"),
    ],
)
def test_what_sparsify_says_and_is_not_understood_is_refused(change, says, tmp_path):
    folder, _ = sparsify(tmp_path / "sae", **change)
    assert says in refusal(folder, tmp_path)


def test_a_k_that_cannot_be_is_refused_when_it_is_loaded(tmp_path):
    folder, _ = sparsify(tmp_path / "sae", k=-1)
    copy_from_folder(str(folder), tmp_path / "target")
    with pytest.raises(InvalidInput, match="k is -1"):
        load_sae(str(tmp_path / "target"))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["ae.pt", "config.json"], "dictionary_learning"),
        (["layer_5.pt"], "layer_5.pt is a pickle"),
        (["Llama-L19.pth"], "Goodfire"),
        (["hyperparams.json"], "release:id"),
        (["model.safetensors"], "W_enc [d_in, d_sae]"),
        (["sae.zip"], "Unpack sae.zip"),
        (["sae_weights-00001-of-00002.safetensors", CONFIG], "sae_weights-00001-of-00002"),
        ([], "has no cfg.json"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_way_in(names, says, tmp_path):
    (tmp_path / "sae").mkdir()
    for name in names:
        (tmp_path / "sae" / name).write_bytes(b"{}")
    assert says in refusal(tmp_path / "sae", tmp_path)


@pytest.mark.parametrize(("name", "says"), [("ae.pt", "pickle"), ("sae.zip", "unpack")])
def test_a_file_that_is_none_of_an_sae_is_refused_as_what_it_is(name, says, tmp_path):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("data.pkl", b"")
    assert says in refusal(tmp_path / name, tmp_path)


def test_an_npz_with_pickled_objects_is_refused(tmp_path):
    (tmp_path / "sae").mkdir()
    np.savez(tmp_path / "sae" / "params.npz", W_enc=np.array([{}], dtype=object))
    assert "allow_pickle" in refusal(tmp_path / "sae", tmp_path)


@pytest.mark.parametrize("name", ["sae.safetensors", "params.npz", WEIGHTS])
def test_a_git_lfs_pointer_is_called_one(name, tmp_path):
    (tmp_path / "sae").mkdir()
    (tmp_path / "sae" / CONFIG).write_text(json.dumps(SPARSIFY))
    (tmp_path / "sae" / name).write_text(POINTER)
    assert f"{name} is a Git LFS pointer" in refusal(tmp_path / "sae", tmp_path)
