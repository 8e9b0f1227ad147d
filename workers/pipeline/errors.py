"""Errors of the pipeline that may pass without a change by the user."""

from features.records import InvalidInput


class Unavailable(InvalidInput):
    """What a setting names is temporarily unavailable: a hub that does not answer, a download that
    broke off.
    """
