#!/bin/sh
# Have a Chromium for the browser tests, where this machine lets us install one; they are skipped aloud without.
set -eu
if command -v chromium >/dev/null 2>&1 || [ -n "${CHROMIUM:-}" ]; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Chromium for the browser tests …"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } >/dev/null &&
        exit 0
fi
echo "No Chromium here: the browser tests will be SKIPPED. Install it, or name one in CHROMIUM." >&2
