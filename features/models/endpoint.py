"""OpenAI-compatible endpoints of language models, and their prompts and responses."""

from decimal import Decimal

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

from features.models.job import Job
from features.slugs import is_slug


class Endpoint(models.Model):
    """URL, model and key of an endpoint. Without an `owner`, it is shared by the instance."""

    slug = models.CharField(max_length=63, unique=True, validators=[is_slug])
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="endpoints"
    )
    base_url = models.CharField(max_length=500, help_text="Such as http://localhost:11434/v1.")
    model = models.CharField(max_length=200, help_text="As the endpoint names it.")
    key = models.BinaryField(
        blank=True, default=b"", help_text="Encrypted; see features.encryption."
    )
    concurrency = models.PositiveSmallIntegerField(
        default=8,
        validators=[MinValueValidator(1), MaxValueValidator(64)],
        help_text="Requests at once, 1 to 64.",
    )
    per_minute = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(100_000)],
        help_text="Maximum requests per minute; 0: no limit.",
    )
    timeout = models.PositiveSmallIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(600)],
        help_text="Seconds to wait for a response.",
    )
    price_in = models.DecimalField(
        max_digits=9, decimal_places=4, default=Decimal(0), validators=[MinValueValidator(0)],
        help_text="US dollars per million prompt tokens; 0 if free.",
    )  # fmt: skip
    price_out = models.DecimalField(
        max_digits=9, decimal_places=4, default=Decimal(0), validators=[MinValueValidator(0)],
        help_text="US dollars per million response tokens.",
    )  # fmt: skip
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Exchange(models.Model):
    """One prompt with its response or error; a resumed job reads earlier responses from here."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="exchanges")
    feature = models.PositiveIntegerField(help_text="Index of the feature.")
    purpose = models.CharField(
        max_length=30, help_text="explain, judge concept, judge fluency, or a kind of score."
    )
    sha256 = models.CharField(max_length=64, help_text="Of model and prompt.")
    messages = models.JSONField()
    answer = models.TextField(blank=True)
    error = models.CharField(max_length=500, blank=True, db_default="", default="")
    prompt_tokens = models.PositiveIntegerField()
    completion_tokens = models.PositiveIntegerField()
    cost = models.FloatField(
        null=True, help_text="US dollars, if the endpoint states them; else its prices count."
    )
    estimated = models.BooleanField(
        db_default=False,
        default=False,
        help_text="Whether the endpoint gave no count of tokens, so that they are estimates.",
    )
    seconds = models.FloatField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["job", "sha256"], name="asked_once_a_job")]

    def __str__(self) -> str:
        return f"{self.purpose} of {self.feature} in job {self.job_id}"
