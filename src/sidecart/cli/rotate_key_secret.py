"""`sidecart rotate-key-secret`: replace the secret from which the ids of idempotency keys
derive.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import click

from sidecart.cli.reconcile import running
from sidecart.launcher.errors import LaunchError

CALL_SECONDS_MAX = 10.0


@click.command("rotate-key-secret")
def command() -> int:
    """Replace the secret from which the ids of idempotency keys derive.

    Requests with a key that was used before lead to the same resource for at least 7 days. The
    command refuses while an earlier rotation has not ended.
    """
    gateways = running()
    name, port = next(iter(gateways.ports.items()))
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/key-secret", method="POST", headers={"dapr-api-token": gateways.tokens[name]}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=CALL_SECONDS_MAX) as answer:
            ends_at = json.load(answer)["ends_at"]
    except urllib.error.HTTPError as error:
        raise LaunchError(f"the secret was not rotated: {json.load(error)['detail']}") from error
    except (OSError, ValueError) as error:
        raise LaunchError(f"{name} at port {port} does not answer: {error}") from error
    print(f"the rotation has begun and ends at {ends_at}")
    return 0
