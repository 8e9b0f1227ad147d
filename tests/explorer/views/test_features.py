"""The feature page: what it shows, what it costs, and what it never does."""

import gzip
import re
from html.parser import HTMLParser

import pytest

from explorer.templatetags.logit_effects import in_words
from features.records import ExampleRecord, ReadoutRecord, SequenceRecord
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
SESSION_AND_USER = 2


@pytest.fixture
def planted():
    return builders.planted()


def html(client, address="/tiny/2-res/0/", **headers):
    response = client.get(address, headers=headers)
    assert response.status_code == 200, response.content[:500]
    return Page(response)


def full_size(width=128, tops=20, bands=5, each=5):
    """A feature with 20 top examples and 5 bands of 5, of 128 tokens each, that fires on every
    fifth token.
    """
    planted = builders.planted()
    ids = [token for text in builders.TEXTS * 20 for token in builders.encode(text, bos=False)]
    contexts = [
        SequenceRecord(100 + i, f"long-{i}", [0, *ids[i * 7 : i * 7 + width - 1]])
        for i in range(45)
    ]
    positions = list(range(5, width, 5))
    places = [(0, rank) for rank in range(tops)] + [
        (b, r) for b in range(1, bands + 1) for r in range(each)
    ]
    examples = [
        ExampleRecord(
            band, rank, context.position, 50, positions, [2.0 - 0.01 * p for p in positions]
        )
        for (band, rank), context in zip(places, contexts, strict=True)
    ]
    record = builders.feature(8, values=[1.9] * 900, tokens=5760, examples=examples)
    builders.dashboards(planted.sae, planted.corpus, [record], contexts)
    return "/tiny/2-res/8/"


def test_the_page_shows_what_the_planted_feature_does(client, planted):
    page = html(client)
    assert page.has("h1", "Fires on “day”")
    assert "<title>Feature 0: “day”" in page
    assert re.search(r'<t class="peak" data-v="2.00" style="--a:1.00"> day</t>', page)
    density = planted.feature(0).density
    assert page.has("#main dd", f"{density:.1%}")
    assert page.has("#main a", "␣One")
    assert page.has('a[href="/tiny/2-res/1/"]')


def test_provenance_names_model_sae_corpus_tokens_and_code(client, planted):
    page = re.sub(r"\s+|<[^>]+>", " ", html(client))
    for part in (
        "tiny-stories",
        "(CC0-1.0)",
        f"{planted.dashboard.tokens:,} tokens",
        "2f1c0ffe",
        "9ab39ab3",
        "Featurescope 0.1",
    ):
        assert part in page


def test_previous_and_next_skip_dead_features(client, planted):
    page = html(client, "/tiny/2-res/4/")
    assert 'rel="prev" href="/tiny/2-res/2/' in page
    assert 'rel="next" href="/tiny/2-res/5/' in page
    assert "rel=" not in re.sub(
        r'rel="(icon|stylesheet|next)"', "", html(client, "/tiny/2-res/0/")
    ), "none before the first"


def test_a_dead_feature_says_so_and_leads_on(client, planted):
    page = html(client, "/tiny/2-res/3/")
    assert page.has("#main p", "never fired")
    assert page.has("#main p", "Next live feature, 4")
    assert page.has("#main a", "␣One"), "its logits are real"


def test_dashboards_from_before_cofiring_was_counted_still_show(client, planted):
    planted.sae.features.update(
        nearest_both=[], cofiring=[], cofiring_both=[], cofiring_jaccards=[]
    )
    page = html(client)
    assert "Fires together with" not in page
    assert page.count("<small>–</small>") == len(planted.feature(0).nearest)


def test_pages_stand_while_dashboards_are_still_written(client, planted):
    planted.dashboard.delete()
    for address in ("/tiny/2-res/3/", "/tiny/2-res/0/", "/tiny/2-res/"):
        assert "still being computed" in html(client, address) or "not ready" in html(
            client, address
        )


def test_random_goes_to_a_live_feature(client, planted):
    seen = {client.get("/tiny/2-res/random/").headers["Location"] for _ in range(30)}
    assert len(seen) > 1
    assert seen <= {f"/tiny/2-res/{i}/" for i in (0, 1, 2, 4, 5, 6, 7)}


def test_a_token_that_looks_like_html_is_text(client, planted):
    page = html(client, "/tiny/2-res/2/?width=full")
    assert page.has("#examples", "<script>")
    assert "<script>" not in page
    assert page.has("h1", "Fires on “<script>”")


@pytest.mark.parametrize("width", ["stacked", "snippet", "full"])
def test_every_width_works_without_script_and_as_a_fragment(client, planted, width):
    page = html(client, f"/tiny/2-res/0/?width={width}")
    assert page.has(f'section[class="panel examples-{width}"][id="examples"]')
    fragment = html(
        client, f"/tiny/2-res/0/?width={width}", HX_Request="true", HX_Target="examples"
    )
    assert fragment.strip().startswith("<section")
    assert "<html" not in fragment


def test_an_unknown_width_is_answered_with_the_choices(client, planted):
    page = html(client, "/tiny/2-res/0/?width=huge")
    assert page.has(
        "#examples [role=alert]", "Select a valid choice. huge is not one of the available choices."
    )
    assert page.has('section[class="panel examples-snippet"]')


@pytest.mark.parametrize("signed_in", [False, True])
def test_the_page_costs_five_queries_beyond_session_and_user(
    client, planted, django_assert_max_num_queries, signed_in
):
    if signed_in:
        client.force_login(builders.cast()[1])
    with django_assert_max_num_queries(5 + SESSION_AND_USER * signed_in):
        html(client)


@pytest.mark.parametrize("width", ["stacked", "snippet", "full"])
def test_a_full_page_has_at_most_150_kb_of_html(client, width):
    page = html(client, f"{full_size()}?width={width}")
    assert page.count('class="example"') == 45
    assert len(page.encode()) <= 150_000


class Outside(HTMLParser):
    """Collects what a page loads, and scripts written into it."""

    def __init__(self):
        super().__init__()
        self.loads, self.inline = [], []

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        if tag == "script" and "src" not in known:
            self.inline.append(attrs)
        self.inline += [name for name in known if name.startswith("on")]
        self.loads += [
            known[name] for name in ("src", "href", "action") if name in known and tag != "a"
        ]


@pytest.mark.parametrize(
    "address", ["/", "/tiny/", "/tiny/2-res/", "/tiny/2-res/0/", "/pattern/", "/about/", "/nobody/"]
)
def test_pages_load_htmx_and_our_own_files_and_nothing_else(client, planted, address):
    found = Outside()
    found.feed(Page(client.get(address)))
    assert found.inline == []
    scripts = {load for load in found.loads if load.endswith(".js")}
    own = {f"/static/js/{name}.js" for name in ("keys", "heatmap", "map", "brush")}
    assert scripts <= own | {"/static/django_htmx/htmx-2.min.js"}
    assert all(load.startswith("/") and not load.startswith("//") for load in found.loads)


def test_our_scripts_are_a_few_kilobytes(client):
    sizes = [len(client.get(f"/static/js/{name}.js").content) for name in ("keys", "heatmap")]
    assert all(sizes)
    assert sum(sizes) < 6_000
    assert (
        sum(len(client.get(f"/static/js/{name}.js").content) for name in ("map", "map_points"))
        < 20_000
    )


def test_scripts_and_styles_go_out_compressed_to_whoever_takes_that(client):
    for name in (
        "/static/js/keys.js",
        "/static/css/tokens.css",
        "/static/django_htmx/htmx-2.min.js",
    ):
        plain, packed = client.get(name), client.get(name, headers={"accept-encoding": "gzip, br"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
        assert int(packed.headers["Content-Length"]) == len(packed.content) < len(plain.content)
        assert gzip.decompress(packed.content) == plain.content
        unchanged = {
            "if-modified-since": packed.headers["Last-Modified"],
            "accept-encoding": "gzip",
        }
        assert (again := client.get(name, headers=unchanged)).status_code == 304
        assert again.content == b""


def test_the_page_says_how_its_logits_were_made(client, planted):
    page = Page(client.get("/tiny/2-res/0/"))
    assert page.has(
        "#main p",
        "The decoder direction has its mean over the residual stream taken out, is "
        "multiplied by the gain of the final",
    )
    assert page.has(
        "#main p",
        "LayerNorm (0.500 to 1.75) and meets each row of the unembedding, as that "
        "norm subtracts it.",
    )
    assert page.has(
        "#main p", "Of 273 rows of the vocabulary 3 are left out: 1 special and 2 unused."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "The decoder direction is multiplied by the gain of the final LlamaRMSNorm (0.500 to "
            "1.75) and meets each row of",
        ),
        ({"norm": ""}, "The decoder direction meets each row of the unembedding. Of"),
        (
            {"through": "attention's output projection"},
            "goes through attention's output projection, then is multiplied",
        ),
        ({"special": 0}, "All 64 rows of the vocabulary are ranked."),
    ],
)
def test_how_logits_were_made_in_words(changes, said):
    record = ReadoutRecord(
        "LlamaRMSNorm", False, 0.5, 1.75, "", 64, special=2, unused=0, fallback=0
    )
    assert said in in_words(record._replace(**changes)._asdict())
