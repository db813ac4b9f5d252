"""The three places where Ray does the work: ingest, fit, predict. Each is a stage function that also runs in one process."""
