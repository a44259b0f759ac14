"""The packages that this project depends on: bills of materials, licenses, vulnerabilities."""
