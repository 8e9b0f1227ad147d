"""Triggers, and properties of tables that Django cannot describe."""

from django.db import migrations

# Requests and their results need no disk: a crash of the database only empties the table.
UNLOGGED = "ALTER TABLE features_inferencerequest SET UNLOGGED"
LOGGED = "ALTER TABLE features_inferencerequest SET LOGGED"

# features/jobs/lifecycle.py describes the states; this holds whatever program writes the row.
JOB_TRANSITION = """
CREATE FUNCTION featurescope_job_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (
        ('waiting', 'queued'), ('waiting', 'failed'), ('waiting', 'cancelled'),
        ('queued', 'running'), ('queued', 'cancelled'),
        ('running', 'queued'), ('running', 'finished'), ('running', 'failed'),
        ('running', 'cancelled')
    ) THEN
        RAISE EXCEPTION 'job %: a job that is % cannot become %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'a_job_lives_in_order',
                TABLE = 'features_job';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER a_job_lives_in_order BEFORE UPDATE OF state ON features_job
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION featurescope_job_transition();
"""
NO_JOB_TRANSITION = """
DROP TRIGGER a_job_lives_in_order ON features_job;
DROP FUNCTION featurescope_job_transition();
"""

# Words of labels, to correct typos against. The table has no unique constraint, so that a writer
# never waits for another's transaction: a word may be there twice.
LABEL_WORDS = """
CREATE FUNCTION features_learn_words() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO features_labelword (word, stem)
    SELECT DISTINCT lexeme, lexeme <> part
    FROM written, features_parts(written.text) part, unnest(features_lexemes(part)) lexeme
    WHERE part ~ '^[[:alnum:]]' AND length(part) <= 40 AND NOT EXISTS (
        SELECT FROM features_labelword k WHERE k.word = lexeme AND k.stem = (lexeme <> part)
    );
    RETURN NULL;
END $$;
CREATE TRIGGER label_words_of_new AFTER INSERT ON features_label
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION features_learn_words();
CREATE FUNCTION features_learn_edited_words() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO features_labelword (word, stem)
    SELECT DISTINCT lexeme, lexeme <> part
    FROM features_parts(NEW.text) part, unnest(features_lexemes(part)) lexeme
    WHERE part ~ '^[[:alnum:]]' AND length(part) <= 40 AND NOT EXISTS (
        SELECT FROM features_labelword k WHERE k.word = lexeme AND k.stem = (lexeme <> part)
    );
    RETURN NULL;
END $$;
CREATE TRIGGER label_words_of_edited AFTER UPDATE OF text ON features_label
    FOR EACH ROW WHEN (OLD.text IS DISTINCT FROM NEW.text)
    EXECUTE FUNCTION features_learn_edited_words();
"""
NO_LABEL_WORDS = """
DROP TRIGGER label_words_of_edited ON features_label;
DROP TRIGGER label_words_of_new ON features_label;
DROP FUNCTION features_learn_words(), features_learn_edited_words();
"""

# Labels copy numbers of their feature. The consensus copies them to new labels and locks the
# feature first, so that neither misses a concurrent change.
LABEL_COPIES = """
CREATE FUNCTION features_label_follows() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE features_label SET density = NEW.density, causal_effect = NEW.causal_effect
    WHERE feature_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER label_follows AFTER UPDATE OF density, causal_effect ON features_feature
    FOR EACH ROW
    WHEN ((OLD.density, OLD.causal_effect) IS DISTINCT FROM (NEW.density, NEW.causal_effect))
    EXECUTE FUNCTION features_label_follows();
"""
NO_LABEL_COPIES = """
DROP TRIGGER label_follows ON features_feature;
DROP FUNCTION features_label_follows();
"""

# The embedding of a text that was edited or hidden is wrong: it is deleted at once.
STALE_EMBEDDINGS = """
CREATE FUNCTION features_forget_meaning() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM features_labelembedding WHERE label_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER label_forgets_meaning AFTER UPDATE OF version, state ON features_label
    FOR EACH ROW WHEN (OLD.version <> NEW.version OR NEW.state <> 'shown')
    EXECUTE FUNCTION features_forget_meaning();
"""
NO_STALE_EMBEDDINGS = """
DROP TRIGGER label_forgets_meaning ON features_label;
DROP FUNCTION features_forget_meaning();
"""


class Migration(migrations.Migration):
    dependencies = [("features", "0002_tables")]

    operations = [
        migrations.RunSQL(UNLOGGED, LOGGED),
        migrations.RunSQL(JOB_TRANSITION, NO_JOB_TRANSITION),
        migrations.RunSQL(LABEL_WORDS, NO_LABEL_WORDS),
        migrations.RunSQL(LABEL_COPIES, NO_LABEL_COPIES),
        migrations.RunSQL(STALE_EMBEDDINGS, NO_STALE_EMBEDDINGS),
    ]
