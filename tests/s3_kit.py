"""An S3 server of the tests' own (moto), which knows one access key and can be made to fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LACKING = "moto[server] and obstore are not installed: pip install 'moto[server]' 'avsafe[objects]'"
KEY_ID, SECRET = "AKIDOFTHETESTS", "a-secret-that-nobody-may-read"
Fault = Callable[[str, str], int | str | None]  # (method, path) -> status, "cut", "garble" or None


@dataclass
class Server:
    url: str
    fault: Fault | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    def environment(self, prefix: str, bucket: str = "box") -> dict[str, str]:
        """What points avsafe at a prefix of a bucket here."""
        return {
            "AVSAFE_OBJECTS_URL": f"s3://{bucket}/{prefix}",
            "AVSAFE_OBJECTS_HTTP": "1",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "eu-south-1",
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def failing(self, *methods: str, status: int | str = 503, times: int = 1 << 30) -> None:
        """Answer so many requests of these methods with an error."""
        left = times

        def fault(method: str, _path: str) -> int | str | None:
            nonlocal left
            if method not in methods or left == 0:
                return None
            left -= 1
            return status

        self.fault = fault


@contextmanager
def server() -> Iterator[Server | None]:
    """None where moto is not installed."""
    try:
        import boto3
        import obstore  # noqa: F401
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server
    except ImportError:
        yield None
        return

    class Quiet(WSGIRequestHandler):
        def log(self, *_: Any) -> None: ...

    inner = DomainDispatcherApplication(create_backend_app)
    made = Server("")

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        made.asked.append((method, path))
        if KEY_ID not in environ.get("HTTP_AUTHORIZATION", KEY_ID):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>InvalidAccessKeyId</Code></Error>"]
        fault = made.fault(method, path) if made.fault is not None else None
        if isinstance(fault, int):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(f"{fault} Broken", [])
            return [b"<Error><Code>Broken</Code></Error>"]
        body = b"".join(inner(environ, start))
        if fault == "cut":
            return [body[: len(body) // 2]]
        return [body[::-1]] if fault == "garble" else [body]

    listening = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=Quiet)
    made.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    client = boto3.client(
        "s3", endpoint_url=made.url, region_name="eu-south-1",
        aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
    )  # fmt: skip
    if not client.list_buckets()["Buckets"]:  # moto keeps one set of them in a process
        client.create_bucket(
            Bucket="box", CreateBucketConfiguration={"LocationConstraint": "eu-south-1"}
        )
    try:
        yield made
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
