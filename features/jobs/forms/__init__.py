"""The kinds of job, each with the form that validates its params: one check for page, API and
command line.
"""

from features.jobs.forms.add_model import AddCorpus, AddModel
from features.jobs.forms.add_sae import AddSae
from features.jobs.forms.base import JobForm
from features.jobs.forms.collect_garbage import CollectGarbage
from features.jobs.forms.compute_dashboards import ComputeDashboards, ScanShard
from features.jobs.forms.embed_labels import EmbedLabels
from features.jobs.forms.evaluate_sae import EvaluateSae
from features.jobs.forms.explain_sae import ExplainSae, ScoreLabels
from features.jobs.forms.judge_sweep import JudgeSweep
from features.jobs.forms.label_sae import LabelSae
from features.jobs.forms.map_sae import MapSae
from features.jobs.forms.match_saes import MatchSaes
from features.jobs.forms.score_causes import ScoreCauses
from features.jobs.forms.train_sae import TrainSae

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
"""Kinds that other jobs are divided into: nobody starts one by itself, and lists of kinds leave
them out.
"""

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
    "JobForm",
    "JudgeSweep",
    "LabelSae",
    "MapSae",
    "MatchSaes",
    "ScanShard",
    "ScoreCauses",
    "ScoreLabels",
    "TrainSae",
]
