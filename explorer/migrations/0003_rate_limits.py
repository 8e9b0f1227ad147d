"""The table of rate limits. Unlogged: a request waits for no disk, and a crash only empties it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("explorer", "0002_roles")]

    operations = [
        migrations.CreateModel(
            name="RateLimit",
            fields=[
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("count", models.IntegerField()),
                ("ends", models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.RunSQL(
            "ALTER TABLE explorer_ratelimit SET UNLOGGED",
            "ALTER TABLE explorer_ratelimit SET LOGGED",
        ),
    ]
