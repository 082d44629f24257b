"""An onboarding checklist that watches a model: its events drive trackers, and what they reach changes a subject.

Each item of the checklist is a tracker that is declared once for all users. Events of the model feed them; when
all is done, a badge is noted in the user's profile. The same could be counted by who made the changes.

    python examples/32_onboarding_checklist.py
"""

import asyncio

from milepost import (
    SUBJECT_PROPERTY_CHANGED,
    CountTracker,
    Event,
    EventContext,
    KeyExists,
    TrackedModel,
    TrackingManager,
    where,
)

manager = TrackingManager()


class User(TrackedModel):
    name: str
    email: str = ""
    verified: bool = False
    avatar: str = ""


CHECKLIST = {
    "sign up": where("type") == "user.created",
    "verify the address": where("changes.verified.new") == True,  # noqa: E712
    "choose a picture": KeyExists(key="changes.avatar"),
}


def what_happened(event: Event) -> dict[str, object]:
    return {"type": event.type, **event.data}


manager.declare(
    "user:*",
    *(CountTracker(name=item, target=1, conditions=[condition]) for item, condition in CHECKLIST.items()),
    CountTracker(name="onboarded", target=len(CHECKLIST), conditions=[where("type") == "item.done"]),
)
manager.feed("user.*", data=what_happened)


@manager.bus.on("tracker.all_completed")
async def item_done(ctx: EventContext) -> None:
    item = ctx.payload["name"]
    if item in CHECKLIST:
        print(f"  {ctx.payload['group_id']}: {item}, done")
        await manager.track(ctx.payload["group_id"], {"type": "item.done"}, event_id=ctx.event_id)
    elif item == "onboarded":
        async with await manager.subject(f"profile of {ctx.payload['group_id']}") as profile:
            profile.set("badges", lambda badges: [*badges, "onboarded"], default=[], extra={"actor": "checklist"})


# State changes are events like all others: "this many changes by this actor" is a tracker too.
manager.declare("actor:*", CountTracker(name="badges given", target=10))
manager.feed(SUBJECT_PROPERTY_CHANGED, group=lambda event: f"actor:{event.metadata['actor']}")


async def main() -> None:
    async with manager:
        TrackedModel.bind(manager)
        print("checklist:")
        ada, bob = User(id="ada", name="Ada"), User(id="bob", name="Bob")
        for user in (ada, bob):
            await user.create()
            await user.update(email=f"{user.id}@example.com")
            await manager.settle()
        await ada.update(verified=True)
        await ada.update(avatar="ada.png")
        await ada.update(avatar="countess.png")
        await manager.settle()

        for user in (ada, bob):
            trackers = {tracker.name: tracker for tracker in await manager.get_trackers(f"user:{user.id}")}
            left = [item for item in CHECKLIST if not trackers[item].completed]
            badges = (await manager.subject(f"profile of user:{user.id}")).get("badges", [])
            print(f"{user.name}: {trackers['onboarded'].progress} of {len(CHECKLIST)}, left {left}, badges {badges}")
        given = await manager.get_tracker("actor:checklist", "badges given")
        print(f"badges given by the checklist: {0 if given is None else given.progress}")


if __name__ == "__main__":
    asyncio.run(main())
