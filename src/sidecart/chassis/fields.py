"""Types of event fields that several services read, with the bounds of contracts/schemas/."""

from typing import Annotated

from msgspec import Meta

# Far below 2^53, up to which every JSON parser is exact.
NATURAL_MAX = 10**12 - 1

Uuid = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")]
Natural = Annotated[int, Meta(ge=0, le=NATURAL_MAX)]
Timestamp = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z\Z", max_length=32)]

CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
SPACE = r" \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"  # the rest of white space is in CONTROL

LINE = rf"^[^{CONTROL}]*[^{CONTROL}{SPACE}][^{CONTROL}]*\Z"
"""The pattern of one line of text that is not blank."""
