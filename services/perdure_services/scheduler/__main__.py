"""``python -m perdure_services.scheduler``: settings come from the environment (``PERDURE_…``)."""

import sys

from perdure_services._shell.entry import main_supervised
from perdure_services.scheduler.app import load_scheduler
from perdure_services.scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    sys.exit(main_supervised(SchedulerSettings, load_scheduler))
