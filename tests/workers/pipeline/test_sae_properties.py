"""Whatever is in the files of an SAE: it is loaded, or refused in a sentence at `source`."""

import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from features.records import InvalidInput
from workers.pipeline.sae.claims import parse_claims
from workers.pipeline.sae.folder import CONFIG, WEIGHTS
from workers.pipeline.sae.io import load_sae
from workers.pipeline.sae.settings import HONOURED, REFUSED, describe_settings
from workers.pipeline.sae.sources import copy_from_folder

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
THOROUGH = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
D_IN, D_SAE = 4, 6
BASE = {"architecture": "standard", "d_in": D_IN, "d_sae": D_SAE, "dtype": "float32"}
SPARSIFY = {"k": 2, "d_in": D_IN, "num_latents": D_SAE}
ARCHITECTURES = ["standard", "gated", "jumprelu", "topk", "abstopk", "batchtopk", "transcoder"]
SHAPES = {
    "W_enc": (D_IN, D_SAE),
    "W_dec": (D_SAE, D_IN),
    "b_enc": (D_SAE,),
    "b_dec": (D_IN,),
    "threshold": (D_SAE,),
    "b_gate": (D_SAE,),
    "encoder.weight": (D_SAE, D_IN),
    "encoder.bias": (D_SAE,),
}
STANDARD, FOREIGN = ("W_enc", "W_dec", "b_enc", "b_dec"), ("encoder.weight", "encoder.bias")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([*ARCHITECTURES, "none", "relu", "tanh-relu", "layer_norm", "hook_z", "6.5.0"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["k", "signed"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(sorted({*HONOURED, *REFUSED, "seqpos_slice", "dtype"})) | st.text(
    max_size=9
)
CHANGES = st.dictionaries(NAMES, VALUES, max_size=4)
DTYPES = st.sampled_from(
    [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.int8]
)


@st.composite
def tensors(draw: Any, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """The tensors, some of them missing, of other shapes or types, or not finite; or others."""
    weights = {}
    present = draw(st.sets(st.sampled_from(sorted(SHAPES)), max_size=1)) | set(names)
    for name in sorted(present - draw(st.sets(st.sampled_from(names), max_size=1))):
        shape = SHAPES[name]
        if draw(st.integers(0, 5)) == 0:
            shape = tuple(draw(st.lists(st.integers(0, 7), max_size=3)))
        tensor = torch.full(
            shape, draw(st.sampled_from([0.5, 0.0, -1.0, 1e30, math.nan, math.inf]))
        )
        weights[name] = tensor.nan_to_num().to(draw(DTYPES)) if draw(st.booleans()) else tensor
    return weights


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """The bytes as they are, cut, or with some changed."""
    kind = draw(st.sampled_from(["whole", "whole", "cut", "changed"]))
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if kind == "changed":
        places = draw(st.lists(st.tuples(st.integers(0, max(len(content) - 1, 0)), st.binary(min_size=1, max_size=1)), max_size=4))  # fmt: skip # noqa: E501
        for place, byte in places:
            content = content[:place] + byte + content[place + 1 :]
    return content


def loads_or_refuses(files: dict[str, bytes]) -> None:
    """Import the folder as a job does, and run the SAE."""
    folder = Path(tempfile.mkdtemp())
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        try:
            fetched = copy_from_folder(str(folder), folder / "target")
            describe_settings(fetched.config)
            sae = load_sae(str(folder / "target"))
            parse_claims(sae)
        except InvalidInput as error:
            if error.field != "source" or not error.message:
                raise
            return
        assert sae.encode(torch.ones(3, sae.cfg.d_in)).shape == (3, sae.cfg.d_sae)
    finally:
        shutil.rmtree(folder)


@st.composite
def saelens_folders(draw: Any) -> dict[str, bytes]:
    config = {**BASE, "architecture": draw(st.sampled_from(ARCHITECTURES)), "k": 2}
    config = (config if draw(st.booleans()) else BASE) | draw(CHANGES)
    if draw(st.booleans()):
        config["metadata"] = draw(CHANGES)
    weights = draw(tensors(STANDARD))
    return {
        CONFIG: draw(damaged(json.dumps(config).encode())),
        WEIGHTS: draw(damaged(save(weights))),
    }


@st.composite
def sparsify_folders(draw: Any) -> dict[str, bytes]:
    names = st.sampled_from(["k", "signed", "activation", "d_in", "num_latents", "hookpoint"])
    config = SPARSIFY | draw(st.dictionaries(names | st.text(max_size=4), VALUES, max_size=2))
    weights = draw(tensors((*FOREIGN, "W_dec", "b_dec")))
    return {
        CONFIG: draw(damaged(json.dumps(config).encode())),
        "sae.safetensors": draw(damaged(save(weights))),
    }


@st.composite
def gemma_folders(draw: Any) -> dict[str, bytes]:
    weights = draw(tensors((*STANDARD, "threshold")))
    arrays = {name: tensor.float().numpy() for name, tensor in weights.items()}
    if draw(st.integers(0, 9)) == 0:
        arrays["W_enc"] = np.array([{"a": 1}], dtype=object)
    with tempfile.TemporaryFile() as file:
        np.savez(file, **arrays)
        file.seek(0)
        return {"params.npz": draw(damaged(file.read()))}


READERS = {"saelens": saelens_folders, "sparsify": sparsify_folders, "gemma": gemma_folders}


@pytest.mark.parametrize("reader", READERS)
def test_any_folder_is_loaded_or_refused(reader):
    QUICK(given(READERS[reader]())(loads_or_refuses))()


@pytest.mark.full
@pytest.mark.parametrize("reader", READERS)
def test_ten_thousand_folders_are_loaded_or_refused(reader):
    THOROUGH(given(READERS[reader]())(loads_or_refuses))()
