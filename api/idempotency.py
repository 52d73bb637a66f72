"""Safe retries: a request repeated with its Idempotency-Key gets the first answer again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from api.headers import IDEMPOTENCY_KEY as HEADER
from ingestion.models import Delivery
from ingestion.refusals import RequestRejected
from ingestion.services import Acceptance, accept
from ingestion.streams import Stream

_key = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True)
class IdempotentRequest:
    """A request with an Idempotency-Key, as recorded on its delivery."""

    client: str
    key: str
    request_hash: str

    def replayed_response(self) -> dict[str, Any] | None:
        """The answer from when this request was accepted; None if it never was.

        Rejects (409) the key of a different request. Rejected requests are not recorded, so they are checked again.
        """
        accepted = Delivery.objects.filter(client=self.client, idempotency_key=self.key)
        first = accepted.values_list("request_hash", "answer").first()
        if first is None:
            return None
        if first[0] != self.request_hash:
            raise RequestRejected(409, f"This {HEADER} was used for a different request. Use a new one per request.")
        answer: dict[str, Any] = json.loads(first[1])
        return answer

    def accept_idempotently(
        self,
        answer: Callable[[Acceptance], dict[str, Any]],
        stream: Stream,
        items: list[Any],
        body: bytes,
        *,
        fmt: Delivery.Format,
        keep_invalid: bool,
    ) -> dict[str, Any]:
        """As accept(), but stores the answer on the delivery in the same transaction; returns the answer."""

        def store_answer(accepted: Acceptance) -> None:
            accepted.delivery.answer = JSONRenderer().render(answer(accepted)).decode()
            accepted.delivery.save(update_fields=["answer"])

        try:
            accepted = accept(
                stream,
                items,
                body,
                fmt=fmt,
                client=self.client,
                keep_invalid=keep_invalid,
                in_transaction=store_answer,
                idempotency_key=self.key,
                request_hash=self.request_hash,
            )
        except IntegrityError:  # the same request arrived twice at once; the other one was first
            if first := self.replayed_response():
                return first
            raise
        stored: dict[str, Any] = json.loads(accepted.delivery.answer)
        return stored


def read_idempotency_key(request: Request, client: str, body: bytes) -> IdempotentRequest | None:
    """The request with its Idempotency-Key; None without one. Rejects (400) a malformed key.

    `body` is unpacked: a repeated request may be compressed differently, but nothing else may differ.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _key.fullmatch(key):
        raise RequestRejected(400, f"{HEADER} must be 1 to 255 printable ASCII characters.")
    kind = request.content_type.partition(";")[0].strip().lower()
    head = [request.method, request.path.rstrip("/"), kind, sorted(request.query_params.items())]
    digest = hashlib.sha256(json.dumps(head).encode() + b"\n")
    digest.update(body)
    return IdempotentRequest(client, key, digest.hexdigest())
