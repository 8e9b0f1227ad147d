from django.db import migrations, models


class Migration(migrations.Migration):
    """Indexes of the list of features hold all that it filters by."""

    dependencies = [
        ("features", "0019_label_embeddings"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="feature", name="feature_once"),
        migrations.RemoveIndex(model_name="feature", name="feature_by_density"),
        migrations.RemoveIndex(model_name="feature", name="feature_by_maximum"),
        migrations.AddIndex(
            model_name="feature",
            index=models.Index(
                fields=["sae", "density", "index"],
                include=[
                    "id",
                    "fires",
                    "max_activation",
                    "cluster",
                    "mean_activation",
                    "decoder_norm",
                    "encoder_decoder_cosine",
                ],
                name="feature_by_density",
            ),
        ),
        migrations.AddIndex(
            model_name="feature",
            index=models.Index(
                fields=["sae", "max_activation", "index"],
                include=[
                    "id",
                    "fires",
                    "density",
                    "cluster",
                    "mean_activation",
                    "decoder_norm",
                    "encoder_decoder_cosine",
                ],
                name="feature_by_maximum",
            ),
        ),
        migrations.AddIndex(
            model_name="feature",
            index=models.Index(
                fields=["sae", "cluster", "index"],
                include=[
                    "id",
                    "fires",
                    "density",
                    "max_activation",
                    "mean_activation",
                    "decoder_norm",
                    "encoder_decoder_cosine",
                ],
                name="feature_by_cluster",
            ),
        ),
        *(
            migrations.AddIndex(
                model_name="feature",
                index=models.Index(
                    fields=["sae", field, "index"],
                    include=["id", "fires", "density", "max_activation", "cluster"],
                    name=name,
                ),
            )
            for field, name in (
                ("mean_activation", "feature_by_mean"),
                ("decoder_norm", "feature_by_norm"),
                ("encoder_decoder_cosine", "feature_by_cosine"),
            )
        ),
        migrations.AddIndex(
            model_name="feature",
            index=models.Index(
                condition=models.Q(("label__isnull", False)),
                fields=["sae", "index"],
                name="feature_with_a_label",
            ),
        ),
        migrations.AddConstraint(
            model_name="feature",
            constraint=models.UniqueConstraint(
                fields=("sae", "index"),
                include=("id", "fires", "density", "max_activation", "cluster"),
                name="feature_once",
            ),
        ),
    ]
