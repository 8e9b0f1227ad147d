"""A job's state changes only as the life of a job allows (features/jobs/lifecycle.py), whatever program writes the row."""

from django.db import migrations

CREATE = """
CREATE FUNCTION featurescope_job_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (
        ('waiting', 'queued'), ('waiting', 'failed'), ('waiting', 'cancelled'),
        ('queued', 'running'), ('queued', 'cancelled'),
        ('running', 'queued'), ('running', 'finished'), ('running', 'failed'), ('running', 'cancelled')
    ) THEN
        RAISE EXCEPTION 'job %: a job that is % cannot become %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'a_job_lives_in_order', TABLE = 'features_job';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER a_job_lives_in_order BEFORE UPDATE OF state ON features_job
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION featurescope_job_transition();
"""
DROP = "DROP TRIGGER a_job_lives_in_order ON features_job; DROP FUNCTION featurescope_job_transition();"


class Migration(migrations.Migration):
    dependencies = [("features", "0012_labels")]

    operations = [migrations.RunSQL(CREATE, DROP)]
