"""What a scheduler lets others see of its work: a seam for metrics and tests, free when unused."""


class Observer:
    """Override what you want to know. Called from the scheduler's loop; must not raise or block."""

    def turn(self, workflow_type: str, *, events: int, commands: int) -> None:
        """A record was committed."""

    def closed(self, workflow_type: str, status: str) -> None:
        """A run ended and was reported."""

    def loaded(self, workflow_type: str, *, events: int) -> None:
        """A run was replayed from its log."""

    def conflict(self) -> None:
        """Another owner committed first; the run is loaded anew."""

    def blocked(self, workflow_type: str, reason: str) -> None:
        """A run cannot go on with this build."""

    def failed(self, error: BaseException) -> None:
        """A turn met an error of the store and will be tried again."""
