"""The tables, one file a noun."""

from features.models.catalog import Corpus, Dashboard, LanguageModel, Sae, Sequence, Token
from features.models.collection import Collection, CollectionItem
from features.models.discussion import Comment, Flag, Moderation
from features.models.effect import FeatureEffect
from features.models.endpoint import Endpoint, Exchange
from features.models.feature import Example, Feature, Peak
from features.models.inference import Answer
from features.models.job import Job, JobEvent
from features.models.judgement import SweepJudgement
from features.models.label import Label, LabelRevision, LabelScore, Vote
from features.models.label_index import LabelEmbedding, LabelWord
from features.models.match import Match, Matching
from features.models.steering import SteeringAsk, SteeringDelta, SteeringRun
from features.models.upload import LabelUpload
from features.models.word_list import WordList
from features.models.worker import Worker

__all__ = [
    "Answer",
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
    "SteeringAsk",
    "SteeringDelta",
    "SteeringRun",
    "SweepJudgement",
    "Token",
    "Vote",
    "WordList",
    "Worker",
]
