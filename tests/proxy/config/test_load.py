"""The layers: defaults, file, environment, command line; the last wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pydantic
import pytest

from proxy.config import Config, ConfigError, Loaded, Options, Problem, load
from proxy.config.assemble import Assembly
from proxy.config.problems import Report
from tests.proxy.config.conftest import Faults, Read


def test_nothing_at_all_gives_the_defaults() -> None:
    loaded = load(Options(), {}, places=())
    assert loaded.config == Config()
    assert loaded.file is None
    assert loaded.warnings == ()
    assert dict(loaded.sources) == {}


@pytest.mark.parametrize(
    ("file", "environ", "flags", "port"),
    [
        ("", {}, {}, 3500),
        ("server: {port: 1}", {}, {}, 1),
        ("server: {port: 1}", {"PROXY_PORT": "2"}, {}, 2),
        ("server: {port: 1}", {"PROXY_PORT": "2"}, {"port": 3}, 3),
        ("", {"PROXY_PORT": "2"}, {"port": 0}, 0),
        ("server: {port: 1}", {"PROXY_PORT": ""}, {}, 1),
        ("server: {port: x}", {"PROXY_PORT": "2"}, {}, 2),
    ],
)
def test_the_later_layer_wins(
    read: Read, file: str, environ: dict[str, str], flags: dict[str, int], port: int
) -> None:
    assert read(file, environ, **flags).config.server.port == port


def test_each_value_knows_where_it_came_from(read: Read) -> None:
    loaded = read(
        "server:\n  host: 127.0.0.2\n  port: 1\nstream: {maxEventBytes: 65536}\n",
        {"LOG_LEVEL": "WARN"},
        port=2,
    )
    assert loaded.sources["server.host"].endswith("gateway.yaml:2")
    assert loaded.sources["server.port"] == "command line --port"
    assert loaded.sources["logging.level"] == "environment LOG_LEVEL"
    assert "server.workers" not in loaded.sources
    assert loaded.config.logging.level == "warning"


def test_every_flag_of_a_value_reaches_it(read: Read) -> None:
    config = read(
        host="::1", port=1, log_format="json", debug=True, no_discover=True, demo=True
    ).config
    assert (config.server.host, config.server.port) == ("::1", 1)
    assert (config.logging.format, config.logging.level) == ("json", "debug")
    assert config.discovery.enabled is False
    assert config.demo is True


@pytest.mark.parametrize(
    ("environ", "flags", "told"),
    [
        ({"PROXY_PORT": "http"}, {}, "environment: PROXY_PORT: should be a valid"),
        ({"PROXY_HOST": "a b"}, {}, "environment: PROXY_HOST: should be a host name"),
        ({"LOG_LEVEL": "loud"}, {}, "environment: LOG_LEVEL: should be 'debug'"),
        ({}, {"port": 65536}, "command line: --port: should be less than"),
        ({}, {"ollama_port": 0}, "command line: --ollama-port: should be a port"),
        (
            {},
            {"lmstudio_base_url": "x"},
            "command line: --lmstudio-base-url: should be a URL",
        ),
        (
            {},
            {"openai_api_key": "a\nb"},
            "command line: --openai-api-key: the key holds characters",
        ),
        (
            {"ZAI_API_KEY": "schlüssel"},
            {},
            "environment: ZAI_API_KEY: the key holds characters",
        ),
        ({"https_proxy": "ftp://x"}, {}, "environment: HTTPS_PROXY: should be a URL"),
    ],
)
def test_a_wrong_variable_or_flag_is_told_by_its_name(
    faults: Faults, environ: dict[str, str], flags: dict[str, object], told: str
) -> None:
    (fault,) = faults("", environ, **flags)
    assert fault.startswith(told)


def test_problems_of_all_layers_are_told_together(
    problems: Callable[..., tuple[Problem, ...]],
) -> None:
    told = problems("server: {prot: 1}", {"LOG_LEVEL": "x"}, port=-1)
    assert {problem.path for problem in told} == {"server.prot", "LOG_LEVEL", "--port"}


def test_the_named_file_is_read_and_must_exist(tmp_path: Path) -> None:
    there = tmp_path / "there.yaml"
    there.write_text("server: {port: 7}")
    usual = tmp_path / "usual.yaml"
    usual.write_text("server: {port: 8}")
    absent = str(tmp_path / "absent.yaml")

    def port(options: Options, environ: dict[str, str]) -> int:
        return load(options, environ, places=(usual,)).config.server.port

    assert port(Options(config=str(there)), {"PROXY_CONFIG": absent}) == 7
    assert port(Options(), {"PROXY_CONFIG": str(there)}) == 7
    assert port(Options(), {}) == 8
    with pytest.raises(
        ConfigError, match=r"absent\.yaml: cannot be read: No such file"
    ):
        port(Options(config=absent), {})


def test_the_first_usual_place_that_exists_is_taken(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("")
    (tmp_path / "c.yaml").write_text("nonsense: 1")
    places = [tmp_path / name for name in ("a.yaml", "b.yaml", "c.yaml")]
    assert load(Options(), {}, places).file == places[1]


def test_the_working_directory_is_a_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("server: {port: 9}")
    monkeypatch.chdir(tmp_path)
    assert load(Options(), {}).config.server.port == 9


def test_the_process_environment_is_read_when_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROXY_PORT", "11")
    assert load(Options(), places=()).config.server.port == 11


def test_the_value_cannot_be_changed(read: Read) -> None:
    config = read("priorities: {a: 1}").config
    with pytest.raises(FrozenInstanceError):
        config.demo = True  # type: ignore[misc]
    with pytest.raises(pydantic.ValidationError):
        config.server.port = 1
    with pytest.raises(TypeError):
        config.priorities["b"] = 2  # type: ignore[index]


def test_the_data_directory(read: Read, faults: Faults, tmp_path: Path) -> None:
    assert read().config.data_dir == Path("data")
    there = {"PROXY_DATA_DIR": str(tmp_path)}
    assert read("", there).config.data_dir == tmp_path
    file = tmp_path / "file"
    file.write_text("")
    (told,) = faults("", {"PROXY_DATA_DIR": str(file)})
    assert told == f"environment: PROXY_DATA_DIR: {file} is not a directory"


def test_the_default_model_is_the_one_named_or_marked(read: Read) -> None:
    marked = "models: [{id: m, providerId: vllm, isDefault: true}]"
    assert read(marked).config.routing.default_model == "m"
    assert read(f"{marked}\nrouting: {{defaultModel: m}}").config.routing == (
        read(marked).config.routing
    )
    assert read("routing: {defaultModel: x}").config.routing.default_model == "x"


def test_hints_say_where_local_servers_are(read: Read) -> None:
    def hints(environ: dict[str, str] | None = None, **flags: object) -> dict[str, str]:
        return dict(read("", environ, **flags).config.local_hints)

    assert hints() == {}
    assert hints(ollama_port=1, lmstudio_port=2) == {
        "ollama": "http://127.0.0.1:1",
        "lmstudio": "http://127.0.0.1:2",
    }
    assert hints(ollama_base_url="http://box.lan:1/", ollama_port=2) == {
        "ollama": "http://box.lan:1"
    }
    host = {"OLLAMA_HOST": "box.lan"}
    assert hints(host) == {"ollama": "http://box.lan:11434"}
    assert hints(host, ollama_port=5) == {"ollama": "http://127.0.0.1:5"}


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1:3500", "is the address of this gateway itself; not used"),
        ("0.0.0.0:3500", "is the address of this gateway itself; not used"),
        ("http://localhost:3500", "is the address of this gateway itself; not used"),
        ("unix:///run/x", "is no address such as 127.0.0.1:11434; not used"),
    ],
)
def test_an_ollama_host_of_no_use_is_not_used(read: Read, host: str, told: str) -> None:
    loaded = read("", {"OLLAMA_HOST": host})
    assert loaded.config.local_hints == {}
    assert [str(warning) for warning in loaded.warnings] == [
        f"environment: OLLAMA_HOST: {told}"
    ]


def test_keys_of_kinds_come_from_the_environment_and_flags(read: Read) -> None:
    environ = {
        "OPENAI_API_KEY": "from-env",
        "GEMINI_API_KEY": "lesser",
        "GOOGLE_API_KEY": "greater",
        "VLLM_API_KEY": " mine\n",
        "OLLAMA_API_KEY": "",
    }
    config = read("", environ, openai_api_key="from-flag").config
    assert config.environment_keys == {"openai": "from-flag", "gemini": "greater"}
    assert config.local_keys == {"vllm": "mine"}


def test_a_secret_on_the_command_line_is_warned_about_once(read: Read) -> None:
    loaded = read("", openai_api_key="k1", jwt_secret="k2")
    told = [str(warning) for warning in loaded.warnings]
    assert (
        "command line: --openai-api-key: others on this machine can see it there; set "
        "OPENAI_API_KEY instead" in told
    )
    assert sum("others on this machine" in line for line in told) == 2
    assert "k1" not in "".join(told)


def test_options_and_assembly_do_not_show_secrets() -> None:
    options = Options(openai_api_key="hunter2", jwt_secret="hunter2")
    assert "hunter2" not in repr(options)
    assert "hunter2" not in repr(Assembly(options, {"A": "hunter2"}, Report()))


def test_a_loaded_value_needs_only_its_config() -> None:
    assert Loaded(Config()).warnings == ()
