"""What the doctor and the list of models say of real, fake and absent servers."""

from __future__ import annotations

from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Loaded, Options, load
from proxy.core import clock
from proxy.doctor import Finding, Grade, examine, models
from proxy.doctor.machine import examine_machine
from proxy.doctor.surroundings import examine_surroundings, listed_models
from proxy.sandbox import sandbox
from tests.fakes.ollama import FakeOllama
from tests.fakes.upstream import Answer
from tests.parts.ports import free_port


def loaded(tmp_path: Path, text: str = "", **flags: Any) -> Loaded:
    # no discovery: what runs on the developer's machine must not matter
    file = tmp_path / "config.yaml"
    file.write_text(text)
    flags = {"port": 0, "no_discover": True, **flags}
    environ = {"PROXY_DATA_DIR": str(tmp_path / "data")}
    return load(Options(config=str(file), **flags), environ)


def provider(url: str) -> str:
    return f"providers: [{{id: box, kind: ollama, endpoint: '{url}'}}]"


def of(findings: list[Finding], subject: str) -> Finding:
    (found,) = [finding for finding in findings if finding.subject == subject]
    return found


async def test_a_server_that_answers_is_fine_and_its_models_can_be_served(
    tmp_path: Path,
) -> None:
    fake = FakeOllama(("llama3.1:8b",))
    async with fake.serving():
        findings = await examine_surroundings(loaded(tmp_path, provider(fake.url)))
    found = of(findings, "provider box")
    assert found.grade is Grade.FINE
    assert found.text == f"{fake.url} is online, 1 model"
    assert of(findings, "models").text == "1 can be served"
    assert of(findings, "clock").grade is Grade.FINE
    assert of(findings, "clock").text.endswith("box")


async def test_only_questions_that_load_nothing_are_asked(tmp_path: Path) -> None:
    fake = FakeOllama()
    async with fake.serving():
        await examine_surroundings(loaded(tmp_path, provider(fake.url)))
    assert {received.method for received in fake.received} == {"GET"}


async def test_a_server_without_models_is_odd(tmp_path: Path) -> None:
    fake = FakeOllama(())
    async with fake.serving():
        findings = await examine_surroundings(loaded(tmp_path, provider(fake.url)))
    assert of(findings, "provider box").grade is Grade.ODD
    assert of(findings, "models").grade is Grade.WRONG


async def test_a_server_that_is_not_there_is_wrong_with_advice(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    findings = await examine_surroundings(loaded(tmp_path, provider(url)))
    found = of(findings, "provider box")
    assert found.grade is Grade.WRONG
    assert found.text.startswith(f"{url} is offline: ")
    assert "start the server" in found.advice


async def test_a_disabled_provider_is_nobodys_fault(tmp_path: Path) -> None:
    text = provider("http://127.0.0.1:9").replace("}", ", enabled: false}")
    findings = await examine_surroundings(loaded(tmp_path, text))
    assert of(findings, "provider box").grade is Grade.FINE


@pytest.mark.parametrize(
    ("off_s", "grade", "words"),
    [
        (7200, Grade.WRONG, "s behind box"),
        (-7200, Grade.WRONG, "s ahead of box"),
        (0, Grade.FINE, "box"),
    ],
)
async def test_a_clock_that_differs_is_told(
    tmp_path: Path, off_s: float, grade: Grade, words: str
) -> None:
    fake = FakeOllama()
    date = formatdate(clock.wall() + off_s, usegmt=True)
    told = Answer.of({"version": "1"}, headers={"date": date})
    fake.script("/api/version", told, told)
    async with fake.serving():
        findings = await examine_surroundings(loaded(tmp_path, provider(fake.url)))
    found = of(findings, "clock")
    assert found.grade is grade
    assert found.text.endswith(words)


async def test_a_port_that_somebody_holds_is_wrong(tmp_path: Path) -> None:
    stranger = FakeOllama()
    async with stranger.serving():
        port = int(stranger.url.rpartition(":")[2])
        findings = await examine_surroundings(loaded(tmp_path, port=port))
    found = of(findings, "port")
    assert found.grade is Grade.WRONG
    assert "in use" in found.text
    assert "--port" in found.advice


async def test_a_gateway_on_the_port_is_no_trouble(tmp_path: Path) -> None:
    fake = FakeOllama()
    fake.script("/", Answer.of({"name": "local-ai"}))
    async with fake.serving():
        port = int(fake.url.rpartition(":")[2])
        findings = await examine_surroundings(loaded(tmp_path, port=port))
    assert of(findings, "port").grade is Grade.FINE
    assert "a gateway is running" in of(findings, "port").text


async def test_the_models_are_those_that_callers_may_name(tmp_path: Path) -> None:
    fake = FakeOllama(("llama3.1:8b",))
    async with fake.serving():
        text = provider(fake.url) + (
            "\nmodels: [{id: chat, providerId: box, upstreamModel: 'llama3.1:8b'}]"
        )
        listed = await listed_models(loaded(tmp_path, text))
    assert "chat" in [model.id for model in listed]


def test_the_demo_has_models_and_nothing_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models(loaded(tmp_path, demo=True)) == 0
    assert " demo\n" in capsys.readouterr().out
    assert examine(loaded(tmp_path, demo=True)) == 0
    assert "Nothing wrong, nothing odd." in capsys.readouterr().out


def test_nothing_to_serve_is_wrong_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models(loaded(tmp_path)) == 1
    assert "doctor" in capsys.readouterr().err
    assert examine(loaded(tmp_path)) == 1
    shown = capsys.readouterr().out
    assert "wrong models: none can be served" in shown
    assert "→ start a model server" in shown


def test_odd_settings_and_a_bad_certificate_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "not.pem"
    file.write_text("nothing")
    text = f"server: {{drainSeconds: 9999, tls: {{certFile: {file}, keyFile: {file}}}}}"
    assert examine(loaded(tmp_path, text, demo=True)) == 1
    shown = capsys.readouterr().out
    assert "odd   configuration: " in shown
    assert "wrong certificate: " in shown


def test_a_full_or_locked_disk_and_few_files_are_odd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.doctor.machine.LEAST_DISK_BYTES", 1 << 80)
    monkeypatch.setattr("proxy.doctor.machine.LEAST_OPEN_FILES", 1 << 40)
    findings = examine_machine(loaded(tmp_path))
    assert of(findings, "data directory").grade is Grade.ODD
    assert of(findings, "data directory").advice == "make room on that disk"
    assert not (tmp_path / "data").exists()


def test_the_keys_that_were_found_are_named_not_shown(tmp_path: Path) -> None:
    findings = examine_machine(loaded(tmp_path, openai_api_key="hunter2"))
    assert of(findings, "keys").text == "openai"
    assert "hunter2" not in " ".join(str(finding) for finding in findings)


async def test_walls_around_code_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of(await examine_surroundings(loaded(tmp_path)), "execute").text == "off"

    async def no_jail(_: object) -> None:
        return None

    monkeypatch.setattr(sandbox, "standing_jail", no_jail)
    monkeypatch.setattr(sandbox, "find_monty", lambda: None)
    findings = await examine_surroundings(
        loaded(tmp_path, "execute: {enabled: true, requireIsolation: jail}")
    )
    assert of(findings, "execute cpython").grade is Grade.WRONG
    assert "bubblewrap" in of(findings, "execute cpython").advice
    assert "pydantic-monty" in of(findings, "execute monty").text
