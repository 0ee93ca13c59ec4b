"""A module as ``--import`` finds it: definitions of its own, borrowed ones, and an App."""

import abc

from unit.authoring.seed_workflows import Onboarding, send_mail

from perdure import activity, workflow
from perdure.authoring.app import App


@workflow.defn(name="Shop")
class ShopInterface(abc.ABC):
    @workflow.run
    @abc.abstractmethod
    async def run(self, item: str) -> str: ...


@workflow.defn(name="Shop")
class Shop(ShopInterface):
    @workflow.run
    async def run(self, item: str) -> str:
        return item


@activity.defn
def pack(item: str) -> str:
    return item


same_pack = pack


class Desk:
    @activity.defn
    def sell(self, item: str) -> str:
        return item


@activity.defn
class Stamp:
    def __call__(self, item: str) -> str:
        return item


desk = Desk()
sell = desk.sell
stamp = Stamp()
app = App(workflows=[Shop, Onboarding], activities=[pack, send_mail, desk.sell])
unmarked = [Onboarding, send_mail]
