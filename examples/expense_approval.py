"""A person decides: an expense waits up to seven days for its approval.

The manager is told, then the workflow waits for a signal. Waiting costs nothing: no process holds
the workflow meanwhile, and a restart of everything does not disturb it. A week without an answer
is an answer too.

Try it (in the directory ``examples``)::

    perdure dev --import expense_approval

and in another terminal::

    nats pub perdure.default.start.ExpenseApprovalWorkflow '{"id": "exp-1", "input": ["exp-1", 42.5]}'
    perdure query exp-1 get_status
    nats pub perdure.default.signal.exp-1.approve ''

JetStream's acknowledgement of such a message (``nats pub -J`` shows it) is the receipt: from then
on the start, or the decision, cannot be lost. ``reject`` is the other signal.
"""

from datetime import timedelta

from side_effects import perform

from perdure import activity, workflow

APPROVAL_TIME = timedelta(days=7)


@activity.defn
def notify_manager(expense_id: str, amount: float) -> None:
    """Ask the manager for a decision."""
    perform(f"{expense_id} ({amount:.2f})")


@activity.defn
def process_payment(expense_id: str) -> None:
    """Pay the expense back."""
    perform(expense_id)


@activity.defn
def notify_rejection(expense_id: str) -> None:
    """Tell whoever handed it in."""
    perform(expense_id)


@activity.defn
def notify_timeout(expense_id: str) -> None:
    """Tell them that nobody decided in time."""
    perform(expense_id)


@workflow.defn
class ExpenseApprovalWorkflow:
    def __init__(self) -> None:
        self.approved = False
        self.rejected = False

    @workflow.run
    async def run(self, expense_id: str, amount: float) -> str:
        await workflow.execute_activity(
            notify_manager,
            args=[expense_id, amount],
            start_to_close_timeout=timedelta(seconds=10),
        )

        workflow.logger.info("Waiting for the approval of %s", expense_id)
        decided = await workflow.wait_condition(
            lambda: self.approved or self.rejected, timeout=APPROVAL_TIME
        )

        if not decided:
            await workflow.execute_activity(
                notify_timeout, expense_id, start_to_close_timeout=timedelta(seconds=10)
            )
            return "timeout"
        if self.approved:
            await workflow.execute_activity(
                process_payment, expense_id, start_to_close_timeout=timedelta(minutes=5)
            )
            return "approved"
        await workflow.execute_activity(
            notify_rejection, expense_id, start_to_close_timeout=timedelta(seconds=10)
        )
        return "rejected"

    @workflow.signal
    def approve(self) -> None:
        """The manager agrees. A decision stands: what comes after it changes nothing."""
        self.approved = not self.rejected

    @workflow.signal
    def reject(self) -> None:
        """The manager refuses."""
        self.rejected = not self.approved

    @workflow.query
    def get_status(self) -> dict[str, bool]:
        """What was decided so far."""
        return {
            "approved": self.approved,
            "rejected": self.rejected,
            "pending": not (self.approved or self.rejected),
        }
