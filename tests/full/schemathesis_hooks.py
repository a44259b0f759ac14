"""What Schemathesis loads: requests are generated at random.

By default it also searches for those that the shop accepts. That search shrinks orders of a thousand items, and takes
half an hour on two cores for the same number of requests.
"""

import hypothesis


def _no_target(observation: float, *, label: str = "") -> float:
    return observation


hypothesis.target = _no_target
