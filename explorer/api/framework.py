"""Settings of Django REST framework and drf-spectacular."""

from typing import Any


def rest_framework(*, anonymous: int, user: int, proxies: int) -> dict[str, Any]:
    """Settings of the API with its requests a minute, behind that many trusted proxies."""
    return {
        "DEFAULT_AUTHENTICATION_CLASSES": [
            "explorer.api.v1.auth.KeyAuthentication",  # first: its 401 asks for a key
            "rest_framework.authentication.SessionAuthentication",
        ],
        "DEFAULT_PERMISSION_CLASSES": [
            "rest_framework.permissions.AllowAny",
            "explorer.api.v1.permissions.MayLook",
        ],
        "DEFAULT_THROTTLE_CLASSES": [
            "explorer.api.v1.throttles.AnonymousThrottle",
            "explorer.api.v1.throttles.UserThrottle",
        ],
        "DEFAULT_THROTTLE_RATES": {
            "anonymous": f"{anonymous}/minute",
            "user": f"{user}/minute",
        },
        "NUM_PROXIES": proxies,
        "DEFAULT_PARSER_CLASSES": ["explorer.api.v1.parsing.SafeJSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_METADATA_CLASS": None,
        "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
        "EXCEPTION_HANDLER": "explorer.api.v1.errors.exception_handler",
        "URL_FORMAT_OVERRIDE": None,
    }


SPECTACULAR = {
    "TITLE": "Featurescope",
    "DESCRIPTION": "Explore what a language model has learned. Everyone may read; "
    "a key, sent as `Authorization: Bearer KEY`, starts jobs.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": [
        "rest_framework.permissions.AllowAny",
        "explorer.api.v1.permissions.MayLook",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}
