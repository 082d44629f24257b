"""Every program in ``examples/`` runs as it stands, twice in a row, and prints what it promises."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from tests.examples.programs import EXAMPLES, module_of, output_of

PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py"))

Run = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a program twice in a row in one empty folder; the lines that both runs printed."""
    printed: dict[str, list[str]] = {}

    def lines_of(program: str) -> list[str]:
        if program not in printed:
            folder = tmp_path_factory.mktemp("elsewhere")
            first, second = (output_of(EXAMPLES / program, folder) for _ in range(2))
            assert first == second
            assert list(folder.iterdir()) == []
            printed[program] = first.splitlines()
        return printed[program]

    return lines_of


def after(lines: list[str], heading: str) -> list[str]:
    """Return the indented lines that follow a heading."""
    rest = lines[lines.index(heading) + 1 :]
    indented = next((i for i, line in enumerate(rest) if not line.startswith("  ")), len(rest))
    return [line.strip() for line in rest[:indented]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_runs_twice_in_a_row(program: str, run: Run) -> None:
    """Both runs succeed from any folder, print the same, complain of nothing and leave no file behind."""
    assert run(program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_says_how_to_run_it(program: str) -> None:
    """The first thing in a program is what it shows and the command that runs it."""
    docstring = ast.get_docstring(ast.parse((EXAMPLES / program).read_text("utf-8")))
    assert docstring is not None
    assert f"    python examples/{program}" in docstring


@pytest.mark.parametrize("program", PROGRAMS)
def test_uses_public_names_only(program: str) -> None:
    """What a newcomer copies comes from ``milepost``, ``.subjects``, ``.testing``, or is what joins an outside tool."""
    imported: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse((EXAMPLES / program).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {(node.module or "", alias.name) for alias in node.names}
    ours = {(module, name) for module, name in imported if module.split(".")[0] == "milepost"}
    assert ours
    for module, name in ours:
        door = module in ("milepost", "milepost.subjects") or module.startswith("milepost.integrations.")
        assert module == "milepost.testing" or (door and name in import_module(module).__all__), (module, name)


def test_user_activity_announces_every_milestone_with_its_own_target(run: Run) -> None:
    """Users that share the list objects are announced each stage they finish, with progress and target of it."""
    lines = run("01_user_activity.py")
    assert after(lines, "milestones:") == [
        "alice: 10 of 10 reached",
        "alice: 50 of 50 reached",
        "alice: 100 of 100 reached",
        "alice: 500 of 500 reached",
        "alice: 1000 of 1000 reached, all done!",
        "bob: 10 of 10 reached",
        "bob: 50 of 50 reached",
        "bob: 100 of 100 reached",
        "carol: 10 of 10 reached",
    ]


def test_user_activity_leaves_the_shared_lists_alone(run: Run) -> None:
    """Each user heads for a target of their own, and the list that they share is what it was."""
    lines = run("01_user_activity.py")
    assert after(lines, "where everybody stands:") == [
        "alice: progress 1000, target 1000, completed True",
        "bob: progress 180, target 500, completed False",
        "carol: progress 15, target 50, completed False",
    ]
    assert lines[-1] == "the shared list is still [10, 50, 100, 500, 1000]"


def test_rate_limiter_stops_at_the_hundredth_request_and_reopens(run: Run) -> None:
    """The hundredth of 105 requests counts and limits; the caller's own limiter shows what remains."""
    assert run("02_rate_limiter.py") == [
        "api_key_001 is limited at request 100",
        "100 served, 5 refused, 0 remaining, limited: True",
        "a refused request is no error: ok=True dirtied=[] completed=[] "
        "limited=[<CountTracker 'requests' progress=100/1000 limited>]",
        "after the reset: 100 remaining, limited: False",
        "one request later: 99 remaining",
    ]


def test_order_processing_counts_three_orders_and_their_revenue(run: Run) -> None:
    """Of five orders three are completed; their amounts, at the key that is the default, make 545.5."""
    lines = run("03_order_processing.py")
    assert lines == [
        "order 1 completed: completed_orders 1, revenue 150.0",
        "order 2 pending: moves nothing",
        "order 3 completed: completed_orders 2, revenue 225.5",
        "order 4 completed: completed_orders 3, revenue 545.5",
        "order 5 cancelled: moves nothing",
        "completed orders: 3 of 100",
        "revenue: 545.5 of 10000",
    ]
    revenue = next(node for node in calls_in("03_order_processing.py") if name_of(node) == "AccumulationTracker")
    assert "key" not in {keyword.arg for keyword in revenue.keywords}


def test_campaign_analytics_counts_clicks_conversions_and_revenue(run: Run) -> None:
    """A conversion needs both of its conditions; one large order passes two targets, announced in order."""
    lines = run("04_campaign_analytics.py")
    assert after(lines, "milestones:") == [
        "clicks passed 10, now at 10",
        "revenue passed 50, now at 120.0",
        "revenue passed 100, now at 120.0",
        "conversions passed 3, now at 3",
    ]
    assert after(lines, "the campaign:") == [
        "clicks: 12 of 100, stage 2",
        "conversions: 3 of 25, stage 2",
        "revenue: 268.99 of 1000, stage 3",
    ]


def test_campaign_analytics_explains_which_condition_says_no(run: Run) -> None:
    """``explain`` names, for each tracker, the condition that a purchase without an order fails."""
    assert after(run("04_campaign_analytics.py"), "why does a purchase without an order count nowhere?") == [
        "clicks: KeyValueEQ(key='event', value='click') does not hold",
        "conversions: KeyExists(key='order.id') does not hold",
        "revenue: KeyValueGT(key='order.total', value=0) does not hold",
    ]


def test_session_monitoring_refuses_one_call_and_opens_again(run: Run) -> None:
    """Of 70 calls, 1.001 s apart, the first beyond the minute is refused; a reset lets the others through."""
    assert run("05_session_monitoring.py") == [
        "session_001 timed out 60.06 s after it was opened",
        "it was opened again for another minute",
        "69 allowed, 1 blocked in 70.07 s",
    ]


def test_custom_rules_survive_restarts_with_their_state(run: Run) -> None:
    """After a restart the condition still refuses what it refused, and the limiter has what it had left."""
    lines = run("06_custom_rules.py")
    assert after(lines, "first run:") == [
        "30 at 10:00: counted",
        "500 at 23:00: not within hours",
        "45 at 12:00: counted",
        "spent 75, 25 remaining of 100",
    ]
    assert after(lines, "after a restart:") == [
        "spent 75, 25 remaining of 100",
        "500 at 23:00: not within hours",
        "25 at 11:00: counted",
        "10 at 11:00: refused",
    ]


def test_custom_limiter_resets_with_a_value_of_its_own(run: Run) -> None:
    """A limiter that was limited before a restart still is, until ``reset_value`` opens it with a new budget."""
    assert after(run("06_custom_rules.py"), "after another restart:") == [
        "10 at 14:00: refused",
        "spent 100, 0 remaining of 100",
        "10 at 14:00: counted",
        "spent 110, 40 remaining of 100",
    ]


def test_custom_rules_are_plain_classes() -> None:
    """The condition's ``__init__`` calls no ``super().__init__()``, the limiter's does; both are accepted."""
    tree = ast.parse((EXAMPLES / "06_custom_rules.py").read_text("utf-8"))
    polite = {
        cls.name: any(name_of(call) == "super" for call in ast.walk(method) if isinstance(call, ast.Call))
        for cls in tree.body
        if isinstance(cls, ast.ClassDef)
        for method in cls.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
    }
    assert polite == {"PlacedBetween": False, "BudgetLimiter": True}


def test_declared_goals_hold_for_every_user_and_are_stored_for_those_who_moved(run: Run) -> None:
    """All users have the goals, also one never seen before; only users who moved have rows."""
    lines = run("07_declared_goals.py")
    assert after(lines, "what happens:") == [
        "user:ada reached 'first lesson'",
        "user:ben reached 'first lesson'",
        "user:ada reached 'minutes'",
    ]
    assert after(lines, "where they stand:") == [
        "user:ada: first lesson 1/1, lessons 2/5, minutes 65/60",
        "user:ben: first lesson 1/1, lessons 1/5, minutes 10/60",
        "user:cleo: first lesson 0/1, lessons 0/5, minutes 0/60",
        "user:somebody-new: first lesson 0/1, lessons 0/5, minutes 0/60",
    ]
    assert lines[-1] == "stored: user:ada, user:ben"


def test_web_app_counts_an_order_once_and_keeps_the_quota(run: Run) -> None:
    """An order sent twice is known and counts once; beyond the quota customers get a 429, each their own."""
    assert run("08_web_app.py") == [
        "POST /orders/ada {'id': 'order-1', 'total': 60}: 200 {\"known\": false, \"spent\": 60}",
        "  (a voucher for customer:ada: 100 spent)",
        "POST /orders/ada {'id': 'order-2', 'total': 70}: 200 {\"known\": false, \"spent\": 130}",
        "POST /orders/ada {'id': 'order-2', 'total': 70}: 200 {\"known\": true, \"spent\": 130}",
        "  (the quota of client:ada is used up)",
        "POST /orders/ada {'id': 'order-3', 'total': 5}: 200 {\"known\": false, \"spent\": 135}",
        "POST /orders/ada {'id': 'order-4', 'total': 5}: 429 {\"error\": \"too many requests\"}",
        "POST /orders/ben {'id': 'order-5', 'total': 12}: 200 {\"known\": false, \"spent\": 12}",
    ]


async def test_web_app_starts_and_closes_the_manager_with_the_server() -> None:
    """Between a server's startup and shutdown messages the manager is open, afterwards it is closed."""
    web_app = module_of("08_web_app.py")
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    serving = asyncio.create_task(web_app.app({"type": "lifespan"}, messages.get, answers.put))

    await messages.put({"type": "lifespan.startup"})
    assert await answers.get() == {"type": "lifespan.startup.complete"}
    assert web_app.manager.status().started
    assert not web_app.manager.status().closed

    await messages.put({"type": "lifespan.shutdown"})
    assert await answers.get() == {"type": "lifespan.shutdown.complete"}
    assert web_app.manager.status().closed
    await serving


def test_worker_takes_every_milestone_from_its_queue(run: Run) -> None:
    """The worker gets each milestone once, in order, also those that still wait when the manager closes."""
    assert run("09_worker.py") == [
        "everybody has arrived, 5 letters to send:",
        "  dear runner:ada, you have run 10 km, keep going!",
        "  dear runner:ada, you have run 21 km, keep going!",
        "  dear runner:ada, you have run 42 km, that was your last goal!",
        "  dear runner:ben, you have run 10 km, keep going!",
        "  dear runner:ben, you have run 21 km, keep going!",
        "5 letters sent, 0 dropped",
    ]


def test_tracked_containers_know_who_changed_what_and_take_it_back(run: Run) -> None:
    """Changes are told with actor and path, a failed batch leaves no trace, and an undo is a change too."""
    lines = run("10_tracked_containers.py")
    assert after(lines, "what happens:") == [
        "ada add ('lines', 0): None -> {'item': 'cups', 'count': 4}",
        "ada update ('lines', 1, 'count'): 1 -> 2",
        "ada update ('card',): '***' -> '***'",
        "ada update ('status',): 'new' -> 'paid'",
    ]
    assert after(lines, "all or nothing:") == ["there are no such cups: the order is paid, with 4 cups"]
    assert after(lines, "taken back:") == ["ada undo ('status',): 'paid' -> 'new'"]
    assert after(lines, "milestones:") == ["actor:ada has made 2 status changes", "next at 10"]
    assert after(lines, "since the beginning:") == [
        '{"op": "replace", "path": "/lines/0/item", "value": "cups"}',
        '{"op": "replace", "path": "/lines/0/count", "value": 4}',
        '{"op": "add", "path": "/lines/1", "value": {"item": "tea", "count": 2}}',
    ]


def test_order_cascade_shows_the_way_of_an_order_and_a_failing_payment(run: Run) -> None:
    """An order causes what follows it; a payment that fails is retried, kept, and goes on when it is run again."""
    lines = run("11_order_cascade.py")
    begin = lines.index("what it caused:")
    assert lines[begin + 1 : begin + 5] == [
        "order.submitted of order:1",
        "  order.validated of order:1",
        "    order.paid of order:1",
        "      order.shipped of order:1",
    ]
    assert "failed: order.validated of order:2, 3 attempts, ConnectionError: the bank does not answer" in lines
    assert after(lines, "the bank is back:") == [
        "order:2: order.validated, attempt 4",
        "order:2: order.paid, attempt 1",
    ]
    assert lines[-1] == "failed deliveries left: 0"


def test_no_infinite_loop_ends_three_ways(run: Run) -> None:
    """Looking first and filtering end a loop quietly; where nobody thought of it the chain is named."""
    assert run("12_no_infinite_loop.py") == [
        "look first: 5 runs, room:1 has 22.0 degrees",
        "filter: 1 run, prices [1.2345, 1.2]",
        "nobody thought of it: 7 runs, then",
        "  CascadeLimit: a chain of events is longer than 6: "
        "ping -> pong -> ping -> pong -> ping -> pong -> ping -> pong",
    ]


def test_circuit_breaker_lets_events_wait_and_loses_none(run: Run) -> None:
    """While the circuit is open nothing is tried; afterwards everything that waited is done, and what had failed."""
    lines = run("13_circuit_breaker.py")
    assert after(lines, "the service is down:") == ["sending mail 1", "sending mail 2"]
    assert "circuit open: True, waiting: 3" in lines
    heading = "the service is up again, a minute later:"
    assert after(lines, heading) == ["sending mail 3", "sending mail 4", "sending mail 5"]
    assert lines[-1] == "failed deliveries left: 0"


def test_dead_letters_are_heard_of_and_removed(run: Run) -> None:
    """What fails for good is announced, kept with its reason, and can be removed."""
    lines = run("14_dead_letters.py")
    assert "  dead letter: number.received {'text': 'a dozen'} after 2 attempts" in lines
    assert lines[-2:] == [
        "kept: ValueError: invalid literal for int() with base 10: 'a dozen'",
        "failed deliveries left: 0",
    ]


def test_shared_work_survives_a_killed_process(run: Run) -> None:
    """With one of three processes killed every job is done, none is written twice, each customer's are in order."""
    assert run("15_shared_work.py") == [
        "120 jobs for 6 customers, 3 processes",
        "one process was killed",
        "invoices written: 120, twice: 0",
        "customers whose invoices are in order: 6 of 6",
        "each got: 20",
    ]


def test_workers_share_groups_and_lose_nothing_when_one_dies(run: Run) -> None:
    """Four processes count 1,200 visits exactly, although one died and its share was tracked twice; the store too."""
    lines = run("20_shared_by_workers.py")
    pages = ("page:home", "page:news", "page:help")
    assert after(lines, "4 workers track 300 visits each, and one of them dies half way:") == [
        f"{page}: more than the shares of the others: True" for page in pages
    ]
    assert after(lines, "its share is tracked once more, from the first visit on:") == [
        f"{page}: 400 visits, next milestone 1000" for page in pages
    ]
    assert "milestones announced by more than one process: 0" in lines
    assert after(lines, "the store alone, without Redis:") == [f"{page}: 400 visits" for page in sorted(pages)]


def test_orders_come_over_nats_and_milestones_go_back(run: Run) -> None:
    """An order that is sent twice counts once, a broken one is set aside, and the mailer hears of each milestone."""
    assert run("21_orders_over_nats.py") == [
        "ann: orders 3, spent 100",
        "bob: orders 2, spent 10",
        "the mailer heard:",
        "  customer:ann: orders 3 (tracker.stage_completed)",
        "  customer:ann: spent 100 (tracker.all_completed)",
        "set aside:",
        "  ValueError: the body of a message must be a JSON object or a CloudEvent, got list",
    ]


def test_the_thermostat_reacts_to_what_really_changed(run: Run) -> None:
    """The same temperature again is no change, a broken sensor changes nothing, and no visit is lost."""
    lines = run("30_subjects_thermostat.py")
    assert after(lines, "readings:") == [
        "kitchen: None -> 18.5",
        "kitchen: heating on",
        "kitchen: 18.5 -> 22.0",
        "kitchen: heating off",
        "kitchen: 22.0 -> 20.5",
        "kitchen: heating on",
    ]
    assert "'readings': 4" in lines[-3]
    assert "'visits': 20" in lines[-3]
    assert lines[-1] == "failed: ValueError: no room is that hot"


def test_the_shop_notices_who_comes_late(run: Run) -> None:
    """Operations and methods are told once each, in order; a conflict is noticed, or merged where that is wanted."""
    lines = run("31_models_shop.py")
    assert after(lines, "events:") == [
        "customer.created: Ada, number 1, changed nothing",
        "customer.updated: Ada, number 1, changed email, orders",
        "customer.updated: Ada, number 1, changed last_seen",
        "customer.seen: Ada, number 1, changed nothing",
        "customer.welcomed: Ada, number 1, changed nothing",
    ]
    assert "conflict: the Customer with the id 'ada' was stored by somebody else since it was loaded" in lines
    assert "not deleted: Ada L. has orders" in lines
    assert "merged: price 4, shelf B" in lines


def test_the_checklist_watches_the_model(run: Run) -> None:
    """Each item is done once, whatever comes again; who has done all gets the badge, and only that is counted."""
    lines = run("32_onboarding_checklist.py")
    assert after(lines, "checklist:") == [
        "user:ada: sign up, done",
        "user:bob: sign up, done",
        "user:ada: verify the address, done",
        "user:ada: choose a picture, done",
    ]
    assert lines[-3:] == [
        "Ada: 3 of 3, left [], badges ['onboarded']",
        "Bob: 1 of 3, left ['verify the address', 'choose a picture'], badges []",
        "badges given by the checklist: 1",
    ]


def test_changes_by_actor_count_each_change_once(run: Run) -> None:
    """Status changes alone, by whom they were made, also in another thread; the tenth is announced."""
    lines = run("33_changes_by_actor.py")
    assert after(lines, "a day at the help desk:") == ["ada has made ten status changes today"]
    assert lines[-2:] == ["ada: 10 of 10", "bot: 6 of 10"]


def calls_in(program: str) -> list[ast.Call]:
    """Return every call that is written in a program."""
    tree = ast.parse((EXAMPLES / program).read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str | None:
    """Return the name of the function or class that is called, where it is a plain name."""
    return call.func.id if isinstance(call.func, ast.Name) else None
