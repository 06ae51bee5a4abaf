"""The other side: an app of Celery's whose tasks do nothing.

Its worker tells on stdout how many messages a second it acked, once it has acked COUNT of them, without the first WARM.
"""

import os
import time

from celery import Celery, signals
from celery.worker.request import Request

app = Celery('bench', broker=os.environ['BROKER'], backend=os.environ.get('BACKEND'))
# what it would keep to itself on the server is left out, which costs it nothing here
app.conf.update(task_default_queue=os.environ['QUEUE'], worker_enable_remote_control=False)

WARM, COUNT = int(os.environ.get('WARM', 0)), int(os.environ.get('COUNT', 0))
acked = 0
warm_at = 0.0


class Counted(Request):
    def acknowledge(self):
        global acked, warm_at
        super().acknowledge()
        acked += 1
        if acked == WARM:
            warm_at = time.monotonic()
        elif acked == COUNT:
            # a worker of Celery's takes what is printed for its log
            os.write(1, f'rate {(COUNT - WARM) / (time.monotonic() - warm_at)}\n'.encode())


@signals.worker_ready.connect
def ready(**_):
    os.write(1, b'ready\n')


@app.task(name='noop', Request=Counted)
def noop(*args):
    return True


@app.task(name='started_at')
def started_at(file, *args):
    """Appends the time, as a task that is waited for does."""
    with open(file, 'a') as out:
        out.write(f'{time.time() * 1000}\n')
