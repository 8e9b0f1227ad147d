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

from features.models import Feature, SteeringRun
from features.records import MAX_INTERVENTIONS, Intervention
from features.steering.forms import STRENGTHS as SWEPT
from features.steering.forms import SteerForm
from features.steering.interventions import METHODS_WITH_STRENGTH

STRENGTHS = {"maximum": "0.5", "norm": "0.5"}
"""Defaults by unit: half of the feature's maximum, or of the activation's norm. A sweep finds a
better one.
"""
SAMPLING = ("temperature", "top_p", "frequency_penalty", "seed", "length")
PRESETS = {
    "Greedy": {"temperature": "0", "frequency_penalty": "0"},
    "Balanced": {"temperature": "0.5", "top_p": "0.95", "frequency_penalty": "0"},
    "Lively": {"temperature": "1", "top_p": "0.95", "frequency_penalty": "0.3"},
}


class InterventionFields(NamedTuple):
    """The fields of one intervention as the user filled them in, with the feature's row if there is
    one. `SteerForm` parses them.
    """

    name: str
    method: str
    strength: str
    unit: str
    row: Feature | None = None

    @property
    def strong(self) -> bool:
        return self.method in METHODS_WITH_STRENGTH

    @property
    def maximum(self) -> float | None:
        """The feature's maximum, of which the strength may be a multiple."""
        return self.row.max_activation if self.row else None


def requester(request: HttpRequest | Request) -> str:
    """The key by which runs take turns: the user, or a hash of the visitor's network address."""
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return f"user:{user.pk}"
    seen = f"{settings.SECRET_KEY} {request.META.get('REMOTE_ADDR', '')}"
    return f"address:{hashlib.sha256(seen.encode()).hexdigest()[:24]}"


def history_owner(request: HttpRequest, *, begin: bool = False) -> str:
    """The key of history and presets: the user, or the visitor's session, which `begin` creates."""
    if request.user.is_authenticated:
        return requester(request)
    if begin and not request.session.session_key:
        request.session.create()
    return f"session:{request.session.session_key}" if request.session.session_key else ""


def intervention_fields(data: QueryDict) -> list[InterventionFields]:
    """The interventions of a form after `add` and `remove`, up to one too many."""
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
    """The fields with that row; an empty strength becomes the best one of a sweep, or a default."""
    best = row.best_dose if row and (fields.method, fields.unit) == ("add", "maximum") else None
    usual = STRENGTHS.get(fields.unit, "1") if best is None else f"{best:g}"
    return fields._replace(row=row, strength=fields.strength or usual)


def with_preset(data: QueryDict) -> QueryDict:
    """The form with the sampling of the preset whose button was pressed."""
    changed = data.copy()
    for name, value in PRESETS.get(data.get("preset", ""), {}).items():
        changed[name] = value
    return changed


def form_data(data: QueryDict, chosen: list[InterventionFields]) -> dict[str, Any]:
    """The data of a `SteerForm`, from a form's data and its interventions."""
    values = {
        name: data[name] for name in SteerForm.base_fields if name in data and name != "features"
    }
    values["tokens"] = ",".join(data.getlist("tokens"))
    values["strengths"] = list(SWEPT) if data.get("sweep") else []
    return {
        **values,
        "special": bool(data.get("special")),
        "features": [_as_params(fields) for fields in chosen],
    }


def query_of(run: SteeringRun) -> str:
    """The query string that fills the form with the settings of a run."""
    params = run.params
    scalars = [(name, params[name]) for name in ("model", "prompt", "mode", "where", *SAMPLING)]
    tokens = [("tokens", ",".join(map(str, params["tokens"])))] if params["tokens"] else []
    special = [("special", "on")] if params["special"] else []
    rows = [
        (name, value)
        for intervention in run.interventions
        for name, value in _as_query(intervention)
    ]
    return urlencode([*scalars, *tokens, *special, *rows])


def error_list(errors: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The errors as pairs of a field's label and a message."""
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
