"""Work that waits for a worker: claims, leases, and waking whoever waits."""
