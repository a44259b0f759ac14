"""How soon the first event of each topic is taken in the containers on Redis; runs in the network of its container.

Prints, as JSON, the consumers that were late and by how many seconds. The apps' metrics are off in the compose file, so
the consumer groups are asked: an event is taken once its group has read and acknowledged it.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import valkey

from cli.topics import APPS
from cli.topology import readers
from tests.e2e.first_events import Taken, late, published_by, tell_story


def by_groups(client: valkey.Valkey) -> Taken:
    """As the consumer groups count what was read and acknowledged."""
    wanted = {(one.app_id, one.topic): one.consumer_id for one in readers(APPS)}

    def taken(app_id: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for (reader, topic), group in wanted.items():
            if reader == app_id:
                groups: Any = client.xinfo_groups(topic)  # typed as if it might be a coroutine
                (mine,) = [each for each in groups if each["name"].decode() == group]
                found[topic] = int(mine["entries-read"] or 0) - int(mine["pending"])
        return {topic: count for topic, count in found.items() if count}

    return taken


def main() -> None:
    """Tell the story of the contracts, if asked for; then one event of each topic."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sidecar", required=True, help="the URL of a sidecar that publishes")
    parser.add_argument("--redis", required=True, help="host:port")
    parser.add_argument("--tell-story", action="store_true", help="publish every event once before")
    options = parser.parse_args()
    publish = published_by(options.sidecar, os.environ["DAPR_API_TOKEN"])
    host, _, port = options.redis.rpartition(":")
    with valkey.Valkey(host, int(port)) as client:
        taken = by_groups(client)
        if options.tell_story:
            tell_story(publish, taken)
        print(json.dumps({" ".join(who): seconds for who, seconds in late(publish, taken).items()}))


if __name__ == "__main__":
    main()
