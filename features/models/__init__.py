"""The tables, one file a noun."""

from features.models.catalog import Corpus, Dashboard, LanguageModel, Sae, Sequence, Token
from features.models.collection import Collection, CollectionItem
from features.models.discussion import Comment, Flag, Moderation
from features.models.effect import FeatureEffect
from features.models.endpoint import Endpoint, Exchange
from features.models.feature import Example, Feature, Peak
from features.models.inference import InferenceRequest
from features.models.job import Job, JobEvent
from features.models.judgement import SweepJudgement
from features.models.label import Label, LabelRevision, LabelScore, Vote
from features.models.label_index import LabelEmbedding, LabelWord
from features.models.match import Match, Matching
from features.models.steering import SteeringDelta, SteeringRequest, SteeringRun
from features.models.upload import LabelUpload
from features.models.word_list import WordList
from features.models.worker import Worker

__all__ = [
    "Collection",
    "CollectionItem",
    "Comment",
    "Corpus",
    "Dashboard",
    "Endpoint",
    "Example",
    "Exchange",
    "Feature",
    "FeatureEffect",
    "Flag",
    "InferenceRequest",
    "Job",
    "JobEvent",
    "Label",
    "LabelEmbedding",
    "LabelRevision",
    "LabelScore",
    "LabelUpload",
    "LabelWord",
    "LanguageModel",
    "Match",
    "Matching",
    "Moderation",
    "Peak",
    "Sae",
    "Sequence",
    "SteeringDelta",
    "SteeringRequest",
    "SteeringRun",
    "SweepJudgement",
    "Token",
    "Vote",
    "WordList",
    "Worker",
]
