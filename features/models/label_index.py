"""Embeddings and words of labels, for searches."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from pgvector.django import HalfVectorField

from features.models.catalog import Sae
from features.models.label import Label


class LabelEmbedding(models.Model):
    """The embedding of a visible label's current text: a unit vector of half-precision floats.

    A trigger deletes it when the text changes or the label is hidden. The dimension depends on the
    embedder; `features.services.embeddings` creates the index `label_by_meaning` for it, because
    pgvector cannot index a column without a fixed dimension.
    """

    label = models.OneToOneField(Label, models.CASCADE, primary_key=True, related_name="embedding")
    sae = models.ForeignKey(
        Sae, models.CASCADE, related_name="+", help_text="The label's, for searches."
    )
    embedder = models.CharField(max_length=300)
    vector = HalfVectorField()

    def __str__(self) -> str:
        return f"{self.label_id} by {self.embedder}"


class LabelWord(models.Model):
    """A word, or the stem of a word, of some label, past ones included; written by a trigger.

    `features.services.label_words` deletes unused words daily. `one_less` holds the word and each
    variant with one letter removed: words that are one typo apart share a variant.
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
