"""A worker process, as it last told of itself."""

import socket

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Worker(models.Model):
    """One process that runs jobs. What it is doing is the running `Job` of its name."""

    name = models.CharField(
        max_length=200, unique=True, help_text="HOST:PID, the same as in `Job.worker`."
    )
    queues = ArrayField(models.CharField(max_length=50))
    device = models.CharField(
        max_length=100, help_text="Where it computes, as torch or the processor names it."
    )
    version = models.CharField(max_length=50)
    memory = models.BigIntegerField(help_text="Bytes of memory that its machine has.")
    memory_free = models.BigIntegerField(help_text="Of those, what a process could still take.")
    memory_own = models.BigIntegerField(help_text="What this process holds.")
    device_memory = models.BigIntegerField(null=True, help_text="Bytes of memory that its GPU has.")
    device_memory_free = models.BigIntegerField(null=True)
    started = models.DateTimeField()
    seen = models.DateTimeField(help_text="When it last told of itself.")
    left = models.DateTimeField(null=True, help_text="When it stopped in good order.")

    class Meta:
        ordering = ["name"]

    @property
    def pid(self) -> int:
        """The number of the process on its machine."""
        return int(self.name.rpartition(":")[2])

    @property
    def here(self) -> bool:
        """Whether its machine is this one."""
        return self.name.rpartition(":")[0] == socket.gethostname()

    def __str__(self) -> str:
        return self.name
