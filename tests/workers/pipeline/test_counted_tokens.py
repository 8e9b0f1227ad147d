"""Attention sinks and other outlier norms: a planted model in which the right answer is exact, at
the start of a context, at its second token and in its middle.
"""

import pytest
import torch
from sae_lens import StandardSAE

from features.records import (
    COUNT_ORDINARY,
    CountingRule,
    Evaluation,
    FeatureRange,
    InvalidInput,
    LeftOut,
    SequenceRecord,
    TrainedSae,
)
from tests.workers import planted_sae
from workers.pipeline.autointerp.feature_activations import activations_in_contexts
from workers.pipeline.dashboards.accumulator import DashboardSettings
from workers.pipeline.dashboards.checkpoint import load_checkpoint, save_checkpoint
from workers.pipeline.dashboards.compute import compute_dashboards
from workers.pipeline.dashboards.corpus_pass import Shard, Target, run_scan
from workers.pipeline.dashboards.records import feature_ranges
from workers.pipeline.data.tokens import adds_bos
from workers.pipeline.model.counted_tokens import (
    count_left_out,
    counted_tokens,
    measure_median_norms,
    outlier_tokens,
)
from workers.pipeline.model.language import Language
from workers.pipeline.sae.claims import parse_claims
from workers.pipeline.sae.evaluate import evaluate
from workers.pipeline.sae.folder import RULE_METADATA
from workers.pipeline.sae.import_checks import describe_outliers
from workers.pipeline.sae.io import load_sae
from workers.pipeline.steering.causal_effects import inactive_positions
from workers.pipeline.steering.interventions import FeatureIntervention
from workers.pipeline.steering.steered_forward import Steering
from workers.pipeline.steering.text_activations import Lens, TextActivations
from workers.pipeline.training.architectures import TrainSettings
from workers.pipeline.training.train import train

ALL = 10**9
HOOK = planted_sae.HOOK
BOS, EOS, CAT, SINK = planted_sae.BOS, planted_sae.EOS, planted_sae.CAT, 5
CONTEXTS = [
    [BOS, SINK, CAT, 8, 9, 10],  # the second position
    [BOS, 11, CAT, SINK, 12, CAT],  # in the middle
    [SINK, 13, 14, EOS, 15, CAT],  # the first position, no BOS
]
LEFT_OUT = [[1], [3], [0]]


def sequences(contexts=CONTEXTS) -> list[SequenceRecord]:
    return [SequenceRecord(number, f"text {number}", ids) for number, ids in enumerate(contexts)]


@pytest.fixture(scope="module")
def planted() -> tuple[Language, StandardSAE, CountingRule]:
    """Every token has norm 8, but " cat" (4) and the sink (800). Feature 3 is 2 on " cat", 100 on
    the sink and 0 elsewhere.
    """
    language, sae = planted_sae.language(exact=True), planted_sae.sae("standard", 8, exact=True)
    embedding = language.model.get_input_embeddings().weight
    embedding.zero_()
    embedding[:, 1] = 8.0
    embedding[CAT, :2] = torch.tensor([4.0, 0.0])
    embedding[SINK, :2] = torch.tensor([200.0, 774.5967])
    sae.W_enc[:, 3], sae.b_enc[3] = 0.0, 0.0
    sae.W_enc[0, 3] = 0.5
    medians = measure_median_norms(language, [HOOK], sequences())
    assert medians == {HOOK: 8.0}
    return language, sae, CountingRule(10.0, medians[HOOK])


def dashboards(planted, contexts=CONTEXTS, **settings) -> FeatureRange:
    language, sae, rule = planted
    options = DashboardSettings(**settings)
    records = compute_dashboards(language, sae, HOOK, sequences(contexts), ALL, options, rule=rule)
    (part,) = [record for record in records if isinstance(record, FeatureRange)]
    return part


def test_sinks_are_in_no_maximum_histogram_or_density(planted):
    part = dashboards(planted)
    feature = part.features[3]
    assert (part.tokens, feature.fires, feature.density) == (12, 4, 4 / 12)
    assert (feature.max_activation, feature.mean_activation) == (2.0, 2.0)
    assert feature.histogram[32] == 4
    tops = {e.sequence: (e.positions, e.left_out) for e in feature.examples if e.band == 0}
    assert tops == {0: ([2], (1,)), 1: ([2, 5], (3,)), 2: ([5], (0,))}
    language, sae, _ = planted
    with_sinks = dashboards((language, sae, COUNT_ORDINARY))
    assert (with_sinks.tokens, with_sinks.features[3].max_activation) == (15, 100.0)


def test_the_first_positions_are_left_out_after_special_tokens(planted):
    language, sae, rule = planted
    first = dashboards((language, sae, rule._replace(norm_ratio=0.0, first_positions=2)))
    assert first.tokens == 3 + 3 + 3
    assert first.features[3].fires == 2 + 1
    (example, *_) = [e for e in first.features[3].examples if e.sequence == 2]
    assert example.left_out == (0, 1)


def test_batches_shards_and_checkpoints_agree(planted, tmp_path):
    language, sae, rule = planted
    more = CONTEXTS * 7
    expected = dashboards(planted, more)
    for size in (1, 4):
        assert dashboards(planted, more, batch_sequences=size).features == expected.features
    target, settings = [Target(sae, HOOK, rule)], DashboardSettings(batch_sequences=2)
    merged = None
    for number in range(3):
        shard = Shard(number, 3)
        *_, scan = run_scan(language, target, sequences(more), ALL, settings, shard)
        stored = save_checkpoint(scan, tmp_path / str(number), "same")
        (accumulator,) = load_checkpoint(stored, settings, "cpu", "same").accumulators
        if merged is None:
            merged = accumulator
        else:
            merged.merge(accumulator)
    assert (merged.tokens, merged.left_out) == (7 * 12, LeftOut(7 * 3, 0, 7 * 3))
    (part,) = feature_ranges(language, sae, HOOK, merged)
    assert part.features == expected.features


def test_a_typed_text_has_the_answer_of_the_corpus(planted):
    language, sae, rule = planted
    reader, lens = TextActivations(language), Lens(sae, HOOK, False, rule)
    (shown,) = [dashboards(planted).features[3]]
    for number, ids in enumerate(CONTEXTS):
        (features,) = reader.features_of_context({"a": lens}, ids).values()
        values = [dict(zip(*token, strict=True)).get(3, 0.0) for token in features[1]]
        example = next(e for e in shown.examples if e.sequence == number and e.band == 0)
        fired = [(at, value) for at, value in enumerate(values) if value > 0]
        assert fired == list(zip(example.positions, example.values, strict=True))
        assert reader.left_out(lens, ids) == list(example.left_out) == LEFT_OUT[number]
    assert reader.left_out(lens, [SINK]) == [0]  # even where the text is nothing else
    activations = activations_in_contexts(language, Target(sae, HOOK, rule), CONTEXTS, [3])
    assert [dict(found[3]) for found in activations] == [{2: 2.0}, {2: 2.0, 5: 2.0}, {5: 2.0}]


def test_training_serves_no_sinks_and_says_how_many_it_left_out(planted, tmp_path):
    language, _, _ = planted
    settings = TrainSettings(
        HOOK, width=8, k=2, tokens=64, context_size=6, batch_tokens=16, dead_tokens=64
    )
    records = list(train(language, lambda: iter(sequences(CONTEXTS * 40)), settings, str(tmp_path)))
    trained = records[-1]
    assert isinstance(trained, TrainedSae)
    assert trained.rule == CountingRule(10.0, 8.0, 0)
    assert trained.left_out.outliers == trained.left_out.special > 0
    assert load_sae(trained.path).cfg.metadata.counted_tokens == trained.rule._asdict()


def test_a_setting_that_cannot_work_is_refused(planted, tmp_path):
    language, _, _ = planted
    for change in ({"norm_ratio": -1.0}, {"first_positions": 6}):
        settings = TrainSettings(HOOK, width=8, k=2, tokens=64, context_size=6, **change)
        with pytest.raises(InvalidInput) as refused:
            list(train(language, lambda: iter(sequences()), settings, str(tmp_path)))
        assert refused.value.field == next(iter(change))


def test_evaluation_is_over_the_tokens_that_count_and_tells_both_variances(planted):
    language, sae, rule = planted
    made = evaluate(language, sae, HOOK, sequences(), ALL, rule=rule)
    (result,) = [record for record in made if isinstance(record, Evaluation)]
    assert (result.tokens, result.rule, result.left_out) == (12, rule, LeftOut(3, 0, 3))
    ids = torch.tensor(CONTEXTS)
    x = language.model.get_input_embeddings().weight[ids]
    ordinary = ids > EOS
    for name, mask in (
        ("explained_variance", ordinary & (ids != SINK)),
        ("explained_variance_with_outliers", ordinary),
    ):
        counted = x[mask]
        error = (counted - sae.decode(sae.encode(counted))).pow(2).sum()
        total = (counted - counted.mean(0)).pow(2).sum()
        assert result.values[name] == pytest.approx(1 - (error / total).item(), rel=1e-5)
    (note,) = describe_outliers(result, None)
    assert "3 of the test's tokens are outliers" in note
    assert "so it was trained with" in note
    without = dict(result.values)
    del without["explained_variance_with_outliers"]
    assert not list(describe_outliers(result._replace(values=without), None))


def test_steering_leaves_sinks_alone_unless_they_are_asked_for(planted):
    language, sae, rule = planted
    lens = Lens(sae, HOOK, True, rule)
    ids = torch.tensor(CONTEXTS[:1])
    mask = torch.ones(1, 6, dtype=torch.bool)

    def moved(intervention: FeatureIntervention, include: bool = False) -> list[bool]:
        with Steering(language, [[intervention]], include).at(mask):
            steered = language.model(ids).logits
        plain = language.model(ids).logits
        return (steered != plain).any(-1)[0].tolist()

    add = FeatureIntervention(lens, 3, "add", 1.0, "norm")
    assert moved(add) == [True, False, True, True, True, True]
    assert moved(add, include=True) == [True] * 6
    project = FeatureIntervention(lens, 3, "project")
    assert not moved(project)[1]
    ablate = FeatureIntervention(lens, 3, "ablate")
    assert moved(ablate) == [False, False, True, False, False, False]


def test_a_feature_is_added_at_no_sink_when_its_effect_is_measured(planted):
    language, sae, rule = planted
    ids = [SINK] * 32
    x = language.model.get_input_embeddings().weight[ids].float()
    lens = Lens(sae, HOOK, True, rule)
    assert inactive_positions(language, lens, 3, ids, x, 0) == []
    assert inactive_positions(language, lens, 3, [8] * 32, x * 0, 0) != []


def test_reasons_are_counted_once_and_padding_never():
    ids = torch.tensor([[0, 5, 6, 7, 8, 0, 9, 0]])
    x = torch.ones(1, 8, 4)
    x[0, 0] *= 1000
    x[0, 3] *= 50
    special, rule = torch.tensor([0]), CountingRule(10.0, 2.0, 1)
    counted = counted_tokens(ids, x, special, rule)
    assert counted.tolist() == [[False, False, True, False, True, False, True, False]]
    real = torch.arange(8)[None] < 7
    assert count_left_out(ids, counted, special, rule, real) == LeftOut(2, 1, 1)


def test_a_median_that_was_not_measured_leaves_nothing_out():
    assert CountingRule(10.0, 0.0).norm_limit == CountingRule(0.0, 5.0).norm_limit == float("inf")


def test_an_activation_that_is_not_finite_is_no_outlier():
    x = torch.tensor([[torch.inf, 1.0], [torch.nan, 1.0], [99.0, 1.0]])
    assert outlier_tokens(x, CountingRule(10.0, 2.0)).tolist() == [False, False, True]


def test_an_imported_sae_says_what_it_was_trained_without(planted):
    _, sae, rule = planted
    claims = parse_claims(sae)
    assert (claims.rule, claims.prepend_bos) == (None, None)
    sae.cfg.metadata.seqpos_slice, sae.cfg.metadata.prepend_bos = (3, None), True
    assert parse_claims(sae).rule == CountingRule(10.0, 0.0, 2)  # of three positions, one is BOS
    sae.cfg.metadata[RULE_METADATA] = rule._asdict()
    assert parse_claims(sae).rule == rule
    values = {"explained_variance": 0.75, "explained_variance_with_outliers": -2.6}
    made = Evaluation(900, values, [], rule, LeftOut(0, 0, 8))
    (note,) = describe_outliers(made, None)
    assert "8 of the test's tokens are outliers with a norm above 10 times the median" in note
    assert "is 0.75, with them -2.6. It does not reconstruct them" in note
    (note,) = describe_outliers(made, rule)
    assert note.endswith("It was trained without such tokens, as its configuration says.")


def test_bos_is_added_where_the_tokenizer_adds_one(tokenizer):
    assert adds_bos(tokenizer)
    assert not adds_bos(planted_sae.language().tokenizer)  # defines one, as SmolLM2 and Qwen
