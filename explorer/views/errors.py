"""What a visitor sees in place of a page that is not there."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from explorer.http import NotHere


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, with what there is instead where the view knows."""
    known = exception if isinstance(exception, NotHere) else None
    context = {
        "message": known.message if known else "There is no page at this address.",
        "choices": known.choices if known else [],
        "error_page": True,
    }
    return render(request, "404.html", context, status=404)
