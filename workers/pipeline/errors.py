"""The errors of the pipeline that pass: a user need not change anything."""

from features.records import InvalidInput


class Unavailable(InvalidInput):
    """What a setting names cannot be had now, but perhaps in a while: a hub that does not answer, a
    download that broke off.
    """
