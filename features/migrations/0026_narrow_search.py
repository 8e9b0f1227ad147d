"""What searches of labels filter by stands in the rows that they read."""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

import features.db.fields

COPY = """
UPDATE features_label l SET density = f.density, causal_effect = f.causal_effect
FROM features_feature f WHERE f.id = l.feature_id AND (f.density, f.causal_effect) IS DISTINCT FROM (l.density, l.causal_effect)
"""

# New labels are copied to by the consensus, which locks the feature first: neither misses what the other writes at the same time.
FOLLOW = """
CREATE FUNCTION features_label_follows() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE features_label SET density = NEW.density, causal_effect = NEW.causal_effect WHERE feature_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER label_follows AFTER UPDATE OF density, causal_effect ON features_feature
    FOR EACH ROW WHEN ((OLD.density, OLD.causal_effect) IS DISTINCT FROM (NEW.density, NEW.causal_effect))
    EXECUTE FUNCTION features_label_follows();
CREATE FUNCTION features_forget_meaning() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM features_labelembedding WHERE label_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER label_forgets_meaning AFTER UPDATE OF version, state ON features_label
    FOR EACH ROW WHEN (OLD.version <> NEW.version OR NEW.state <> 'shown')
    EXECUTE FUNCTION features_forget_meaning();
"""
NO_FOLLOW = """
DROP TRIGGER label_forgets_meaning ON features_label;
DROP TRIGGER label_follows ON features_feature;
DROP FUNCTION features_forget_meaning(), features_label_follows();
"""

# The index is made again afterwards: it would take two entries for every row that is written anew.
SAE = """
CREATE TEMPORARY TABLE meaning_index ON COMMIT DROP AS SELECT indexdef FROM pg_indexes WHERE indexname = 'label_by_meaning';
DROP INDEX IF EXISTS label_by_meaning;
DELETE FROM features_labelembedding e USING features_label l
    WHERE l.id = e.label_id AND (l.version <> e.version OR l.state <> 'shown');
UPDATE features_labelembedding e SET sae_id = l.sae_id FROM features_label l WHERE l.id = e.label_id;
"""
INDEX = """
DO $$ DECLARE made text;
BEGIN
    FOR made IN SELECT indexdef FROM meaning_index LOOP EXECUTE made; END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("features", "0025_example_key"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="label", name="label_by_words"),
        migrations.AddField(
            model_name="label",
            name="density",
            field=models.FloatField(
                db_default=0, default=0, help_text="The feature's, for searches."
            ),
        ),
        migrations.AddField(
            model_name="label",
            name="causal_effect",
            field=features.db.fields.RealField(
                db_default=0, default=0, help_text="The feature's, for searches."
            ),
        ),
        migrations.RunSQL(COPY, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="label",
            index=django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("state", "shown")), fields=["words"], name="label_by_words"
            ),
        ),
        migrations.RunSQL(FOLLOW, NO_FOLLOW),
        migrations.AddField(
            model_name="labelembedding",
            name="sae",
            field=models.ForeignKey(
                null=True,
                help_text="The label's, for searches.",
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="features.sae",
            ),
        ),
        migrations.RunSQL(SAE, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="labelembedding",
            name="sae",
            field=models.ForeignKey(
                help_text="The label's, for searches.",
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="features.sae",
            ),
        ),
        migrations.RunSQL(INDEX, migrations.RunSQL.noop),
        migrations.RemoveField(model_name="labelembedding", name="version"),
    ]
