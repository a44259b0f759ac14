"""Request bodies: size limits, strict parsing, and an error for every invalid field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import jiter
from fastapi import Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sidecart.chassis.server.request_body import DRAIN_BYTES_MAX
from sidecart.edge.callers import forbidden
from sidecart.edge.problems import Problem, invalid

BODY_BYTES_MAX = 64 * 1024  # events and records repeat parts of a body, so each byte is stored several times
CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Control characters, line breaks, and the controls that reverse displayed text."""
CONTROL = re.compile(f"[{CONTROLS}]")
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

UTF_8 = ("utf-8", "utf8")

B = TypeVar("B", bound=BaseModel)


def printable(text: str) -> str:
    """Return the text; raise ValueError if it is blank or has a control character."""
    if CONTROL.search(text):
        raise ValueError("must not contain line breaks or other control characters")
    if not text.strip():
        raise ValueError("must not be blank")
    return text


PRINTABLE = {"pattern": f"^[^{CONTROLS}]*$"}  # for the OpenAPI document
Printable = AfterValidator(printable)
Id = Annotated[str, Field(pattern=UUID, description="a UUID in lower case")]


class Strict(BaseModel):
    """A model that converts no types and rejects unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


async def read(request: Request, kind: type[B], identity: Mapping[str, str]) -> B:
    """Read and validate the body of a request; raise Problem 400, 403, 413, 415 or 422.

    `identity` has the fields that the caller's token decides: the body may leave them out.
    """
    _check_type(request.headers.getlist("content-type"), request.headers.getlist("content-encoding"))
    _check_content_length(request.headers.get("content-length", ""))
    body = await _bytes(request)
    try:
        # jiter is the parser of pydantic. Called directly, it can reject a key that occurs twice in
        # an object. Receivers differ in which of the two values they use.
        value: Any = jiter.from_json(body, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise Problem(400, "not_json", f"the body must be JSON in UTF-8 with unique keys: {error}") from error
    if identity and isinstance(value, dict):
        _identify(value, identity)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise invalid(error) from error


def _identify(value: dict[str, Any], identity: Mapping[str, str]) -> None:
    """Set the fields that the token decides; raise Problem 403 if the body contradicts it."""
    for name, own in identity.items():
        sent = value.get(name, own)
        if isinstance(sent, str) and sent.casefold() == own.casefold():
            value[name] = own
        elif isinstance(sent, str):
            raise forbidden(f"{name} is not that of the token; leave it out")


def _check_type(types: Sequence[str], encodings: Sequence[str]) -> None:
    if len(types) != 1 or not _is_json(types[0]):
        raise Problem(415, "unsupported_media_type", "send content-type: application/json, in UTF-8")
    if any(each.strip().lower() != "identity" for each in encodings):
        raise Problem(415, "unsupported_media_type", "send the body without a content-encoding")


def _is_json(header: str) -> bool:
    """Return whether a media type is JSON in UTF-8.

    The standard library's parser takes seconds for a header of 60 KB. This split does not: it
    ignores quotes, which no charset that is accepted needs for a semicolon.
    """
    kind, *parameters = header.split(";")
    pairs = (each.partition("=") for each in parameters)
    charsets = [value.strip().strip('"').lower() for name, _, value in pairs if name.strip().lower() == "charset"]
    return kind.strip().lower() == "application/json" and all(each in UTF_8 for each in charsets)


def _check_content_length(length: str) -> None:
    """Reject a body that is too long to be drained, before reading it.

    A client that sends `Expect: 100-continue` then need not send the body.
    """
    if length.isascii() and length.isdigit() and int(length[:20]) > DRAIN_BYTES_MAX:
        raise _too_large()


def _too_large() -> Problem:
    return Problem(413, "too_large", f"the body is over {BODY_BYTES_MAX} bytes", headers={"Connection": "close"})


async def _bytes(request: Request) -> bytes:
    size, chunks = 0, []
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise _too_large()
        chunks.append(chunk)
    return b"".join(chunks)
