"""Trims one stream: removes what every group has acknowledged and what is older than a time.

Redis removes entries by age or by number, whether they were read or not
(dapr/components-contrib #2296). `SCRIPT` first asks each group for the oldest entry that it still
needs: its oldest unacknowledged one, or else the first one that it has not read. Nothing from there
on is removed. Position and acknowledgements come as ids, because the count `lag` of Redis 7.0 is
wrong after a restart.

The server runs a script without another command in between. So a group that is created before it
counts, and a group that is created after it finds the stream as it is. An expected group that does
not exist needs every entry. Only a group that is not expected and that is created at the start of
the stream, such as that of a further gateway, may find that old entries have gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import valkey

BATCH_ENTRIES = 1_000
"""The entries that one call removes at most: a call blocks every other client of the server.

Entries are in nodes of up to 100 by default, and a limit below the size of a node removes none.
"""
BATCHES_MAX = 2_000
"""The calls of one pass; a stream has about a million entries (maxLenApprox)."""
PAGE_ENTRIES = 100
LAG_ENTRIES_MAX = 1_000
"""The entries that are read to count a lag; they may be large."""

SCRIPT = """
local key, oldest_kept, batch = KEYS[1], ARGV[1], ARGV[2]

-- As texts: numbers in Lua lose digits above 2^53.
local function is_less(one, other)
  if #one ~= #other then return #one < #other end
  return one < other
end

local function is_before(one, other)
  local ms, number = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_number = string.match(other, '^(%d+)-(%d+)$')
  if ms ~= other_ms then return is_less(ms, other_ms) end
  return is_less(number, other_number)
end

local function after(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  if #number > 15 then return id end -- keeps the entry itself, too
  return ms .. '-' .. string.format('%.0f', number + 1)
end

local length = redis.call('XLEN', key)
if length == 0 then return {0, 1, 0, '', ''} end

local missing = {}
for place = 3, #ARGV do missing[ARGV[place]] = true end

local needed, slowest = nil, ''
for _, fields in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local group = {}
  for place = 1, #fields, 2 do group[fields[place]] = fields[place + 1] end
  missing[group['name']] = nil
  local first = after(group['last-delivered-id'])
  if group['pending'] > 0 then first = redis.call('XPENDING', key, group['name'])[2] end
  if not needed or is_before(first, needed) then needed, slowest = first, group['name'] end
end
for place = 3, #ARGV do
  if missing[ARGV[place]] then needed, slowest = '0-0', ARGV[place] end
end

local first_kept = oldest_kept
if needed and is_before(needed, first_kept) then first_kept = needed end

-- Whole nodes first, whose number a limit bounds; then the rest of one node.
local is_done = 0
local removed = redis.call('XTRIM', key, 'MINID', '~', first_kept, 'LIMIT', batch)
if removed == 0 then
  removed, is_done = redis.call('XTRIM', key, 'MINID', '=', first_kept), 1
end

local result = {removed, is_done, redis.call('XLEN', key), '', ''}
local waiting = needed and redis.call('XRANGE', key, needed, '+', 'COUNT', 1)[1]
if waiting then result[4], result[5] = waiting[1], slowest end
return result
"""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """One stream after a pass, and the group that needs the oldest entry of it."""

    removed: int
    length: int
    waiting_id: str
    """The id of the oldest entry that a group still needs; empty if none waits."""
    slowest: str
    """The group that needs that entry, or that does not exist yet; empty if none waits."""

    def lag_seconds(self, now_ms: int) -> float:
        """Return the age of the oldest entry that a group still needs; 0 if none waits."""
        return max(0.0, (now_ms - milliseconds(self.waiting_id)) / 1_000) if self.waiting_id else 0.0


def trim(client: valkey.Valkey, stream: str, expected: Iterable[str], oldest_kept: str) -> Trimmed:
    """Remove the entries before the id `oldest_kept` that no group needs, in batches.

    Without an entry or a stream it does nothing.
    """
    arguments = [oldest_kept, str(BATCH_ENTRIES), *sorted(expected)]
    trimmed = Trimmed(0, 0, "", "")
    for _ in range(BATCHES_MAX):
        # the stub allows a coroutine
        found: Any = client.eval(SCRIPT, 1, stream, *arguments)
        removed, is_done, length, waiting_id, slowest = found
        trimmed = Trimmed(trimmed.removed + removed, length, waiting_id.decode(), slowest.decode())
        if is_done:
            break
    return trimmed


def lag_entries(client: valkey.Valkey, stream: str, trimmed: Trimmed) -> int:
    """Return the number of entries from the oldest one that the slowest group still needs.

    It counts by ids, and therefore includes acknowledged entries that follow an unacknowledged
    one. If the stream has more entries than LAG_ENTRIES_MAX, and begins before that one, the
    count ends at LAG_ENTRIES_MAX.
    """
    if not trimmed.waiting_id:
        return 0
    # the stub allows a coroutine
    first: Any = client.xrange(stream, count=1)
    if first and first[0][0].decode() == trimmed.waiting_id:
        return trimmed.length
    count, start = 0, trimmed.waiting_id
    while count < LAG_ENTRIES_MAX:
        page: Any = client.xrange(stream, min=start, count=PAGE_ENTRIES)
        count += len(page)
        if len(page) < PAGE_ENTRIES:
            break
        start = f"({page[-1][0].decode()}"
    return count


def milliseconds(entry_id: str) -> int:
    """Return when an entry was added, by the clock of its server."""
    return int(entry_id.partition("-")[0])
