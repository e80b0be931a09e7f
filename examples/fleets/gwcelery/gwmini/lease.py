"""Eternal tasks whose lock ends with the process that holds it.

The lock of celery-singleton is deleted by the worker when the task ends. A worker that is killed deletes nothing, and
its task is never started again. So the lock here is a lease: it ends by itself, unless the running task renews it.
"""

import os

from celery_eternal import EternalProcessTask, EternalTask

SECONDS = 5


class Lease:
    lock_expiry = SECONDS

    def start(self) -> bool:
        """Whether this run may go on: it holds the lease, or takes it where it has ended while the task was queued."""
        self.parent = os.getppid()
        self.lock = self.generate_lock(self.name)
        return self.renew()

    def renew(self) -> bool:
        """Keeps the lease. False when another run has it, as after a restart of Redis, which forgets it, and when the
        process that supervises this one has gone: then this run has to end."""
        redis = self.singleton_backend.redis
        if not redis.set(self.lock, self.request.id, nx=True, ex=SECONDS):
            if redis.get(self.lock) != self.request.id:
                return False
            redis.expire(self.lock, SECONDS)
        return os.getppid() == self.parent

    def release_lock(self, task_args=None, task_kwargs=None) -> None:
        """Ends the lease if it is this run's: a second copy, which found it taken, must not end it."""
        lock = self.generate_lock(self.name, task_args, task_kwargs)
        if self.singleton_backend.get(lock) == self.request.id:
            self.unlock(lock)


class LeasedTask(Lease, EternalTask):
    abstract = True


class LeasedProcessTask(Lease, EternalProcessTask):
    abstract = True
