"""The map on the SAE's page and in the API: the same features, coloured alike, kept by the browser
until it changes.
"""

import json
import re

import pytest

from explorer.templatetags.maps import SHADES, shade
from features.ingest import dashboards as dashboard_ingest
from features.models import Dashboard
from features.records import FeatureMap
from features.selectors.maps import MapPoint, sample
from features.services import labels as label_services
from tests import builders

pytestmark = pytest.mark.django_db
API = "/api/v1/saes/tiny/2-res/map/"


@pytest.fixture
def planted():
    return builders.planted(width=20)


def section(client, address="/tiny/2-res/"):
    page = client.get(address).content.decode()
    return page[page.index('id="map"') : page.index('aria-label="Features"')]


def test_the_page_draws_a_dot_for_every_live_feature_without_a_script(client, planted):
    drawn = section(client)
    assert len(re.findall(r"M-?[\d.]+ -?[\d.]+h0", drawn)) == 17
    assert 'aria-label="Map of 17 features, coloured by cluster."' in drawn
    assert 'data-src="/api/v1/saes/tiny/2-res/map/"' in drawn
    assert "2 clusters" in drawn


def test_each_cluster_has_a_hue_and_the_rest_has_none(client, planted):
    inks = re.findall(r'<path class="map-ink (\w*)" style="([^"]*)" d="([^"]+)"', section(client))
    counts = {(kind, style): dots.count("M") for kind, style, dots in inks}
    assert counts == {("", ""): 6, ("grouped", "--h:0"): 10, ("grouped", "--h:138"): 1}


def test_the_colour_is_part_of_the_address(client, planted):
    drawn = section(client, "/tiny/2-res/?color=density")
    assert "coloured by density" in drawn
    assert re.search(r'data-color="density" aria-current="true"', drawn)
    assert "ink dense" in drawn
    assert "coloured by cluster" in section(client, "/tiny/2-res/?color=nonsense")


def test_each_shade_of_density_is_an_eighth_of_the_features():
    ranked = [0.001 * i for i in range(80)]
    assert [shade(density, ranked) for density in ranked] == [i // 10 for i in range(80)]
    assert {shade(0.5, [0.5] * 9)} == {0}
    assert shade(1.0, [0.1, 1.0]) == SHADES // 2


def test_dots_lie_within_the_picture_whatever_the_units(planted):
    from explorer.templatetags.maps import map_plot

    for places in (
        (),
        (MapPoint(0, 5e6, -3.0, None, 0.1),),
        tuple(MapPoint(i, i * 1e-9, 7.0, 0, 0.1) for i in range(5)),
    ):
        left, top, wide, high = map(
            int,
            re.search(r'viewBox="(\S+) (\S+) (\S+) (\S+)"', map_plot(places, "cluster")).groups(),
        )
        for x, y in re.findall(r"M(\S+) (\S+)h0", map_plot(places, "cluster")):
            assert left <= float(x) <= left + wide
            assert top <= float(y) <= top + high


def test_the_api_has_every_feature_of_the_page(client, planted):
    found = client.get(API).json()
    assert found["indices"] == [place.index for place in sample(planted.sae.dashboard, 1000)]
    assert found["clusters"][:4] == [0, 1, 0, 0]
    assert (found["job"], found["seed"], found["neighbours"]) == (None, 0, 15)


def test_a_browser_that_has_the_map_gets_nothing_until_it_changes(client, planted):
    first = client.get(API, headers={"Accept-Encoding": "gzip"})
    tag = first["ETag"]
    assert first["Cache-Control"] == "no-cache"
    again = client.get(API, headers={"If-None-Match": tag, "Accept-Encoding": "gzip"})
    assert (again.status_code, again.content, again["ETag"].removeprefix("W/")) == (
        304,
        b"",
        tag.removeprefix("W/"),
    )
    contexts = builders.sequences()
    builders.dashboards(
        planted.sae,
        planted.corpus,
        [builders.firing(i, " day", contexts) for i in range(20)],
        contexts,
    )
    builders.mapped(planted.sae)
    assert client.get(API, headers={"If-None-Match": tag}).status_code == 200


def test_without_a_map_the_api_names_the_job_that_makes_it(client, planted):
    Dashboard.objects.update(map=None)
    response = client.get(API)
    assert response.status_code == 404
    assert "map_sae" in response.json()["error"]["message"]
    assert client.get("/api/v1/saes/tiny/none/map/").status_code == 404


def test_without_a_map_the_page_offers_it_to_staff(client, planted):
    Dashboard.objects.update(map=None)
    assert "There is no map yet" in section(client)
    assert "Make it now" not in section(client)
    client.force_login(builders.cast()[0])
    assert "/jobs/new/map_sae/?sae=tiny/2-res" in section(client)


def test_too_few_live_features_are_told(client, planted):
    dashboard_ingest.write_map(
        planted.sae.dashboard, FeatureMap([], [], [], [], 15, 0, "umap"), None
    )
    assert "A map needs at least 15 live features" in section(client)
    assert json.loads(client.get(API).content)["indices"] == []


def test_a_fragment_of_the_features_does_not_read_the_map(
    client, planted, django_assert_max_num_queries
):
    headers = {"HX-Request": "true", "HX-Target": "features"}
    with django_assert_max_num_queries(9) as seen:
        client.get("/tiny/2-res/", headers=headers)
    assert not any("map_x" in q["sql"] and "IS NOT NULL" in q["sql"] for q in seen.captured_queries)


def test_labels_are_on_the_map_and_a_new_one_reaches_a_browser_that_has_it(client, planted):
    first = client.get(API)
    assert set(first.json()["labels"]) == {""}
    _, ben, _ = builders.cast()
    label = label_services.propose(planted.feature(2), "<i>tags</i>", by=ben, weight=1)
    second = client.get(API, headers={"If-None-Match": first["ETag"]})
    assert second.status_code == 200
    found = second.json()
    assert dict(zip(found["indices"], found["labels"], strict=True))[2] == "<i>tags</i>"
    assert client.get(API, headers={"If-None-Match": second["ETag"]}).status_code == 304
    label_services.edit(label, "tags", seen=1, by=ben)
    assert client.get(API, headers={"If-None-Match": second["ETag"]}).status_code == 200
    assert 'data-collect="/collections/add/" data-sae="tiny/2-res"' in section(client)
