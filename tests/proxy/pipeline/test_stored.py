from __future__ import annotations

from proxy.pipeline.stored import MemoryStore, Stored, input_items


def stored(id_: str, tenant: str = "default", size: int = 10) -> Stored:
    return Stored(id_, tenant, b"x" * size, b"[]", (b'[{"n":1}]', b'[{"n":2}]'))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_response_is_its_tenants_alone() -> None:
    store = MemoryStore()
    store.put(stored("r", "a"))
    assert await store.get("r", "a")
    assert await store.get("r", "b") is None
    assert not await store.delete("r", "b")
    assert await store.delete("r", "a")
    assert await store.get("r", "a") is None
    assert store.size_bytes == 0


async def test_it_is_forgotten_in_time() -> None:
    clock = Clock()
    store = MemoryStore(kept_s=60, now=clock)
    store.put(stored("r"))
    clock.now += 59
    assert await store.get("r", "default")
    clock.now += 1
    assert await store.get("r", "default") is None
    assert store.size_bytes == 0


async def test_the_oldest_make_room() -> None:
    each = stored("1").size_bytes
    store = MemoryStore(limit_bytes=2 * each)
    for name in "123":
        store.put(stored(name))
    found = [bool(await store.get(name, "default")) for name in "123"]
    assert found == [False, True, True]
    store.put(stored("huge", size=3 * each))
    assert await store.get("huge", "default") is None
    assert await store.get("3", "default")


def test_a_conversation_is_its_turns_in_order() -> None:
    assert stored("r").conversation() == [{"n": 1}, {"n": 2}]


def test_items_have_ids_and_whole_content() -> None:
    [item] = input_items("Hello", "resp_1")
    assert item == {
        "id": "msg_resp_1_0",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "Hello"}],
        "status": "completed",
    }
    [own, call] = input_items(
        [
            {"role": "assistant", "content": "Hi"},
            {"type": "function_call", "id": "fc_own", "name": "f", "arguments": "{}"},
        ],
        "resp_1",
    )
    assert own["content"][0]["type"] == "output_text"
    assert call["id"] == "fc_own"
