import os

# Tests run side by side, one core each; torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
