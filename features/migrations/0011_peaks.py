"""What a search by token reads. Features that are there already get their rows from their top examples."""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

import features.db.fields

FILL = """
INSERT INTO features_peak (feature_id, sae_id, token_id, examples, maximum)
SELECT f.id, f.sae_id, s.token_ids[e.peak + 1], count(*), f.max_activation
FROM features_example e JOIN features_feature f ON f.id = e.feature_id JOIN features_sequence s ON s.id = e.sequence_id
WHERE e.band = 0
GROUP BY f.id, s.token_ids[e.peak + 1]
"""


class Migration(migrations.Migration):
    dependencies = [("features", "0010_example_index")]

    operations = [
        migrations.AddIndex(
            "feature",
            django.contrib.postgres.indexes.GinIndex(
                fields=["top_logit_ids"], name="feature_by_promoted"
            ),
        ),
        migrations.AddIndex(
            "token",
            django.contrib.postgres.indexes.HashIndex(fields=["text"], name="token_by_text"),
        ),
        migrations.CreateModel(
            "Peak",
            [
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "feature",
                        "token_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "feature",
                    models.ForeignKey(
                        "features.feature",
                        django.db.models.deletion.CASCADE,
                        related_name="peaks",
                        db_index=False,
                    ),
                ),
                (
                    "sae",
                    models.ForeignKey(
                        "features.sae",
                        django.db.models.deletion.CASCADE,
                        related_name="+",
                        db_index=False,
                    ),
                ),
                ("token_id", models.IntegerField()),
                ("examples", models.SmallIntegerField()),
                ("maximum", features.db.fields.RealField()),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["sae", "token_id"],
                        include=["feature", "examples", "maximum"],
                        name="peak_by_token",
                    )
                ]
            },
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
