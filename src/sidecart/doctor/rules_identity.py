"""Rules for calls between sidecars: mTLS, sentry and access control."""

from collections.abc import Iterator

from sidecart.doctor.dapr_values import truthy
from sidecart.doctor.findings import Violation
from sidecart.doctor.resources import Resource
from sidecart.doctor.sidecar_config import SidecarConfig
from sidecart.doctor.starts import Start
from sidecart.doctor.yaml_files import Tree

MTLS = "enable-mtls"
SELF_HOSTED = "public"
"""The trust domain of sidecars outside Kubernetes (dapr 1.18.2, pkg/sentry/server/validator)."""


def _controls(config: SidecarConfig) -> Iterator[tuple[Resource, Tree]]:
    for each in config.configurations:
        control = each.document.root.at("spec", "accessControl")
        if control is not None:
            yield each, control


def _secured(config: SidecarConfig) -> list[Start]:
    return [start for start in config.starts if start.is_on(MTLS)]


def without_mtls(config: SidecarConfig) -> Iterator[Violation]:
    """Access control identifies a caller by its certificate."""
    for each, control in _controls(config):
        secured = truthy(each.document.root.text("spec", "mtls", "enabled")) or bool(_secured(config))
        if control.items("policies") and not secured:
            what = "without mTLS a caller has no identity, so these policies cannot distinguish callers"
            fix = "run sentry and start sidecars with --enable-mtls; or rely on networks and API tokens"
            yield Violation(each.place("spec", "accessControl"), what, fix)


def allows_by_default(config: SidecarConfig) -> Iterator[Violation]:
    """A certificate says who calls; without access control every sidecar may call every route."""
    controls = list(_controls(config))
    for each, control in controls:
        for name, place, action in _defaults(control):
            if action == "allow":
                what = f"{name} allows every call that no operation names, also to the routes of events"
                yield Violation(each.place("spec", "accessControl", *place), what, "defaultAction: deny")
    for start in _secured(config) if not controls else []:
        what = f"the sidecar of {start.app_id} lets every other sidecar call every route of its app"
        fix = "accessControl: {defaultAction: deny, trustDomain: public, policies: [...]} in a Configuration"
        yield Violation(start.place(MTLS), what, fix)


def _defaults(control: Tree) -> Iterator[tuple[str, tuple[str, ...], str]]:
    # Without policies and without an action, daprd allows all calls (pkg/acl/acl.go).
    policies = control.items("policies")
    yield "access control", ("defaultAction",), control.text("defaultAction").lower() or ("" if policies else "allow")
    for each in policies:
        yield f"the policy of {each.text('appId')}", ("policies",), each.text("defaultAction").lower()


def never_matches(config: SidecarConfig) -> Iterator[Violation]:
    """A policy of another trust domain matches no caller, and `/*/` matches no path.

    Source: dapr 1.18.2, pkg/acl/acl.go and pkg/config/acl_trie.go.
    """
    for each, control in _controls(config):
        for policy in control.items("policies") if _secured(config) else []:
            domain = policy.text("trustDomain")
            name = policy.text("appId")
            if domain != SELF_HOSTED:
                what = f"the policy of {name} never matches: the trust domain of a sidecar is {SELF_HOSTED}"
                yield Violation(each.place("spec", "accessControl", "policies"), what, f"trustDomain: {SELF_HOSTED}")
            for operation in policy.items("operations"):
                path = operation.text("name")
                if "/*/" in path:
                    what = f"{path} never matches: `/*` matches a segment at the end of a path only"
                    fix = f"name: {path.partition('/*/')[0]}/**"
                    yield Violation(each.place("spec", "accessControl", "policies"), what, fix)


def any_identity(config: SidecarConfig) -> Iterator[Violation]:
    """Outside Kubernetes, sentry's default validator checks nothing (pkg/sentry/config)."""
    for each in config.configurations:
        mtls = each.document.root.at("spec", "mtls")
        if mtls is not None and truthy(mtls.text("enabled")) and not mtls.items("tokenValidators"):
            what = "sentry gives the certificate of any app to every program that reaches it"
            fix = "tokenValidators: [{name: jwks, options: {source: ...}}]; Kubernetes has a validator of its own"
            yield Violation(each.place("spec", "mtls"), what, fix)


def no_sentry_token(config: SidecarConfig) -> Iterator[Violation]:
    """Without a token, a sidecar gets a certificate only from a sentry that checks nothing."""
    for start in _secured(config):
        if start.environment.lacks("DAPR_SENTRY_TOKEN_FILE"):
            what = f"the sidecar of {start.app_id} has no token for sentry: its sentry checks no caller"
            fix = "DAPR_SENTRY_TOKEN_FILE=... in the sidecar's environment"
            yield Violation(start.place(MTLS), what, fix)
