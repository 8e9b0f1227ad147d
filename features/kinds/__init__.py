"""The kinds of job, each with the form that validates its params: one check for page, API and command line."""

from features.kinds.base import InvalidParams, JobForm, check
from features.kinds.catalog import AddCorpus, AddModel
from features.kinds.causes import ScoreCauses
from features.kinds.dashboards import ComputeDashboards, ScanShard
from features.kinds.embedding import EmbedLabels
from features.kinds.explaining import ExplainSae, ScoreLabels
from features.kinds.importing import AddSae
from features.kinds.judging import JudgeSweep
from features.kinds.labelling import LabelSae
from features.kinds.mapping import MapSae
from features.kinds.matching import MatchSaes
from features.kinds.sae import EvaluateSae
from features.kinds.training import TrainSae
from features.kinds.upkeep import CollectGarbage

KINDS: dict[str, type[JobForm]] = {
    form.kind: form
    for form in (
        TrainSae,
        AddSae,
        ComputeDashboards,
        MapSae,
        MatchSaes,
        ScoreCauses,
        EvaluateSae,
        LabelSae,
        ExplainSae,
        ScoreLabels,
        JudgeSweep,
        AddModel,
        AddCorpus,
        EmbedLabels,
        CollectGarbage,
    )
}

PARTS: dict[str, type[JobForm]] = {ScanShard.kind: ScanShard}
"""Kinds that other jobs are divided into: nobody starts one by itself, and lists of kinds leave them out."""

EVERY = KINDS | PARTS

__all__ = [
    "EVERY",
    "KINDS",
    "PARTS",
    "AddCorpus",
    "AddModel",
    "AddSae",
    "CollectGarbage",
    "ComputeDashboards",
    "EmbedLabels",
    "EvaluateSae",
    "ExplainSae",
    "InvalidParams",
    "JobForm",
    "JudgeSweep",
    "LabelSae",
    "MapSae",
    "MatchSaes",
    "ScanShard",
    "ScoreCauses",
    "ScoreLabels",
    "TrainSae",
    "check",
]
