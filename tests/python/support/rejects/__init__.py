"""The table of refusals, `tests/vectors/rejects.json`, tried over HTTP: see `test_rejects.py`."""
