"""What searches of labels read beside the labels themselves."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models


class LabelWord(models.Model):
    """A word that some label has, or had, or the stem of one; a trigger of the table of labels writes it.

    `one_less` holds the word and what is left of it without any one letter: two words that are a typo apart share one.
    """

    word = models.TextField()
    stem = models.BooleanField()
    one_less = models.GeneratedField(
        expression=models.Func("word", function="features_one_less"),
        output_field=ArrayField(models.TextField()),
        db_persist=True,
    )

    class Meta:
        indexes = [
            models.Index(fields=["word"], name="label_word", opclasses=["text_pattern_ops"]),
            GinIndex(fields=["one_less"], name="label_word_by_typo"),
        ]

    def __str__(self) -> str:
        return self.word
