"""Makes `sampler_models.py` importable for the tests beside it, under pytest's importlib mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
