"""Puts the Config together: sections as read, providers resolved, keys found.

Also what comes from outside the file alone: keys of kinds, the outbound proxy,
where Ollama and LM Studio are, the data directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from proxy.config import env
from proxy.config.check import check
from proxy.config.kinds import FOUND_LOCALLY, KINDS
from proxy.config.options import Options
from proxy.config.outbound import Outbound
from proxy.config.problems import Path, Report, Source
from proxy.config.resolve import Resolver, is_sendable
from proxy.config.schema import RoutingConfig
from proxy.config.schema_providers import http_url
from proxy.config.unusual import warn_of_unusual
from proxy.config.validate import Validated
from proxy.config.value import Config

# flag → the kind whose key it is, and the variable that would hide it
_SECRET_FLAGS: Final = {
    "openai_api_key": ("openai", "OPENAI_API_KEY"),
    "anthropic_api_key": ("anthropic", "ANTHROPIC_API_KEY"),
    "gemini_api_key": ("gemini", "GOOGLE_API_KEY"),
    "jwt_secret": (None, "JWT_SECRET"),
}


@dataclass(frozen=True, slots=True)
class Assembly:
    """Makes a Config of what was read; problems go into `report`."""

    options: Options
    environ: Mapping[str, str] = field(repr=False)
    report: Report

    def config(self, tree: dict[str, Any], read: Validated) -> Config:
        """Check and assemble. `tree` is the file as written, `read` its valid part."""
        file = read.file
        keys = self._keys()
        outbound = self._outbound()
        check(read, self._provider_ids(tree, read, keys), self.report)
        resolver = Resolver(self.environ, keys, outbound, self.report)
        resolved = {at: resolver.provider(at, entry) for at, entry in read.providers}
        providers = {at: entry for at, entry in resolved.items() if entry is not None}
        warn_of_unusual(read, providers, self.report)
        clouds = {kind for kind in keys if KINDS[kind].type == "cloud"}
        return Config(
            server=file.server,
            auth=file.auth,
            database=file.database,
            state=file.state,
            rate_limits=file.rate_limits,
            priorities=file.priorities,
            cache=file.cache,
            routing=self._routing(read),
            stream=file.stream,
            discovery=file.discovery,
            providers=tuple(providers.values()),
            models=file.models,
            embeddings=file.embeddings,
            budgets=file.budgets,
            execute=file.execute,
            logging=file.logging,
            metrics=file.metrics,
            data_dir=self._data_dir(),
            otlp_endpoint=env.lookup(self.environ, "OTEL_EXPORTER_OTLP_ENDPOINT"),
            demo=self.options.demo,
            environment_keys=_frozen({k: v for k, v in keys.items() if k in clouds}),
            local_keys=_frozen({k: v for k, v in keys.items() if k not in clouds}),
            local_hints=_frozen(self._hints(read)),
            outbound=outbound,
        )

    def _keys(self) -> dict[str, str]:
        found = env.keys_of_kinds(self.environ)
        for name, key in found.values():
            self._check_key(Source("environment", name=name), key)
        keys = {kind: key for kind, (_, key) in found.items()}
        for flag, (kind, variable) in _SECRET_FLAGS.items():
            if value := getattr(self.options, flag):
                place = Source("command line", name="--" + flag.replace("_", "-"))
                self._check_key(place, value.strip())
                self._warn_of_visible(place, variable)
                if kind is not None:
                    keys[kind] = value.strip()
        return keys

    def _check_key(self, place: Source, key: str) -> None:
        if not is_sendable(key):
            path = self._outside(place)
            self.report.error(path, "the key holds characters that no header may")

    def _warn_of_visible(self, place: Source, variable: str) -> None:
        path = self._outside(place)
        message = f"others on this machine can see it there; set {variable} instead"
        self.report.warn(path, message)

    def _outside(self, place: Source) -> Path:
        """Make a variable or flag a place that problems can be told of."""
        path: Path = (place.name or "",)
        self.report.sources[path] = place
        return path

    def _provider_ids(
        self, tree: dict[str, Any], read: Validated, keys: Mapping[str, str]
    ) -> set[str]:
        entries = tree.get("providers")
        ids = {
            str(raw["id"])
            for raw in (entries if isinstance(entries, list) else ())
            if isinstance(raw, dict) and "id" in raw
        }
        if self.options.demo:
            ids.add("demo")
        if read.file.discovery.enabled:
            ids.update(FOUND_LOCALLY)
            ids.update(keys)
        return ids

    def _routing(self, read: Validated) -> RoutingConfig:
        routing = read.file.routing
        if routing.default_model is not None:
            return routing
        marked = (model.id for _, model in read.models if model.is_default)
        return routing.model_copy(update={"default_model": next(marked, None)})

    def _outbound(self) -> Outbound:
        outbound = Outbound.read(
            env.lookup_any_case(self.environ, "HTTPS_PROXY"),
            env.lookup_any_case(self.environ, "NO_PROXY"),
        )
        if outbound.https_proxy is not None:
            place = Source("environment", name="HTTPS_PROXY")
            self._is_url(place, outbound.https_proxy)
        return outbound

    def _hints(self, read: Validated) -> dict[str, str]:
        hints: dict[str, str] = {}
        for kind in ("ollama", "lmstudio"):
            url = getattr(self.options, f"{kind}_base_url")
            port = getattr(self.options, f"{kind}_port")
            place = Source("command line", name=f"--{kind}-base-url")
            if url is not None and self._is_url(place, url):
                hints[kind] = url.rstrip("/")
            elif url is None and port is not None and self._is_port(kind, port):
                hints[kind] = f"http://127.0.0.1:{port}"
        text = env.lookup(self.environ, "OLLAMA_HOST")
        if text is not None and "ollama" not in hints:
            hints.update(self._ollama_host(text, read))
        return hints

    def _ollama_host(self, text: str, read: Validated) -> dict[str, str]:
        path = self._outside(Source("environment", name="OLLAMA_HOST"))
        address = env.ollama_address(text)
        if address is None:
            self.report.warn(path, "is no address such as 127.0.0.1:11434; not used")
            return {}
        parts = urlsplit(address)
        server = read.file.server
        if env.is_own_address(
            parts.hostname, parts.port or 0, server.host, server.port
        ):
            self.report.warn(path, "is the address of this gateway itself; not used")
            return {}
        return {"ollama": address}

    def _is_url(self, place: Source, url: str) -> bool:
        try:
            http_url(url)
        except ValueError as error:
            self.report.error(self._outside(place), str(error))
            return False
        return True

    def _is_port(self, kind: str, port: int) -> bool:
        if 0 < port < 65536:
            return True
        path = self._outside(Source("command line", name=f"--{kind}-port"))
        self.report.error(path, "should be a port from 1 to 65535")
        return False

    def _data_dir(self) -> FilePath:
        given = env.lookup(self.environ, "PROXY_DATA_DIR")
        folder = FilePath(given).expanduser() if given else FilePath("data")
        if folder.exists() and not folder.is_dir():
            path = self._outside(Source("environment", name="PROXY_DATA_DIR"))
            self.report.error(path, f"{folder} is not a directory")
        return folder


def _frozen(values: dict[str, str]) -> Mapping[str, str]:
    return MappingProxyType(values)
