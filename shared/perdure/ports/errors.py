"""How a port says no.

PortError
 ├ Unavailable       it did not happen: no server, no leader, no permission; try again later
 │  └ Closed         this side closed the connection: no later try will do better
 ├ UnknownOutcome    it may or may not have happened: read before you decide anything
 ├ Conflict          a compare-and-set lost: something else was written
 ├ AlreadyExists     the thing to create is there
 ├ StoreFull         the store refuses for want of space; nothing was written
 └ TooLarge          more bytes than the store takes in one message; nothing was written
"""


class PortError(Exception):
    """The root of what ports raise."""


class Unavailable(PortError):
    """It did not happen and may be tried again."""


class Closed(Unavailable):
    """It did not happen and never will: the connection was closed on this side."""


class UnknownOutcome(PortError):
    """It may have happened: only a read tells."""


class Conflict(PortError):
    """A compare-and-set lost."""


class AlreadyExists(PortError):
    """The thing to create exists."""


class StoreFull(PortError):
    """The store has no room: nothing was written."""


class TooLarge(PortError):
    """More bytes than one message takes."""
