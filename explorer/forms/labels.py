"""Forms of the pages of labels: the filters of the feed, and uploads."""

from django import forms
from django.core.files.uploadedfile import UploadedFile

from explorer.models import User
from features.interchange import tables
from features.models import Sae
from features.records import InvalidInput
from features.selectors import activity
from features.selectors import catalog as catalog_selectors


class FeedForm(forms.Form):
    """Filters of the feed: model, SAE and user."""

    model = forms.ChoiceField(required=False)
    sae = forms.ChoiceField(required=False, label="SAE")
    user = forms.CharField(
        required=False, max_length=150, widget=forms.TextInput({"placeholder": "everybody"})
    )
    after = forms.CharField(required=False, max_length=80, widget=forms.HiddenInput)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed on unchanged
        saes = list(catalog_selectors.saes())
        models = dict.fromkeys(sae.model.slug for sae in saes)
        self.fields["model"].choices = [("", "every model"), *((m, m) for m in models)]  # type: ignore[attr-defined]
        self.fields["sae"].choices = [("", "every SAE"), *((str(s), str(s)) for s in saes)]  # type: ignore[attr-defined]

    def clean_user(self) -> User | None:
        """The user of that name."""
        name = self.cleaned_data["user"].strip()
        user = User.objects.filter(username=name).first() if name else None
        if name and user is None:
            raise forms.ValidationError("There is no user of that name.")
        return user

    def clean_after(self) -> activity.FeedPosition | None:
        """The line after which the page begins; None for the first page."""
        text = self.cleaned_data["after"]
        try:
            return activity.FeedPosition.read(text) if text else None
        except ValueError:
            raise forms.ValidationError(
                "This position in the feed does not exist; start again without it."
            ) from None

    def scope(self) -> list[int] | None:
        """Ids of the SAEs; None for all. An invalid field counts as empty."""
        self.full_clean()
        return activity.scope(self.cleaned_data.get("model", ""), self.cleaned_data.get("sae", ""))

    def person(self) -> int | None:
        """Id of the user; None for all users."""
        user: User | None = self.cleaned_data.get("user")
        return user.pk if user else None

    def position(self) -> activity.FeedPosition | None:
        """The position after which the page begins; None for the first page."""
        self.full_clean()
        position: activity.FeedPosition | None = self.cleaned_data.get("after")
        return position


class UploadForm(forms.Form):
    """A file of labels of an SAE."""

    sae = forms.ChoiceField(label="SAE")
    file = forms.FileField(
        help_text="CSV, JSON lines or Parquet with the columns index and text; the same as a "
        "download has.",
        widget=forms.FileInput({"accept": ".csv,.tsv,.jsonl,.ndjson,.parquet"}),
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed on unchanged
        self.saes = {str(sae): sae for sae in catalog_selectors.searchable()}
        self.fields["sae"].choices = [(name, name) for name in self.saes]  # type: ignore[attr-defined]

    def clean_sae(self) -> Sae:
        return self.saes[self.cleaned_data["sae"]]

    def clean_file(self) -> "UploadedFile[bytes]":
        """A file of a known format that is not too large."""
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        try:
            tables.fitting(file.name or "", file.size or 0)
        except InvalidInput as error:
            raise forms.ValidationError(str(error)) from None
        return file
