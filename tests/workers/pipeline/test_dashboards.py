"""The streaming pass shows what is there, exactly, and does not depend on how it was cut into
pieces.
"""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from sae_lens import SAE
from torch import Tensor

from features.records import (
    FeatureRange,
    FeatureRecord,
    InvalidInput,
    LogLine,
    Progress,
    SequenceRecord,
)
from tests.workers import planted_sae, reference
from workers.pipeline.dashboards import accumulator as accumulator_module
from workers.pipeline.dashboards import candidates
from workers.pipeline.dashboards.accumulator import DashboardSettings
from workers.pipeline.dashboards.compute import compute_dashboards
from workers.pipeline.dashboards.cooccurrence import Cooccurrence
from workers.pipeline.dashboards.corpus_pass import Shard, Target, run_scan
from workers.pipeline.dashboards.records import feature_ranges
from workers.pipeline.model.language import Language

ALL = 10**9
HOOK = planted_sae.HOOK


def ranges(
    language: Language,
    sae: SAE,
    sequences: Sequence[SequenceRecord],
    tokens: int = ALL,
    **settings: int,
):
    made = compute_dashboards(language, sae, HOOK, sequences, tokens, DashboardSettings(**settings))
    return [record for record in made if isinstance(record, FeatureRange)]


def features(*args, **settings: int) -> list[FeatureRecord]:
    return [feature for part in ranges(*args, **settings) for feature in part.features]


def from_corpus(feature: FeatureRecord) -> reference.Statistics:
    return reference.Statistics(
        *feature[: reference.Statistics._fields.index("examples")], feature.examples
    )


def dense_as_encoded(
    language: Language, sae: SAE, sequences: Sequence[SequenceRecord], run
) -> Tensor:
    """The very activations that `run` saw, put back at their places; NaN at special tokens."""
    seen: list[Tensor] = []
    handle = sae.hook_sae_acts_post.register_forward_hook(
        lambda module, args, output: seen.append(output)
    )
    run()
    handle.remove()
    ids = torch.tensor([record.token_ids for record in sequences])
    dense = torch.full((*ids.shape, sae.cfg.d_sae), torch.nan)
    dense[~torch.isin(ids, language.special_ids)] = torch.cat(seen)
    return dense


@pytest.mark.parametrize("architecture", ["topk", "standard", "jumprelu", "batchtopk", "gated"])
def test_the_fast_path_equals_the_reference(architecture: str) -> None:
    language, sae, sequences = (
        planted_sae.language(),
        planted_sae.sae(architecture, 40),
        planted_sae.texts(40, 20),
    )
    made: list[FeatureRecord] = []
    dense = dense_as_encoded(
        language, sae, sequences, lambda: made.extend(features(language, sae, sequences))
    )
    with torch.no_grad():
        ids = torch.tensor([record.token_ids for record in sequences])
        plain = sae.encode(language.model(ids, output_hidden_states=True).hidden_states[1])
    counted = ~dense.isnan()
    torch.testing.assert_close(dense[counted], plain[counted], atol=1e-4, rtol=1e-4)
    expected = reference.statistics(dense, sequences)
    assert sum(feature.fires for feature in expected) > 1000
    for fast, slow in zip(map(from_corpus, made), expected, strict=True):
        assert fast.mean_activation == pytest.approx(slow.mean_activation, rel=1e-6)
        assert fast._replace(mean_activation=0.0) == slow._replace(mean_activation=0.0)
    together = reference.partners(dense)
    assert sum(map(len, together)) > 100
    fired = dense.nan_to_num() > 0
    for feature, expected_partners in zip(made, together, strict=True):
        columns = zip(
            feature.cofiring, feature.cofiring_both, feature.cofiring_jaccards, strict=True
        )
        assert list(columns) == expected_partners
        assert feature.nearest_both == [
            int((fired[..., feature.index] & fired[..., i]).sum()) for i in feature.nearest
        ]


def cat_feature() -> tuple[Language, SAE]:
    """A model and an SAE whose feature 3 is 2.0 on " cat", 32.0 on BOS and 0 on all
    other tokens.
    """
    language, sae = planted_sae.language(exact=True), planted_sae.sae("standard", 8)
    embedding = language.model.get_input_embeddings().weight
    embedding[:, 0] = 0.0
    embedding[planted_sae.CAT, 0], embedding[planted_sae.BOS, 0] = 4.0, 64.0
    sae.W_enc[:, 3], sae.b_enc[3] = 0.0, 0.0
    sae.W_enc[0, 3] = 0.5
    return language, sae


def test_a_feature_planted_on_one_token_gets_exactly_the_expected_dashboard() -> None:
    language, sae = cat_feature()
    sequences = [
        SequenceRecord(0, "one", [planted_sae.BOS, 7, planted_sae.CAT, 8, planted_sae.CAT, 9]),
        SequenceRecord(1, "two", [planted_sae.BOS, 10, 11, 12, 13, 14]),
        SequenceRecord(2, "three", [planted_sae.BOS, 15, planted_sae.EOS, 16, 17, planted_sae.CAT]),
    ]
    feature = features(language, sae, sequences)[3]
    assert (feature.fires, feature.density) == (3, 3 / 14)
    assert (feature.max_activation, feature.mean_activation) == (2.0, 2.0)
    assert (feature.histogram_width, feature.histogram) == (4 / 64, [0] * 32 + [3] + [0] * 31)
    assert feature.band_edges[0] == 17 / 8
    both = {(0, (2, 4), (2.0, 2.0)), (2, (5,), (2.0,))}
    for band in (0, 1):
        shown = {
            (e.sequence, tuple(e.positions), tuple(e.values))
            for e in feature.examples
            if e.band == band
        }
        assert shown == both
    assert [(e.band, e.rank) for e in feature.examples] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [e.peak for e in feature.examples if e.band == 0] == [2, 5]


@pytest.fixture(scope="module")
def exact() -> tuple[Language, SAE, list[SequenceRecord], list[FeatureRecord]]:
    """Activations without rounding, on sequences of two lengths, and their dashboard."""
    language, sae = planted_sae.language(exact=True), planted_sae.sae("topk", exact=True)
    short = [
        record._replace(position=record.position + 60)
        for record in planted_sae.texts(40, 11, seed=1)
    ]
    sequences = planted_sae.texts(60, 24) + short
    return language, sae, sequences, features(language, sae, sequences)


@pytest.mark.parametrize("change", [{}, {"batch_sequences": 1}, {"batch_sequences": 7}])
def test_neither_a_second_run_nor_another_batch_size_changes_the_records(
    exact, change: dict[str, int]
) -> None:
    language, sae, sequences, expected = exact
    assert features(language, sae, sequences, **change) == expected


def test_the_size_of_a_range_changes_no_statistic(exact) -> None:
    language, sae, sequences, expected = exact
    parts = ranges(language, sae, sequences, features_per_range=5)
    assert [(part.start, part.stop) for part in parts] == [
        (i, min(i + 5, 64)) for i in range(0, 64, 5)
    ]
    made = [feature for part in parts for feature in part.features]
    assert [(from_corpus(f), f.cofiring_both) for f in made] == [
        (from_corpus(f), f.cofiring_both) for f in expected
    ]


def test_the_order_of_the_corpus_does_not_matter(exact) -> None:
    language, sae, sequences, expected = exact
    assert features(language, sae, random.Random(0).sample(sequences, len(sequences))) == expected


def test_another_seed_draws_another_sample_and_changes_nothing_else(exact) -> None:
    language, sae, sequences, expected = exact
    other = features(language, sae, sequences, seed=1)
    assert other != expected
    without = [
        feature._replace(examples=[e for e in feature.examples if e.band == 0]) for feature in other
    ]
    assert without == [
        f._replace(examples=[e for e in f.examples if e.band == 0]) for f in expected
    ]


@pytest.mark.parametrize("shards", [2, 4])
def test_shards_merge_to_what_one_pass_makes(exact, shards: int) -> None:
    language, sae, sequences, expected = exact
    settings, targets = DashboardSettings(batch_sequences=8), [Target(sae, HOOK)]
    made = [
        list(run_scan(language, targets, sequences, ALL, settings, Shard(i, shards)))[-1]
        for i in range(shards)
    ]
    whole, *others = random.Random(shards).sample(
        [accumulator for done in made for accumulator in done.accumulators], shards
    )
    for other in others:
        whole.merge(other)
    assert [
        feature for part in feature_ranges(language, sae, HOOK, whole) for feature in part.features
    ] == expected


def test_special_tokens_stay_in_the_context_but_never_peak_or_carry_a_value(exact) -> None:
    language, sae, sequences, expected = exact
    ids = {record.position: record.token_ids for record in sequences}
    shown = [
        (ids[e.sequence], [e.peak, *e.positions]) for feature in expected for e in feature.examples
    ]
    assert len(shown) > 1000
    assert not any(
        token_ids[place] in (planted_sae.BOS, planted_sae.EOS)
        for token_ids, places in shown
        for place in places
    )
    (part,) = ranges(language, sae, sequences)
    assert all(record.token_ids == ids[record.position] for record in part.sequences)
    assert any(planted_sae.EOS in record.token_ids for record in part.sequences)
    assert part.tokens == sum(
        token_id > planted_sae.EOS for token_ids in ids.values() for token_id in token_ids
    )


def test_every_example_is_positive_and_its_sequence_is_at_hand(exact) -> None:
    language, sae, sequences, _ = exact
    for part in ranges(language, sae, sequences, features_per_range=16):
        at_hand = {record.position for record in part.sequences}
        for feature in part.features:
            in_band = Counter((e.band, e.sequence) for e in feature.examples)
            assert set(in_band.values()) <= {1}
            for e in feature.examples:
                assert e.sequence in at_hand
                assert min(e.values) > 0
                value = e.values[e.positions.index(e.peak)]
                assert (
                    value == max(e.values) if e.band == 0 else feature.band_edges[e.band] <= value
                )
                assert e.band == 0 or value < feature.band_edges[e.band - 1]


def test_a_text_that_is_repeated_is_shown_once_among_the_top() -> None:
    language, sae = planted_sae.language(exact=True), planted_sae.sae("topk", exact=True)
    base = planted_sae.texts(30, 24)
    again = [SequenceRecord(30 + i, "copy", base[i % 3].token_ids) for i in range(30)]
    for once, twice in zip(
        features(language, sae, base), features(language, sae, base + again), strict=True
    ):
        assert [e for e in twice.examples if e.band == 0] == [
            e for e in once.examples if e.band == 0
        ]
        assert twice.fires >= once.fires


def test_texts_are_the_same_if_sixteen_tokens_to_each_side_are() -> None:
    language, sae = cat_feature()
    text = [planted_sae.BOS, *range(5, 24), planted_sae.CAT, *range(25, 45)]
    sequences = [SequenceRecord(0, "", text)]
    for change in (20 + 16, 20 + 17, 20 - 16, 20 - 17):
        sequences.append(
            SequenceRecord(
                change, "", [50 if i == change else token for i, token in enumerate(text)]
            )
        )
    feature = features(language, sae, sequences)[3]
    assert [e.sequence for e in feature.examples if e.band == 0] == [0, 20 - 16, 20 + 16]


def test_the_state_stops_growing_with_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "MIN_COMPACTED", 64)
    language, sae = planted_sae.language(), planted_sae.sae("topk", 8)
    settings = DashboardSettings(top=2, per_band=1, batch_sequences=64)
    sizes = []
    for done in run_scan(
        language, [Target(sae, HOOK)], planted_sae.texts(64 * 64, 16), ALL, settings
    ):
        (accumulator,) = done.accumulators
        sizes.append(accumulator.nbytes())
    assert len(sizes) == 64 + 1
    assert max(sizes[32:]) < 1.5 * max(sizes[:8])
    accumulator.candidate_activations()  # leaves what is needed alone
    assert max(sizes[32:]) < 2.5 * accumulator.nbytes()


def test_whole_contexts_are_counted_until_the_tokens_are_reached_whatever_the_batch() -> None:
    language, sae, sequences = (
        planted_sae.language(exact=True),
        planted_sae.sae("topk", exact=True),
        planted_sae.texts(40, 24),
    )
    made = list(
        compute_dashboards(
            language, sae, HOOK, sequences, 301, DashboardSettings(batch_sequences=4)
        )
    )
    progress = [record for record in made if isinstance(record, Progress)]
    assert [step.done for step in progress if step.unit == "tokens"][-1] == 309
    assert progress[-1] == Progress(64, 64, "features", "Writing dashboards")
    (part,) = [record for record in made if isinstance(record, FeatureRange)]
    ids = [[i for i in record.token_ids if i > planted_sae.EOS] for record in sequences]
    assert sum(map(len, ids[:13])) < 301 <= sum(map(len, ids[:14])) == 309
    assert part.tokens == 309
    assert sum(feature.fires for feature in part.features) <= 4 * 309
    assert part.features == features(language, sae, sequences, 301, batch_sequences=32)
    whole = features(language, sae, sequences)
    shown = {
        (feature.index, e.sequence): (e.positions, e.values)
        for feature in whole
        for e in feature.examples
    }
    last = [
        ((feature.index, e.sequence), (e.positions, e.values))
        for feature in part.features
        for e in feature.examples
        if e.sequence == 13
    ]
    assert last  # the last context shows every firing, as in a pass that goes on
    assert all(shown.get(key, found) == found for key, found in last)


def test_a_corpus_that_ends_early_is_said_in_the_log() -> None:
    made = compute_dashboards(
        planted_sae.language(), planted_sae.sae("topk"), HOOK, planted_sae.texts(2, 8), 1000
    )
    (line,) = [record.text for record in made if isinstance(record, LogLine)]
    assert "the corpus ended before 1,000" in line


def test_an_sae_too_wide_to_count_pairs_is_said_in_the_log_and_has_everything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    language, sae, sequences = (
        planted_sae.language(exact=True),
        planted_sae.sae("topk", exact=True),
        planted_sae.texts(9, 24),
    )
    narrow = features(language, sae, sequences)
    monkeypatch.setattr(
        accumulator_module,
        "Cooccurrence",
        lambda width, device: Cooccurrence(width, device, max_width=width - 1),
    )
    made = list(compute_dashboards(language, sae, HOOK, sequences, ALL))
    assert any("this is wider" in record.text for record in made if isinstance(record, LogLine))
    (part,) = [record for record in made if isinstance(record, FeatureRange)]
    assert part.features == [
        f._replace(nearest_both=[], cofiring=[], cofiring_both=[], cofiring_jaccards=[])
        for f in narrow
    ]


def test_it_stops_when_told_and_then_yields_no_features() -> None:
    stops = iter([False] * 3)
    made = list(
        compute_dashboards(
            planted_sae.language(),
            planted_sae.sae("topk"),
            HOOK,
            planted_sae.texts(99, 8),
            ALL,
            should_stop=lambda: next(stops, True),
        )
    )
    assert {type(record) for record in made} == {Progress}


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("tokens", {"tokens": 0}),
        ("hook", {"hook": "blocks.9.hook_resid_post"}),
        ("corpus", {"sequences": []}),
        ("corpus", {"sequences": [SequenceRecord(0, "", [planted_sae.BOS, planted_sae.EOS])]}),
        ("top", {"settings": DashboardSettings(top=0)}),
        ("bands", {"settings": DashboardSettings(bands=40)}),
        ("sae", {"sae": planted_sae.sae("topk", d_in=16)}),
    ],
)
def test_what_cannot_work_is_refused_by_field(field: str, change: dict[str, object]) -> None:
    usual = {
        "sae": planted_sae.sae("topk"),
        "hook": HOOK,
        "sequences": planted_sae.texts(2, 8),
        "tokens": 9,
    }
    with pytest.raises(InvalidInput) as refused:
        list(compute_dashboards(planted_sae.language(), **{**usual, **change}))
    assert refused.value.field == field


def test_activations_that_are_not_finite_are_refused() -> None:
    language = planted_sae.language()
    language.model.get_input_embeddings().weight[5] = torch.inf
    with pytest.raises(InvalidInput, match="not finite"):
        features(
            language, planted_sae.sae("topk"), [SequenceRecord(0, "", [planted_sae.BOS, 5, 6])]
        )
