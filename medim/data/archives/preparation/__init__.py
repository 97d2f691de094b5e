"""From an archive to a folder with `pairs.jsonl`: its listing, the pictures that are stored, and the whole."""
