"""How the web server answers a request; `explorer.asgi` says what else is tuned."""

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class Handler(ASGIHandler):
    """Runs a request in one thread, with all its middleware.

    Django's own handler changes threads for each middleware, on the way in and out, fifteen times:
    3 of the 20 ms that a page takes.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """The synchronous chain, although an ASGI handler asks for the asynchronous one."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The response of a synchronous server. A streaming response keeps no connection to the
        database.
        """

        def answer() -> HttpResponseBase:
            response: HttpResponseBase = self.get_response(request)
            if response.streaming:
                close_old_connections()  # else this thread would keep one until the last piece
            return response

        return await sync_to_async(answer)()
