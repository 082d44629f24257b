"""Models: a shop's customers as Pydantic models, with hooks, events, and writers that get in each other's way.

Shows required fields that a hook fills, events of the operations and around methods, a conflict that is noticed,
and one that is merged field by field.

    python examples/31_models_shop.py
"""

import asyncio
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from milepost import Event, StaleModelError, TrackedModel, TrackingManager
from milepost.subjects import after_save, after_write, before_create, before_delete, dispatch_model_event


class Customer(TrackedModel):
    _collection = "customers"

    name: str
    email: str = ""
    orders: int = 0
    last_seen: datetime | None = None
    number: int

    @before_create
    async def _give_number(self) -> None:
        self.number = await Customer.count() + 1  # required, and there before the model is stored

    @after_write
    async def _index(self) -> None:
        self._env.search.append(self.name)

    @before_delete
    async def _keep_those_with_orders(self) -> None:
        if self.orders:
            raise ValueError(f"{self.name} has orders")

    @after_save("customer.seen")
    async def seen(self) -> None:
        self.last_seen = datetime(2024, 2, 29, tzinfo=UTC)
        await super().save()


class Stock(TrackedModel):
    _on_conflict: ClassVar[Literal["error", "merge"]] = "merge"

    price: int = 0
    shelf: str = ""


async def main() -> None:
    search: list[str] = []
    async with TrackingManager() as manager:
        TrackedModel.bind(manager, {"search": search})

        @manager.bus.event_handler("customer.*")
        async def tell(event: Event) -> None:
            data: dict[str, Any] = event.data
            changed = ", ".join(data.get("changes", {})) or "nothing"
            print(f"  {event.type}: {data['name']}, number {data['number']}, changed {changed}")

        print("events:")
        ada = Customer(name="Ada", id="ada")  # type: ignore[call-arg]
        await ada.create()
        await ada.update(email="ada@example.com", orders=1)
        await ada.seen()
        await dispatch_model_event(manager.bus, Customer, "welcomed", data=ada)
        await manager.settle()

        found = await Customer.find_one(email="ada@example.com")
        assert found is not None
        print(f"found: {found.name}, a subject too: {(await manager.subject('customers:ada')).get('orders')} order")

        await found.update(name="Ada L.")
        await manager.settle()
        try:
            await ada.update(name="Countess")
        except StaleModelError as error:
            print(f"conflict: {error}")
        await ada.reload()
        try:
            await ada.delete()
        except ValueError as error:
            print(f"not deleted: {error}")

        tea = Stock(id="tea", price=3, shelf="A")
        await tea.create()
        other = await Stock.get("tea")
        assert other is not None
        await other.update(shelf="B")
        await tea.update(price=4)
        print(f"merged: price {tea.price}, shelf {tea.shelf}")
        print(f"indexed: {search}")


if __name__ == "__main__":
    asyncio.run(main())
