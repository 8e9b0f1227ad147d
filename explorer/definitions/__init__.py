"""Every number that a page shows: its name, how it was computed, and its format. docs/numbers.md
lists the same.

The template tag `{% fact "density" value %}` takes name, definition and format from here.
"""

from explorer.definitions.definition import Definition
from explorer.definitions.evaluation import EVALUATION
from explorer.definitions.features import FEATURES, SEARCH
from explorer.definitions.labels import LABELS
from explorer.definitions.saes import MODELS, SAES, TRAINING
from explorer.definitions.steering import STEERING

__all__ = ["DEFINITIONS", "GROUPS", "Definition"]

GROUPS: dict[str, dict[str, Definition]] = {
    "Features": FEATURES,
    "Search": SEARCH,
    "Labels": LABELS,
    "Steering": STEERING,
    "SAEs": SAES,
    "SAEs, measured on held-out text": EVALUATION,
    "Models": MODELS,
    "Training, while it runs": TRAINING,
}

DEFINITIONS: dict[str, Definition] = {
    term: definition for group in GROUPS.values() for term, definition in group.items()
}
