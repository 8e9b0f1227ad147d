"""Query strings of the pages about labels, as forms: a wrong value gets a sentence beside its field."""

from datetime import datetime

from django import forms
from django.utils.dateparse import parse_datetime

from explorer.models import User
from features.selectors import activity, catalog


class FeedForm(forms.Form):
    """Of which model, SAE or person to show what happened."""

    model = forms.ChoiceField(required=False)
    sae = forms.ChoiceField(required=False, label="SAE")
    user = forms.CharField(required=False, max_length=150, widget=forms.TextInput({"placeholder": "everybody"}))
    before = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # handed on as they are
        saes = list(catalog.saes())
        models = dict.fromkeys(sae.model.slug for sae in saes)
        self.fields["model"].choices = [("", "every model"), *((m, m) for m in models)]  # type: ignore[attr-defined]
        self.fields["sae"].choices = [("", "every SAE"), *((str(s), str(s)) for s in saes)]  # type: ignore[attr-defined]

    def clean_user(self) -> User | None:
        """The person, by name."""
        name = self.cleaned_data["user"].strip()
        found = User.objects.filter(username=name).first() if name else None
        if name and found is None:
            raise forms.ValidationError("There is nobody of that name.")
        return found

    def clean_before(self) -> datetime | None:
        """The time before which to go on; None at the beginning."""
        given = self.cleaned_data["before"]
        try:
            found = parse_datetime(given) if given else None
        except ValueError:
            found = None
        if given and (found is None or found.tzinfo is None):
            raise forms.ValidationError("This is no time; begin again without it.")
        return found

    def scope(self) -> list[int] | None:
        """Ids of the SAEs; None for all. A field that was refused counts as empty."""
        self.full_clean()
        return activity.scope(self.cleaned_data.get("model", ""), self.cleaned_data.get("sae", ""))

    def person(self) -> int | None:
        """Id of the person; None for everybody."""
        found: User | None = self.cleaned_data.get("user")
        return found.pk if found else None

    def before_time(self) -> datetime | None:
        """Where to go on."""
        self.full_clean()
        found: datetime | None = self.cleaned_data.get("before")
        return found
