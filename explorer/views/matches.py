"""The features of one SAE with their nearest in another."""

from typing import Any

from django import forms
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from explorer.http.requests import Choice, HtmxRequest, NotHere, page
from explorer.views.catalog import find_sae
from features.db import keyset
from features.models import Matching
from features.selectors import matches as match_selectors


class MatchesForm(forms.Form):
    """In what order, and after which one."""

    order = forms.ChoiceField(
        choices=list(match_selectors.ORDERS.items()), required=False, label="Order by"
    )
    cursor = forms.CharField(required=False, max_length=500, widget=forms.HiddenInput)

    def arguments(self) -> dict[str, Any]:
        """Arguments of `selectors.matches.page`; a field that was refused counts as empty."""
        self.full_clean()
        return {
            "order": self.cleaned_data.get("order") or "-cosine",
            "cursor": self.cleaned_data.get("cursor", ""),
        }


@require_safe
def matches(request: HtmxRequest, model: str, sae: str, other: str) -> HttpResponse:
    """The matched features of two SAEs as a table."""
    matching = _find(model, sae, other)
    form = MatchesForm(request.GET)
    arguments = form.arguments()
    listed, wrong = keyset.page_or_first(
        lambda cursor: match_selectors.page(matching, **arguments | {"cursor": cursor}),
        arguments["cursor"],
    )
    if wrong:
        form.add_error(None, wrong)
    context = {
        "matching": matching,
        "sae": matching.sae,
        "other": matching.other,
        "form": form,
        "listed": listed,
    }
    return page(request, "catalog/matches.html", context, {"matches": "matches", "more": "rows"})


def _find(model: str, sae: str, other: str) -> Matching:
    """The pair, or a 404 that lists the existing ones."""
    owner = find_sae(model, sae)
    try:
        return match_selectors.pair(owner, other)
    except Matching.DoesNotExist:
        pairs = [
            Choice(str(pair), pair.get_absolute_url()) for pair in match_selectors.pairs(model, sae)
        ]
        choices = [Choice(str(owner), owner.get_absolute_url()), *pairs]
        raise NotHere(
            f"The features of {owner} were not matched with those of “{other}”.", choices
        ) from None
