"""The logins of a Redis-compatible server, as the rules of its access control list (ADR 54).

Each rule allows the commands that daprd's components send (components-contrib 1.18.3:
state/redis/redis.go, pubsub/redis/redis.go, common/component/redis/v9client.go). Selectors, the
parts in parentheses, need Valkey or Redis 7: a key may be written by some commands only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from sidecart.launcher.permissions import ADMINISTRATOR, Permissions

CONNECTION = "+ping +hello +client|setname +client|id +info"
"""The commands of a connection. The state component reads the number of replicas from INFO.

The client also sends CLIENT SETINFO, and ignores an error. Redis 7.0 does not know it, and would
not start with it in a rule.
"""
STATE = "+hgetall +hget +hset +hincrby +get +del +eval +expire +persist +wait +multi +exec"
"""EVAL runs the scripts of the state component. The rules hold for a script's commands, too."""
PUBLISH = "+xadd"
READ = "+xreadgroup +xack +xpending +xclaim +xgroup|create"
INSPECT = "+xinfo|groups +xinfo|consumers +xrange +xlen +xpending +xgroup|create +xgroup|destroy"
COUNT = "+xinfo|groups +xinfo|consumers +xgroup|destroy"
DROP = "+exists +del"
TRIM = "+eval +xlen +xinfo|groups +xpending +xrange +xtrim"
"""EVAL runs the script of the trimmer, whose commands need these rights, too."""
CLOCK = "+time"
NO_DEFAULT_LOGIN = "user default off sanitize-payload resetpass ~* &* +@all"
"""No caller can be this login: it is off and has no password.

It keeps its rights, because a server that starts replays the append-only file with them. Redis 7
drops each transaction that they do not allow, and so every record (redis/redis #14541,
valkey-io/valkey #3983).
"""


def acl_file(passwords: Mapping[str, str], permissions: Iterable[Permissions]) -> str:
    """Return the content of an ACL file. Each password is `>text` or `#hash`.

    There is no login without a password.
    """
    logins_of_apps = [f"user {each.app_id} {rule(each, passwords[each.app_id])}" for each in permissions]
    administrator = f"user {ADMINISTRATOR} on {passwords[ADMINISTRATOR]} ~* &* +@all"
    return "\n".join((NO_DEFAULT_LOGIN, administrator, *logins_of_apps)) + "\n"


def hashed(logins: Mapping[str, str]) -> dict[str, str]:
    """Return the hash of each password, as a rule has it."""
    return {name: "#" + hashlib.sha256(password.encode()).hexdigest() for name, password in logins.items()}


def rule(app: Permissions, password: str) -> str:
    """Return the rule of one login, as ACL SETUSER takes it; `password` is `>text` or `#hash`."""
    words = ["reset", "on", password, CONNECTION]
    if app.has_records:
        words += [_key(f"{app.app_id}||") + "*", STATE]
    if app.trims:
        words.append(CLOCK)
    for topics, commands in (
        (app.publishes, PUBLISH),
        (app.reads, READ),
        (app.inspects, INSPECT),
        (app.counts, COUNT),
        (app.drops, DROP),
        (app.trims, TRIM),
    ):
        if topics:
            words.append(f"({' '.join(map(_key, topics))} {commands})")
    return " ".join(words)


def words_of(text: str) -> list[str]:
    """Split a rule; ACL SETUSER takes a selector as one word."""
    return re.findall(r"\([^)]*\)|\S+", text)


def _key(name: str) -> str:
    """Return the pattern that matches one key."""
    return "~" + re.sub(r"([*?\[\]\\])", r"\\\1", name)
