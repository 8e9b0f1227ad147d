"""Functions that generated columns of 0002_tables need, and the extension for vectors."""

from django.db import migrations
from pgvector.django import VectorExtension

# English stems, but no stop words: features of code are about “if”, “not” and “from”.
STEM_DICTIONARY = (
    "CREATE TEXT SEARCH DICTIONARY features_stems (TEMPLATE = snowball, LANGUAGE = english)"
)

# A part is a run of letters and digits, or a run of other signs. The lexemes of a run of signs are
# the run and each of its signs, so that “(” is found in “()”.
PARTS = """
CREATE FUNCTION features_parts(said text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT AS $$
    SELECT (regexp_matches(lower(said), '[[:alnum:]]+|[^[:alnum:][:space:]]+', 'g'))[1]
$$
"""
LEXEMES = """
CREATE FUNCTION features_lexemes(part text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT AS $$
    SELECT part || CASE
        WHEN part ~ '^[[:alnum:]]' THEN coalesce(ts_lexize('features_stems', part), '{}')
        ELSE string_to_array(part, NULL)
    END
$$
"""
LABEL_WORDS = """
CREATE FUNCTION features_label_words(said text, sae bigint) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT AS $$
    SELECT array_to_tsvector(
        'sae:' || sae || coalesce(array_agg(lexeme) FILTER (WHERE lexeme <> ''), '{}')
    )
    FROM features_parts(said) part, unnest(features_lexemes(part)) lexeme
$$
"""

# The word, and the word without each of its letters: words one typo apart share one of these.
ONE_LESS = """
CREATE FUNCTION features_one_less(word text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT array_agg(DISTINCT left(word, i) || substr(word, i + 2)) || word
    FROM generate_series(0, length(word) - 1) i
$$
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        VectorExtension(),
        migrations.RunSQL(STEM_DICTIONARY, "DROP TEXT SEARCH DICTIONARY features_stems"),
        migrations.RunSQL(PARTS, "DROP FUNCTION features_parts(text)"),
        migrations.RunSQL(LEXEMES, "DROP FUNCTION features_lexemes(text)"),
        migrations.RunSQL(LABEL_WORDS, "DROP FUNCTION features_label_words(text, bigint)"),
        migrations.RunSQL(ONE_LESS, "DROP FUNCTION features_one_less(text)"),
    ]
