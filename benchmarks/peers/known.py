"""Every engine that can be measured, by the name that ``--peers`` takes."""

from typing import Final

from peers.dbos_peer import Dbos
from peers.perdure_itself import Perdure
from peers.place import Peer
from peers.restate_peer import Restate
from peers.temporal_peer import Temporal

PEERS: Final[dict[str, Peer]] = {
    "perdure": Perdure(durable=False),
    "perdure-always": Perdure(durable=True),
    "restate": Restate(),
    "dbos": Dbos(),
    "temporal": Temporal(),
}
OURS: Final = ("perdure", "perdure-always")
