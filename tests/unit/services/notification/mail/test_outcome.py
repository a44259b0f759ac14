"""The result of a session, for each error that ends one."""

from __future__ import annotations

import aiosmtplib
import pytest

from services.notification.mail.outcome import FAILURES, Outcome, Withdrawn, failed
from services.notification.mail.server import TlsError

NO = aiosmtplib.SMTPRecipientRefused(550, "no ann@example.com", "ann@example.com")
LATER = aiosmtplib.SMTPRecipientRefused(451, "later", "ann@example.com")
ERRORS: dict[str, tuple[Exception, Outcome, Outcome, Outcome]] = {
    "claimed elsewhere": (Withdrawn("why"), "withdrawn", "withdrawn", "withdrawn"),
    "certificate": (TlsError("why"), "unreachable", "unreachable", "unreachable"),
    "address": (aiosmtplib.SMTPNotSupported("why"), "refused", "refused", "refused"),
    "550 to recipient": (aiosmtplib.SMTPRecipientsRefused([NO]), "refused", "refused", "refused"),
    "451 to recipient": (aiosmtplib.SMTPRecipientsRefused([LATER]), "deferred", "deferred", "deferred"),
    "450 and 550": (aiosmtplib.SMTPRecipientsRefused([NO, LATER]), "deferred", "deferred", "deferred"),
    "554 to data": (aiosmtplib.SMTPDataError(554, "no"), "refused", "refused", "refused"),
    "421 to data": (aiosmtplib.SMTPDataError(421, "bye"), "unreachable", "broken", "broken"),
    "535 to login": (aiosmtplib.SMTPAuthenticationError(535, "no"), "unreachable", "broken", "broken"),
    "354 to the dot": (aiosmtplib.SMTPDataError(354, "go on"), "unreachable", "broken", "unknown"),
    "disconnected": (aiosmtplib.SMTPServerDisconnected("lost"), "unreachable", "broken", "unknown"),
    "silence": (TimeoutError(), "unreachable", "broken", "unknown"),
    "network": (OSError("no route"), "unreachable", "broken", "unknown"),
}


@pytest.mark.parametrize(("error", "early", "answered", "late"), ERRORS.values(), ids=ERRORS.keys())
def test_the_outcome_depends_on_the_error_and_on_the_progress(
    error: Exception, early: Outcome, answered: Outcome, late: Outcome
) -> None:
    """The same error means less before the connection, between, and after the final dot."""
    progress = [(False, False), (True, False), (True, True)]
    results = [failed(error, is_answered=is_answered, dot_sent=dot_sent) for is_answered, dot_sent in progress]

    assert isinstance(error, FAILURES)
    assert [early, answered, late] == [each.outcome for each in results]


def test_a_summary_has_no_address_and_a_reason_has_the_reply() -> None:
    """The summary is logged, so only the reason of the dead letter quotes the server."""
    result = failed(aiosmtplib.SMTPRecipientsRefused([NO]), is_answered=True, dot_sent=False)

    assert "the mail server refuses the mail: 550" == result.summary
    assert "ann@example.com" in result.reason
