"""The job that adds a corpus: a body of text to run through models."""

from django import forms

from features.jobs.forms.base import JobForm
from features.models import Corpus
from features.slugs import is_slug


class AddCorpus(JobForm):
    """Check that a body of text can be read, and give it a name."""

    kind = "add_corpus"
    title = "Add a corpus"
    about = (
        "Checks that the text can be read, stores its revision, and sets how it is split "
        "into contexts."
    )

    slug = forms.CharField(
        max_length=63, validators=[is_slug], help_text="Its name here, such as openwebtext."
    )
    source = forms.CharField(
        max_length=500,
        help_text="python-stdlib; a .txt, .jsonl, .csv, .parquet or .arrow file (text formats "
        "also .gz, .bz2, .xz, .zst) or a folder of them that the worker can read; a hub id.",
    )
    text_column = forms.CharField(
        max_length=100,
        initial="text",
        required=False,
        help_text="The column or key that holds the text, or the conversations (often messages "
        "or conversations): lists of "
        "role and content, which each model reads through its own chat template.",
    )
    packing = forms.ChoiceField(
        choices=Corpus.Packing.choices,
        initial=Corpus.Packing.PACKED,
        help_text="Packed uses every token; separate keeps documents apart.",
    )
    bos = forms.ChoiceField(
        choices=Corpus.Bos.choices,
        initial=Corpus.Bos.ASKED,
        label="Start contexts with BOS",
        help_text="The model's beginning-of-sequence token, if its tokenizer has one. It is "
        "shown, but never counted.",
    )
    licence = forms.CharField(
        max_length=200, required=False, help_text="Shown next to every example from this corpus."
    )

    def clean_slug(self) -> str:
        """Refuse a slug that is taken."""
        slug: str = self.cleaned_data["slug"]
        if Corpus.objects.filter(slug=slug).exists() or self.being_made(slug=slug):
            raise forms.ValidationError(
                f"There is a corpus “{slug}” already, or a job is adding it; choose another slug."
            )
        return slug

    def clean_text_column(self) -> str:
        """An empty column means the usual one."""
        return self.cleaned_data["text_column"] or "text"
