"""What an app needs to update itself: docs/asking.md says why it is so."""
import json
import tempfile
import uuid

import docker

engine = docker.from_env()


def changeover(*command):
    """Runs Changeover beside us; a file that only we have proves to it who asks."""
    with tempfile.NamedTemporaryFile(prefix=f"{uuid.uuid4()}-", dir="/tmp") as proof:
        return engine.containers.run(
            "changeover:0.1.0", command, environment={"CHANGEOVER_PROOF": proof.name}, remove=True,
            volumes=["/var/run/docker.sock:/var/run/docker.sock"], labels={"io.changeover.role": "asker"})


def start(image):
    changeover("update", "self", "--image", image, "--pull", "missing", "--detach")


def last():
    return json.loads(changeover("status", "self", "--json") or "{}")
