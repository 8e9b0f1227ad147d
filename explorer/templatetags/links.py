"""URLs with a query string, and links to people."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from explorer.templatetags.markup import format_row
from features.models import Feature
from features.selectors.feature_view import Near

register = template.Library()

FORMER_USER = "a former user"


@register.simple_tag
def search_url(model: str = "", **params: str) -> str:
    """The search page; `text=""` or `token=""` chooses the kind of search."""
    query = ({"model": model} if model else {}) | params
    url = reverse("search")
    return f"{url}?{urlencode(query, quote_via=quote)}" if query else url


@register.simple_tag
def steer_url(feature: Feature, prompt: str | None = None) -> str:
    """The steering page with that feature, and the prompt if there is one."""
    model, path = str(feature).split("/", 1)
    url = f"{reverse('steer')}?model={quote(model)}&feature={quote(path)}"
    return url if prompt is None else f"{url}&prompt={quote(prompt, safe='')}"


@register.simple_tag
def feature_link(feature: Feature) -> SafeString:
    """A link to a feature by its SAE's slug and its index."""
    text = f"{feature.sae.slug}/{feature.index}"
    return format_row('<a href="%s">%s</a>', feature.get_absolute_url(), text)


@register.simple_tag
def compare_url(feature: Feature, nearest: Sequence[Near] = ()) -> str:
    """The comparison of a feature with the two nearest of the same SAE."""
    features = [str(feature), *(f"{feature.sae}/{near.index}" for near in nearest[:2])]
    return f"{reverse('compare_features')}?{'&'.join(f'f={path}' for path in features)}"


@register.simple_tag
def embed_code(feature: Feature, url: str, width: str, breaks: bool) -> SafeString:
    """HTML that shows the feature's heatmaps inside another page, escaped for a text area."""
    return format_html(
        '&lt;iframe src="{}embed/?width={}{}" title="Feature {} of {}" width="100%" height="320"'
        ' style="border:0"&gt;&lt;/iframe&gt;',
        url,
        width,
        "&breaks=on" if breaks else "",
        feature.index,
        feature.sae,
    )


@register.simple_tag
def person(user: Any, missing: str = FORMER_USER) -> SafeString | str:
    """A user's name with a link to what they wrote."""
    if user is None:
        return missing
    url = reverse("labels_by", args=[user.username])
    return format_html('<a href="{}">{}</a>', url, user.username)
