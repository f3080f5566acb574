"""A redirect leads nowhere: the place it names is never asked."""

from __future__ import annotations

import pytest

from tests.faults.rig import request
from tests.faults.row import GOOD, Way
from tests.parts.faulty import Faulty
from tests.parts.http_text import head
from tests.parts.inside import run_site
from tests.parts.scripts import answers, error_of


@pytest.mark.parametrize("door", ["fast door", "ordinary door"])
@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_other_host_is_asked(way: Way, door: str, status: int) -> None:
    async with Faulty(answers(GOOD)) as elsewhere:
        place = f"location: {elsewhere.url}/v1/chat/completions"
        script = answers(head(status, place, "content-length: 0"))
        async with run_site(script, fast=door == "fast door") as site:
            reply = await site.ask(request(way, 0))
            assert (reply.status, error_of(reply)["code"]) == (502, "upstream_error")
            assert reply.header("location") is None
        assert elsewhere.peers == []
