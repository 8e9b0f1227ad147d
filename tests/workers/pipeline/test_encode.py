"""An SAE read in tiles of features gives the very records that it gives whole."""

import pytest
import torch
from sae_lens.registry import SAE_CLASS_REGISTRY

from features.records import FeatureRange
from tests.workers import planted_sae
from workers.pipeline.dashboards import encoding
from workers.pipeline.dashboards.compute import DashboardSettings, compute_dashboards
from workers.pipeline.dashboards.encoding import PER_FEATURE_ENCODERS, tile, tiles

ALL = 10**9


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated", "batchtopk", "topk"])
def test_tiles_change_no_record(monkeypatch: pytest.MonkeyPatch, architecture: str) -> None:
    language, sae = planted_sae.language(exact=True), planted_sae.sae(architecture, exact=True)
    if architecture == "gated":
        sae.r_mag.zero_()

    def made():
        seen: list[int] = []
        handle = sae.hook_sae_acts_post.register_forward_hook(
            lambda module, args, output: seen.append(output.shape[1])
        )
        records = compute_dashboards(
            language,
            sae,
            planted_sae.HOOK,
            planted_sae.texts(40, 24),
            ALL,
            DashboardSettings(batch_sequences=8),
        )
        features = [
            feature
            for part in records
            if isinstance(part, FeatureRange)
            for feature in part.features
        ]
        handle.remove()
        return features, set(seen)

    whole, width = made()
    monkeypatch.setattr(encoding, "TILE", 23)
    parts, widths = made()
    assert parts == whole
    assert sum(feature.fires for feature in whole) > 1000
    assert (width, widths) == ({64}, {64} if architecture == "topk" else {23, 18})


@pytest.mark.parametrize("kind", PER_FEATURE_ENCODERS)
def test_each_tile_encodes_its_features_as_the_whole_does_and_copies_no_weights(kind) -> None:
    torch.manual_seed(0)
    config = dict(SAE_CLASS_REGISTRY.values())[kind]
    out = {"d_out": 16, "apply_b_dec_to_input": False} if "Transcoder" in kind.__name__ else {}
    sae = kind(config(d_in=16, d_sae=50, **out)).requires_grad_(False)
    for parameter in sae.parameters():
        parameter.copy_(torch.randn_like(parameter) / 2)
    read = torch.randn(30, 16)
    dense = sae.encode(read)
    parts = list(tiles(sae, 20))
    assert [(first, part.cfg.d_sae) for first, part in parts] == [(0, 20), (20, 20), (40, 10)]
    assert (dense > 0).sum() > 100
    torch.testing.assert_close(torch.cat([part.encode(read) for _, part in parts], 1), dense)
    assert sae.cfg.d_sae == 50
    assert parts[1][1].W_enc.untyped_storage().data_ptr() == sae.W_enc.untyped_storage().data_ptr()
    assert torch.equal(tile(sae, 7, 9).W_dec, sae.W_dec[7:9])


def test_an_encoder_that_chooses_among_all_features_gets_them_all() -> None:
    sae = planted_sae.sae("topk")
    assert list(tiles(sae, 8)) == [(0, sae)]
