# Where an SAE was imported from, and how its test went.

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("features", "0005_engine"),
    ]

    operations = [
        migrations.AddField(
            model_name="sae",
            name="origin",
            field=models.JSONField(
                help_text="Where it was imported from, and how its test went; empty if made here.",
                null=True,
            ),
        ),
    ]
