"""The two shapes of a Qwen3-Omni thinker: the tiny one that our own script trains, and Qwen3-Omni-30B-A3B."""

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3OmniMoeProcessor,
    Qwen3OmniMoeThinkerConfig,
    WhisperFeatureExtractor,
)

SIZE, PATCH, MERGE = 64, 8, 2
WIDTH, LAYERS, EXPERTS, MELS = 64, 3, 4, 64
VOCABULARY = 640
SECOND = 13  # position ids per second of video, as Qwen3-Omni has it: one per audio token
END, PAD = "<|im_end|>", "<|endoftext|>"
SPECIAL = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part.type == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_processor(texts: Sequence[str]) -> Qwen3OmniMoeProcessor:
    """A byte-level tokenizer trained on the texts, frames of `SIZE` pixels at their own size, and `MELS` mel bands of sound."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, "<|im_start|>", END, *SPECIAL.values()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, extra_special_tokens=SPECIAL, padding_side="left"
    )
    layout: dict[str, Any] = {"patch_size": PATCH, "temporal_patch_size": 2, "merge_size": MERGE}
    size = {"shortest_edge": SIZE * SIZE, "longest_edge": SIZE * SIZE}
    return Qwen3OmniMoeProcessor(
        Qwen2VLImageProcessor(size=dict(size), **layout),
        Qwen2VLVideoProcessor(size=dict(size), **layout),
        WhisperFeatureExtractor(feature_size=MELS, sampling_rate=16_000, hop_length=160, n_fft=400, chunk_length=30),
        fast,
        chat_template=TEMPLATE,
    )


def tiny_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3OmniMoeThinkerConfig:
    """Under a million numbers."""
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "attention_bias": True, "num_experts": EXPERTS, "num_experts_per_tok": 2,
        "moe_intermediate_size": WIDTH, "intermediate_size": 2 * WIDTH, "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [6, 5, 5], "mrope_interleaved": True,
        },
        "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    vision: dict[str, Any] = {
        "depth": 2, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_heads": 4, "patch_size": PATCH,
        "spatial_merge_size": MERGE, "temporal_patch_size": 2, "out_hidden_size": WIDTH,
        "num_position_embeddings": (SIZE // PATCH) ** 2, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    audio: dict[str, Any] = {
        "num_mel_bins": MELS, "d_model": WIDTH, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 2 * WIDTH,
        "n_window": 50, "n_window_infer": 400, "output_dim": WIDTH, "downsample_hidden_size": 16, "max_source_positions": 500,
    }  # fmt: skip
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    config = Qwen3OmniMoeThinkerConfig(
        text_config=text,
        vision_config=vision,
        audio_config=audio,
        position_id_per_seconds=SECOND,
        audio_start_token_id=ids["audio_bos_token"],
        audio_token_id=ids["audio_token"],
        image_token_id=ids["image_token"],
        video_token_id=ids["video_token"],
    )
    # The thinker reads these two from its config and declares neither.
    config.vision_start_token_id = ids["vision_bos_token"]
    config.vision_end_token_id = ids["vision_eos_token"]
    return config


def published_config() -> Qwen3OmniMoeThinkerConfig:
    """Qwen3-Omni-30B-A3B: the defaults of transformers are another, smaller model."""
    text: dict[str, Any] = {
        "vocab_size": 152_064, "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
        "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
        "max_position_embeddings": 65_536,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [24, 20, 20], "mrope_interleaved": True,
        },
    }  # fmt: skip
    vision, audio = {"out_hidden_size": 2048}, {"output_dim": 2048, "n_window": 50, "n_window_infer": 800}
    config = Qwen3OmniMoeThinkerConfig(
        text_config=text,
        vision_config=vision,
        audio_config=audio,
        position_id_per_seconds=SECOND,
        audio_start_token_id=151_669,
        audio_token_id=151_675,
    )
    config.vision_start_token_id, config.vision_end_token_id = 151_652, 151_653
    return config
