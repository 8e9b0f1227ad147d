"""Words of labels, for searches: what a label holds as lexemes, and every word there is, to correct typos against."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.functions.text
from django.db import migrations, models

# English stems without English stop words: “if”, “not” and “from” are what features of code are about.
STEMS = "CREATE TEXT SEARCH DICTIONARY features_stems (TEMPLATE = snowball, LANGUAGE = english)"

# A word is a run of letters and digits; so is a run of other signs, and each of them: “(” is found in “`()`”.
PARTS = """
CREATE FUNCTION features_parts(said text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT AS $$
    SELECT (regexp_matches(lower(said), '[[:alnum:]]+|[^[:alnum:][:space:]]+', 'g'))[1]
$$;
CREATE FUNCTION features_lexemes(part text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT AS $$
    SELECT part || CASE
        WHEN part ~ '^[[:alnum:]]' THEN coalesce(ts_lexize('features_stems', part), '{}')
        ELSE string_to_array(part, NULL)
    END
$$;
CREATE FUNCTION features_label_words(said text, sae bigint) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT AS $$
    SELECT array_to_tsvector('sae:' || sae || coalesce(array_agg(lexeme) FILTER (WHERE lexeme <> ''), '{}'))
    FROM features_parts(said) part, unnest(features_lexemes(part)) lexeme
$$;
CREATE FUNCTION features_one_less(word text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT array_agg(DISTINCT left(word, i) || substr(word, i + 2)) || word FROM generate_series(0, length(word) - 1) i
$$;
"""
NO_PARTS = """
DROP FUNCTION features_one_less(text), features_label_words(text, bigint), features_lexemes(text), features_parts(text);
"""

# Not unique, so that who writes a word never waits for another's transaction to end: a word may be there twice.
LEARN = """
CREATE FUNCTION features_learn_words() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO features_labelword (word, stem)
    SELECT DISTINCT lexeme, lexeme <> part
    FROM written, features_parts(written.text) part, unnest(features_lexemes(part)) lexeme
    WHERE part ~ '^[[:alnum:]]' AND length(part) <= 40
        AND NOT EXISTS (SELECT FROM features_labelword k WHERE k.word = lexeme AND k.stem = (lexeme <> part));
    RETURN NULL;
END $$;
CREATE TRIGGER label_words_of_new AFTER INSERT ON features_label
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION features_learn_words();
CREATE FUNCTION features_learn_edited_words() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO features_labelword (word, stem)
    SELECT DISTINCT lexeme, lexeme <> part FROM features_parts(NEW.text) part, unnest(features_lexemes(part)) lexeme
    WHERE part ~ '^[[:alnum:]]' AND length(part) <= 40
        AND NOT EXISTS (SELECT FROM features_labelword k WHERE k.word = lexeme AND k.stem = (lexeme <> part));
    RETURN NULL;
END $$;
CREATE TRIGGER label_words_of_edited AFTER UPDATE OF text ON features_label
    FOR EACH ROW WHEN (OLD.text IS DISTINCT FROM NEW.text) EXECUTE FUNCTION features_learn_edited_words();
INSERT INTO features_labelword (word, stem)
SELECT DISTINCT lexeme, lexeme <> part
FROM features_label l, features_parts(l.text) part, unnest(features_lexemes(part)) lexeme
WHERE part ~ '^[[:alnum:]]' AND length(part) <= 40;
"""
UNLEARN = """
DROP TRIGGER label_words_of_edited ON features_label;
DROP TRIGGER label_words_of_new ON features_label;
DROP FUNCTION features_learn_words(), features_learn_edited_words();
"""


class Migration(migrations.Migration):
    dependencies = [("features", "0014_talking")]

    operations = [
        migrations.RunSQL(STEMS, "DROP TEXT SEARCH DICTIONARY features_stems"),
        migrations.RunSQL(PARTS, NO_PARTS),
        migrations.AddField(
            model_name="label",
            name="words",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Func("text", "sae", function="features_label_words"),
                output_field=django.contrib.postgres.search.SearchVectorField(),
            ),
        ),
        migrations.AddIndex(
            model_name="label",
            index=django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("state", "shown")), fields=["words"], name="label_by_words"
            ),
        ),
        migrations.CreateModel(
            name="LabelWord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("word", models.TextField()),
                ("stem", models.BooleanField()),
                (
                    "one_less",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func("word", function="features_one_less"),
                        output_field=django.contrib.postgres.fields.ArrayField(models.TextField()),
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["word"], name="label_word", opclasses=["text_pattern_ops"]
                    ),
                    django.contrib.postgres.indexes.GinIndex(
                        fields=["one_less"], name="label_word_by_typo"
                    ),
                ],
            },
        ),
        migrations.RunSQL(LEARN, UNLEARN),
    ]
