"""The list of an SAE's features: filters, columns and orders in the address, and a range of
densities from the plot.
"""

import re
from urllib.parse import parse_qs

import pytest

from explorer.definitions import DEFINITIONS
from features.models import Feature
from features.selectors import feature_lists
from features.selectors.feature_columns import COLUMNS, ORDERED, ORDERS, order_keys
from tests import builders

pytestmark = pytest.mark.django_db
HOME = "/tiny/2-res/"


@pytest.fixture
def planted():
    """Numbers that differ in every column."""
    made = builders.planted(width=16)
    for row in Feature.objects.filter(sae=made.sae):
        row.mean_activation, row.decoder_norm = (row.index * 7 % 16) / 8, (row.index * 5 % 16) + 0.5
        row.encoder_decoder_cosine = (row.index * 3 % 16) / 16
        row.save()
    return made


def html(client, query="", **headers):
    response = client.get(f"{HOME}{query}", headers=headers)
    assert response.status_code == 200, response.content[:500]
    return response.content.decode()


def indices(page):
    return [
        int(found)
        for found in re.findall(r'<td class="cell-number"><a href="/tiny/2-res/(\d+)/"', page)
    ]


def heads(page):
    return re.findall(
        r'<th class="cell-number" scope="col" title="[^"]+"[^>]*>(?:<a [^>]+>)?([^<]+?)(?: [↑↓])?<',
        page,
    )


@pytest.mark.parametrize("order", ORDERS)
def test_the_list_is_in_every_order_that_it_offers(client, planted, order):
    field, falls = order.removeprefix("-"), order.startswith("-")
    rows = Feature.objects.filter(sae=planted.sae)
    expected = sorted(
        rows, key=lambda row: (-getattr(row, field) if falls else getattr(row, field), row.index)
    )
    assert indices(html(client, f"?alive=all&order={order}")) == [row.index for row in expected]


def test_every_order_has_an_index(db):
    indexed = [tuple(index.fields) for index in Feature._meta.indexes] + [("sae", "index")]
    for order in ORDERS:
        fields = tuple(key.removeprefix("-") for key in order_keys(order))
        assert ("sae", *fields) in indexed, order


def test_every_column_has_its_definition_and_its_field():
    for name in COLUMNS:
        assert name in DEFINITIONS
        assert Feature._meta.get_field(name)


def test_columns_are_chosen_in_the_address_and_stay_in_their_own_order(client, planted):
    assert heads(html(client)) == ["Feature", "Density", "Maximum"]
    page = html(client, "?columns=decoder_norm&columns=density&columns=cluster")
    assert heads(page) == ["Feature", "Density", "Cluster", "Decoder norm"]
    assert page.count('name="columns"') == len(COLUMNS)
    assert re.findall(r'value="(\w+)" checked', page) == ["density", "cluster", "decoder_norm"]
    row = page[page.index('<a href="/tiny/2-res/1/"') :]
    assert '<td class="cell-number">1</td><td class="cell-number">5.50</td>' in row.replace(
        "\n", ""
    )


def test_headings_sort_and_turn_round_and_keep_the_rest(client, planted):
    page = html(client, "?alive=all&columns=fires&order=-fires&cursor=x")
    assert 'aria-sort="descending"' in page
    link = re.search(r'aria-sort="descending"><a href="\?([^"]+)"', page)[1].replace("&amp;", "&")
    assert parse_qs(link) == {"alive": ["all"], "columns": ["fires"], "order": ["fires"]}
    assert '<input type="hidden" form="browse" name="order" value="-fires">' in page


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("max_activation_min=4", lambda row: row.max_activation >= 4),
        ("max_activation_max=2.5", lambda row: row.max_activation <= 2.5),
        (
            "max_activation_min=3&max_activation_max=4&alive=all",
            lambda row: 3 <= row.max_activation <= 4,
        ),
        ("cluster=0", lambda row: row.cluster == 0),
        ("cluster=1&order=-density", lambda row: row.cluster == 1),
        ("cluster=7", lambda row: False),
        ("causal_effect_min=0.5", lambda row: row.causal_effect >= 0.5),
        (
            "causal_effect_min=-1&causal_effect_max=-0.5",
            lambda row: -1 <= row.causal_effect <= -0.5,
        ),
        (
            "density_min=0.02&max_activation_min=2.5",
            lambda row: row.density >= 0.02 and row.max_activation >= 2.5,
        ),
    ],
)
def test_filters_leave_what_they_say(client, planted, query, wanted):
    for index, effect in ((0, 0.75), (2, 0.5), (4, -0.5)):
        Feature.objects.filter(sae=planted.sae, index=index).update(causal_effect=effect)
    rows = [
        row
        for row in Feature.objects.filter(sae=planted.sae)
        if wanted(row) and (row.fires or "all" in query)
    ]
    assert sorted(indices(html(client, f"?{query}"))) == sorted(row.index for row in rows)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("max_activation_min=x", "Enter a number"),
        ("max_activation_min=nan", "Enter a number"),
        ("max_activation_min=-1", "greater than or equal to 0"),
        ("max_activation_min=5&max_activation_max=4", "The range ends before it begins"),
        ("max_activation_max=1e999", "Enter a number"),
        ("causal_effect_min=0&causal_effect_max=-1", "The range ends before it begins"),
        ("cluster=x", "Enter a whole number"),
        ("cluster=-1", "greater than or equal to 0"),
        (f"cluster={10**30}", "less than or equal to"),
        ("columns=beauty", "Select a valid choice"),
        ("columns=%00", "Select a valid choice"),
        ("order=cluster", "Select a valid choice"),
    ],
)
def test_a_wrong_wish_gets_a_sentence_and_the_list(client, planted, query, said):
    page = html(client, f"?{query}")
    assert said in page
    assert indices(page)


def test_bars_of_the_plot_are_links_to_their_range(client, planted):
    page = html(client, "?order=-density&density_min=0.5&cursor=x")
    plot = page[page.index('class="brush"') : page.index("</svg>", page.index('class="brush"'))]
    links = [
        parse_qs(link.replace("&amp;", "&")) for link in re.findall(r'<a href="\?([^"]+)"', plot)
    ]
    assert len(links) == 14
    assert all(link["order"] == ["-density"] and "cursor" not in link for link in links)
    assert "density_min" not in links[0], "the first has no lower end"
    assert [link["density_max"] for link in links[:-1]] == [
        link["density_min"] for link in links[1:]
    ]
    found = set()
    for link in links:
        found |= set(
            indices(
                html(client, "?" + "&".join(f"{k}={v[0]}" for k, v in link.items() if k != "order"))
            )
        )
    assert found == {row.index for row in Feature.objects.filter(sae=planted.sae).alive()}


@pytest.mark.parametrize("columns", [[], list(COLUMNS)])
def test_more_columns_cost_no_more_queries(client, planted, django_assert_num_queries, columns):
    rows = feature_lists.page(planted.sae).features
    with django_assert_num_queries(0):
        for row in rows:
            assert len([getattr(row, name) for name in columns]) == len(columns)
            assert row.label is None
            assert str(row.disputed)


def test_the_api_filters_and_orders_alike(client, planted):
    def listed(**query):
        return [
            row["index"]
            for row in client.get("/api/v1/features/tiny/2-res/", query).json()["results"]
        ]

    assert listed(cluster=1) == [1]
    assert listed(max_activation_min=4, order="-max_activation") == indices(
        html(client, "?max_activation_min=4&order=-max_activation")
    )
    for column in ORDERED:
        assert listed(order=f"-{column.name}") == indices(
            html(client, f"?alive=all&order=-{column.name}")
        )
    assert client.get("/api/v1/features/tiny/2-res/", {"cluster": "x"}).status_code == 400
    refused = client.get(
        "/api/v1/features/tiny/2-res/", {"max_activation_min": 5, "max_activation_max": 4}
    )
    assert list(refused.json()["error"]["fields"]) == ["max_activation_min"]
