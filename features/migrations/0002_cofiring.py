import django.contrib.postgres.fields
from django.db import migrations, models

import features.db.fields


class Migration(migrations.Migration):
    """Rows from before have empty lists until their dashboards are computed again."""

    dependencies = [("features", "0001_initial")]

    operations = [
        migrations.AddField(
            "feature",
            "nearest_both",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(),
                default=list,
                help_text="Tokens that each of `nearest` shares.",
                size=None,
            ),
        ),
        migrations.AddField(
            "feature",
            "cofiring",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.IntegerField(),
                default=list,
                help_text="Indices by falling Jaccard index of tokens.",
                size=None,
            ),
        ),
        migrations.AddField(
            "feature",
            "cofiring_both",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(), default=list, size=None
            ),
        ),
        migrations.AddField(
            "feature",
            "cofiring_jaccards",
            django.contrib.postgres.fields.ArrayField(
                base_field=features.db.fields.RealField(), default=list, size=None
            ),
        ),
    ]
