"""``python -m perdure_services.activity_worker``: settings come from the environment."""

import sys

from perdure_services._shell.entry import main
from perdure_services.activity_worker.app import load_worker
from perdure_services.activity_worker.settings import ActivityWorkerSettings

if __name__ == "__main__":
    sys.exit(main(ActivityWorkerSettings, load_worker))
