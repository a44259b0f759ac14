"""A program in place of an interpreter with pip-audit: it records what is asked, and answers."""

TEXT = """\
#!/bin/sh
for word; do lock=$word; done
grep -c == "$lock" >>{folder}/asked
cat {folder}/answer
echo "requests.exceptions.ConnectionError: no route" >&2
exit {code}
"""
