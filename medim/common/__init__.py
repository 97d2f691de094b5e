"""What every package stands on: errors, files, locks, JSON, YAML, CSV, processes. Imports nothing of ours, and no torch."""
