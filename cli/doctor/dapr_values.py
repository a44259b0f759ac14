"""Values as Dapr reads them: what counts as true, and how long a duration is."""

import re

_UNITS_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3, "h": 3600e3}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")


def truthy(text: str) -> bool:
    """As kit's `strings.IsTruthy` (dapr/kit 0.18.2)."""
    return text.strip().lower() in ("y", "yes", "true", "t", "on", "1")


def go_true(text: str) -> bool:
    """As Go's `strconv.ParseBool`."""
    return text in ("1", "t", "T", "TRUE", "true", "True")


def duration_ms(text: str) -> float | None:
    """As Go's `time.ParseDuration`, with bare numbers as milliseconds; None for what Go refuses, `30d` for one."""
    if re.fullmatch(r"[+-]?\d+", text):
        return float(text)
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        return None
    return sign * sum(float(number) * _UNITS_MS[unit] for number, unit in parts)


def number(text: str) -> int | None:
    """A whole number without a sign, or None."""
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


def signed(text: str) -> int | None:
    """A whole number with or without a sign, or None."""
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else None


def expanded(text: str, env: "dict[str, str]") -> str:
    """A text of a compose file with its `${NAME:-default}` put in."""
    return _VARIABLE.sub(lambda match: env.get(match[1] or match[3]) or match[2] or "", text)
