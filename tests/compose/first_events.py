"""Measures how soon consumers process the first event of each topic, in containers with Redis.

The program runs in the network of the Redis container. It prints the late consumers and their
seconds as JSON. Metrics are off in the compose file, so it reads the consumer groups: an event
counts once its group has read and acknowledged it.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import valkey

from sidecart.launcher.permissions import ADMINISTRATOR
from sidecart.launcher.servers.rabbitmq_keeper import TOKENS, tokens_of
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import readers
from tests.e2e.first_events import Processed, late, publish_story, published_by


def by_groups(client: valkey.Valkey) -> Processed:
    """Return a counter of the events that the consumer groups have read and acknowledged."""
    groups_read = {(one.app_id, one.topic): one.consumer_id for one in readers(app_ids())}

    def processed(app_id: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for (reader, topic), group in groups_read.items():
            if reader == app_id:
                # the client's type hints allow a coroutine
                groups: Any = client.xinfo_groups(topic)
                (mine,) = [each for each in groups if each["name"].decode() == group]
                found[topic] = int(mine["entries-read"] or 0) - int(mine["pending"])
        return {topic: count for topic, count in found.items() if count}

    return processed


def main() -> None:
    """Publish the story of the contracts if requested, then one event of each topic."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sidecars", required=True, type=json.loads, help="JSON: the URL of each app's sidecar")
    parser.add_argument("--redis", required=True, help="host:port")
    parser.add_argument("--publish-story", action="store_true", help="publish every event once before")
    options = parser.parse_args()
    publish = published_by(options.sidecars, tokens_of(os.environ[TOKENS]))
    host, _, port = options.redis.rpartition(":")
    with valkey.Valkey(host, int(port), username=ADMINISTRATOR, password=os.environ["REDISCLI_AUTH"]) as client:
        processed = by_groups(client)
        if options.publish_story:
            publish_story(publish, processed)
        print(json.dumps({" ".join(who): seconds for who, seconds in late(publish, processed).items()}))


if __name__ == "__main__":
    main()
