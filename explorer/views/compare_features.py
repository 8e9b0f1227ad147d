"""Compare features on one text: of one SAE, of several, or the same index in two."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from django import forms
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer.forms.features import TestForm
from explorer.http.requests import HtmxRequest, page
from explorer.views.features import activations_of_form
from features.inference.text_activations import FeatureReading
from features.models import Sae
from features.selectors import catalog as catalog_selectors
from features.selectors.feature_comparison import ComparedFeature, Path, compared_features

MOST = 6
BIGGEST_INDEX = 2**31 - 1


class PathsField(forms.Field):
    """Features as MODEL/SAE/INDEX, the parameter several times; after the first, SAE/INDEX or INDEX
    is enough.
    """

    widget = forms.MultipleHiddenInput

    def to_python(self, value: object) -> list[Path]:
        """The features in order, each once."""
        paths: list[Path] = []
        for item in value if isinstance(value, list) else []:
            if text := str(item).strip().strip("/"):
                paths.append(self._path(text, paths[0] if paths else None))
        paths = list(dict.fromkeys(paths))
        if len(paths) > MOST:
            raise forms.ValidationError(
                f"{len(paths)} features are too many to compare: at most {MOST}."
            )
        return paths

    def _path(self, text: str, first: Path | None) -> Path:
        parts = text.split("/")
        before = [first.model, first.sae] if first else []
        model_sae, index = [*before[: 3 - len(parts)], *parts[:-1]], parts[-1]
        right = (
            len(model_sae) == 2
            and index.isascii()
            and index.isdigit()
            and len(index) < 11
            and int(index) <= BIGGEST_INDEX
        )
        if not right or "\0" in text:
            raise forms.ValidationError(
                f"“{text[:80]}” names no feature: write MODEL/SAE/INDEX, such as "
                "demo-python/2-res/118."
            )
        return Path(model_sae[0], model_sae[1], int(index))


class FeaturesForm(TestForm):
    """Which features, and the text to see them on."""

    f = PathsField(required=False)

    def paths(self) -> list[Path]:
        """The features; none if one is invalid."""
        self.full_clean()
        return self.cleaned_data.get("f") or []


class Side(NamedTuple):
    """A feature, its activations on the text, and the URL of the page without it."""

    path: Path
    compared: ComparedFeature
    reading: FeatureReading | None
    without: str


class Offer(NamedTuple):
    """An SAE that has a feature of the same index, and the URL of the page with it."""

    sae: Sae
    url: str


@require_safe
def compare_features(request: HtmxRequest) -> HttpResponse:
    """The features of the query string, each in a column with its activations on the text."""
    form = FeaturesForm(request.GET)
    paths = form.paths()
    compared = compared_features(paths)
    for path in paths:
        if path not in compared:
            form.add_error(
                "f",
                f"There is no feature {path}; it may have been removed, or is not computed yet.",
            )
    text = form.cleaned_data.get("text") or ""
    shown = [path for path in paths if path in compared]
    context = {
        "form": form,
        "sides": [
            Side(
                path,
                compared[path],
                activations_of_form(compared[path].feature, form),
                _url(text, shown, without=path),
            )
            for path in shown
        ],
        "paths": shown,
        "most": MOST,
        "offers": _offers(shown, text),
        "full": len(shown) >= MOST,
    }
    return page(request, "features/compare.html", context, {"sides": "sides"})


def _url(
    text: str, paths: Sequence[Path], *, without: Path | None = None, more: Sequence[Path] = ()
) -> str:
    parameters = [("f", str(path)) for path in (*paths, *more) if path != without]
    return f"?{urlencode([*parameters, *([('text', text)] if text else [])])}"


def _offers(paths: Sequence[Path], text: str) -> list[Offer]:
    """The same index in the other SAEs of the first feature's model."""
    if not paths or len(paths) >= MOST:
        return []
    first = paths[0]
    others = (
        sae
        for sae in catalog_selectors.searchable()
        if sae.model.slug == first.model and sae.width > first.index
    )
    same_index = ((sae, Path(first.model, sae.slug, first.index)) for sae in others)
    return [
        Offer(sae, _url(text, paths, more=[path])) for sae, path in same_index if path not in paths
    ]
