"""Forms of the pages of jobs: the filter of their list, and each kind's form with choices from the
database.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.http import QueryDict

from features import hook_names
from features.formfields import ListField, split_values
from features.jobs.forms import JOB_FORMS, JobForm
from features.models import Corpus, Job, LanguageModel, Sae

Choices = list[tuple[str, Any]]


class JobFilter(forms.Form):
    """The query string of the list of jobs."""

    kind = forms.ChoiceField(
        required=False, choices=[("", "every kind"), *((k, f.title) for k, f in JOB_FORMS.items())]
    )
    state = forms.ChoiceField(required=False, choices=[("", "every state"), *Job.State.choices])
    cursor = forms.CharField(required=False, widget=forms.HiddenInput)


def posted_fields(kind: str, data: QueryDict) -> dict[str, str]:
    """The kind's fields as a browser posts them: it sends nothing for a checkbox that is off."""
    fields = JOB_FORMS[kind].base_fields
    unticked = {
        name: "false" for name, field in fields.items() if isinstance(field, forms.BooleanField)
    }
    return unticked | query_fields(kind, data)


def query_fields(kind: str, data: QueryDict) -> dict[str, str]:
    """The kind's fields in a query string. NUL, which PostgreSQL refuses, becomes a character that
    no name has.
    """
    fields = JOB_FORMS[kind].base_fields
    lists = {name: data.getlist(name) for name in fields if name in data}
    joined = {
        name: _with_commas(values)
        for name, values in lists.items()
        if isinstance(fields[name], ListField)
    }
    return {
        n: str(joined.get(n, values[-1])).replace("\0", "\ufffd") for n, values in lists.items()
    }


def _with_commas(values: Iterable[str]) -> str:
    return ",".join(part for value in values for part in re.split(r"[\s,]+", value) if part)


def job_form(
    kind: str, data: Mapping[str, Any] | None = None, initial: Mapping[str, Any] | None = None
) -> JobForm:
    """The kind's form for a page, with rows of the database as choices."""
    form = JOB_FORMS[kind](data, initial=dict(initial or {}))
    values = form.data if form.is_bound else form.initial
    for name, field in form.fields.items():
        if isinstance(field, ListField):
            field.widget = _widget(
                field, CHOICES[name](values) if name in CHOICES else field.choices, values.get(name)
            )
        elif name in CHOICES:
            choices = _with(CHOICES[name](values), values.get(name))
            field.widget = forms.Select(choices=choices if field.required else _or_none(choices))
        elif isinstance(field, forms.FloatField):
            field.widget.attrs["step"] = "any"
        if name in ("model", "hook", "architecture"):
            field.widget.attrs |= {
                "hx-post": "",
                "hx-target": "#fields",
                "hx-vals": f'{{"recheck": "{name}"}}',
            }
    return form


class SelectList(forms.SelectMultiple):
    """A multiple select whose value may be a text with commas."""

    def format_value(self, value: Any) -> list[str]:
        return [str(one) for one in split_values(value or "")]

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return data.get(name)


def _widget(field: ListField, choices: Choices, value: Any) -> forms.Widget:
    """A list if there are choices, else an input for numbers with commas."""
    if not choices:
        return forms.TextInput(
            attrs={"inputmode": "decimal", "spellcheck": "false", "autocomplete": "off"}
        )
    for one in split_values(value or ""):
        choices = _with(choices, one)
    return SelectList(choices=choices, attrs={"size": 6})


def _models(values: Mapping[str, Any]) -> Choices:
    return [
        (m.slug, f"{m.slug} · {m.layers} layers of {m.d_model:,}")
        for m in LanguageModel.objects.all()
    ]


def _corpora(values: Mapping[str, Any]) -> Choices:
    return [
        (c.slug, " · ".join(filter(None, [c.slug, c.note, "conversations" * c.chat])))
        for c in Corpus.objects.all()
    ]


def _saes(values: Mapping[str, Any]) -> Choices:
    rows = Sae.objects.select_related("model")
    return [
        (str(s), f"{s} · {s.width:,} features, {hook_names.parse_hook(s.hook).words}") for s in rows
    ]


def _hooks(values: Mapping[str, Any]) -> Choices:
    model = LanguageModel.objects.filter(slug=values.get("model") or "").first()
    return _by_layer(model.hooks) if model else []


def _by_layer(names: Iterable[str]) -> Choices:
    groups: dict[str, Choices] = {}
    for name in names:
        hook = hook_names.parse_hook(name)
        group = "Others" if hook.layer is None else f"Layer {hook.layer}"
        groups.setdefault(group, []).append((name, hook.words[0].upper() + hook.words[1:]))
    return list(groups.items())


def _with(choices: Choices, value: Any) -> Choices:
    """The choices, with the value if it is none of them: the select would show another one."""
    values = {
        name
        for one in choices
        for name in ([n for n, _ in one[1]] if isinstance(one[1], list) else [one[0]])
    }
    if not value:
        return choices if choices else [("", "none yet")]
    return choices if value in values else [(str(value), f"{value} (unknown)"), *choices]


def _or_none(choices: Choices) -> Choices:
    """The choices of an optional field."""
    return [("", "—"), *(choice for choice in choices if choice[0])]


CHOICES = {"model": _models, "corpus": _corpora, "sae": _saes, "other": _saes, "hook": _hooks}
