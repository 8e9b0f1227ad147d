"""Compression of pages and API responses."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware


class CompressionMiddleware(GZipMiddleware):
    """Django's compression, with its random padding against BREACH, except for streams.

    A compressed event stream would arrive late, and weights do not compress.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Compress a response that is complete."""
        return response if response.streaming else super().process_response(request, response)
