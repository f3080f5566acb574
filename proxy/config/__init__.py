"""What was decided before the start: one immutable Config out of four layers.

`schema*` declare the keys, `reading`, `expand` and `env` read them, `validate`
and `check` find what is wrong, `resolve` fills in providers, `load` is the way
through all of it. Nothing here knows what a value is used for.
"""

from proxy.config.load import Loaded, load
from proxy.config.mask import masked
from proxy.config.options import Options
from proxy.config.problems import ConfigError, Problem
from proxy.config.resolve import found_provider
from proxy.config.schema_models import ModelConfig
from proxy.config.value import Config, ProviderConfig, Timeouts

__all__ = [
    "Config",
    "ConfigError",
    "Loaded",
    "ModelConfig",
    "Options",
    "Problem",
    "ProviderConfig",
    "Timeouts",
    "found_provider",
    "load",
    "masked",
]
