"""The kinds of job, each with the form that validates its params: one check for page, API and
command line.
"""

from features.jobs.forms.add_corpus import AddCorpus
from features.jobs.forms.add_model import AddModel
from features.jobs.forms.add_sae import AddSae
from features.jobs.forms.base import FollowUp, JobForm
from features.jobs.forms.collect_garbage import CollectGarbage
from features.jobs.forms.compute_dashboards import ComputeDashboards
from features.jobs.forms.embed_labels import EmbedLabels
from features.jobs.forms.evaluate_sae import EvaluateSae
from features.jobs.forms.explain_sae import ExplainSae
from features.jobs.forms.judge_sweep import JudgeSweep
from features.jobs.forms.label_sae import LabelSae
from features.jobs.forms.map_sae import MapSae
from features.jobs.forms.match_saes import MatchSaes
from features.jobs.forms.scan_shard import ScanShard
from features.jobs.forms.score_causes import ScoreCauses
from features.jobs.forms.score_labels import ScoreLabels
from features.jobs.forms.train_sae import TrainSae

JOB_FORMS: dict[str, type[JobForm]] = {
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

PART_FORMS: dict[str, type[JobForm]] = {ScanShard.kind: ScanShard}
"""Kinds that other jobs are divided into: they are never started alone, and lists of kinds leave
them out.
"""

ALL_FORMS = JOB_FORMS | PART_FORMS

__all__ = [
    "ALL_FORMS",
    "JOB_FORMS",
    "PART_FORMS",
    "AddCorpus",
    "AddModel",
    "AddSae",
    "CollectGarbage",
    "ComputeDashboards",
    "EmbedLabels",
    "EvaluateSae",
    "ExplainSae",
    "FollowUp",
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
