"""Keeping lists of words, from a form or a file."""

from typing import Any

from django import forms

from features.models import WordList
from features.word_list_format import entries

MOST_BYTES = 2**20


class WordListForm(forms.ModelForm[WordList]):
    """A list with its name: written into the form, or a text file."""

    words = forms.CharField(
        required=False, max_length=MOST_BYTES, strip=False, widget=forms.Textarea({"rows": 8}),
        help_text="One word or phrase per line. Lines that start with # are ignored.",
    )  # fmt: skip
    file = forms.FileField(
        required=False,
        help_text="Or a text file of such lines, at most 1 MiB.",
        widget=forms.FileInput({"accept": ".txt,text/plain"}),
    )

    class Meta:
        model = WordList
        fields = ["slug"]
        labels = {"slug": "Name"}

    def clean(self) -> dict[str, Any]:
        """The lines of whichever was given become entries."""
        cleaned = super().clean() or {}
        words, file = cleaned.get("words") or "", cleaned.get("file")
        if words.strip() and file:
            self.add_error("file", "Enter words or choose a file, not both.")
        elif "words" in cleaned and "file" in cleaned:
            self._take("file" if file else "words", self._decode_file(file) if file else words)
        return cleaned

    def keep(self, owner: Any) -> WordList:
        """Write it as that person's."""
        made: WordList = super().save(commit=False)
        made.owner = owner
        made.save()
        return made

    def _take(self, field: str, text: str | None) -> None:
        try:
            self.instance.entries = entries(text) if text is not None else []
        except ValueError as error:
            self.add_error(field, str(error))

    def _decode_file(self, file: Any) -> str | None:
        """The text of the file; None, with the reason told, where there is none."""
        if file.size > MOST_BYTES:
            self.add_error("file", "At most 1 MiB.")
            return None
        try:
            return str(file.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            self.add_error("file", "This is not a UTF-8 text file.")
            return None
