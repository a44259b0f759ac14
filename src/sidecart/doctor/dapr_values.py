"""Parse booleans, numbers and durations as Dapr parses them."""

import re

_UNITS_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3, "h": 3600e3}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")


def truthy(text: str) -> bool:
    """Whether kit's `strings.IsTruthy` (dapr/kit 0.18.2) reads the text as true."""
    return text.strip().lower() in ("y", "yes", "true", "t", "on", "1")


def go_true(text: str) -> bool:
    """Whether Go's `strconv.ParseBool` reads the text as true."""
    return text in ("1", "t", "T", "TRUE", "true", "True")


def duration_ms(text: str) -> float | None:
    """Parse as Go's `time.ParseDuration` does; a bare number is milliseconds.

    Returns milliseconds, or None for text that Go rejects, such as `30d`.
    """
    if re.fullmatch(r"[+-]?\d+", text):
        return float(text)
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        return None
    return sign * sum(float(number) * _UNITS_MS[unit] for number, unit in parts)


def number(text: str) -> int | None:
    """The text as an unsigned whole number, or None."""
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


def signed(text: str) -> int | None:
    """The text as a whole number with an optional sign, or None."""
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else None


def expanded(text: str, env: "dict[str, str]") -> str:
    """Expand `$NAME`, `${NAME}` and `${NAME:-default}` as Docker Compose does."""
    return _VARIABLE.sub(lambda match: env.get(match[1] or match[3]) or match[2] or "", text)
