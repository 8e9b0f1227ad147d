"""What a job and a steering run have in common: a Django form is the one schema of its params."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self, TypeVar

from django import forms
from django.db.models import Model

from features.models import LanguageModel
from features.records import InvalidParams

T = TypeVar("T", bound=Model)


class ParamsForm(forms.Form):
    """A form for a page, the API and a command alike: a setting that is left out takes its default,
    and one that the form does not know is an error.
    """

    empty_takes_default: ClassVar[bool] = False
    """Whether a setting that is there but empty takes its default too."""

    def __init__(self, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        if data is None:
            return
        empty = (None, "") if self.empty_takes_default else ()
        missing = {
            name: field.initial
            for name, field in self.fields.items()
            if field.initial is not None and (name not in data or data[name] in empty)
        }
        if missing:
            self.data = {**self.data, **missing}

    @classmethod
    def checked(cls, data: Mapping[str, Any], **kwargs: Any) -> Self:
        """The valid form of `data`. Raises `InvalidParams`, also for settings that it does not
        know.
        """
        form = cls(data, **kwargs)
        unknown = {name: ["There is no such setting."] for name in data if name not in form.fields}
        if unknown or not form.is_valid():
            raise InvalidParams(unknown | messages_of(form))
        return form

    def params(self) -> dict[str, Any]:
        """The cleaned values as they are stored."""
        return {name: value for name, value in self.cleaned_data.items() if value is not None}

    def find_model(self, slug: str) -> LanguageModel | None:
        """The model of that slug; a `ValidationError` lists the models that there are."""
        row = LanguageModel.objects.filter(slug=slug).first()
        return self.require(
            row, slug, "model", LanguageModel.objects.values_list("slug", flat=True)
        )

    def require(self, row: T | None, name: str, noun: str, others: Iterable[str]) -> T | None:
        """The row, or a `ValidationError` that lists the names of others."""
        if row is None:
            known = ", ".join(list(others)[:20]) or "none yet"
            raise forms.ValidationError(
                f"There is no {noun} “{name}”. Known: {known}.", code="unknown"
            )
        return row


def messages_of(form: forms.Form) -> dict[str, list[str]]:
    """What is wrong with a form, by field."""
    return {field: [str(error) for error in errors] for field, errors in form.errors.items()}
