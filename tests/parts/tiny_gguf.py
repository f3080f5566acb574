"""Write a tiny model file with random weights that llama.cpp loads: 125 KB.

A byte-level vocabulary, one layer, a ChatML template with tool calls. It talks
nonsense from a few English words, but it tokenizes, samples, streams, embeds and
follows grammars like any other model. Two dimensions of the residual stream are
reserved as control channels that no block writes:

    0  a constant 1, so that the output head's column 0 is a bias for each token
    1  set only by `<tool_call>`, so that the JSON opener follows it; from there
       llama.cpp's grammar forces a valid call
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

DIMENSIONS = 32
HIDDEN = 2 * DIMENSIONS
SCALE = 0.08
WORDS = (" the", " model", " says", " hello", " world", " token", " stream", " proxy",
         ".\n")  # fmt: skip
CONTROL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
OPENER = '\n{"name": "'
MARKUP = ("<tool_call>", "</tool_call>", OPENER)
TEMPLATE = """\
{%- if tools %}<|im_start|>system
# Tools
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each call return within <tool_call></tool_call> tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'assistant' and m.tool_calls %}<|im_start|>assistant
{%- if m.content %}
{{ m.content }}
{%- endif %}
{%- for call in m.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": \
{{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% elif m.role == 'tool' %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

Matrix = npt.NDArray[np.float32]


def write_tiny_model(path: Path, *, context: int = 131072) -> None:
    """Write the model to `path`; it never ends a text by itself.

    `context` is its context length in tokens: a stream is cut there, so it is
    large by default.
    """
    vocabulary = _Vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    _write_shape(writer, context, len(vocabulary.tokens))
    _write_tokenizer(writer, vocabulary)
    _write_weights(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class _Vocabulary:
    """Every byte, the words (each with the merges that build it), the markup."""

    def __init__(self) -> None:
        self.letters = _byte_letters()
        self.tokens = list(self.letters)
        self.types = [gguf.TokenType.NORMAL] * len(self.tokens)
        self.merges: list[str] = []
        self.words = [self._add_word(word) for word in WORDS]
        for names, kind in (
            (CONTROL, gguf.TokenType.CONTROL),
            (MARKUP, gguf.TokenType.USER_DEFINED),
        ):
            self.tokens += names
            self.types += [kind] * len(names)

    def index(self, token: str) -> int:
        return self.tokens.index(token)

    def _add_word(self, word: str) -> int:
        spelled = "".join(self.letters[byte] for byte in word.encode())
        for end in range(1, len(spelled)):
            merged = spelled[: end + 1]
            if merged not in self.tokens:
                self.merges.append(f"{spelled[:end]} {spelled[end]}")
                self.tokens.append(merged)
                self.types.append(gguf.TokenType.NORMAL)
        return self.tokens.index(spelled)


def _byte_letters() -> list[str]:
    """Give each byte its printable letter, as GPT-2's tokenizer has it."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def _write_shape(writer: gguf.GGUFWriter, context: int, vocabulary_size: int) -> None:
    writer.add_name("tiny-random")
    writer.add_context_length(context)
    writer.add_embedding_length(DIMENSIONS)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(DIMENSIONS)
    writer.add_vocab_size(vocabulary_size)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _write_tokenizer(writer: gguf.GGUFWriter, vocabulary: _Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.index("<|endoftext|>"))
    writer.add_eos_token_id(vocabulary.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _write_weights(writer: gguf.GGUFWriter, vocabulary: _Vocabulary) -> None:
    source = np.random.default_rng(7)

    def noise(*shape: int) -> Matrix:
        return (source.standard_normal(shape) * SCALE).astype(np.float32)

    size = len(vocabulary.tokens)
    embedding, head = noise(size, DIMENSIONS), noise(size, DIMENSIONS) * 4
    _set_control_channels(embedding, head, vocabulary)
    ones = np.ones(DIMENSIONS, np.float32)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", head)
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", ones)
    for name in ("attn_q", "attn_k", "attn_v"):
        writer.add_tensor(f"blk.0.{name}.weight", noise(DIMENSIONS, DIMENSIONS))
    for name in ("ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{name}.weight", noise(HIDDEN, DIMENSIONS))
    for name, width in (("attn_output", DIMENSIONS), ("ffn_down", HIDDEN)):
        weight = noise(DIMENSIONS, width)
        weight[:2] = 0  # the control channels
        writer.add_tensor(f"blk.0.{name}.weight", weight)


def _set_control_channels(
    embedding: Matrix, head: Matrix, vocabulary: _Vocabulary
) -> None:
    embedding[:, 0], head[:, 0] = 1, -3
    head[vocabulary.words, 0] = 0.5
    # White space that a grammar allows must not become an endless loop.
    head[[vocabulary.index(vocabulary.letters[byte]) for byte in b" \n\t\r"], 0] = -12
    embedding[:, 1] = head[:, 1] = 0
    embedding[vocabulary.index("<tool_call>"), 1] = 1
    head[vocabulary.index(OPENER), 1] = 200
