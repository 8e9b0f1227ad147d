"""Home, model and SAE pages: what they show, what they cost, and what they answer to nonsense."""

import re

import pytest
from django.test import Client

from explorer.definitions.formats import share
from explorer.models import User
from features.jobs import lifecycle
from features.models import Feature
from features.selectors import catalog as catalog_selectors
from features.selectors import label_report
from features.services import labels as label_services
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted():
    return builders.planted()


def text(client: Client, address: str, **headers: str) -> str:
    response = client.get(address, headers=headers)
    assert response.status_code == 200, response.content[:500]
    return Page(response)


def cost(client: Client, address: str, django_assert_max_num_queries) -> int:
    with django_assert_max_num_queries(99) as queries:
        text(client, address)
    return len(queries)


def test_an_empty_instance_says_what_it_is_and_what_to_do(client):
    page = text(client, "/")
    assert page.has("h1", "See what a language model has learned")
    assert page.has("main", "There is no model yet")


def test_home_shows_the_job_that_makes_the_first_model_and_keeps_asking(client):
    job = lifecycle.create("add_model", {"slug": "demo-python", "source": "demo"})
    page = text(client, "/")
    assert page.has(f'a[href="/jobs/{job.pk}/"]')
    assert page.has('div[hx-trigger="every 2s"]')
    fragment = text(client, "/", HX_Request="true", HX_Target="live")
    assert fragment.lstrip().startswith('<div id="live"')
    assert "<html" not in fragment


def test_home_stops_asking_when_nothing_happens(client, planted):
    page = text(client, "/")
    assert "every 2s" not in page
    assert page.has('a[href="/tiny/2-res/random/"]')


def test_a_models_page_shows_its_shape_hooks_and_saes(client, planted):
    page = text(client, "/tiny/")
    assert page.has("main", "3,456,789")
    assert page.has("#main td", "blocks.3.hook_resid_post")
    assert page.has('a[href="/tiny/2-res/"]')


def test_a_models_page_says_which_hooks_are_not_offered_and_why(client, planted):
    assert "Not offered" not in text(client, "/tiny/")
    missing = [f"blocks.{layer}.hook_mlp_out" for layer in (0, 1, 3)]
    planted.model.hook_refusals = dict.fromkeys(missing, "This block has no MLP.")
    planted.model.save()
    page = text(client, "/tiny/")
    assert page.has("summary", "Not offered, and why")
    assert page.has("dt", "MLP output of layers 0–1, 3")
    assert page.has("dd", "This block has no MLP.")
    planted.model.hook_refusals = None  # added before hooks were checked
    planted.model.save()
    assert "Not offered" not in text(client, "/tiny/")


def test_home_and_the_models_page_tell_how_many_live_features_have_a_label(client, planted):
    assert "labelled</small>" not in text(client, "/")
    alive = list(Feature.objects.filter(sae=planted.sae).alive().order_by("index"))
    dead = Feature.objects.filter(sae=planted.sae, fires=0).first()
    for feature in (*alive[:3], dead):
        label_services.propose(
            feature, "a day", by=User.objects.create_user(f"p{feature.index}"), weight=1
        )
    row = catalog_selectors.saes_with_labels("tiny").get()
    assert (
        row.labelled_share
        == pytest.approx(3 / len(alive))
        == label_report.coverage(planted.sae).share
    )
    shown = share(row.labelled_share)
    assert f">{shown}</span> labelled" in text(client, "/")
    assert f'href="/tiny/2-res/labels/">{shown}</a>' in text(client, "/tiny/")
    bare = builders.sae(planted.sae.model, "bare")
    assert catalog_selectors.saes_with_labels("tiny").get(pk=bare.pk).labelled_share is None


def test_a_local_folders_path_is_not_shown(client):
    model = builders.model()
    model.source = "/home/someone/models/tiny"
    model.save()
    page = text(client, "/tiny/")
    assert "<code>tiny</code>" in page
    job = lifecycle.create("add_model", {"slug": "tiny", "source": "/home/someone/models/tiny"})
    for address in (
        "/tiny/",
        "/api/v1/models/",
        "/api/v1/models/tiny/",
        f"/jobs/{job.pk}/",
        f"/api/v1/jobs/{job.pk}/",
    ):
        assert "/home/someone" not in text(client, address), address


def test_an_saes_page_shows_how_it_was_made_and_its_features(client, planted):
    page = text(client, "/tiny/2-res/")
    assert planted.sae.sha256[:10] in page
    assert page.has("#main h2", "tiny-stories")
    assert page.has("#main dt", "Learning rate")
    assert page.has('a[href="/tiny/2-res/0/"]')
    assert 'href="/tiny/2-res/3/"' not in page, "feature 3 is dead and hidden by default"


def indices(page: str) -> list[int]:
    return [
        int(found)
        for found in re.findall(r'<td class="cell-number"><a href="/tiny/2-res/(\d+)/"', page)
    ]


def test_features_are_listed_in_the_order_asked_for(client, planted):
    assert indices(text(client, "/tiny/2-res/?alive=all")) == list(range(8))
    assert indices(text(client, "/tiny/2-res/?alive=dead")) == [3]
    assert indices(text(client, "/tiny/2-res/?order=-max_activation")) == [7, 6, 5, 4, 2, 1, 0]


def test_a_range_of_densities_may_be_written_as_percentages(client, planted):
    densities = {i: planted.feature(i).density for i in range(8)}
    low, high = sorted(densities.values())[3], sorted(densities.values())[6]
    wanted = [i for i, d in densities.items() if low <= d <= high]
    assert (
        indices(text(client, f"/tiny/2-res/?density_min={low!r}&density_max={high * 100!r}%"))
        == wanted
    )


@pytest.mark.parametrize(
    "order", ["index", "-density", "density", "-max_activation", "max_activation"]
)
def test_pages_of_a_list_join_without_gap_or_repeat(client, order):
    builders.planted(width=120)
    address, seen = f"/tiny/2-res/?alive=all&order={order}", []
    while address:
        page = text(client, address)
        seen += indices(page)
        more = re.search(r'<a class="button" href="(\?[^"]*cursor=[^"]*)"', page)
        address = "/tiny/2-res/" + more[1].replace("&amp;", "&") if more else ""
    assert len(seen) == 120
    assert sorted(seen) == list(range(120))


def test_more_features_come_as_rows_alone(client):
    builders.planted(width=120)
    rows = text(client, "/tiny/2-res/?alive=all", HX_Request="true", HX_Target="more")
    assert rows.lstrip().startswith("<tr")
    assert "<table" not in rows


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("order=beauty", "Select a valid choice"),
        ("alive=perhaps", "Select a valid choice"),
        ("density_min=lots", "Write a share from 0 to 1"),
        ("density_max=nan", "Write a share from 0 to 1"),
        ("density_min=0.01&density_max=0.001", "The range ends before it begins"),
        ("cursor=index~1~1", "The cursor is damaged or belongs to another list"),
        ("cursor=%00", "characters"),
    ],
)
def test_wrong_queries_get_a_sentence_and_the_list(client, planted, query, sentence):
    page = text(client, f"/tiny/2-res/?{query}")
    assert page.has("main", sentence)
    assert indices(page)


def test_a_cursor_of_another_order_begins_again(client):
    builders.planted(width=120)
    page = text(client, "/tiny/2-res/?alive=all")
    cursor = re.search(r"cursor=([^\"&]+)", page)[1]
    again = text(client, f"/tiny/2-res/?alive=all&order=-density&cursor={cursor}")
    assert again.has("#features li", "belongs to another list")
    assert len(indices(again)) == 50


def test_an_sae_whose_job_runs_says_so(client, planted):
    job = lifecycle.create("compute_dashboards", {"sae": "tiny/2-res", "corpus": "tiny-stories"})
    lifecycle.create("compute_dashboards", {"sae": "other/2-res", "corpus": "tiny-stories"})
    page = text(client, "/tiny/2-res/")
    assert page.has(f'a[href="/jobs/{job.pk}/"]')
    assert f'href="/jobs/{job.pk + 1}/"' not in page


def test_an_sae_without_dashboards_says_so(client):
    builders.sae(builders.model())
    page = text(client, "/tiny/2-res/")
    assert page.has("main", "dashboards not ready")
    assert page.has("#features p", "as soon as their dashboards are computed")
    assert client.get("/tiny/2-res/random/").headers["Location"] == "/tiny/2-res/"


def test_the_measured_evaluation_replaces_the_last_step_of_training(client, planted):
    assert text(client, "/tiny/2-res/").has("#main dd", "0.83")
    planted.sae.evaluation = {
        "tokens": 50_000,
        "counted_tokens": {
            "norm_ratio": 10.0,
            "median_norm": 169.0,
            "first_positions": 0,
            "left_out": {"special": 1, "first": 0, "outliers": 391},
        },
        "corpus": "held-out",
        "values": {"explained_variance": 0.771, "l0": 23.9},
    }
    planted.sae.save()
    page = text(client, "/tiny/2-res/")
    assert page.has("#main dd", "0.771")
    assert "a norm above 10 × the median of 169 (391)" in page
    assert "0.83<" not in page


@pytest.mark.parametrize(
    ("address", "sentence", "link"),
    [
        ("/nobody/", "There is no model “nobody”.", 'href="/tiny/"'),
        ("/nobody/2-res/", "There is no model “nobody”.", 'href="/tiny/"'),
        ("/tiny/9-res/", "tiny has no SAE “9-res”.", 'href="/tiny/2-res/"'),
        (
            "/tiny/2-res/8/",
            "tiny/2-res has features 0 to 7; there is no 8.",
            'href="/tiny/2-res/7/"',
        ),
        ("/tiny/2-res/99999999999999999999/", "there is no 99,999,999", 'href="/tiny/2-res/"'),
        ("/tiny/2-res/eight/", "This page does not exist.", 'href="/"'),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(client, planted, address, sentence, link):
    response = client.get(address)
    assert response.status_code == 404
    assert Page(response).has("h1", sentence)
    assert link in Page(response)


@pytest.mark.parametrize(
    "address", ["/a%00b/", "/tiny/a%00b/", "/tiny/a%00b/random/", "/tiny/a%00b/3/"]
)
def test_a_nul_in_an_address_is_no_error_of_ours(client, address):
    assert client.get(address).status_code == 404


def test_lists_cost_the_same_for_10_and_20_rows(client, django_assert_max_num_queries):
    costs = {}
    for count in (10, 20):
        for i in range(count // 2 if count == 20 else 0, count):
            model = builders.model(f"model-{i}", tokens=[])
            builders.sae(model)
            builders.sae(
                model if i == 0 else builders.LanguageModel.objects.get(slug="model-0"), f"sae-{i}"
            )
        costs[count] = [
            cost(client, address, django_assert_max_num_queries) for address in ("/", "/model-0/")
        ]
    assert costs[10] == costs[20]


def test_features_cost_the_same_for_10_and_20_rows(client, django_assert_max_num_queries):
    for width in (10, 20):
        builders.planted(width, f"wide-{width}")
    small, large = (
        cost(client, f"/wide-{n}/2-res/?alive=all", django_assert_max_num_queries) for n in (10, 20)
    )
    assert small == large <= 6


def test_every_link_in_the_frame_leads_somewhere(client):
    page = text(client, "/")
    for address in set(re.findall(r'(?:href|src)="(/[^"]*)"', page)):
        assert client.get(address).status_code == 200, address
