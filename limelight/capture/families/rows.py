"""The table of families: folder of transformers' models and class of module, and how it is captured."""

from __future__ import annotations

from limelight.capture.families import Family, longformer, tape

BY_TAPE = Family("followed by tape: Q, K, V, and what is added to the scores, by reference", tape.follow)
WINDOWED = Family("a window and global tokens: Q, K and V; memory linear in the length", longformer.follow)

TAPED = """
bark.BarkSelfAttention big_bird.BigBirdSelfAttention bigbird_pegasus.BigBirdPegasusSelfAttention
blip.BlipAttention blip.BlipTextSelfAttention bloom.BloomAttention bros.BrosSelfAttention
canine.CanineSelfAttention clap.ClapAudioSelfAttention clvp.ClvpSelfAttention codegen.CodeGenAttention
cpmant.CpmAntAttention cvt.CvtSelfAttention dab_detr.DetrAttention dab_detr.DabDetrAttention
data2vec.Data2VecVisionSelfAttention deberta.DisentangledSelfAttention deberta_v2.DisentangledSelfAttention
donut.DonutSwinSelfAttention falcon.FalconAttention
fastspeech2_conformer.FastSpeech2ConformerAttention flaubert.MultiHeadAttention flava.FlavaSelfAttention
fsmt.Attention funnel.FunnelRelMultiheadAttention git.GitSelfAttention glpn.GLPNEfficientSelfAttention
got_ocr2.GotOcr2VisionAttention gpt_neo.GPTNeoSelfAttention gpt_neox_japanese.GPTNeoXJapaneseAttention
gptj.GPTJAttention grounding_dino.GroundingDinoMultiheadAttention groupvit.GroupViTAttention
hiera.HieraMaskUnitAttention ibert.IBertSelfAttention imagegpt.ImageGPTAttention
layoutlmv2.LayoutLMv2SelfAttention layoutlmv3.LayoutLMv3SelfAttention led.LEDDecoderAttention
levit.LevitAttention levit.LevitAttentionSubsample lilt.LiltSelfAttention luke.LukeSelfAttention
lxmert.LxmertAttention megatron_bert.MegatronBertSelfAttention mgp_str.MgpstrAttention
mm_grounding_dino.MMGroundingDinoMultiheadAttention mobilevit.MobileViTSelfAttention
mpnet.MPNetSelfAttention mpt.MptAttention mvp.MvpAttention omdet_turbo.OmDetTurboMultiheadAttention
openai.Attention perceiver.PerceiverSelfAttention pp_doclayout_v2.PPDocLayoutV2ReadingOrderSelfAttention
prophetnet.ProphetNetAttention pvt.PvtEfficientSelfAttention pvt_v2.PvtV2SelfAttention
rembert.RemBertSelfAttention roformer.RoFormerSelfAttention sam.SamVisionAttention sam_hq.SamHQVisionAttention
seggpt.SegGptAttention slanext.SLANeXtVisionAttention speecht5.SpeechT5Attention
squeezebert.SqueezeBertSelfAttention superglue.SuperGlueSelfAttention swin2sr.Swin2SRSelfAttention
swinv2.Swinv2SelfAttention table_transformer.TableTransformerAttention tapas.TapasSelfAttention
timesformer.TimesformerSelfAttention trocr.TrOCRAttention tvp.TvpAttention vilt.ViltSelfAttention
visual_bert.VisualBertSelfAttention vitdet.VitDetAttention vits.VitsAttention xglm.XGLMAttention
xlm.MultiHeadAttention xlnet.XLNetRelativeAttention zoedepth.ZoeDepthMultiheadAttention
"""
"""One softmax(QKᵀ + …)·V a call, in plain operations."""

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(TAPED.split(), BY_TAPE),
    "longformer.LongformerSelfAttention": WINDOWED,
    "led.LEDEncoderSelfAttention": WINDOWED,
}
