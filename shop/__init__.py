"""The shop's part of the tools around it: the demo, the live page's words, the bookkeeping."""
