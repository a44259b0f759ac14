"""The end of `sidecart kubernetes up`: port-forwards until Ctrl-C, and how to use the system."""

from __future__ import annotations

from sidecart.cli.run import example_calls
from sidecart.kubernetes import names, settings, start
from sidecart.kubernetes.forwards import Forwards
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.kubernetes.live_page import LivePage
from sidecart.kubernetes.trial import ISSUER_SECRET
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import Interrupted, LaunchError
from sidecart.launcher.lifecycle.system import Report
from sidecart.launcher.project import home, root
from sidecart.launcher.topics import GATEWAY

WATCH_SECONDS = 1.0
TOKEN = "./sidecart token "
"""The command that prints a token in the example calls; it needs the key of this issuer."""
LATER = (("status", "status"), ("logs", "logs -f"), ("dead letters", "dead-letters list"), ("check", "doctor"))


def forward(cluster: Kubectl, overlay: str, port: int, has_page: bool, report: Report, deadline: Deadline) -> int:
    """Forward local ports until Ctrl-C, with the live page of a trial; return the exit code."""
    inside, is_trial = cluster.within(names.NAMESPACE), OVERLAYS[overlay].is_trial
    with Forwards(inside, deadline) as forwards, LivePage(inside, overlay, forwards, report, deadline) as page:
        url = f"http://127.0.0.1:{forwards.port(f'service/{GATEWAY}', names.APP_PORT, port)}"
        lines, mail_url = [f"\nThe gateway is at   {url}"], ""
        if is_trial and settings.senders():
            mail_url = f"http://127.0.0.1:{forwards.port(f'deployment/{names.MAIL}', names.MAILS_PORT)}"
            lines.append(f"Its mails are at    {mail_url}/mails")
        if is_trial and has_page and _is_started(page, url, mail_url, report):
            lines.append(f"The live page is at {page.url}")
        report("\n".join([*lines, *_use(cluster, is_trial, port)]))
        return _keep(cluster, forwards, report, deadline)


def _is_started(page: LivePage, url: str, mail_url: str, report: Report) -> bool:
    """Start the live page; the system does not need it, so only report a failure."""
    try:
        page.start(url, mail_url)
    except LaunchError as error:
        report(f"the live page did not start: {error}")
        return False
    return True


def _keep(cluster: Kubectl, forwards: Forwards, report: Report, deadline: Deadline) -> int:
    """Start each port-forward again that ends with its pod, until Ctrl-C."""
    was_broken = False
    while True:
        try:
            deadline.pause(WATCH_SECONDS)
            forwards.restore()
        except Interrupted:
            report("the port-forwards end, and the system runs on: ./sidecart kubernetes down removes it")
            return 0
        except LaunchError as error:
            if not start.exists(cluster):
                raise LaunchError(f"the namespace {names.NAMESPACE} was deleted") from error
            if not was_broken:
                report(f"{error}; trying again")
            was_broken = True
        else:
            was_broken = False


def _use(cluster: Kubectl, is_trial: bool, port: int) -> list[str]:
    """Return the lines about the calls and the other commands."""
    lines = ["", "In another terminal:", ""]
    lines += [f"  {what:13} ./sidecart {words} --kubernetes {cluster.context}" for what, words in LATER]
    if is_trial and (calls := trial_calls(f"http://127.0.0.1:{port}")):
        lines += ["", "Try it, in another terminal:", "", calls]
    elif not is_trial:
        lines += ["", "Each call needs an access token of your issuer."]
    return [*lines, "Ctrl-C ends the port-forwards only."]


def trial_calls(url: str) -> str:
    """Return the project's example calls, with tokens of the issuer on the cluster."""
    keys = (home() / "kubernetes" / ISSUER_SECRET).relative_to(root())
    return example_calls(url).replace(TOKEN, f"{TOKEN}--keys {keys} ")
