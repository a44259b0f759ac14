"""The settings of a gateway that others must be able to address."""

import pytest

from sidecart.chassis.settings import SettingError
from sidecart.edge.settings import read

OFF = {"AUTH": "off"}


@pytest.mark.parametrize(
    ("gateways", "pod_name", "reply_to"), [("1", "gateway-3", ""), ("2", "gateway-3", "gateway-3"), ("1", "edge", "")]
)
def test_several_gateways_have_a_reply_address(gateways: str, pod_name: str, reply_to: str) -> None:
    """A single one reads the shared topics, whatever its name."""
    assert reply_to == read({**OFF, "GATEWAYS": gateways, "POD_NAME": pod_name}).reply_to


@pytest.mark.parametrize("pod_name", ["edge", "gateway", "gateway-20", "gateway-00"])
def test_a_name_that_no_service_could_address_is_refused(pod_name: str) -> None:
    """Its requests would end without a reply."""
    with pytest.raises(SettingError, match=r"POD_NAME: .* is not one of gateway-0 to gateway-19"):
        read({**OFF, "GATEWAYS": "2", "POD_NAME": pod_name})


@pytest.mark.parametrize("gateways", ["0", "21", "x"])
def test_the_number_of_gateways_is_bounded(gateways: str) -> None:
    """Scopes and permissions list the topics of twenty."""
    with pytest.raises(SettingError, match="GATEWAYS"):
        read({**OFF, "GATEWAYS": gateways})
