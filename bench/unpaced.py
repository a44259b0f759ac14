"""The settings of a measured shop that are not the defaults.

The load generator's few users order thousands of times in an hour, and a measured order is complete
once its mail is sent. With the default limits most mails would wait for hours, and a single user
would get 429. All limits are checked all the same.
"""

from types import MappingProxyType

UNPACED = MappingProxyType({"MAILS_PER_HOUR": "0", "REQUESTS_PER_CALLER": "1000000", "HELD_PER_CALLER": "100000"})
