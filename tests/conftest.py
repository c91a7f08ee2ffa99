"""Before numpy is loaded: one thread a worker, since the workers share the cores."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
