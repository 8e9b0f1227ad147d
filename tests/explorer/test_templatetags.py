"""Numbers, heatmaps and plots as templates write them."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

from explorer.plots import scale, svg
from explorer.templatetags import counted_tokens, heatmap, markup, names, numbers, plots
from features.models import Feature
from features.token_spans import spans

VOCABULARY = {
    0: (b"<|endoftext|>", True),
    1: (b" day", False),
    2: (b"\n    ", False),
    3: (b"<b>", False),
    4: (b"a\r\nb", False),
}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2.4561, "2.46"), (0.012345, "0.0123"), (1234.5, "1,230"), (9.999, "10.0"),
        (0.99951, "1.00"), (0, "0"), (-3.14159, "-3.14"),
        (0.00001234, "1.23e-05"), (12345678, "12,300,000"), (1e12, "1.00e+12"),
        (None, "–"), (math.nan, "–"), (math.inf, "inf"), ("", "–"),
    ],
)  # fmt: skip
def test_numbers_have_three_significant_digits(value, written):
    assert numbers.number(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0613, "6.1%"),
        (0.613, "61.3%"),
        (0.00061, "0.061%"),
        (1.2e-6, "0.00012%"),
        (1, "100%"),
        (0, "0%"),
        (0.99999, ">99.9%"),
        (0.0994, "9.9%"),
        (0.09999, "10%"),
        (None, "–"),
        (math.nan, "–"),
        (-0.5, "−50%"),
        (1.3, "130%"),
    ],
)
def test_shares_are_percentages_with_sensible_digits(value, written):
    assert numbers.share(value) == written


def test_counts_signs_and_short_counts():
    assert numbers.count(1234567) == "1,234,567"
    assert numbers.count(None) == "–"
    assert [numbers.short_count(n) for n in (950, 12_345, 4_050_000, 7e9)] == [
        "950",
        "12.3k",
        "4.05M",
        "7B",
    ]
    assert [numbers.signed(x) for x in (1.04, -0.54)] == ["+1.04", "−0.54"]


def test_a_fact_carries_its_definition_on_hover():
    made = numbers.fact("density", 0.0613)
    assert "<dt>Density</dt><dd>6.1%</dd>" in made
    assert 'title="Share of the dashboard&#x27;s tokens' in made
    with pytest.raises(KeyError):
        numbers.fact("beauty", 1)


def test_settings_read_as_words():
    assert [names.setting(v) for v in (True, False, None, "", 1_000_000, 24, 0.0003, "topk")] == [
        "yes", "no", "–", "–", "1,000,000", "24", "0.0003", "topk"]  # fmt: skip
    assert names.words("learning_rate") == "Learning rate"


def test_hidden_characters_have_names_in_heatmaps_and_joiners_stay():
    vocabulary = {
        1: (b"\x07<", False),
        2: ("\u202b".encode(), False),
        3: ("👩\u200d👩".encode(), False),
    }
    assert heatmap.heatmap(spans([1, 2, 3], vocabulary)) == (
        '<t><abbr title="control character">U+0007</abbr>&lt;</t>'
        '<t><abbr title="right-to-left embedding">U+202B</abbr></t>'
        "<t>👩\u200d👩</t>"
    )


def test_a_heatmap_marks_value_peak_and_special_and_escapes_text():
    boxes = spans([0, 1, 2, 3], VOCABULARY, [1, 3], [2.0, 0.5], 1, 2.0)
    assert heatmap.heatmap(boxes) == (
        '<t class="special">&lt;|endoftext|&gt;</t>'
        '<t class="peak" data-v="2.00" style="--a:1.00"> day</t>'
        "<t>↵\n    </t>"
        '<t data-v="0.500" style="--a:0.59">&lt;b&gt;</t>'
    )


def test_a_token_that_does_not_count_is_grey_and_says_why():
    boxes = spans([2, 3], VOCABULARY, left_out=[1])
    assert heatmap.heatmap(boxes) == (
        f'<t>↵\n    </t><t class="left-out" title="{heatmap.LEFT_OUT}">&lt;b&gt;</t>'
    )


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({}, "Left out: special tokens."),
        ({"norm_ratio": 0.0, "median_norm": 9.0}, "Left out: special tokens."),
        (
            {"norm_ratio": 10.0, "median_norm": 169.1, "first_positions": 2},
            "Left out: special tokens; tokens with a norm above 10 × the median of 169; the first "
            "2 tokens of each context.",
        ),
        (
            {
                "norm_ratio": 10.0,
                "median_norm": 169.1,
                "first_positions": 0,
                "left_out": {"special": 3150, "first": 0, "outliers": 1},
            },
            "Left out: special tokens (3,150); tokens with a norm above 10 × the median of 169 "
            "(1).",
        ),
    ],
)
def test_the_tokens_that_do_not_count_in_words(stored, words):
    assert counted_tokens.left_out_in_words(stored) == words


def test_a_value_below_zero_has_its_sign_and_a_colour_of_its_own():
    (box,) = spans([1], VOCABULARY, [0], [-2.0], 0, 2.0)
    assert heatmap.heatmap([box]) == (
        '<t class="peak negative" data-v="-2.00" style="--a:1.00"> day</t>'
    )


def test_line_ends_show_as_signs_and_break_only_where_asked():
    boxes = spans([4, 2], VOCABULARY)
    assert heatmap.heatmap(boxes) == "<t>a↵\nb</t><t>↵\n    </t>"
    assert heatmap.heatmap(boxes, breaks=False) == "<t>a↵ b</t><t>↵     </t>"


def test_aligned_lines_have_the_peak_in_the_middle():
    made = heatmap.aligned(spans([1, 3, 1], VOCABULARY, [1], [1.0], 1, 1.0))
    assert re.findall(r"> day<|&lt;b&gt;", made) == ["> day<", "&lt;b&gt;", "> day<"]
    assert made.index('class="before"') < made.index('class="peak"') < made.index('class="after"')


def test_a_crop_keeps_the_peak():
    boxes = spans([1] * 100, VOCABULARY, [60], [1.0], 60, 1.0)
    cut = heatmap.crop(boxes)
    assert len(cut) == 24 + 1 + 12
    assert cut[24].peak
    assert heatmap.crop(spans([1, 1], VOCABULARY, [0], [1.0], 0, 1.0))[0].peak
    assert heatmap.crop([]) == []


def feature(**changes):
    usual = {
        "max_activation": 1.3, "histogram": [9, 0, 3, 1] + [0] * 60, "histogram_width": 0.5,
        "logit_low": -0.5, "logit_high": 1.0, "logit_histogram": [1, 5, 2],
    }  # fmt: skip
    return Feature(**usual | changes)


def parsed(markup):
    return ET.fromstring(re.sub(r'class="plot "', 'class="plot"', markup))


def drawn(markup):
    return [float(r.get("height")) for r in parsed(markup).iter("rect") if r.get("class") is None]


def test_the_activation_histogram_is_logarithmic_and_cut_at_the_maximum():
    heights = drawn(plots.activation_histogram(feature()))
    assert len(heights) == 2, "bins beyond the maximum are cut, empty ones not drawn"
    assert heights[0] / heights[1] == pytest.approx(math.log(10) / math.log(4), rel=0.01)


def test_every_bin_says_its_range_and_count_and_the_plot_says_what_it_is():
    tree = parsed(plots.activation_histogram(feature()))
    assert tree.get("role") == "img"
    assert tree.get("aria-label") == "Histogram of activations from 0 to 1.30: 12 firings."
    assert [t.text for t in tree.iter("title")] == [
        "0 to 0.500: 9 firings",
        "0.500 to 1.00: 0 firings",
        "1.00 to 1.50: 3 firings",
    ]


def test_a_feature_that_never_fired_has_an_empty_histogram():
    assert drawn(plots.activation_histogram(feature(max_activation=0, histogram=[0] * 64))) == []
    assert (
        drawn(plots.logit_histogram(feature(logit_histogram=[], logit_low=0, logit_high=0))) == []
    )


def test_density_histograms_have_a_tick_at_decades():
    tree = parsed(
        plots.density_histogram([0, 2, 5, 12, 40, 90, 160, 310, 520, 430, 260, 90, 20, 3])
    )
    assert [t.text for t in tree.iter("text")] == ["1e-7", "1e-5", "1e-3", "1e-1", "1"]


def test_a_curve_says_its_last_value_and_draws_the_earlier_run():
    points = [(0, 0.0), (500_000, 0.7), (1_000_000, 0.83)]
    lines = [svg.Line(points), svg.Line([(0, 0.1), (900_000, 0.8)], "job 1", "earlier")]
    made = plots.curve(lines, "Explained variance")
    tree = parsed(made)
    assert tree.get("aria-label") == "Explained variance: 0.830 at 1,000,000 tokens."
    assert [p.get("class") for p in tree.iter("path")] == ["axis", "earlier", "fill", None]
    assert [t.text for t in tree.iter("text")] == ["1", "0", "0", "1M tokens"]


def test_curves_of_no_one_or_endless_points_are_drawn():
    assert "No values yet" in plots.curve([])
    assert "<circle" in plots.curve([svg.Line([(0, 5.0)])])
    long = [(i, math.sin(i)) for i in range(100_000)]
    assert plots.curve([svg.Line(long)]).count("L") <= 2 * scale.MAX_POINTS + 2
    assert "nan" not in plots.curve([svg.Line([(0, 1.0), (1, math.nan), (2, math.inf), (3, 2.0)])])


def test_lines_of_a_sweep_have_names_looks_and_one_range():
    lines = [svg.Line([(0, 0.0), (10, n / 10)], f"k<{n}", f"s{n}") for n in (1, 2)]
    tree = parsed(plots.curve(lines, "L0", "steps"))
    drawn = {p.get("class"): p for p in tree.iter("path")}
    assert list(drawn) == ["axis", "s2", "s1"]  # the first lies on top
    assert [drawn[look].find("title").text for look in ("s1", "s2")] == ["k<1", "k<2"]
    assert tree.get("aria-label") == "L0: k<1 0.100 at 10 steps, k<2 0.200 at 10 steps."
    assert next(t.text for t in tree.iter("text")) == "0.2"


def test_a_scatter_plot_says_every_spot():
    spots = [svg.Spot(8, 0.7, "a & b", "s0"), svg.Spot(32, 0.9, "c", "s1")]
    tree = parsed(plots.scatter(spots, "L0", "Explained variance"))
    assert [c.find("title").text for c in tree.iter("circle")] == ["a & b", "c"]
    assert tree.get("aria-label") == "Explained variance against L0. a & b; c"
    places = [(float(c.get("cx")), float(c.get("cy"))) for c in tree.iter("circle")]
    assert places[0][0] < places[1][0]
    assert places[0][1] > places[1][1]


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([0.1, 0.83], (0, 1)),
        ([23.1, 24.9], (23, 25)),
        ([130, 30], (0, 150)),
        ([-2, 3], (-2, 4)),
        ([5, 5], (0, 6)),
        ([0, 0], (0, 1)),
    ],
)
def test_axes_end_at_round_numbers_that_hold_all_values(values, ends):
    low, high = scale.nice_range(values)
    assert low <= min(values)
    assert high >= max(values)
    assert (low, high) == pytest.approx(ends)


def test_a_row_escapes_whatever_is_not_safe():
    inner = markup.format_row("<i>%s</i>", "<&\"'")
    row = markup.format_row('<b title="%s">%s%s</b>', '"', inner, 3)
    assert row == '<b title="&quot;"><i>&lt;&amp;&quot;&#x27;</i>3</b>'
    assert markup.concatenated([inner, row]).__html__() == inner + row
