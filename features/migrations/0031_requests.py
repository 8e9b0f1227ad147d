"""Inference requests, steering requests, and the columns that jobs and steering runs share."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("features", "0030_judgements")]

    operations = [
        migrations.RenameModel("Answer", "InferenceRequest"),
        migrations.RenameField("InferenceRequest", "question", "params"),
        migrations.RenameField("InferenceRequest", "asked", "requested"),
        migrations.RenameField("InferenceRequest", "answered", "completed"),
        migrations.AddField(
            "InferenceRequest",
            "sent",
            models.DateTimeField(help_text="When its message last went to the broker.", null=True),
        ),
        migrations.RenameIndex(
            "InferenceRequest", new_name="inference_request_by_age", old_name="answer_by_age"
        ),
        migrations.RenameModel("SteeringAsk", "SteeringRequest"),
        migrations.RenameField("SteeringRun", "asked_by", "requested_by"),
        migrations.RenameIndex(
            "SteeringRequest", new_name="steering_request_by_person", old_name="asked_by_whom"
        ),
        migrations.RemoveConstraint("SteeringRequest", "asked_once"),
        migrations.AddConstraint(
            "SteeringRequest",
            models.UniqueConstraint(fields=("run", "who"), name="requested_once"),
        ),
        migrations.RemoveIndex(
            model_name="inferencerequest",
            name="inference_request_by_age",
        ),
        migrations.RemoveIndex(
            model_name="steeringrun",
            name="steering_by_state",
        ),
        migrations.AlterField(
            model_name="inferencerequest",
            name="key",
            field=models.CharField(
                help_text="SHA-256 of the params.", max_length=64, primary_key=True, serialize=False
            ),
        ),
        migrations.AlterField(
            model_name="inferencerequest",
            name="params",
            field=models.JSONField(help_text="The kind of request, and what that kind needs."),
        ),
        migrations.AlterField(
            model_name="job",
            name="lease_until",
            field=models.DateTimeField(
                help_text="Work that runs and whose lease has ended lost its worker.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="steeringrequest",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="requests",
                to="features.steeringrun",
            ),
        ),
        migrations.AlterField(
            model_name="steeringrun",
            name="lease_until",
            field=models.DateTimeField(
                help_text="Work that runs and whose lease has ended lost its worker.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="steeringrun",
            name="sent",
            field=models.DateTimeField(
                help_text="When its message last went to the broker.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="steeringrun",
            name="worker",
            field=models.CharField(blank=True, db_default="", max_length=200),
        ),
        migrations.AddIndex(
            model_name="inferencerequest",
            index=models.Index(fields=["requested"], name="inference_request_by_age"),
        ),
        migrations.AddIndex(
            model_name="steeringrun",
            index=models.Index(fields=["state", "requested_by"], name="steering_by_state"),
        ),
    ]
