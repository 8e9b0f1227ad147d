"""SAEs compared: one table and two plots of the same values as the API, sorted, chosen
by address.
"""

import re

import pytest
from django.core.exceptions import ValidationError

from explorer.views.compare_saes import COLUMNS
from features.records import Evaluation, InvalidParams
from features.services import catalog as catalog_services
from features.services import jobs as job_services
from features.slugs import not_a_page_of_a_model
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
MEASURED = {"a": (12.0, 0.61, 0.9), "b": (48.0, 0.93, 0.99), "c": (24.0, 0.83, 0.95)}


@pytest.fixture
def compared():
    """Three SAEs that were measured, and one, “new”, that was not."""
    model, corpus = builders.model(), builders.corpus()
    for slug, (l0, explained, recovered) in MEASURED.items():
        values = {"l0": l0, "explained_variance": explained, "ce_loss_score": recovered}
        catalog_services.keep_evaluation(
            builders.sae(model, slug), Evaluation(5000, values, [0, 1]), corpus, None
        )
    builders.sae(model, "new")
    return model


def page(client, query=""):
    response = client.get(f"/tiny/compare/{query}")
    assert response.status_code == 200
    return Page(response)


def slugs(html):
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    return re.findall(r'<td><a href="/tiny/(\w+)/">', body)


def test_every_sae_has_a_row_and_those_that_were_measured_a_spot_in_both_plots(client, compared):
    html = page(client)
    assert slugs(html) == ["a", "b", "c", "new"]
    assert html.count("<circle") == 6
    assert "<title>b: 48.0 features per token, explained variance 0.930</title>" in html
    assert '<a href="/tiny/b/" aria-label="b: ' in html


def test_the_table_shows_what_the_api_says(client, compared):
    html = page(client, "?sae=c")
    values = client.get("/api/v1/saes/tiny/c/").json()["evaluation"]["values"]
    cells = re.findall(r'<td class="cell-number">([^<]*)</td>', html)
    assert cells[1:4] == [f"{values['l0']:.1f}", f"{values['explained_variance']:.3f}", "95%"]
    assert len(cells) == 1 + len(COLUMNS)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("-explained_variance", "b c a new"),
        ("l0", "a c b new"),
        ("slug", "a b c new"),
        ("-slug", "new c b a"),
        ("x", "a b c new"),
    ],
)
def test_it_sorts_by_any_column_with_those_not_measured_last(client, compared, order, expected):
    assert slugs(page(client, f"?order={order}")) == expected.split()


def test_a_heading_sorts_the_best_first_and_turns_round(client, compared):
    assert page(client).has('th a[href*="order=-l0"]')
    html = page(client, "?order=-l0")
    assert html.has('th[aria-sort="descending"]')
    assert html.has('a[href="?order=l0"]')


def test_saes_are_chosen_by_address(client, compared):
    assert slugs(page(client, "?sae=a&sae=c&order=-l0")) == ["c", "a"]


def test_an_unknown_sae_gets_a_sentence_that_names_those_there_are(client, compared):
    html = page(client, "?sae=%3Cb%3E&sae=a")
    assert html.has(
        "#main [role=alert]", "There is no SAE “<b>” of this model. Known: a, b, c, new."
    )
    assert slugs(html) == ["a", "b", "c", "new"]


def test_numbers_of_different_text_are_told_apart(client, compared):
    assert "Compare only numbers from the same text" not in page(client)
    other = builders.corpus("other")
    catalog_services.keep_evaluation(
        compared.saes.get(slug="a"), Evaluation(10, {"l0": 1.0}, []), other, None
    )
    assert page(client).has("#main p", "10 tokens of other")
    assert page(client).has("#main p", "Compare only numbers from the same text")


def test_a_model_without_saes_says_so_and_an_unknown_one_is_a_404(client):
    builders.model()
    assert page(client).has("#main p", "This model has no SAE yet")
    assert client.get("/none/compare/").status_code == 404


def test_it_costs_the_same_for_many(client, compared, django_assert_max_num_queries):
    for place in range(10):
        builders.sae(compared, f"more-{place}")
    with django_assert_max_num_queries(4):
        page(client)


def test_no_sae_takes_the_address(compared):
    with pytest.raises(ValidationError):
        not_a_page_of_a_model("compare")
    settings = {
        "model": "tiny",
        "slug": "compare",
        "corpus": "stories",
        "hook": "blocks.2.hook_resid_post",
        "width": 8,
        "k": 2,
    }
    with pytest.raises(InvalidParams) as refused:
        job_services.start("train_sae", settings)
    assert "address of a page" in str(refused.value.errors["slug"])


def test_the_models_page_leads_there(client, compared):
    assert Page(client.get("/tiny/")).has('a[href="/tiny/compare/"]')
