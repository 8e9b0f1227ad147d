"""What searches of labels read beside the labels themselves."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from pgvector.django import HalfVectorField

from features.models.catalog import Sae
from features.models.label import Label


class LabelEmbedding(models.Model):
    """What the present words of a shown label mean, to one embedder: a vector of length 1, of as
    many numbers as it gives.

    A trigger of the table of labels removes it when the words change, or the label is no longer
    shown.

    Halves: a label is found as well, in half the room (Matryoshka or binary codes would be the next
    step). The index `label_by_meaning` is made for the length of the vectors by
    `features.services.embeddings`, as a type with no length has none.
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
    """A word that some label has, or had, or the stem of one; a trigger of the table of labels
    writes it.

    `features.services.label_words` removes, once a day, those that no label has any more.

    `one_less` holds the word and what is left of it without any one letter: two words that are a
    typo apart share one.
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
