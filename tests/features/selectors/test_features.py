"""Page-shaped reads: what page and API both show, in a constant number of queries."""

import pytest
from django.db.models import F

from features import vocabulary
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import Example, Feature, LanguageModel, Sae
from features.records import SequenceRecord
from features.selectors import catalog as catalog_selectors
from features.selectors import features as feature_selectors
from features.selectors import snippets
from features.token_spans import around
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted():
    return builders.planted()


def test_models_count_their_saes_and_those_that_can_be_seen(planted):
    builders.sae(planted.model, "3-res")
    found = catalog_selectors.model("tiny")
    assert (found.sae_count, found.shown_count) == (2, 1)
    with pytest.raises(LanguageModel.DoesNotExist):
        catalog_selectors.model("nobody")


def test_saes_come_with_all_that_a_row_shows_in_one_query(planted, django_assert_num_queries):
    builders.sae(planted.model, "3-res")
    with django_assert_num_queries(1):
        rows = list(catalog_selectors.saes("tiny"))
        shown = [
            (str(sae), sae.corpus and sae.corpus.slug, getattr(sae, "dashboard", None))
            for sae in rows
        ]
    assert [name for name, _, _ in shown] == ["tiny/2-res", "tiny/3-res"]
    with pytest.raises(Sae.DoesNotExist):
        catalog_selectors.sae("nobody", "2-res")


def test_what_is_happening_is_told_apart_by_model_and_sae(planted):
    train = lifecycle.create("train_sae", {"model": "tiny", "slug": "9-res", "corpus": "c"})
    show = lifecycle.create("compute_dashboards", {"sae": "tiny/2-res", "corpus": "c"})
    other = lifecycle.create("compute_dashboards", {"sae": "tiny-2/2-res", "corpus": "c"})
    adding = lifecycle.create("add_model", {"slug": "tiny-2", "source": "x"})
    over = lifecycle.create("compute_dashboards", {"sae": "tiny/2-res", "corpus": "c"})
    lifecycle.cancel(over.pk)
    job_execution.claim(show.pk, "worker")
    assert list(catalog_selectors.happening()) == [show, train, other, adding]
    assert list(catalog_selectors.happening("tiny")) == [show, train]
    assert list(catalog_selectors.happening("tiny-2")) == [other, adding]
    assert list(catalog_selectors.happening("tiny", "2-res")) == [show]
    assert list(catalog_selectors.happening("tiny", "9-res")) == [train]


def test_a_feature_comes_whole_in_three_queries(planted, django_assert_num_queries):
    with django_assert_num_queries(3):
        view = feature_selectors.feature("tiny", "2-res", 0)
        assert view.sae.model.slug == "tiny"
        assert view.sae.dashboard.corpus.slug == "tiny-stories"
    assert (view.previous, view.next) == (None, 1)
    assert view.bands[0].number == 0
    assert [e.value for e in view.bands[0].examples] == sorted(
        (e.value for e in view.bands[0].examples), reverse=True
    )
    assert [(t.text, t.plain) for t in view.top_logits[:2]] == [("␣One", " One"), ("␣day", " day")]
    assert view.nearest[0] == (1, pytest.approx(0.62), 2)
    assert view.cofiring == [(1, 0.5, 2), (2, 0.125, 1), (4, 0.0625, 1)]


def test_previous_and_next_skip_dead_features_and_stop_at_the_ends(planted):
    assert [
        (
            feature_selectors.feature("tiny", "2-res", i).previous,
            feature_selectors.feature("tiny", "2-res", i).next,
        )
        for i in (2, 3, 7)
    ] == [
        (1, 4),
        (2, 4),
        (6, None),
    ]


def test_what_a_feature_reads_is_where_its_top_examples_peak(planted):
    assert feature_selectors.feature("tiny", "2-res", 0).reads == ["day"]
    assert feature_selectors.feature("tiny", "2-res", 2).reads == ["<script>"]
    assert feature_selectors.feature("tiny", "2-res", 3).reads == []
    assert feature_selectors.feature("tiny", "2-res", 0).writes == ["One", "day"]


def test_shares_of_the_bands_add_up_to_all_firings(planted):
    contexts = builders.sequences()
    record = builders.firing(0, " day", contexts)._replace(
        fires=100,
        max_activation=1.9,
        histogram=[2] * 40 + [1] * 20 + [0] * 4,
        histogram_width=2 / 64,
        band_edges=[60 / 32, 48 / 32, 36 / 32, 24 / 32, 12 / 32, 0],
    )
    examples = [
        e._replace(band=band, rank=9)
        for band, e in zip(range(1, 6), record.examples * 5, strict=False)
    ]
    builders.dashboards(planted.sae, planted.corpus, [record._replace(examples=examples)], contexts)
    bands = feature_selectors.feature("tiny", "2-res", 0).bands
    assert [band.number for band in bands] == [1, 2, 3, 4, 5]
    assert [band.share for band in bands] == [0.12, 0.16, 0.24, 0.24, 0.24]
    assert sum(band.share for band in bands) == 1


def test_an_unknown_feature_is_no_feature(planted):
    with pytest.raises(Feature.DoesNotExist):
        feature_selectors.feature("tiny", "2-res", 800)


def test_random_features_are_alive(planted):
    assert {feature_selectors.random_alive(planted.sae) for _ in range(20)} <= {0, 1, 2, 4, 5, 6, 7}
    Feature.objects.filter(sae=planted.sae).update(fires=0)
    assert feature_selectors.random_alive(planted.sae) is None


def test_tokens_are_read_once_and_few_are_kept(planted, django_assert_num_queries, monkeypatch):
    model = planted.model.pk
    with django_assert_num_queries(1):
        first = vocabulary.vocabulary_of(model, [1, 2, 3])
    with django_assert_num_queries(0):
        assert vocabulary.vocabulary_of(model, [3, 1]) == first
    with django_assert_num_queries(1):
        assert vocabulary.vocabulary_of(model, [3, 4]).keys() == {1, 2, 3, 4}
    monkeypatch.setattr(vocabulary, "MAX_CACHED_TOKENS", 5)
    other = builders.planted(slug="other").model.pk
    assert vocabulary.vocabulary_of(other, [1, 2]).keys() == {1, 2}
    with django_assert_num_queries(1):
        assert vocabulary.vocabulary_of(model, [4]).keys() == {4}
    with django_assert_num_queries(2):  # an unknown one is asked for again
        assert not vocabulary.vocabulary_of(model, [10**6, 10**6 + 1]).keys() & {10**6}
        assert 4 in vocabulary.vocabulary_of(model, [4, 10**6])


def test_a_snippet_is_the_part_of_its_example_around_the_peak_and_says_the_same(planted):
    contexts = [
        SequenceRecord(
            100, "long.txt", builders.encode("日本 é 🙂" * 60 + " day" + " 日本é🙂 a fox" * 60)
        ),
        SequenceRecord(101, "first.txt", builders.encode(" day" + "日本" * 30, bos=False)),
    ]
    builders.dashboards(
        planted.sae, planted.corpus, [builders.firing(0, " day", contexts)], contexts
    )
    row = planted.feature(0)
    for chosen in (0, 1):
        Example.objects.filter(feature=row, band=0).update(rank=F("rank") + 10)
        Example.objects.filter(feature=row, band=0, sequence__position=100 + chosen).update(rank=0)
        (snippet,) = snippets.snippets([row], planted.model.pk).values()
        examples = feature_selectors.feature("tiny", "2-res", 0).bands[0].examples
        whole = next(e for e in examples if e.document == contexts[chosen].document)
        assert snippet == around(whole.tokens, *snippets.SNIPPET)
        part = feature_selectors.feature("tiny", "2-res", 0, whole=False).bands[0].examples
        assert [e.tokens for e in part] == [around(e.tokens, *snippets.WIDER) for e in examples]
        assert next(span for span in snippet if span.peak).text == " day"
