"""The steering page's form: interventions from a query string or a posted form, and who steers.

An intervention is four parameters, each repeated once for every intervention:
`feature=2-res/653&method=add&strength=2&unit=maximum`; what is left out takes its default.
`add=2-res/7` adds an intervention, `remove=2-res/7` takes it away.
"""

import hashlib
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, QueryDict
from rest_framework.request import Request

from explorer.http.requests import HtmxRequest
from features.models import Feature, SteeringRun
from features.records import MAX_INTERVENTIONS, Intervention
from features.steering.forms import STRENGTHS as SWEPT
from features.steering.forms import SteerForm
from features.steering.interventions import METHODS_WITH_STRENGTH

STRENGTHS = {"maximum": "0.5", "norm": "0.5"}
"""Sensible to begin with: half of the largest activation ever seen, or of what is there. A sweep
says more.
"""
SAMPLING = ("temperature", "top_p", "frequency_penalty", "seed", "length")
PRESETS = {
    "Greedy": {"temperature": "0", "frequency_penalty": "0"},
    "Balanced": {"temperature": "0.5", "top_p": "0.95", "frequency_penalty": "0"},
    "Lively": {"temperature": "1", "top_p": "0.95", "frequency_penalty": "0.3"},
}


class InterventionFields(NamedTuple):
    """The fields of one intervention as somebody filled them in, and the feature's row where there
    is one. `SteerForm` parses them.
    """

    name: str
    method: str
    strength: str
    unit: str
    row: Feature | None = None

    @property
    def strong(self) -> bool:
        """Whether its method has a strength."""
        return self.method in METHODS_WITH_STRENGTH

    @property
    def maximum(self) -> float | None:
        """What its strength is a multiple of, where that is its maximum."""
        return self.row.max_activation if self.row else None


def who(request: HttpRequest | Request) -> str:
    """Whose turn a run takes: the user's, or for a visitor that of their address, which nobody can
    read from it.
    """
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return f"user:{user.pk}"
    seen = f"{settings.SECRET_KEY} {request.META.get('REMOTE_ADDR', '')}"
    return f"address:{hashlib.sha256(seen.encode()).hexdigest()[:24]}"


def owner(request: HttpRequest, *, begin: bool = False) -> str:
    """Whose history and presets: the user's, or for a visitor that of their session, which `begin`
    makes sure of.
    """
    if request.user.is_authenticated:
        return who(request)
    if begin and not request.session.session_key:
        request.session.create()
    return f"session:{request.session.session_key}" if request.session.session_key else ""


def intervention_fields(data: QueryDict) -> list[InterventionFields]:
    """The interventions of a form, with those that are added or taken away; at most one more than a
    run may have.
    """
    names, methods, strengths, units = (
        data.getlist(n) for n in ("feature", "method", "strength", "unit")
    )
    rows = zip_longest(names, methods, strengths, units, fillvalue="")
    filled = [
        _with_defaults(InterventionFields(*row))
        for row in rows
        if row[0] and row[0] != data.get("remove")
    ]
    added = data.get("add", "").strip()
    if added and added not in {fields.name for fields in filled}:
        filled.append(_with_defaults(InterventionFields(added, "", "", "")))
    return filled[: MAX_INTERVENTIONS + 1]


def with_strength(fields: InterventionFields, row: Feature | None) -> InterventionFields:
    """The fields with that row; an empty strength becomes the one that a sweep marked best, or else
    a sensible one.
    """
    best = row.best_dose if row and (fields.method, fields.unit) == ("add", "maximum") else None
    usual = STRENGTHS.get(fields.unit, "1") if best is None else f"{best:g}"
    return fields._replace(row=row, strength=fields.strength or usual)


def with_preset(data: QueryDict) -> QueryDict:
    """The form with the sampling of the preset whose button was pressed."""
    chosen = PRESETS.get(data.get("preset", ""), {})
    changed = data.copy()
    for name, value in chosen.items():
        changed[name] = value
    return changed


def given(data: QueryDict, chosen: list[InterventionFields]) -> dict[str, Any]:
    """The data of a `SteerForm`, from a form's data and its interventions."""
    asked = {
        name: data[name] for name in SteerForm.base_fields if name in data and name != "features"
    }
    asked["tokens"] = ",".join(data.getlist("tokens"))
    asked["strengths"] = list(SWEPT) if data.get("sweep") else []
    return {
        **asked,
        "special": bool(data.get("special")),
        "features": [_as_params(fields) for fields in chosen],
    }


def query_of(run: SteeringRun) -> str:
    """The query string that fills the form as it was for a run."""
    params = run.params
    simple = [(name, params[name]) for name in ("model", "prompt", "mode", "where", *SAMPLING)]
    listed = [("tokens", ",".join(map(str, params["tokens"])))] if params["tokens"] else []
    ticked = [("special", "on")] if params["special"] else []
    rows = [
        (name, value)
        for intervention in run.interventions
        for name, value in _as_query(intervention)
    ]
    return urlencode([*simple, *listed, *ticked, *rows])


def plain(errors: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong, field by field, as a page lists it."""
    fields = SteerForm.base_fields
    return [
        (
            str(fields[name].label or name.replace("_", " ").capitalize())
            if name in fields
            else "",
            text,
        )
        for name, texts in errors.items()
        for text in texts
    ]


def steer_data(request: HtmxRequest) -> QueryDict:
    """The form's data, posted or in the query string."""
    return request.POST if request.method == "POST" else request.GET


def _as_query(intervention: Intervention) -> list[tuple[str, str]]:
    return [
        ("feature", intervention.name),
        ("method", intervention.method),
        ("strength", f"{intervention.strength:g}"),
        ("unit", intervention.unit),
    ]


def _with_defaults(fields: InterventionFields) -> InterventionFields:
    method, unit = fields.method or "add", fields.unit or "maximum"
    if method != "add":
        unit = "maximum"
    return fields._replace(method=method, unit=unit)


def _as_params(fields: InterventionFields) -> dict[str, Any]:
    sae, _, index = fields.name.rpartition("/")
    return {
        "sae": sae,
        "index": index,
        "method": fields.method,
        "strength": fields.strength,
        "unit": fields.unit,
    }
