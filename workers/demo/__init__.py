"""The small model of the first run, and the script that trained it."""
