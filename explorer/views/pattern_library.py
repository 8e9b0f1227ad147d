"""Every component once, on values made up for the purpose: later pages look like these."""

import math

from django import forms
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer.forms.features import WIDTHS
from explorer.http.requests import HtmxRequest, page
from explorer.plots.svg import Line
from features.models import Feature
from features.token_spans import Vocabulary, spans

VOCABULARY: Vocabulary = {
    0: (b"<|endoftext|>", True),
    1: (b" One", False),
    2: (b" day", False),
    3: (b" a", False),
    4: (b" caf", False),
    5: (b"\xc3", False),
    6: (b"\xa9", False),
    7: (b":\n    ", False),
    8: (b"<script>", False),
    9: (b" ran", False),
}


class PatternForm(forms.Form):
    """Controls in every state."""

    name = forms.CharField(help_text="A field with its explanation.")
    kind = forms.ChoiceField(choices=[("topk", "TopK"), ("relu", "ReLU")], label="Architecture")
    width = forms.IntegerField(min_value=1, initial=0, help_text="This one was refused.")


@require_safe
def pattern(request: HtmxRequest) -> HttpResponse:
    """The page of components."""
    ids, width = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 0.25
    rising = [(step, 1 - math.exp(-step / 2e5)) for step in range(0, 1_000_001, 20_000)]
    context = {
        "spans": spans(ids, VOCABULARY, [1, 2, 5, 6, 7], [1.6, 2.4, 0.4, 0.9, 0.2], 2, 2.4),
        "later": spans(ids[3:] + ids[1:3], VOCABULARY, [7, 8], [1.2, 2.1], 8, 2.4),
        "feature": Feature(
            max_activation=7.9,
            histogram=[round(900 * math.exp(-((i - 9) ** 2) / 60)) + 3 for i in range(32)],
            histogram_width=width,
            logit_low=-0.6,
            logit_high=1.1,
            logit_histogram=[round(1200 * math.exp(-((i - 18) ** 2) / 30)) for i in range(50)],
        ),
        "densities": [0, 2, 5, 12, 40, 90, 160, 310, 520, 430, 260, 90, 20, 3],
        "lines": [
            Line(rising),
            Line([(step, 0.9 * value) for step, value in rising], "job 1", "earlier"),
        ],
        "sweep": [
            Line([(x, y * (1 - n / 12)) for x, y in rising], f"k {2**n}", f"s{n}") for n in range(8)
        ],
        "form": PatternForm({"name": "2-res", "kind": "topk", "width": "0"}),
        "widths": WIDTHS,
        "progress": {"share": 0.62, "percent": 62},
    }
    return page(request, "catalog/pattern.html", context)
