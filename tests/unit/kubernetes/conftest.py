"""Tests of the manifests; those that need kubectl run where it is installed."""

from __future__ import annotations

import shutil

collect_ignore = [] if shutil.which("kubectl") else ["test_kustomize.py"]
