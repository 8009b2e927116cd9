"""Writes a trained demo model as GGUF: export.py ID FOLDER FILE."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants

from demo_models import DemoModel, demo_models
from vocabulary import Vocabulary, chat_template, end_of_text, special_tokens, turn_end


def export(model: DemoModel, folder: Path, target: Path) -> None:
    writer = GGUFWriter(target, model.shape.architecture)
    describe(writer, model)
    add_shape(writer, model)
    add_vocabulary(writer, Vocabulary.load(str(folder / "vocabulary.json")))
    for name, weights in torch.load(folder / "weights.pt").items():
        add_tensor(writer, name, weights.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{target}: {target.stat().st_size:,} bytes")


def describe(writer: GGUFWriter, model: DemoModel) -> None:
    writer.add_type("model")
    writer.add_name(model.name)
    writer.add_description(model.description)
    writer.add_license("apache-2.0")
    writer.add_languages([model.language])
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(2)


def add_shape(writer: GGUFWriter, model: DemoModel) -> None:
    shape = model.shape
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_value_heads)
    writer.add_vocab_size(shape.vocabulary)
    if shape.architecture == "llama":
        writer.add_layer_norm_rms_eps(shape.norm_epsilon)
        writer.add_rope_dimension_count(shape.head_width)
        writer.add_rope_freq_base(shape.rope_base)
    else:
        writer.add_layer_norm_eps(shape.norm_epsilon)


def add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([TokenType.CONTROL if token in special_tokens else TokenType.NORMAL for token in vocabulary.tokens])
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.id(end_of_text))
    writer.add_pad_token_id(vocabulary.id(end_of_text))
    writer.add_eos_token_id(vocabulary.id(turn_end))
    writer.add_eot_token_id(vocabulary.id(turn_end))
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat_template)


def add_tensor(writer: GGUFWriter, name: str, weights: numpy.ndarray) -> None:
    """Matrices with 8 bits a weight; the few numbers of norms, biases and positions as they are."""
    if weights.ndim == 2 and not name.startswith("position_embd"):
        quantized = quants.quantize(weights, GGMLQuantizationType.Q8_0)
        writer.add_tensor(name, quantized, raw_dtype=GGMLQuantizationType.Q8_0)
    else:
        writer.add_tensor(name, weights.astype(numpy.float32))


if __name__ == "__main__":
    export(demo_models[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]))
