"""The job that labels the features of an SAE without any key: rules over concepts, and what the
logits say.
"""

from django import forms

from features.formfields import ListField
from features.jobs.forms.base import Shape
from features.jobs.forms.on_sae import TOKENS_HELP, OnDashboards
from features.models import WordList
from features.word_list_format import MAX_LISTS, parse


class LabelSae(OnDashboards):
    """Find labels by comparing what fires with what is known of each token, and score them on
    documents held out.
    """

    kind = "label_sae"
    title = "Label the features"
    verb = "Label"
    assumed_speed = 1e10
    about = (
        "Compares where each feature fires with hundreds of concepts (syntax of Python, "
        "characters, words, positions) and with "
        "the tokens that it promotes. Labels are learned on some documents and scored on others. "
        "Needs no key."
    )

    because = "which know each feature's maximum"
    busy = "is labelling {}"

    tokens = forms.IntegerField(
        min_value=10_000, max_value=5_000_000, initial=600_000, help_text=TOKENS_HELP
    )
    every = forms.IntegerField(
        min_value=1,
        max_value=1000,
        initial=4,
        label="Every nth context",
        help_text="Covers more documents with the same number of tokens, so labels generalise "
        "better. 1 reads everything.",
    )
    strong = forms.FloatField(
        min_value=0,
        max_value=0.95,
        initial=0.3,
        label="Fires from",
        help_text="Share of its maximum above which a feature counts as firing, to learn and to "
        "score. 0 counts every firing.",
    )
    minimum = forms.FloatField(
        min_value=0,
        max_value=1,
        initial=0.2,
        label="Minimum F1",
        help_text="Rules that score lower than this on the documents they were learned on are "
        "dropped.",
    )
    concepts = forms.BooleanField(
        initial=True,
        required=False,
        label="Rules over concepts",
        help_text="Describes where the feature fires.",
    )
    logits = forms.BooleanField(
        initial=True,
        required=False,
        label="What it promotes",
        help_text="Lists the next tokens that the feature makes more likely.",
    )
    lists = forms.CharField(
        required=False,
        max_length=8_000,
        strip=False,
        widget=forms.Textarea({"rows": 4}),
        label="Word lists",
        help_text="Your own concepts: a line with [name], then one word or phrase per line. Any "
        "number of lists.",
    )
    kept_lists = ListField(
        forms.CharField(max_length=63),
        required=False,
        label="Saved word lists",
        help_text="Names of lists from Labels, Word lists, separated by commas.",
    )
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text="Splits documents between learning and scoring.",
    )

    @classmethod
    def operations(cls, shape: Shape) -> float:
        """As of dashboards; the search of labels is in the measured speed."""
        return shape.forward_to_hook + 2 * shape.weights

    def clean_lists(self) -> str:
        """The lists must be lists."""
        text = str(self.cleaned_data["lists"])
        try:
            parse(text)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        return text

    def clean_kept_lists(self) -> list[str]:
        """Each must be kept here."""
        given = self.cleaned_data["kept_lists"]
        slugs = [given] if isinstance(given, str) else list(given or [])
        for slug in slugs:
            self.require(
                WordList.objects.filter(slug=slug).first(),
                slug,
                "word list",
                WordList.objects.values_list("slug", flat=True),
            )
        if len(slugs) > MAX_LISTS:
            raise forms.ValidationError(
                f"These are {len(slugs)} lists; at most {MAX_LISTS} at once."
            )
        return slugs

    def clean(self) -> dict[str, object]:
        """At least one of the two methods."""
        cleaned = super().clean() or {}
        if not self.errors and not (cleaned.get("concepts") or cleaned.get("logits")):
            self.add_error("concepts", "Choose at least one way to create labels.")
        return cleaned
