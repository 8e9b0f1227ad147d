"""The unique constraint `example_once` begins with the feature: an index on the feature alone finds nothing that it does not."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("features", "0009_answers")]

    operations = [
        migrations.AlterField(
            "example",
            "feature",
            models.ForeignKey(
                "features.feature",
                django.db.models.deletion.CASCADE,
                related_name="examples",
                db_index=False,
            ),
        ),
    ]
