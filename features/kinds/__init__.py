"""The kinds of job, each with the form that validates its params: one check for page, API and command line."""

from features.kinds.base import InvalidParams, JobForm, check
from features.kinds.catalog import AddCorpus, AddModel
from features.kinds.importing import AddSae
from features.kinds.sae import ComputeDashboards, EvaluateSae, TrainSae

KINDS: dict[str, type[JobForm]] = {
    form.kind: form for form in (TrainSae, AddSae, ComputeDashboards, EvaluateSae, AddModel, AddCorpus)
}

__all__ = [
    "KINDS",
    "AddCorpus",
    "AddModel",
    "AddSae",
    "ComputeDashboards",
    "EvaluateSae",
    "InvalidParams",
    "JobForm",
    "TrainSae",
    "check",
]
