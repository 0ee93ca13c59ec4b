"""App: what a worker can run, how modules are searched, and how mistakes are named."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from unit.authoring import app_modules as shop
from unit.authoring import seed_workflows as seeds

from perdure import activity, workflow
from perdure.authoring.app import App
from perdure.exceptions import NotRegisteredError


@workflow.defn(name="OrderSaga")
class Impostor:
    @workflow.run
    async def run(self) -> None: ...


@activity.defn(name="charge")
def impostor() -> None: ...


def bare() -> None: ...


class Bare:
    pass


def test_lookup_by_name() -> None:
    app = App(workflows=[seeds.OrderSaga], activities=[seeds.charge, shop.desk.sell])
    assert app.workflow("OrderSaga").cls is seeds.OrderSaga
    assert app.activity("charge").function is seeds.charge
    assert app.activity("sell").function("tea") == "tea"
    assert app.workflow_names == ("OrderSaga",)
    assert app.activity_names == ("charge", "sell")
    assert "OrderSaga" in app.workflows
    assert "nothing" not in app.activities
    assert repr(app) == "App(workflows=('OrderSaga',), activities=('charge', 'sell'))"


def test_unknown_names_come_with_the_nearest() -> None:
    app = App(workflows=[seeds.OrderSaga], activities=[seeds.charge])
    with pytest.raises(
        NotRegisteredError,
        match=r"workflow 'ordersage' is not registered.*Did you mean 'OrderSaga'\? "
        r"Registered: OrderSaga\.",
    ) as unknown:
        app.workflow("ordersage")
    assert unknown.value.name == "ordersage"
    with pytest.raises(NotRegisteredError, match=r"activity 'x' is not registered[^?]*: charge"):
        app.activity("x")
    with pytest.raises(NotRegisteredError, match=r"Registered: none\."):
        App().activity("x")
    assert app.nearest("charg") == ("charge",)
    assert app.nearest("charg", kind="workflow") == ()
    assert app.nearest("OrderSagas", kind="workflow") == ("OrderSaga",)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: App(workflows=[seeds.OrderSaga, Impostor]),
            ValueError,
            r"two workflow definitions are named 'OrderSaga': .*seed_workflows\.OrderSaga and "
            r".*test_app\.Impostor",
        ),
        (
            lambda: App(activities=[seeds.charge, impostor]),
            ValueError,
            r"two activity definitions are named 'charge': .*seed_workflows\.charge and .*impostor; "
            r"leave one out or give it another name with @activity\.defn",
        ),
        (lambda: App(workflows=[seeds.OrderSaga] * 2), ValueError, "two workflow definitions"),
        (lambda: App(workflows=[Bare]), TypeError, r"Bare is not a workflow.*@workflow\.defn"),
        (lambda: App(workflows=[cast("Any", Impostor())]), TypeError, "give the workflow's class"),
        (lambda: App(workflows=[shop.ShopInterface]), TypeError, "ShopInterface is abstract"),
        (lambda: App(activities=[bare]), TypeError, r"bare missing attributes.*@activity\.defn"),
        (lambda: App(activities=[cast("Any", "charge")]), TypeError, "which cannot be called"),
        (lambda: App(activities=[shop.Stamp]), TypeError, "Stamp is a class; register an instance"),
    ],
)
def test_mistakes_are_named(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_a_module_gives_what_it_defines_itself() -> None:
    app = App.from_modules([shop.__name__])
    assert app.workflow_names == ("Shop",)
    assert app.activity_names == ("Stamp", "pack", "sell")
    assert app.activity("Stamp").function is shop.stamp


def test_an_app_in_a_module_is_taken_as_it_is() -> None:
    app = App.from_modules([f"{shop.__name__}:app"])
    assert app.workflow_names == ("Onboarding", "Shop")
    assert app.activity_names == ("pack", "sell", "send_mail")


def test_what_modules_share_counts_once() -> None:
    app = App.from_modules([shop.__name__, f"{shop.__name__}:app", seeds.__name__])
    assert {"Shop", "Onboarding", "OrderSaga"} <= set(app.workflow_names)
    assert App.from_modules([]).workflow_names == ()


@pytest.mark.parametrize(
    ("specs", "error", "text"),
    [
        (
            [f"{shop.__name__}:missing"],
            ValueError,
            "missing must be a perdure App, but there is no",
        ),
        ([f"{shop.__name__}:desk"], ValueError, "desk must be a perdure App, but it is Desk"),
        ([f"{shop.__name__}:"], ValueError, "write package.module or package.module:app"),
        ([":app"], ValueError, "write package.module"),
        (
            ["no_such_module"],
            ModuleNotFoundError,
            "no module 'no_such_module'. Run from the directory",
        ),
        (["unit.authoring.no_such"], ModuleNotFoundError, "cannot import 'unit.authoring.no_such'"),
        (["json"], ValueError, "module json defines no workflow and no activity"),
        ([__name__, seeds.__name__], ValueError, "two workflow definitions are named 'OrderSaga'"),
    ],
)
def test_bad_imports(specs: list[str], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        App.from_modules(specs)


def test_a_module_that_fails_inside_keeps_its_own_error(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_inside_app.py").write_text("import surely_not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'surely_not") as failure:
        App.from_modules(["broken_inside_app"])
    assert failure.value.__cause__ is None
