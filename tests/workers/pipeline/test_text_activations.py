"""A typed text through model and SAEs: what Hugging Face's own hidden states and the SAE's own
encoder say.
"""

import pytest
import torch

from features.records import InvalidInput
from tests.workers import planted_sae
from workers.pipeline.steering import text_activations
from workers.pipeline.steering.text_activations import Lens, TextActivations

TEXT = "def cat(self):\n    return 日本 🧠"
KINDS = ["topk", "standard", "jumprelu", "gated", "batchtopk"]


def plain(language, sae, ids, layer):
    """Hidden states of the whole model, then the SAE's encoder on the tokens that are
    not special.
    """
    with torch.no_grad():
        states = language.model(
            input_ids=torch.tensor([ids]), output_hidden_states=True
        ).hidden_states
        codes = sae.encode(states[layer + 1][0]).clamp(min=0)
    codes[torch.isin(torch.tensor(ids), language.special_ids)] = 0
    return codes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bos", [True, False])
def test_every_value_is_that_of_a_plain_forward_pass(llama, kind, bos):
    sae = planted_sae.sae(kind)
    lens = Lens(sae, "blocks.0.hook_resid_post", bos)
    reader = TextActivations(llama)
    ids, tokens = reader.features_of_text({"a": lens}, TEXT)["a"]
    assert (
        ids
        == ([llama.tokenizer.bos_token_id] if bos else [])
        + llama.tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    )
    codes = plain(llama, sae, ids, 0)
    for place, token in enumerate(tokens):
        fires = {i: v for i, v in enumerate(codes[place].tolist()) if v > 0}
        assert dict(zip(token.features, token.values, strict=True)) == pytest.approx(
            fires, rel=1e-5, abs=1e-5
        )
        assert token.values == sorted(token.values, reverse=True)
    for index in range(sae.cfg.d_sae):
        found, values = reader.feature_activations(lens, index, TEXT)
        assert found == ids
        assert values == pytest.approx(codes[:, index].tolist(), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("bos", [True, False])
def test_a_stored_context_is_read_as_it_is(llama, bos):
    sae = planted_sae.sae("topk")
    end = llama.tokenizer.eos_token_id
    ids = [end, *llama.tokenizer("cat saw", add_special_tokens=False)["input_ids"], end, 70, 71]
    found, tokens = TextActivations(llama).features_of_context(
        {"a": Lens(sae, "blocks.0.hook_resid_post", bos)}, ids
    )["a"]
    assert found == ids, "whatever the SAE asks for, no BOS is added"
    codes = plain(llama, sae, ids, 0)
    for place, token in enumerate(tokens):
        fires = {i: v for i, v in enumerate(codes[place].tolist()) if v > 0}
        assert dict(zip(token.features, token.values, strict=True)) == pytest.approx(
            fires, rel=1e-5, abs=1e-5
        )
    assert tokens[0].features == tokens[-3].features == []


@pytest.mark.parametrize("ids", [[], [5] * 65])
def test_a_context_that_does_not_fit_is_refused(llama, ids):
    with pytest.raises(InvalidInput, match="reads 1 to 64") as refused:
        TextActivations(llama).features_of_context(
            {"a": Lens(planted_sae.sae("topk"), "blocks.0.hook_resid_post", True)}, ids
        )
    assert refused.value.field == "context"


def test_a_wide_sae_in_tiles_gives_the_same(llama, monkeypatch):
    sae = planted_sae.sae("standard")
    lens = {"a": Lens(sae, "blocks.0.hook_resid_post", True)}
    whole = TextActivations(llama).features_of_text(lens, TEXT)
    monkeypatch.setattr("workers.pipeline.dashboards.encoding.TILE", 5)
    assert [t.features for t in TextActivations(llama).features_of_text(lens, TEXT)["a"][1]] == [
        t.features for t in whole["a"][1]
    ]


def test_only_the_strongest_are_kept(llama, monkeypatch):
    lens = {"a": Lens(planted_sae.sae("standard"), "blocks.0.hook_resid_post", True)}
    every = TextActivations(llama).features_of_text(lens, TEXT)["a"][1]
    monkeypatch.setattr(text_activations, "MAX_FEATURES_PER_TOKEN", 3)
    few = TextActivations(llama).features_of_text(lens, TEXT)["a"][1]
    assert [t.features for t in few] == [t.features[:3] for t in every]
    assert max(len(t.features) for t in every) > 3


def test_the_model_runs_once_for_a_text_however_many_features_are_asked_for(llama):
    runs = []
    llama.model.model.layers[0].register_forward_hook(lambda *_: runs.append(1))
    sae = planted_sae.sae("topk")
    first, second = (
        Lens(sae, "blocks.0.hook_resid_post", True),
        Lens(sae, "blocks.1.hook_resid_post", True),
    )
    reader = TextActivations(llama)
    reader.features_of_text({"a": first, "b": second}, TEXT)
    for index in range(4):
        reader.feature_activations(first, index, TEXT)
        reader.feature_activations(second, index, TEXT)
    assert len(runs) == 1
    reader.feature_activations(first._replace(prepend_bos=False), 0, TEXT)
    assert len(runs) == 2


def test_the_texts_kept_are_the_last_ones(llama):
    lens = Lens(planted_sae.sae("topk"), "blocks.0.hook_resid_post", True)
    reader = TextActivations(llama)
    for n in range(5, 5 + 2 * text_activations.MAX_CACHED_TEXTS):
        reader.feature_activations(lens, 0, f"cat {n}")
    assert len(reader._cache) == text_activations.MAX_CACHED_TEXTS


@pytest.mark.parametrize(
    ("text", "index", "field", "said"),
    [
        ("", 0, "text", "no token"),
        (" cat" * 500, 0, "text", "at most 63"),
        (" cat", 10_000, "index", "features 0 to"),
    ],
)
def test_what_cannot_be_read_says_why(llama, text, index, field, said):
    lens = Lens(planted_sae.sae("topk"), "blocks.0.hook_resid_post", True)
    with pytest.raises(InvalidInput, match=said) as refused:
        TextActivations(llama).feature_activations(lens, index, text)
    assert refused.value.field == field
