from tests.proxy.sandbox.conftest import (
    jailed,
    pytest_asyncio_loop_factories,
    sandbox,
)

__all__ = ["jailed", "pytest_asyncio_loop_factories", "sandbox"]
