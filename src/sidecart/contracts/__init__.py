"""The contracts of a project: their examples, their releases, and the changes between releases."""
