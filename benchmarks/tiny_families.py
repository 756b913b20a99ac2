"""What single families need besides the common rules, to be built small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def resnet() -> Any:
    """A small convolutional backbone, for detectors that take any."""
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )


def rt_resnet() -> Any:
    """The same for the detectors that take three stages."""
    from transformers import RTDetrResNetConfig

    return RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )


ROPE = {"rope_type": "default", "rope_theta": 10000.0}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
HALF_MROPE = {**MROPE, "partial_rotary_factor": 0.5, "mrope_section": [1, 1, 0]}
DETECTOR = {"use_timm_backbone": False, "backbone": None, "backbone_config": resnet}
STAGES = {
    "backbone_config": rt_resnet,
    "encoder_in_channels": [8, 16, 16],
    "decoder_in_channels": [32, 32, 32],
    "feat_strides": [8, 16, 32],
}
WINDOWS = {"window_size": 4, "depths": [1, 1], "num_heads": [2, 2]}
SERIES = {"prediction_length": 5, "context_length": 7, "lags_sequence": [1, 2]}

CHANGES: dict[str, dict[str, Any]] = {
    "autoformer": {**SERIES, "label_length": 2},
    "bamba": {"num_hidden_layers": 2, "attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8},
    "big_bird": {"attention_type": "original_full"},
    "bros": {"hidden_size": 64},
    "conditional_detr": DETECTOR,
    "convbert": {"head_ratio": 1},
    "d_fine": STAGES,
    "dab-detr": DETECTOR,
    "deepseek_v2": {"topk_group": 1, "n_group": 1, "num_experts_per_tok": 2, "n_routed_experts": 4},
    "deformable_detr": DETECTOR,
    "detr": DETECTOR,
    "donut-swin": WINDOWS,
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "esm": {"vocab_size": 100, "pad_token_id": 1, "mask_token_id": 62},
    "glm4v_moe_text": {"rope_parameters": HALF_MROPE},
    "glm4v_text": {"rope_parameters": MROPE},
    "glm_image_text": {"rope_parameters": MROPE},
    "glm_ocr_text": {"rope_parameters": MROPE},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "hunyuan_v1_dense": {"rope_parameters": ROPE},
    "hunyuan_v1_moe": {"rope_parameters": ROPE},
    "hunyuan_vl_text": {"rope_parameters": ROPE},
    "informer": SERIES,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "layoutlmv3": {
        "coordinate_size": 6,
        "shape_size": 4,
        "hidden_size": 32,
        "input_size": 32,
        "patch_size": 8,
    },
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "lilt": {"channel_shrink_ratio": 2, "hidden_size": 48},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "maskformer-swin": WINDOWS,
    "mimi": {"upsample_groups": 32},
    "ministral": {"rope_parameters": ROPE},
    "mobilebert": {"intra_bottleneck_size": 32, "true_hidden_size": 32},
    "paddleocr_vl_text": {"rope_parameters": MROPE},
    "pvt": {"image_size": 64, "num_encoder_blocks": 4, "num_attention_heads": [1, 2, 4, 8]},
    "qwen2_5_vl_text": {"rope_parameters": MROPE},
    "qwen2_vl_text": {"rope_parameters": MROPE},
    "reformer": {
        "axial_pos_embds_dim": [16, 16],
        "axial_pos_shape": [4, 16],
        "attn_layers": ["local", "lsh"],
    },
    "rt_detr": STAGES,
    "rt_detr_v2": STAGES,
    "sam_hq_vision_model": {"output_channels": 32, "num_pos_feats": 16},
    "sam_vision_model": {"output_channels": 32, "num_pos_feats": 16},
    "swin": WINDOWS,
    "swin2sr": {"num_heads": [2, 2, 2, 2], "depths": [1, 1, 1, 1]},
    "table-transformer": DETECTOR,
    "time_series_transformer": SERIES,
}
"""Fields of a configuration, by its model type."""


def series(config: Any) -> dict[str, torch.Tensor]:
    """The past of a time series, long enough for the lags, and its future."""
    past = config.context_length + max(config.lags_sequence)
    return {
        "past_values": torch.randn(2, past),
        "past_time_features": torch.randn(2, past, config.num_time_features),
        "past_observed_mask": torch.ones(2, past),
        "future_values": torch.randn(2, config.prediction_length),
        "future_time_features": torch.randn(2, config.prediction_length, config.num_time_features),
    }


def patches(config: Any) -> dict[str, torch.Tensor]:
    """A grid of image patches, flattened: two images of 4 × 4."""
    depth = getattr(config, "temporal_patch_size", 1) or 1
    channels = (
        getattr(config, "in_channels", None)
        or getattr(config, "in_chans", None)
        or getattr(config, "num_channels", 3)
    )
    width = channels * depth * config.patch_size**2
    return {"grid_thw": torch.tensor([[1, 4, 4], [1, 4, 4]]), "hidden_states": torch.randn(32, width)}


def flat_patches(config: Any) -> dict[str, torch.Tensor]:
    """Two images of 4 × 4 patches, the last row of the second being padding."""
    mask = torch.ones(2, 16, dtype=torch.long)
    mask[1, 12:] = 0
    return {
        "pixel_values": torch.randn(2, 16, config.num_channels * config.patch_size**2),
        "pixel_attention_mask": mask,
        "spatial_shapes": torch.tensor([[4, 4], [3, 4]]),
    }


def with_global_tokens(config: Any) -> dict[str, torch.Tensor]:
    """Text in which a few tokens see, and are seen by, all."""
    mask = torch.ones(2, 13, dtype=torch.long)
    mask[1, 10:] = 0
    far = torch.zeros_like(mask)
    far[0, 0] = far[0, 7] = far[1, 3] = 1
    made = {"input_ids": torch.randint(5, 60, (2, 13)), "attention_mask": mask, "global_attention_mask": far}
    return (
        made
        if config.model_type == "longformer"
        else {**made, "decoder_input_ids": torch.randint(5, 60, (2, 11))}
    )


INPUTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "autoformer": series,
    "blip_2_qformer": lambda config: {
        "query_embeds": torch.randn(2, 7, config.hidden_size),
        "encoder_hidden_states": torch.randn(2, 11, config.encoder_hidden_size),
    },
    "informer": series,
    "led": with_global_tokens,
    "longformer": with_global_tokens,
    "lxmert": lambda config: {
        "input_ids": torch.randint(5, 60, (2, 13)),
        "visual_feats": torch.randn(2, 7, config.visual_feat_dim),
        "visual_pos": torch.rand(2, 7, config.visual_pos_dim),
    },
    "mimi": lambda config: {"input_values": torch.randn(2, 1, 6000)},
    "patchtst": lambda config: {
        "past_values": torch.randn(2, config.context_length, config.num_input_channels)
    },
    "perceiver": lambda config: {"inputs": torch.randn(2, 13, config.d_model)},
    "siglip2": lambda config: {
        "input_ids": torch.randint(5, 60, (2, 13)),
        **flat_patches(config.vision_config),
    },
    "siglip2_vision_model": lambda config: flat_patches(config),
    "speecht5": lambda config: {
        "input_values": torch.randn(2, 13, config.hidden_size),
        "decoder_input_values": torch.randn(2, 11, config.hidden_size),
    },
    "time_series_transformer": series,
}
"""What a model is run on, from its configuration, where the names of its inputs do not say it."""
