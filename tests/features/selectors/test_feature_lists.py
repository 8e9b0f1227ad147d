"""Lists of features: filters, orders, cursors, and the ways in which filtered rows are read."""

from functools import partial
from itertools import product
from random import Random

import pytest

from features.db.keyset import BadCursor
from features.models import Feature
from features.selectors import feature_list_plan, feature_lists
from features.selectors.feature_columns import ORDERS
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted():
    return builders.planted()


def test_pages_filter_and_go_on_after_ties(planted):
    Feature.objects.filter(sae=planted.sae, index__in=[4, 5, 6]).update(density=0.5)
    seen, cursor = [], ""
    while True:
        page = feature_lists.page(planted.sae, order="-density", cursor=cursor, size=2, alive=True)
        seen += [row.index for row in page.features]
        cursor = page.next
        if not cursor:
            break
    assert seen[:3] == [4, 5, 6]
    assert sorted(seen) == [0, 1, 2, 4, 5, 6, 7]
    with pytest.raises(BadCursor):
        feature_lists.page(planted.sae, order="density", cursor="nonsense")


WAYS = {
    "among the first": {"CHEAP": -1, "WALKED": 1000},
    "among the first, then filtered first": {"CHEAP": -1, "WALKED": 3, "AFFORDABLE": 1e9},
    "among the first, then walked": {"CHEAP": -1, "WALKED": 3, "AFFORDABLE": -1},
    "filtered first": {"CHEAP": 1e9},
    "walked": {"AFFORDABLE": -1, "CHEAP": 1e9},
}
NARROWED = [
    {"density_min": 0.02},
    {"density_max": 0.03},
    {"density_min": 0.01, "max_activation_max": 5},
    {"cluster": 1},
    {"has_label": False, "max_activation_min": 2},
    {"causal_effect_min": 0.0, "cluster": 0},
    {"density_max": 0},
]


@pytest.mark.parametrize("way", WAYS)
def test_filtered_pages_are_those_of_a_plain_list_however_they_are_found(planted, monkeypatch, way):
    dice, sae = Random(0), builders.sae(planted.model, "drawn", width=40)
    template = planted.feature(0)
    for index in range(40):
        alive = index % 5 > 0
        fires = alive * dice.randrange(1, 5)  # of one number of tokens: density has the same order
        template.pk, template.sae, template.index = None, sae, index
        template.fires, template.density, template.mean_activation = (
            fires,
            fires / 100,
            alive * dice.randrange(1, 4),
        )
        template.max_activation, template.cluster = (
            alive * dice.randrange(1, 9),
            dice.choice([None, 0, 1]),
        )
        template.causal_effect, template.decoder_norm = dice.choice([-0.5, 0.0, 0.5]), dice.random()
        template.save(force_insert=True)
    for name, value in WAYS[way].items():
        monkeypatch.setattr(feature_list_plan, name, value)
    rows = list(Feature.objects.filter(sae=sae))
    for filters, order, alive in dice.sample(
        list(product(NARROWED, ORDERS, (None, True, False))), 60
    ):
        expected = sorted(
            filter(partial(_passes, filters, alive), rows), key=partial(_place, order)
        )
        seen, cursor = [], None
        while cursor != "":
            found = feature_lists.page(
                sae, order=order, cursor=cursor or "", size=7, alive=alive, **filters
            )
            seen, cursor = [*seen, *(row.index for row in found.features)], found.next
        assert seen == [row.index for row in expected], (filters, order, alive)


def _passes(filters, alive, row):
    ends = [
        (name.rpartition("_"), end)
        for name, end in filters.items()
        if name not in ("cluster", "has_label")
    ]
    return (
        alive in (None, row.fires > 0)
        and filters.get("cluster", row.cluster) == row.cluster
        and filters.get("has_label", False) == (row.label_id is not None)
        and all(
            getattr(row, name) >= end if which == "min" else getattr(row, name) <= end
            for (name, _, which), end in ends
        )
    )


def _place(order, row):
    name = order.removeprefix("-")
    return (-getattr(row, name) if order.startswith("-") else getattr(row, name), row.index)


def test_a_cursor_is_only_good_for_the_filters_that_gave_it(planted):
    cursor = feature_lists.page(planted.sae, size=2, alive=True).next
    with pytest.raises(BadCursor):
        feature_lists.page(planted.sae, size=2, alive=None, cursor=cursor)


def test_snippets_show_the_peak_and_whole_characters(planted):
    page = feature_lists.page(planted.sae)
    accent = next(row for row in page.features if row.index == 7)
    snippet = page.snippets[accent.pk]
    assert [span.text for span in snippet if span.peak] == ["é"]
    assert "\ufffd" not in "".join(span.text for span in snippet)
    assert next(row for row in page.features if row.index == 3).pk not in page.snippets


@pytest.mark.parametrize("size", [1, 8])
def test_a_page_costs_three_queries_whatever_its_size(planted, django_assert_num_queries, size):
    with django_assert_num_queries(3):
        feature_lists.page(planted.sae, size=size)
