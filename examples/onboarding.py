"""A workflow that sleeps for three days between two mails.

The sleep is a timer in the log, not a process that waits: everything may be switched off and on
again meanwhile, and the second mail still goes out on time.

Try it (in the directory ``examples``) with a pause of five seconds, the second argument::

    perdure dev --import onboarding

and in another terminal::

    nats pub perdure.default.start.OnboardingWorkflow '{"id": "welcome-ada", "input": ["ada", 5]}'
    perdure result welcome-ada

Stop ``perdure dev`` during the pause and start it again: the timer is where it was.
"""

from datetime import timedelta

from side_effects import perform

from perdure import activity, workflow

THREE_DAYS = timedelta(days=3).total_seconds()


@activity.defn
def send_email(address: str, subject: str, body: str) -> str:
    """Send one mail."""
    perform(f"{address}: {subject}")
    return "email_sent"


@workflow.defn
class OnboardingWorkflow:
    @workflow.run
    async def run(self, user_id: str, pause_seconds: float = THREE_DAYS) -> str:
        address = f"{user_id}@example.com"
        await workflow.execute_activity(
            send_email,
            args=[address, "Welcome!", f"Hello {user_id}, good to have you."],
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=workflow.RetryPolicy(maximum_attempts=3, backoff_coefficient=2.0),
        )

        await workflow.sleep(timedelta(seconds=pause_seconds))

        await workflow.execute_activity(
            send_email,
            args=[address, "How is it going?", "Tell us what you miss."],
            start_to_close_timeout=timedelta(seconds=30),
        )
        return f"Onboarding complete for {user_id}"
