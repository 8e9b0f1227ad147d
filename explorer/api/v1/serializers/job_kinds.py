"""Kinds of jobs with their settings, from the forms that check them."""

from typing import Any

from django import forms
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from features.formfields import ListField
from features.jobs.forms import JobForm


class ChoiceSerializer(serializers.Serializer[Any]):
    """One value that a setting may take."""

    value = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]


@extend_schema_field(
    {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]}
)
class ValueField(serializers.JSONField):
    """A text, a number, true, false or null."""


class SettingSerializer(serializers.Serializer[Any]):
    """One setting of a kind of job, from the form that checks it."""

    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    type = serializers.ChoiceField(choices=["text", "integer", "number", "boolean", "choice"])
    required = serializers.BooleanField(help_text="Whether it must be given: it has no default.")  # type: ignore[assignment]
    default = ValueField()
    minimum = serializers.FloatField(allow_null=True)
    maximum = serializers.FloatField(allow_null=True)
    choices = ChoiceSerializer(many=True)
    several = serializers.BooleanField(
        help_text="Whether a list of values makes a sweep, which trains every combination."
    )
    help = serializers.CharField()


class KindSerializer(serializers.Serializer[Any]):
    """A kind of job."""

    kind = serializers.CharField()
    title = serializers.CharField()
    about = serializers.CharField()
    settings = SettingSerializer(many=True)


def kind(form: type[JobForm]) -> dict[str, Any]:
    """A kind in the shape of `KindSerializer`."""
    settings = [_setting(name, field) for name, field in form.base_fields.items()]
    return {"kind": form.kind, "title": form.title, "about": form.about, "settings": settings}


def wrong_types(form: type[JobForm], params: dict[str, Any]) -> dict[str, list[str]]:
    """Errors of params of a wrong JSON type, which the form would convert: a list to its text, the
    text "no" to true.
    """
    errors = {}
    for name, value in params.items():
        if isinstance(form.base_fields.get(name), forms.BooleanField):
            if not isinstance(value, bool):
                errors[name] = ["Give true or false."]
        elif isinstance(value, list) and isinstance(form.base_fields.get(name), ListField):
            if any(isinstance(item, list | dict | bool) for item in value):
                errors[name] = ["Give texts or numbers."]
        elif isinstance(value, list | dict | bool):
            errors[name] = ["Give a text or a number."]
    return errors


def _setting(name: str, field: forms.Field) -> dict[str, Any]:
    return {
        "name": name,
        "label": str(field.label or name.replace("_", " ").capitalize()),
        "type": _type(field),
        "required": field.required and field.initial is None,
        "default": field.initial,
        "minimum": getattr(field, "min_value", None),
        "maximum": getattr(field, "max_value", None),
        "choices": [
            {"value": value, "label": label} for value, label in getattr(field, "choices", [])
        ],
        "several": isinstance(field, ListField),
        "help": str(field.help_text),
    }


def _type(field: forms.Field) -> str:
    match field.each if isinstance(field, ListField) else field:
        case forms.BooleanField():
            return "boolean"
        case forms.ChoiceField():
            return "choice"
        case forms.FloatField():  # a kind of IntegerField to Django
            return "number"
        case forms.IntegerField():
            return "integer"
        case _:
            return "text"
