"""Query strings of the pages about labels, as forms: a wrong value gets a sentence beside its
field.
"""

from django import forms
from django.core.files.uploadedfile import UploadedFile

from explorer.models import User
from features.interchange import tables
from features.models import Sae
from features.records import InvalidInput
from features.selectors import activity
from features.selectors import catalog as catalog_selectors


class FeedForm(forms.Form):
    """Of which model, SAE or person to show what happened."""

    model = forms.ChoiceField(required=False)
    sae = forms.ChoiceField(required=False, label="SAE")
    user = forms.CharField(
        required=False, max_length=150, widget=forms.TextInput({"placeholder": "everybody"})
    )
    after = forms.CharField(required=False, max_length=80, widget=forms.HiddenInput)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # handed on as they are
        saes = list(catalog_selectors.saes())
        models = dict.fromkeys(sae.model.slug for sae in saes)
        self.fields["model"].choices = [("", "every model"), *((m, m) for m in models)]  # type: ignore[attr-defined]
        self.fields["sae"].choices = [("", "every SAE"), *((str(s), str(s)) for s in saes)]  # type: ignore[attr-defined]

    def clean_user(self) -> User | None:
        """The person, by name."""
        name = self.cleaned_data["user"].strip()
        found = User.objects.filter(username=name).first() if name else None
        if name and found is None:
            raise forms.ValidationError("There is no user of that name.")
        return found

    def clean_after(self) -> activity.Place | None:
        """The line after which to go on; None at the beginning."""
        given = self.cleaned_data["after"]
        try:
            return activity.Place.read(given) if given else None
        except ValueError:
            raise forms.ValidationError(
                "This position in the feed does not exist; start again without it."
            ) from None

    def scope(self) -> list[int] | None:
        """Ids of the SAEs; None for all. A field that was refused counts as empty."""
        self.full_clean()
        return activity.scope(self.cleaned_data.get("model", ""), self.cleaned_data.get("sae", ""))

    def person(self) -> int | None:
        """Id of the person; None for everybody."""
        found: User | None = self.cleaned_data.get("user")
        return found.pk if found else None

    def place(self) -> activity.Place | None:
        """Where to go on."""
        self.full_clean()
        found: activity.Place | None = self.cleaned_data.get("after")
        return found


class UploadForm(forms.Form):
    """A file of labels, and the SAE that they are of."""

    sae = forms.ChoiceField(label="SAE")
    file = forms.FileField(
        help_text="CSV, JSON lines or Parquet with the columns index and text; the same as a "
        "download has.",
        widget=forms.FileInput({"accept": ".csv,.jsonl,.ndjson,.parquet"}),
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # handed on as they are
        self.known = {str(sae): sae for sae in catalog_selectors.searchable()}
        self.fields["sae"].choices = [(name, name) for name in self.known]  # type: ignore[attr-defined]

    def clean_sae(self) -> Sae:
        """The SAE of that name."""
        return self.known[self.cleaned_data["sae"]]

    def clean_file(self) -> "UploadedFile[bytes]":
        """A file that is not too large, and says by its name what it is."""
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        try:
            tables.fitting(file.name or "", file.size or 0)
        except InvalidInput as error:
            raise forms.ValidationError(str(error)) from None
        return file
