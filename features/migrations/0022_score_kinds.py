"""Scores by an intruder: a choice of words, nothing in the database."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("features", "0021_endpoints")]

    operations = [
        migrations.AlterField(
            "labelscore",
            "kind",
            models.CharField(
                choices=[
                    ("detection", "detection: which texts hold the feature"),
                    ("fuzzing", "fuzzing: whether the marked tokens are right"),
                    ("embedding", "embedding: nearness of the label and the text"),
                    ("concept", "concept: the stated rule, token by token"),
                    ("promotes", "promotes: the next token"),
                    ("simulation", "simulation: activations guessed from the label"),
                    ("intruder", "intruder: the text that does not belong, without the label"),
                ],
                max_length=20,
            ),
        ),
    ]
