"""Forms of collections."""

from typing import Any

from django import forms

from features.models import Collection
from features.models.collection import LONGEST_NAME, LONGEST_NOTE


class CollectionForm(forms.ModelForm[Collection]):
    """Name, description and visibility of a collection; the services validate the texts."""

    class Meta:
        model = Collection
        fields = ["name", "about", "public"]
        labels = {
            "about": "What it is about",
            "public": "Public: listed, and open to anyone",
        }
        widgets = {"about": forms.Textarea({"rows": 2})}


class CollectForm(forms.Form):
    """The collection to add features to: one of the user's own, or a new one with a name."""

    collection = forms.ChoiceField(required=False, initial="", label="Collection")
    name = forms.CharField(
        required=False,
        max_length=LONGEST_NAME,
        initial="",
        label="Or a new one",
        widget=forms.TextInput({"placeholder": "Its name", "autocomplete": "off"}),
    )
    public = forms.BooleanField(required=False, label="Public: listed, and open to anyone")
    note = forms.CharField(
        required=False,
        max_length=LONGEST_NOTE,
        label="Note",
        widget=forms.TextInput({"placeholder": "Why it belongs there", "autocomplete": "off"}),
    )

    def __init__(self, data: Any, mine: list[Collection]) -> None:
        super().__init__(data)
        self.mine = {str(row.pk): row for row in mine}
        field = self.fields["collection"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "—"), *((str(row.pk), row.name) for row in mine)]

    def clean(self) -> dict[str, Any]:
        """Exactly one of the two is needed."""
        cleaned = super().clean() or {}
        if not self.errors and bool(cleaned.get("collection")) == bool(
            cleaned.get("name", "").strip()
        ):
            self.add_error("collection", "Choose one of your collections, or name a new one.")
        return cleaned
