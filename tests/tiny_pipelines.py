"""Diffusers pipelines with random weights, small enough to run in a test. No network, no download.

Every builder gives a pipeline whose output is noise: what is tested is the way through it.
"""

from __future__ import annotations

import transformers  # noqa: TID253  imported by tests that have it
from diffusers import (  # noqa: TID253
    AnimateDiffPipeline,
    AutoencoderKL,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    AutoencoderOobleck,
    DDIMScheduler,
    EDMDPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MotionAdapter,
    StableAudioDiTModel,
    StableAudioPipeline,
    StableAudioProjectionModel,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
    WanVideoToVideoPipeline,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["<pad>", "</s>", "<unk>", "a", "red", "ball", "make", "it", "snow", "rain", "on", "roof"]


def tokenizer():
    """One word, one token; at most 16."""
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        bos_token="</s>", model_max_length=16,
    )  # fmt: skip


def t5(kind: str = "T5", width: int = 32):
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=64, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        relative_attention_num_buckets=8,
    )  # fmt: skip
    return getattr(transformers, f"{kind}EncoderModel")(config)


def clip_text():
    config = transformers.CLIPTextConfig(
        bos_token_id=1, eos_token_id=1, pad_token_id=0, hidden_size=32, intermediate_size=32,
        num_attention_heads=2, num_hidden_layers=1, vocab_size=64, max_position_embeddings=16,
    )  # fmt: skip
    return transformers.CLIPTextModel(config)


_WAN = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 16,
    "out_channels": 16, "text_dim": 32, "freq_dim": 32, "ffn_dim": 32, "num_layers": 2,
    "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 32,
}  # fmt: skip


def _wan(pipeline, transformer, **more):
    vae = AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )  # fmt: skip
    scheduler = UniPCMultistepScheduler(
        flow_shift=3.0, use_flow_sigmas=True, prediction_type="flow_prediction"
    )
    return pipeline(
        tokenizer=tokenizer(), text_encoder=t5("UMT5"), vae=vae, transformer=transformer,
        scheduler=scheduler, **more,
    )  # fmt: skip


def wan():
    return _wan(WanPipeline, WanTransformer3DModel(**_WAN))


def wan_image_to_video():
    transformer = WanTransformer3DModel(**{**_WAN, "in_channels": 36})
    return _wan(WanImageToVideoPipeline, transformer, image_encoder=None, image_processor=None)


def wan_video_to_video():
    return _wan(WanVideoToVideoPipeline, WanTransformer3DModel(**_WAN))


def wan_vace():
    transformer = WanVACETransformer3DModel(**_WAN, vace_layers=[0], vace_in_channels=96)
    return _wan(WanVACEPipeline, transformer)


def ltx():
    transformer = LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, patch_size=1, patch_size_t=1, num_attention_heads=4,
        attention_head_dim=8, cross_attention_dim=32, num_layers=1, caption_channels=32,
    )  # fmt: skip
    four, five = (8, 8, 8, 8), (1, 1, 1, 1, 1)
    scaling = (True, True, False, False)
    vae = AutoencoderKLLTXVideo(
        in_channels=3, out_channels=3, latent_channels=8, block_out_channels=four,
        decoder_block_out_channels=four, layers_per_block=five, decoder_layers_per_block=five,
        spatio_temporal_scaling=scaling, decoder_spatio_temporal_scaling=scaling,
        decoder_inject_noise=(False,) * 5, upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4, timestep_conditioning=False, patch_size=1, patch_size_t=1,
        encoder_causal=True, decoder_causal=False,
    )  # fmt: skip
    return LTXPipeline(
        transformer=transformer, vae=vae, scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=t5(), tokenizer=tokenizer(),
    )  # fmt: skip


def _stable(pipeline, channels: int = 4, **more):
    vae = AutoencoderKL(
        block_out_channels=[8, 8], norm_num_groups=4, in_channels=3, out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=16, in_channels=channels,
        out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32,
        norm_num_groups=4, attention_head_dim=4,
    )  # fmt: skip
    scheduler = DDIMScheduler(beta_schedule="linear", clip_sample=False, steps_offset=1)
    return pipeline(
        vae=vae, text_encoder=clip_text(), tokenizer=tokenizer(), unet=unet, scheduler=scheduler,
        **more,
    )  # fmt: skip


_UNCHECKED = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def stable_diffusion():
    return _stable(StableDiffusionPipeline, **_UNCHECKED)


def inpaint():
    return _stable(StableDiffusionInpaintPipeline, 9, **_UNCHECKED)


def instruct_pix2pix():
    return _stable(StableDiffusionInstructPix2PixPipeline, 8, **_UNCHECKED)


def animate_diff():
    adapter = MotionAdapter(
        block_out_channels=(8, 16), motion_layers_per_block=1, motion_norm_num_groups=2,
        motion_num_attention_heads=4,
    )  # fmt: skip
    return _stable(AnimateDiffPipeline, motion_adapter=adapter)


def stable_audio():
    transformer = StableAudioDiTModel(
        sample_size=1024, in_channels=3, num_layers=1, attention_head_dim=4,
        num_key_value_attention_heads=2, out_channels=3, cross_attention_dim=4, time_proj_dim=8,
        global_states_input_dim=8, cross_attention_input_dim=4,
    )  # fmt: skip
    vae = AutoencoderOobleck(
        encoder_hidden_size=6, downsampling_ratios=[1, 2], decoder_channels=3,
        decoder_input_channels=3, audio_channels=2, channel_multiples=[2, 4], sampling_rate=4000,
    )  # fmt: skip
    scheduler = EDMDPMSolverMultistepScheduler(
        solver_order=2, prediction_type="v_prediction", sigma_data=1.0,
        sigma_schedule="exponential",
    )  # fmt: skip
    return StableAudioPipeline(
        transformer=transformer, scheduler=scheduler, vae=vae, text_encoder=t5(width=4),
        tokenizer=tokenizer(),
        projection_model=StableAudioProjectionModel(4, 4, min_value=0, max_value=32),
    )  # fmt: skip
