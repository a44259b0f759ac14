"""Twenty thousand requests generated from the OpenAPI document: every response is one that the
document announces.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from sidecart.launcher.dead_letters import find_dead_letters
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.project import root
from sidecart.launcher.running_state import RunningState

REQUESTS_MIN = 20_000
EXAMPLES = 2_300  # per operation; together with the other phases more than REQUESTS_MIN
SECONDS_MAX = 2_400
CHECKS_LEFT_OUT = "positive_data_acceptance"
"""JSON Schema accepts 5.0 as an integer; the gateway rejects it, because amounts of money must
never be floats.
"""


def test_every_answer_is_one_that_the_openapi_document_announces(tmp_path: Path) -> None:
    """Without 5xx, undocumented status or media type, body outside its schema, or dead letter."""
    with System(Options("redis", folder=tmp_path / "shop"), print) as shop:
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{shop.url}/openapi.json"),
                *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--workers", "2"),
                *("--exclude-checks", CHECKS_LEFT_OUT, "--suppress-health-check", "all"),
                *("--header", "Prefer: wait=30", "--seed", "1", "--continue-on-failure", "--no-color"),
            ],
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.full.schemathesis_hooks", "PYTHONPATH": str(root())},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        found = list(find_dead_letters(RunningState(shop.ports, shop.tokens)))

    generated = re.search(r"(\d+) generated", done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert generated is not None
    print(f"schemathesis: {generated.group(1)} requests")
    assert int(generated.group(1)) >= REQUESTS_MIN
    assert [] == found
