import sys
from pathlib import Path

# Tests are imported by path: this makes `corpus` known to those beside it and below.
sys.path.insert(0, str(Path(__file__).parent))
