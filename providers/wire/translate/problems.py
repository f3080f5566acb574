"""Why a request cannot be read, or cannot be said in another dialect.

Refused                     a code of the catalogue, and the field at fault
├── InvalidJSON             the body is not one JSON object
├── MissingField
├── InvalidField
├── ImageUnreadable         image_decode_error
├── ImageUrlUnsupported     the provider fetches nothing, and neither do we
└── UnsupportedParameter    leaving it out would make the answer wrong
"""

from __future__ import annotations

from typing import ClassVar


class Refused(Exception):
    """The caller's request is at fault; `param` names the field."""

    code: ClassVar[str] = "invalid_field"

    def __init__(self, param: str | None, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


class InvalidJSON(Refused):
    code = "invalid_json"


class MissingField(Refused):
    code = "missing_field"


class InvalidField(Refused):
    code = "invalid_field"


class ImageUnreadable(Refused):
    code = "image_decode_error"


class ImageUrlUnsupported(Refused):
    code = "image_url_not_supported"


class UnsupportedParameter(Refused):
    code = "unsupported_parameter"
