"""Coroutines: run until Ctrl-C, and ended with what they serve."""

import asyncio
import signal
from collections.abc import Collection, Coroutine
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns; Ctrl-C cancels it, then comes out as KeyboardInterrupt.

    asyncio.run sees to that only between making its loop and closing it, so that a Ctrl-C before
    or after leaves tracebacks of a half-made loop. A second one interrupts whatever goes on.
    """
    task: asyncio.Task | None = None
    stopped = False

    async def unless_stopped() -> T:
        nonlocal task
        task = asyncio.current_task()
        if stopped:
            coroutine.close()
            raise asyncio.CancelledError
        return await coroutine

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        if task and not task.done():
            task.get_loop().call_soon_threadsafe(task.cancel)

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if current_thread() is not main_thread() or not ours:
        return asyncio.run(coroutine)
    signal.signal(signal.SIGINT, stop)
    try:
        result = asyncio.run(unless_stopped())
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if stopped:
        raise KeyboardInterrupt
    return result


async def end(tasks: Collection[asyncio.Future]) -> None:
    """Cancel what is still under way, and wait until it has ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
