"""Search by token: which tokens are meant, what ingest keeps for it, and what is found."""

from collections import Counter

import pytest

from features.ingest import dashboards as dashboard_ingest
from features.models import Example, Feature, Peak, Token
from features.records import FeatureRange
from features.selectors import tokens as token_selectors
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted():
    return builders.planted()


def kept():
    return sorted(
        Peak.objects.values_list("feature_id", "sae_id", "token_id", "examples", "maximum")
    )


def reference():
    """Peaks counted one by one, from the examples that are stored."""
    counts = Counter()
    for e in Example.objects.filter(band=0).select_related("sequence", "feature"):
        row = (
            e.feature_id,
            e.feature.sae_id,
            e.sequence.token_ids[e.peak],
            e.feature.max_activation,
        )
        counts[row] += 1
    return sorted(
        (feature, sae, token, times, top) for (feature, sae, token, top), times in counts.items()
    )


def test_ingest_keeps_the_tokens_under_the_peaks_of_top_examples(planted):
    assert kept() == reference()
    assert len(kept()) == 7
    contexts = builders.sequences()
    batch = FeatureRange(0, 1, 100, [builders.firing(0, " fox", contexts, 5.0)], contexts)
    dashboard_ingest.write_range(planted.sae, planted.corpus, planted.sae.context_size, batch)
    assert kept() == reference()
    assert set(
        Peak.objects.filter(feature=planted.feature(0)).values_list("token_id", "maximum")
    ) == {(260, 5.0)}


def test_a_feature_that_stopped_firing_peaks_nowhere(planted):
    batch = FeatureRange(0, 1, 100, [builders.dead(0)], [])
    dashboard_ingest.write_range(planted.sae, planted.corpus, planted.sae.context_size, batch)
    assert not Peak.objects.filter(feature=planted.feature(0)).exists()


def test_peaks_go_with_their_sae(planted):
    builders.planted(slug="other")
    planted.sae.delete()
    assert set(Peak.objects.values_list("sae__model__slug", flat=True)) == {"other"}


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("cat", ["cat", " cat", " Cat", "Cat", " CAT", "CAT"]),
        (" Cat", [" Cat", "Cat", " cat", "cat"]),
        ("␣cat", ["␣cat", " cat", "cat"]),
        ("↵", ["↵", "\n"]),
        ("\n    ", ["\n    "]),
        ("  ", ["  "]),
        ("日本", ["日本", " 日本"]),
    ],
)
def test_spellings_begin_with_what_was_written(typed, first):
    assert token_selectors.spellings(typed)[: len(first)] == first
    assert len(set(token_selectors.spellings(typed))) == len(token_selectors.spellings(typed)) <= 10


@pytest.mark.parametrize(
    ("typed", "ids"),
    [
        (" day", [258]),
        ("DAY", [258]),
        ("day", [258]),
        ("␣day", [258]),
        ("def", [264]),
        ("↵␣␣␣␣", [266]),
        ("a", [98, 259, 66]),
        (" a", [259, 98, 66]),
        (builders.SPECIAL, []),
        ("nothing", []),
        ("é", []),
        ("U+0007", [8]),
        ("U+0000", [1]),
        ("u+0007", []),
        ("<0xE2>", [0xE2 + 1]),
    ],
)
def test_tokens_of_the_vocabulary_are_meant_the_exact_one_first(planted, typed, ids):
    assert [
        token.token_id for token in token_selectors.matching_tokens(planted.model.pk, typed)
    ] == ids


def test_bytes_that_are_no_text_are_never_meant(planted):
    assert token_selectors.matching_tokens(planted.model.pk, "\ufffd") == []


def test_what_peaks_goes_by_examples_then_by_maximum(planted):
    found = token_selectors.search([planted.sae], " day")
    assert [(row.feature.index, row.examples) for row in found.peaks] == [(0, 3)]
    assert any("day" in span.text for span in found.peaks[0].snippet)
    rows = {index: planted.feature(index).pk for index in (1, 2, 4)}
    for index, times, maximum in ((1, 1, 9.0), (2, 3, 1.0), (4, 3, 8.0)):
        Peak.objects.create(
            feature_id=rows[index], sae=planted.sae, token_id=258, examples=times, maximum=maximum
        )
    found = token_selectors.search([planted.sae], " day")
    assert [(row.feature.index, row.examples) for row in found.peaks] == [
        (4, 3),
        (0, 3),
        (2, 3),
        (1, 1),
    ]
    assert [
        row.feature.index for row in token_selectors.search([planted.sae], " day", 2).peaks
    ] == [4, 0]


def test_several_tokens_are_counted_together(planted):
    both = Token.objects.create(model=planted.model, token_id=900, text=b"day")
    Peak.objects.create(
        feature=planted.feature(0), sae=planted.sae, token_id=both.token_id, examples=4, maximum=2.0
    )
    Peak.objects.create(
        feature=planted.feature(1), sae=planted.sae, token_id=both.token_id, examples=5, maximum=2.0
    )
    found = token_selectors.search([planted.sae], "day")
    assert [(token.token_id, token.text) for token in found.tokens] == [(900, "day"), (258, "␣day")]
    assert [(row.feature.index, row.examples) for row in found.peaks] == [(0, 7), (1, 5)]


def test_what_promotes_goes_by_logit_and_must_raise_it(planted):
    found = token_selectors.search([planted.sae], " fox")
    assert [(row.feature.index, row.logit) for row in found.promotes] == [
        (i, pytest.approx(0.89)) for i in range(8)
    ]
    Feature.objects.filter(index=5).update(top_logits=[2 - 0.1 * i for i in range(10)])
    Feature.objects.filter(index=6).update(top_logits=[-1.0] * 10)
    found = token_selectors.search([planted.sae], " fox")
    assert [row.feature.index for row in found.promotes] == [5, 0, 1, 2, 3, 4, 7]
    assert found.promotes[0].logit == pytest.approx(1.7)


def test_other_saes_and_models_are_left_out(planted):
    other = builders.planted(slug="other")
    assert {
        row.feature.sae.model.slug for row in token_selectors.search([other.sae], " day").peaks
    } == {"other"}
    second = builders.sae(planted.model, "3-res")
    assert token_selectors.search([second], " day").peaks == []
    assert len(token_selectors.search([second, planted.sae], " day").peaks) == 1
