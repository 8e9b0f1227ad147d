"""Jobs as pages show them: durations, settings, results, log lines."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django import forms, template
from django.utils.text import Truncator

from explorer.definitions import DEFINITIONS
from explorer.definitions.formats import count, format_value, number
from features import hook_names
from features.formfields import join_values
from features.jobs.forms import ALL_FORMS
from features.jobs.forms.placement import as_placed
from features.models import Job

register = template.Library()


class Setting(NamedTuple):
    """One line of the settings: `url` where the value has a page."""

    name: str
    about: str
    value: str
    url: str


@register.filter
def duration(seconds: float | None) -> str:
    """A duration in its two largest units: 40 s, 3 min 20 s, 2 h 5 min, 3 d 4 h; None is “–”."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = [
        (whole // 86400, "d"),
        (whole // 3600 % 24, "h"),
        (whole // 60 % 60, "min"),
        (whole % 60, "s"),
    ]
    first = next(i for i, (n, _) in enumerate(parts) if n)
    return " ".join(f"{n} {unit}" for n, unit in parts[first : first + 2] if n)


@register.filter
def roughly(seconds: float) -> str:
    """An estimated duration: in steps of 5 s, from two minutes on in minutes."""
    if seconds < 120:
        return f"{max(round(seconds / 5) * 5, 5)} s"
    return duration(round(seconds / 60) * 60)


@register.filter
def headline(job: Job) -> str:
    """What the job does, in one line."""
    return ALL_FORMS[job.kind].headline(job.params) if job.kind in ALL_FORMS else job.kind


@register.filter
def kind_title(job: Job) -> str:
    """The name of the job's kind."""
    return ALL_FORMS[job.kind].title if job.kind in ALL_FORMS else job.kind


@register.filter
def in_sentence(title: str) -> str:
    """A title inside a sentence: “Train an SAE” as “train an SAE”."""
    return title[:1].lower() + title[1:]


@register.simple_tag
def settings_of(job: Job) -> list[Setting]:
    """The job's params under their names on the start page."""
    fields = ALL_FORMS[job.kind].base_fields if job.kind in ALL_FORMS else {}
    params = job.shown_params
    names = [name for name in fields if name in params] + [
        name for name in params if name not in fields
    ]
    return [line for name in names for line in _settings(name, params, fields.get(name))]


@register.simple_tag
def results_of(job: Job) -> list[Setting]:
    """The results of a finished job: first the SAE, model or corpus with its URL, then numbers in
    the order of their definitions. The SAEs of a sweep are in its own table.
    """
    rows = [
        line
        for name, value in job.result.items()
        if isinstance(value, str)
        for line in _settings(name, job.result, None)
    ]
    order = list(DEFINITIONS)
    numbers = {
        name: f"eval_{name}"
        for name, value in job.result.items()
        if not isinstance(value, str | list)
    }
    ranked = sorted(
        numbers, key=lambda n: order.index(numbers[n]) if numbers[n] in DEFINITIONS else len(order)
    )
    return rows + [_measured(name, job.result, numbers[name]) for name in ranked]


@register.filter
def rerun_url(job: Job) -> str:
    """URL of the start page with this job's settings and placement."""
    params = {name: join_values(value) for name, value in job.params.items()}
    return f"/jobs/new/{job.kind}/?{urlencode(params | as_placed(job))}"


@register.filter
def field_name(job: Job) -> str:
    """The label of the setting that made the job fail."""
    field = ALL_FORMS[job.kind].base_fields.get(job.error_field) if job.kind in ALL_FORMS else None
    return _label(job.error_field, field)


@register.filter
def event_text(event: Any) -> str:
    """The text of a log event."""
    data = event.data
    if event.kind == "state":
        return ": ".join(
            part for part in (str(data.get("state", "")).capitalize(), data.get("note")) if part
        )
    return str(data.get("text", ""))


def _measured(name: str, result: Mapping[str, Any], term: str) -> Setting:
    definition = DEFINITIONS.get(term)
    return (
        Setting(definition.name, definition.about, format_value(definition, result[name]), "")
        if definition
        else _setting(name, result, None)
    )


def _settings(name: str, params: Mapping[str, Any], field: forms.Field | None) -> list[Setting]:
    """One line, or a line for each of several SAEs."""
    values = str(params[name]).split() if name == "sae" else [params[name]]
    return [_setting(name, {**params, name: value}, field) for value in values]


def _setting(name: str, params: Mapping[str, Any], field: forms.Field | None) -> Setting:
    value = params[name]
    urls = dict.fromkeys(("model", "sae", "other"), f"/{value}/") | {"run": f"/steer/{value}/"}
    about = str(field.help_text) if field else ""
    return Setting(_label(name, field), about, _value(name, value, field), urls.get(name, ""))


def _label(name: str, field: forms.Field | None) -> str:
    return (
        str(field.label)
        if field and field.label
        else {"sae": "SAE", "l0": "L0"}.get(name, name.replace("_", " ").capitalize())
    )


def _value(name: str, value: Any, field: forms.Field | None) -> str:
    if isinstance(value, list):
        return ", ".join(_value(name, item, field) for item in value)
    if name == "hook":
        words = hook_names.parse_hook(str(value)).words
        return words[0].upper() + words[1:]
    if choices := getattr(field, "choices", None):
        return str(dict(choices).get(value, value)).partition(":")[0]
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value) if name in ("seed", "run") else count(value)
        case float():
            return number(value)
    return Truncator(value).chars(200)
