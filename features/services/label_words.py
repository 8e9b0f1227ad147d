"""Forgetting words that no label has any more: a search would correct typos to them, and find
nothing.
"""

from django.db import connection, transaction

# Who writes a label looks whether its words are there, so nobody may between the looking here and
# the deleting.
LOCK = "LOCK TABLE features_label IN SHARE MODE"

# Shown labels have an index by their words; the others are few, and may be restored with theirs.
FORGET = """
WITH kept AS (SELECT DISTINCT unnest(tsvector_to_array(words)) AS word FROM features_label
    WHERE state <> 'shown')
DELETE FROM features_labelword k
WHERE NOT EXISTS (SELECT FROM features_label l WHERE l.state = 'shown'
    AND l.words @@ quote_literal(k.word)::tsquery)
    AND NOT EXISTS (SELECT FROM kept WHERE kept.word = k.word)
"""


@transaction.atomic
def forget() -> int:
    """Remove them and return how many. Labels wait to be written meanwhile: seconds for a hundred
    thousand words.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCK)
        cursor.execute(FORGET)
        return int(cursor.rowcount)
