"""A job whose chunks count what they do in the database, and the process that works on it; in a file of its own, since
processes import it afresh."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta

from app.domain.errors import InvalidInput
from app.runtime.clock import WallClock
from app.runtime.owner import is_alive, this_process
from app.services.database_service import DatabaseService
from app.services.research import runs as research
from app.services.research.runs import ResearchService
from app.storage.database import Database


class Toy:
    """Chunks that take a while; the alerts of the database say which were worked on, how often."""

    def __init__(self, database, request):
        self.request = request
        self.dataset = request.get("dataset", "d")
        self.chunks = [{"value": value} for value in range(request["chunks"])]
        self._database = database

    def work(self, chunk, progress):
        if chunk["value"] == self.request.get("bad"):
            raise InvalidInput("this one cannot be done")
        if chunk["value"] == self.request.get("deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        for step in range(5):
            progress(step, 5, "toy")
            time.sleep(self.request.get("seconds", 0.0) / 5)
        self._database.enqueue_alert("toy", str(chunk["value"]), {"owner": this_process()})
        return {"square": chunk["value"] ** 2}

    def finish(self, run_id, results, progress):
        self._database.enqueue_alert("toy", "finish")
        return {"sum": sum(result["square"] for result in results)}


def service(url, owner=None):
    database = DatabaseService(Database(url), WallClock())
    kinds = {"toy": lambda request: Toy(database, request)}
    return ResearchService(database, kinds=kinds, owner=owner or this_process(), is_alive=is_alive), database


def main(url, run_id):
    research.RENEW_SECONDS = 0.05
    research.PATIENCE = timedelta(seconds=60)
    print("ready", flush=True)
    made, database = service(url)
    made.work(run_id, wait=True)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
