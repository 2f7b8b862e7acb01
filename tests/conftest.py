import os
import signal

from hypothesis import HealthCheck, settings

# Tests run side by side, one core each; torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell ignores it for what it starts in the background, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test depends on the clock.
settings.register_profile("nogps", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nogps")

pytest_plugins = ["tests.stages"]  # fixture finished
