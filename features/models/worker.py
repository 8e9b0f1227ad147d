"""Worker processes."""

import socket

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Worker(models.Model):
    """A worker process, as of its last report. Its current job is the running `Job` of its name."""

    name = models.CharField(
        max_length=200, unique=True, help_text="HOST:PID, the same as in `Job.worker`."
    )
    queues = ArrayField(models.CharField(max_length=50))
    device = models.CharField(
        max_length=100, help_text="Name of its device, from torch or the CPU."
    )
    version = models.CharField(max_length=50)
    memory = models.BigIntegerField(help_text="Memory of its machine in bytes.")
    memory_free = models.BigIntegerField(help_text="Available memory in bytes.")
    memory_own = models.BigIntegerField(help_text="Memory of this process in bytes.")
    device_memory = models.BigIntegerField(null=True, help_text="Memory of its GPU in bytes.")
    device_memory_free = models.BigIntegerField(null=True)
    started = models.DateTimeField()
    seen = models.DateTimeField(help_text="Time of its last report.")
    left = models.DateTimeField(null=True, help_text="Time of a regular exit.")

    class Meta:
        ordering = ["name"]

    @property
    def pid(self) -> int:
        """Process id on its machine."""
        return int(self.name.rpartition(":")[2])

    @property
    def here(self) -> bool:
        """Whether it runs on this machine."""
        return self.name.rpartition(":")[0] == socket.gethostname()

    def __str__(self) -> str:
        return self.name
