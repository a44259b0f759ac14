"""The end of `sidecart kubernetes up`: port-forwards until Ctrl-C, and how to use the system."""

from __future__ import annotations

from sidecart.cli.run import example_calls
from sidecart.kubernetes import names, settings, start
from sidecart.kubernetes.forwards import Forwards
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.kubernetes.trial import ISSUER_SECRET
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import Interrupted, LaunchError
from sidecart.launcher.lifecycle.system import Report
from sidecart.launcher.project import home, root
from sidecart.launcher.topics import GATEWAY

WATCH_SECONDS = 1.0
TOKEN = "./sidecart token "
"""The command in the example calls that prints a token; it needs the key of this cluster's issuer."""
LATER = (("status", "status"), ("logs", "logs -f"), ("dead letters", "dead-letters list"), ("check", "doctor"))


def forward(cluster: Kubectl, overlay: str, port: int, report: Report, deadline: Deadline) -> int:
    """Forward local ports to the gateway and the mail catcher until Ctrl-C; return the exit code.

    A port-forward that ends with its pod starts again.
    """
    is_trial = OVERLAYS[overlay].is_trial
    mails = is_trial and bool(settings.senders())
    with Forwards(cluster.within(names.NAMESPACE), deadline) as forwards:
        lines = [f"\nThe gateway is at {_open(forwards, port)}"]
        if mails:
            lines.append(f"Its mails are at  http://127.0.0.1:{_mails(forwards)}/mails")
        report("\n".join([*lines, *_use(cluster, is_trial, port)]))
        was_broken = False
        while True:
            try:
                deadline.pause(WATCH_SECONDS)
                _open(forwards, port)
                if mails:
                    _mails(forwards)
            except Interrupted:
                report("the port-forward has ended, and the system runs on: ./sidecart kubernetes down removes it")
                return 0
            except LaunchError as error:
                if not start.exists(cluster):
                    raise LaunchError(f"the namespace {names.NAMESPACE} was deleted") from error
                if not was_broken:
                    report(f"{error}; trying again")
                was_broken = True
            else:
                was_broken = False


def _open(forwards: Forwards, port: int) -> str:
    return f"http://127.0.0.1:{forwards.port(f'service/{GATEWAY}', names.APP_PORT, port)}"


def _mails(forwards: Forwards) -> int:
    return forwards.port(f"deployment/{names.MAIL}", names.MAILS_PORT)


def _use(cluster: Kubectl, is_trial: bool, port: int) -> list[str]:
    """Return the lines about the calls and the other commands."""
    lines = ["", "In another terminal:", ""]
    lines += [f"  {what:13} ./sidecart {words} --kubernetes {cluster.context}" for what, words in LATER]
    if is_trial and (calls := trial_calls(f"http://127.0.0.1:{port}")):
        lines += ["", "Try it, in another terminal:", "", calls]
    elif not is_trial:
        lines += ["", "Each call needs an access token of your issuer."]
    return [*lines, "Ctrl-C ends the port-forward only."]


def trial_calls(url: str) -> str:
    """Return the project's example calls, with tokens of the issuer on the cluster."""
    keys = (home() / "kubernetes" / ISSUER_SECRET).relative_to(root())
    return example_calls(url).replace(TOKEN, f"{TOKEN}--keys {keys} ")
