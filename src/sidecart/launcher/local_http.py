"""GET requests to the apps and sidecars on this machine."""

import urllib.error
import urllib.request

BYTES_MAX = 500
"""How much of an answer is read by default: enough for a reason."""


def get(
    port: int, path: str, token: str = "", timeout_seconds: float = 3.0, bytes_max: int = BYTES_MAX
) -> tuple[int, str]:
    """GET a path at a local port; return status (0: no answer) and the beginning of the body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"dapr-api-token": token})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_seconds) as answer:
            return answer.status, answer.read(bytes_max).decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(bytes_max).decode(errors="replace")
    except (OSError, ValueError):
        return 0, ""
