"""What the black-box checks share: the service as a process, a small HTTP client, and a report of counts."""
