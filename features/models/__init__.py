"""The tables, one file a noun."""

from features.models.answer import Answer
from features.models.catalog import Corpus, Dashboard, LanguageModel, Sae, Sequence, Token
from features.models.feature import Example, Feature, Peak
from features.models.job import Job, JobEvent
from features.models.worker import Worker

__all__ = [
    "Answer",
    "Corpus",
    "Dashboard",
    "Example",
    "Feature",
    "Job",
    "JobEvent",
    "LanguageModel",
    "Peak",
    "Sae",
    "Sequence",
    "Token",
    "Worker",
]
