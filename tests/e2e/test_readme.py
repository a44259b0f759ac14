"""The calls that the README tells a newcomer to make, made as they stand there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.e2e.shopper import Shopper, new_address

README = Path(__file__).parents[2] / "README.md"


def test_the_three_calls_of_the_readme_are_answered_201(shopper: Shopper) -> None:
    """Only the address of the shop, the e-mail address and USER_ID are filled in."""
    commands = re.findall(r"^curl (?:.*\\\n)*.*$", README.read_text("utf-8"), re.MULTILINE)
    user_id = "USER_ID"
    answers = []
    for command in commands:
        words = shlex.split(command.replace("USER_ID", user_id).replace("ann@example.com", new_address()))
        url = next(word for word in words if word.startswith("localhost:8000"))
        name, _, value = words[words.index("-H") + 1].partition(": ")
        body = words[words.index("-d") + 1]
        path = url.removeprefix("localhost:8000")
        answers.append(shopper.http.post(path, content=body, headers={name: value}))
        user_id = str(answers[0].json()["user_id"])
        json.loads(body)

    assert [201, 201, 201] == [answer.status_code for answer in answers]
    assert "OrderPaid" == shopper.final(answers[-1].json()["order_id"])


def test_the_demo_drives_a_shop_that_runs(shopper: Shopper) -> None:
    """As it would drive the containers: only the addresses are other ones."""
    assert "./sidecart demo --url http://127.0.0.1:8000" in README.read_text("utf-8")
    words = [sys.executable, "sidecart", "demo", "--url", shopper.shop.url, "--mail-url", shopper.shop.mail_url]
    done = subprocess.run(words, cwd=README.parent, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.endswith("demo passed: every answer, both mails, and every final state\n")
