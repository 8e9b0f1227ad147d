"""The map in the database: written whole or not at all, gone with what it was made of, read as
columns or as a sample.
"""

import math

import pytest
from django.db import IntegrityError

from features.ingest import dashboards as dashboard_ingest
from features.models import Dashboard, Feature
from features.records import FeatureMap
from features.selectors import catalog as catalog_selectors
from features.selectors import maps as map_selectors
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted():
    return builders.planted(width=20)


def record(indices, **changes):
    zeros = [0.0] * len(indices)
    return FeatureMap(indices, zeros, zeros, [0] * len(indices), 15, 0, "umap")._replace(**changes)


def places(sae):
    return dict(
        Feature.objects.filter(sae=sae, map_x__isnull=False).values_list("index", "cluster")
    )


def test_places_and_clusters_are_those_of_the_record(planted):
    row = planted.feature(1)
    assert (row.map_x, row.map_y) == (pytest.approx(math.cos(1)), pytest.approx(math.sin(1)))
    assert (row.cluster, planted.feature(5).cluster, planted.feature(0).cluster) == (1, None, 0)
    dead = planted.feature(3)
    assert (dead.map_x, dead.map_y, dead.cluster) == (None, None, None)
    assert Dashboard.objects.get().map == {
        "features": 17,
        "clusters": 2,
        "neighbours": 15,
        "seed": 0,
        "made_with": "umap-learn 0.5, scikit-learn 1.9",
    }


def test_a_second_map_replaces_the_first(planted):
    dashboard_ingest.write_map(planted.sae.dashboard, record([0, 2], clusters=[None, None]), None)
    assert places(planted.sae) == {0: None, 2: None}
    assert Dashboard.objects.get().map["clusters"] == 0


def test_a_map_of_another_sae_stays(planted):
    other = builders.planted(width=20, slug="other")
    before = places(other.sae)
    dashboard_ingest.write_map(planted.sae.dashboard, record([0]), None)
    assert places(other.sae) == before


def test_new_dashboards_take_the_map_away(planted):
    contexts = builders.sequences()
    records = [builders.firing(i, " day", contexts) for i in range(20)]
    shown = builders.dashboards(planted.sae, planted.corpus, records, contexts)
    assert places(planted.sae) == {}
    assert (shown.map, shown.mapped_by) == (None, None)


def test_a_map_of_dashboards_that_were_made_anew_is_refused(planted):
    old = planted.sae.dashboard
    contexts = builders.sequences()
    builders.dashboards(
        planted.sae, planted.corpus, [builders.firing(0, " day", contexts)], contexts
    )
    with pytest.raises(Dashboard.DoesNotExist):
        dashboard_ingest.write_map(old, record([0]), None)
    assert 0 not in places(planted.sae)


@pytest.mark.django_db(transaction=True)
def test_a_map_that_cannot_be_written_leaves_the_old_one(planted):
    before = places(planted.sae)
    with pytest.raises((IntegrityError, ValueError)):
        dashboard_ingest.write_map(planted.sae.dashboard, record([0, 1], x=[0.0]), None)
    assert places(planted.sae) == before


def test_an_empty_map_says_that_there_is_none(planted):
    dashboard_ingest.write_map(planted.sae.dashboard, record([]), None)
    assert Dashboard.objects.get().map["features"] == 0
    assert map_selectors.points(planted.sae).indices == []


def test_points_are_columns_in_two_queries_however_many(planted, django_assert_num_queries):
    sae = catalog_selectors.sae("tiny", "2-res")
    with django_assert_num_queries(2):
        points = map_selectors.points(sae)
    alive = [i for i in range(20) if i % 8 != 3]
    assert points.indices == alive
    assert points.x == [round(math.cos(i), 3) for i in alive]
    assert {len(column) for column in points[:-1]} == {len(alive)}
    assert [points.tokens[place] for place in points.token] == ["␣One"] * len(alive)
    assert points.clusters[:4] == [0, 1, 0, 0]
    assert points.maxima[0] == planted.feature(0).max_activation


@pytest.mark.parametrize(("most", "found"), [(100, 17), (10, 10), (5, 5)])
def test_a_sample_is_even_and_no_larger_than_asked(planted, most, found):
    drawn = map_selectors.sample(planted.sae.dashboard, most)
    assert len(drawn) == found
    step = -(-20 // most)
    assert [p.index for p in drawn] == [i for i in range(0, 20, step) if i % 8 != 3]


def test_the_version_changes_with_map_and_dashboards(planted):
    before = map_selectors.version(planted.sae.dashboard)
    contexts = builders.sequences()
    again = builders.dashboards(
        planted.sae, planted.corpus, [builders.firing(0, " day", contexts)], contexts
    )
    assert map_selectors.version(again) != before
