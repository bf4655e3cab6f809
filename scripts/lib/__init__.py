"""Shared parts of the black-box checks: the service as a process, a small HTTP client, and a report
of counts."""
