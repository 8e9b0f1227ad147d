"""Words that no label has any more are forgotten; what a label that is shown or hidden
has stays.
"""

import pytest

from features.models import Label, LabelWord
from features.selectors.label_query import parse_label_query
from features.services import label_words
from features.services import labels as label_services
from features.services import moderation as moderation_services
from tests import builders

pytestmark = pytest.mark.django_db(transaction=True)


def words():
    return set(LabelWord.objects.values_list("word", flat=True))


def test_words_of_deleted_and_edited_labels_go_and_those_of_the_others_stay():
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    shown = label_services.propose(
        planted.feature(0), "opening brackets, 3 of them", by=ben, weight=1
    )
    hidden = label_services.propose(planted.feature(1), "weekdays", by=ben, weight=1)
    gone = label_services.propose(planted.feature(2), "elephants o'clock", by=ben, weight=1)
    label_services.edit(shown, "opening quotes", seen=1, by=ben)
    moderation_services.hide(hidden, by=ada)
    Label.objects.filter(pk=gone.pk).update(state="hidden")
    before = words()
    assert label_words.forget() > 0
    assert before - words() >= {"brackets", "bracket", "3"}
    assert words() >= {"opening", "quotes", "quot", "weekdays", "elephants"}
    gone.delete()
    assert parse_label_query("elephant").words[0].known
    assert label_words.forget() > 0
    assert not words() & {"elephants", "eleph", "clock"}
    assert not parse_label_query("elephant").words[0].known
    assert label_words.forget() == 0
