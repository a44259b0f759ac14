"""The settings of a measured shop that are not the defaults.

The load generator's few users order thousands of times in an hour, and a measured order is complete
once its mail is sent. With the default limit most mails would wait for hours.
"""

from types import MappingProxyType

UNPACED = MappingProxyType({"MAILS_PER_HOUR": "0"})
