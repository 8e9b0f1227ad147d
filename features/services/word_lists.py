"""The form of word lists, which are entered as text or uploaded as a file."""

from typing import Any

from django import forms

from features.models import WordList
from features.word_list_format import entries

MAX_BYTES = 2**20


class WordListForm(forms.ModelForm[WordList]):
    """A named list of words, entered as text or as a text file."""

    words = forms.CharField(
        required=False, max_length=MAX_BYTES, strip=False, widget=forms.Textarea({"rows": 8}),
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
        """Parse the entries from the text or the file."""
        cleaned = super().clean() or {}
        words, file = cleaned.get("words") or "", cleaned.get("file")
        if words.strip() and file:
            self.add_error("file", "Enter words or choose a file, not both.")
        elif "words" in cleaned and "file" in cleaned:
            self._set_entries(
                "file" if file else "words", self._decode_file(file) if file else words
            )
        return cleaned

    def save_for(self, owner: Any) -> WordList:
        """Save the list with this owner."""
        word_list: WordList = super().save(commit=False)
        word_list.owner = owner
        word_list.save()
        return word_list

    def _set_entries(self, field: str, text: str | None) -> None:
        try:
            self.instance.entries = entries(text) if text is not None else []
        except ValueError as error:
            self.add_error(field, str(error))

    def _decode_file(self, file: Any) -> str | None:
        """The text of the file; None, with an error added, if it cannot be decoded."""
        if file.size > MAX_BYTES:
            self.add_error("file", "At most 1 MiB.")
            return None
        try:
            return str(file.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            self.add_error("file", "This is not a UTF-8 text file.")
            return None
