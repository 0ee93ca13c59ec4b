"""``python -m perdure_services.signal_gateway``: settings come from the environment."""

import sys

from perdure_services._shell.entry import main
from perdure_services.signal_gateway.app import load_gateway
from perdure_services.signal_gateway.settings import GatewaySettings

if __name__ == "__main__":
    sys.exit(main(GatewaySettings, load_gateway))
