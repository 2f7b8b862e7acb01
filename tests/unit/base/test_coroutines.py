import asyncio
import gc
import signal
import threading

import pytest

from nogps.base import coroutines

# Where asyncio's own handler is not there: while the loop is made, and while it is closed.
MOMENTS = [
    (asyncio.selector_events.BaseSelectorEventLoop, "_make_self_pipe"),
    (asyncio.BaseEventLoop, "shutdown_asyncgens"),
]


async def waiting() -> str:
    await asyncio.sleep(0.01)
    return "done"


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("owner", "name"), MOMENTS, ids=lambda each: str(each)[-22:])
def test_ctrl_c_at_the_edges_of_the_loop_leaves_no_traceback(monkeypatch, capfd, owner, name):
    method = getattr(owner, name)

    def interrupted(self):
        interrupt()
        return method(self)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        coroutines.run(waiting())
    gc.collect()
    assert "Traceback" not in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_cancels_what_goes_on_and_a_second_one_does_not_wait_for_it():
    ended = []

    async def slow(times: int) -> None:
        try:
            interrupt()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(times)
            if times == 2:
                interrupt()
            raise

    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            coroutines.run(slow(times))
    assert ended == [1, 2]


def test_what_runs_undisturbed_returns_and_so_it_does_in_a_thread_or_where_ctrl_c_is_ignored():
    found = [coroutines.run(waiting())]
    thread = threading.Thread(target=lambda: found.append(coroutines.run(waiting())))
    thread.start()
    thread.join()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found.append(coroutines.run(waiting()))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert found == ["done"] * 3
