"""The effect of each kind of fault on the requests of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.bookkeeping import RepeatRules
from sidecart.testkit.faults.injector import InjectedFault
from sidecart.testkit.faults.ledger import Ledger


@dataclass(slots=True)
class Effect:
    """The combined effect of one kind of fault."""

    times: int = 0
    held: int = 0
    """Requests of the main route, sent and not answered when the fault happened."""
    recovery_seconds: list[float] = field(default_factory=list)
    """Seconds from the end of each fault until a request first sent after it was answered 201."""
    repeats: int = 0
    lost: int = 0


def effects(
    ledger: Ledger, faults: Sequence[InjectedFault], audit: Audit, main_route: str, rules: RepeatRules
) -> dict[str, Effect]:
    """Return the effects by kind of fault and target."""
    answered = sorted(
        (each.asked_at, each.answered_at)
        for each in ledger.intents.values()
        if each.status == 201 and each.answered_at is not None
    )
    found: dict[str, Effect] = defaultdict(Effect)
    for fault in faults:
        effect = found[f"{fault.kind} {fault.target}"]
        effect.times += 1
        held = [
            each
            for each in ledger.intents.values()
            if each.asked_at <= fault.ended and (each.answered_at is None or each.answered_at >= fault.began)
        ]
        effect.held += sum(each.route == main_route for each in held)
        effect.lost += sum(each.key in audit.lost_keys for each in held)
        later = [ended for began, ended in answered if began >= fault.ended]
        if later:
            effect.recovery_seconds.append(min(later) - fault.ended)
        if fault.target.startswith(rules.explained_by):
            effect.repeats += sum(fault.began <= at <= fault.ended + rules.explained_seconds for at in audit.repeats_at)
    return dict(found)
