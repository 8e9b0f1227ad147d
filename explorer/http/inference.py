"""Inference requests from forms: an error of the worker becomes an error of a form field."""

from collections.abc import Callable, Container
from typing import TypeVar

from django import forms

from features.inference import requests as inference_requests
from features.records import InvalidInput

T = TypeVar("T")


def inference_result(
    form: forms.Form, field: str | None, infer: Callable[[], T], own: Container[str] = ()
) -> T | None:
    """What `infer` returns; None if the worker refuses the request or does not answer.

    The error is added to `field` (None: to the whole form), or to the field that the refusal names
    where that is in `own`.
    """
    try:
        return infer()
    except InvalidInput as error:
        form.add_error(error.field if error.field in own else field, error.message)
    except inference_requests.NoAnswer as no_answer:
        form.add_error(field, str(no_answer))
    return None
