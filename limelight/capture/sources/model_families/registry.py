"""FAMILIES: which hand-written attention classes of transformers are captured, how, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache

from torch import nn

from limelight.capture.hooks import hooked
from limelight.capture.listeners import Listener, Missed, Record, reporting
from limelight.capture.sources.model_families import longformer
from limelight.capture.sources.model_families.family import Family, Watch
from limelight.capture.sources.op_tracing import module_tape

BY_TAPE = Family(
    "followed by tape: Q, K, V, and what is added to the scores, by reference", module_tape.follow
)
LOOKED_UP = Family(
    "followed by tape: Q, K, V, and the vectors that are looked up by distance; memory linear in the length",
    module_tape.follow,
)
TABLED = Family(
    "followed by tape: Q, K, V, and relative positions as a table, a number for every pair and head; memory grows "
    "with the square of the length",
    module_tape.follow,
)
WINDOWED = Family("a window and global tokens: Q, K and V; memory linear in the length", longformer.follow)

SPARSE = (
    "block-sparse attention attends to random blocks, and in evaluation to the first block several times over, "
    "which is no softmax over the keys; switch it off with model.set_attention_type('original_full')"
)


@contextmanager
def _unless_sparse(module: nn.Module, record: Record, missed: Missed) -> Iterator[None]:
    def sparse(module: nn.Module) -> str | None:
        return SPARSE if getattr(module, "attention_type", "") == "block_sparse" else None

    with module_tape.follow(module, record, missed, unless=sparse):
        yield


@contextmanager
def _if_upcast(module: nn.Module, record: Record, missed: Missed) -> Iterator[None]:
    if getattr(module, "reorder_and_upcast_attn", False):
        with module_tape.follow(module, record, missed):
            yield
    else:
        yield


UPCAST = Family("with reorder_and_upcast_attn followed by tape: Q, K, V by reference", _if_upcast)

BIRD = Family(f"followed by tape where attention is full; else refused: {SPARSE}", _unless_sparse)


def refused(why: str) -> Family:
    return Family(why, None)


TAPED = """
bark.BarkSelfAttention blip.BlipAttention blip.BlipTextSelfAttention bloom.BloomAttention bros.BrosSelfAttention
canine.CanineSelfAttention clap.ClapAudioSelfAttention clvp.ClvpSelfAttention codegen.CodeGenAttention
convbert.ConvBertSelfAttention cpmant.CpmAntAttention cvt.CvtSelfAttention dab_detr.DabDetrAttention
dab_detr.DetrAttention data2vec.Data2VecVisionSelfAttention deepseek_ocr2.DeepseekOcr2SamVisionAttention
donut.DonutSwinSelfAttention
evolla.EvollaSequenceAlignerCrossAttention evolla.EvollaSequenceCompressorAttention falcon.FalconAttention
fastspeech2_conformer.FastSpeech2ConformerAttention flaubert.MultiHeadAttention flava.FlavaSelfAttention
fsmt.Attention git.GitSelfAttention glpn.GLPNEfficientSelfAttention
got_ocr2.GotOcr2VisionAttention gpt_neo.GPTNeoSelfAttention gpt_neox_japanese.GPTNeoXJapaneseAttention
gptj.GPTJAttention grounding_dino.GroundingDinoMultiheadAttention groupvit.GroupViTAttention
hiera.HieraMaskUnitAttention ibert.IBertSelfAttention imagegpt.ImageGPTAttention
layoutlmv2.LayoutLMv2SelfAttention layoutlmv3.LayoutLMv3SelfAttention led.LEDDecoderAttention
levit.LevitAttention levit.LevitAttentionSubsample lilt.LiltSelfAttention luke.LukeSelfAttention
lxmert.LxmertAttention mask2former.Mask2FormerAttention maskformer.MaskFormerSwinSelfAttention
megatron_bert.MegatronBertSelfAttention mgp_str.MgpstrAttention
mm_grounding_dino.MMGroundingDinoMultiheadAttention mobilevit.MobileViTSelfAttention mpnet.MPNetSelfAttention
mpt.MptAttention mvp.MvpAttention omdet_turbo.OmDetTurboMultiheadAttention oneformer.OneFormerAttention
openai.Attention perceiver.PerceiverSelfAttention pp_doclayout_v2.PPDocLayoutV2ReadingOrderSelfAttention
pp_formulanet.PPFormulaNetVisionAttention prophetnet.ProphetNetAttention pvt.PvtEfficientSelfAttention
pvt_v2.PvtV2SelfAttention rembert.RemBertSelfAttention roformer.RoFormerSelfAttention sam.SamVisionAttention
sam_hq.SamHQVisionAttention seggpt.SegGptAttention slanext.SLANeXtVisionAttention speecht5.SpeechT5Attention
squeezebert.SqueezeBertSelfAttention superglue.SuperGlueSelfAttention swin2sr.Swin2SRSelfAttention
swinv2.Swinv2SelfAttention table_transformer.TableTransformerAttention tapas.TapasSelfAttention
timesformer.TimesformerSelfAttention trocr.TrOCRAttention tvp.TvpAttention
unlimited_ocr.UnlimitedOcrSamVisionAttention vilt.ViltSelfAttention visual_bert.VisualBertSelfAttention
vitdet.VitDetAttention vits.VitsAttention xglm.XGLMAttention xlm.MultiHeadAttention
zoedepth.ZoeDepthMultiheadAttention
"""
"""One softmax(QKᵀ + …)·V a call, in plain operations."""

SAMPLED = """
d_fine.DFineMultiscaleDeformableAttention deformable_detr.DeformableDetrMultiscaleDeformableAttention
deimv2.Deimv2MultiscaleDeformableAttention grounding_dino.GroundingDinoMultiscaleDeformableAttention
lw_detr.LwDetrMultiscaleDeformableAttention
mask2former.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention
mm_grounding_dino.MMGroundingDinoMultiscaleDeformableAttention omdet_turbo.OmDetTurboMultiscaleDeformableAttention
oneformer.OneFormerPixelDecoderEncoderMultiscaleDeformableAttention
pp_doclayout_v2.PPDocLayoutV2MultiscaleDeformableAttention pp_doclayout_v3.PPDocLayoutV3MultiscaleDeformableAttention
pp_doclayout_v4.PPDocLayoutV4MultiscaleDeformableAttention rf_detr.RfDetrMultiscaleDeformableAttention
rt_detr.RTDetrMultiscaleDeformableAttention rt_detr_v2.RTDetrV2MultiscaleDeformableAttention
"""
"""Deformable attention."""

ADDITIVE = "additive attention is no product of queries and keys"
BOTH_WAYS = "one table of scores is read both ways, from text to picture and from picture to text"
CHUNKS = "attention in overlapping chunks of sound is not captured"
CODEC = "attention between the pixels of a picture's codec is not captured"
FOLDING = "attention between the residues of a folding protein is not captured"
WAY_OUT = "use attn_implementation='eager' with output_attentions=True, which gives the model's own maps"

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(TAPED.split(), BY_TAPE),
    "deberta.DisentangledSelfAttention": LOOKED_UP,
    "deberta_v2.DisentangledSelfAttention": LOOKED_UP,
    "funnel.FunnelRelMultiheadAttention": TABLED,
    "xlnet.XLNetRelativeAttention": TABLED,
    **dict.fromkeys(
        SAMPLED.split(), refused("its weights belong to points sampled between pixels, not to keys")
    ),
    "autoformer.AutoformerAttention": refused(
        "it weighs delays by autocorrelation, there is no weight of a key"
    ),
    "gpt2.GPT2Attention": UPCAST,
    "decision_transformer.DecisionTransformerGPT2Attention": UPCAST,
    "big_bird.BigBirdAttention": BIRD,
    "bigbird_pegasus.BigBirdPegasusEncoderAttention": BIRD,
    "longformer.LongformerSelfAttention": WINDOWED,
    "led.LEDEncoderSelfAttention": WINDOWED,
    "chameleon.ChameleonVQVAEEncoderAttnBlock": refused(CODEC),
    "esm.EsmFoldSelfAttention": refused(FOLDING),
    "esm.EsmFoldInvariantPointAttention": refused(FOLDING),
    "gemma3n.Gemma3nAudioAttention": refused(CHUNKS),
    "gemma4.Gemma4AudioAttention": refused(CHUNKS),
    "grounding_dino.GroundingDinoBiMultiHeadAttention": refused(BOTH_WAYS),
    "groupvit.GroupViTAssignAttention": refused("each patch is given to one group by a hard choice"),
    "janus.JanusVQVAEAttnBlock": refused(CODEC),
    "longt5.LongT5LocalAttention": refused(f"attention in blocks of three is not captured; {WAY_OUT}"),
    "longt5.LongT5TransientGlobalAttention": refused(
        f"attention to summaries of blocks is not captured; {WAY_OUT}"
    ),
    "pegasus_x.PegasusXGlobalLocalAttention": refused(
        f"attention to a block and to global tokens of no text is not captured; {WAY_OUT}"
    ),
    "prophetnet.ProphetNetNgramSelfAttention": refused(
        f"attention of several streams that predict different words is not captured; {WAY_OUT}"
    ),
    "informer.InformerProbSparseAttention": refused(
        "only sampled queries attend, the others take a mean of the values, which is no softmax over the keys"
    ),
    "mm_grounding_dino.MMGroundingDinoBiMultiHeadAttention": refused(BOTH_WAYS),
    "mra.MraSelfAttention": refused("its weights are an approximation of softmax that has no exact entries"),
    "nystromformer.NystromformerSelfAttention": refused(
        "its weights are a product of three matrices that approximates softmax"
    ),
    "swiftformer.SwiftFormerEfficientAdditiveAttention": refused(ADDITIVE),
    "yoso.YosoSelfAttention": refused("its weights are estimated by hashing, no softmax is computed"),
    "reformer.LSHSelfAttention": refused("keys are sought by hashing, and which are found is random"),
    "reformer.LocalSelfAttention": refused("attention in overlapping chunks is not captured"),
    "mobilevitv2.MobileViTV2LinearSelfAttention": refused("linear attention has no weight from query to key"),
    "rwkv.RwkvSelfAttention": refused("a recurrent layer has no weight from query to key"),
    "slanet.SLANetAttentionGRUCell": refused(ADDITIVE),
    "slanext.SLANeXtAttentionGRUCell": refused(ADDITIVE),
    "sew_d.DisentangledSelfAttention": refused(
        "its softmax is a function of its own, with a gradient of its own"
    ),
    "minimax.MiniMaxLightningAttention": refused(
        "linear attention has no softmax, and no weight from query to key"
    ),
}


def family_of(module: nn.Module) -> Family | None:
    """The family that this module's class, or one that it derives from, belongs to."""
    return _family_of_class(type(module))  # type: ignore[arg-type]


@cache
def _family_of_class(kind: type[nn.Module]) -> Family | None:
    for each in kind.__mro__:
        folder = each.__module__.rpartition(".")[0].rpartition(".")[2]
        found = FAMILIES.get(f"{folder}.{each.__name__}")
        if found is not None:
            return found
    return None


@contextmanager
def families(modules: Sequence[nn.Module], listener: Listener) -> Iterator[None]:
    """The source: hears every module of a known family.

    Of a module that ran without its attention being followed, or whose family is refused, the listener is told by
    `listener.missed(module, why)`, where it has such a method.
    """
    record, missed = reporting(listener)
    with ExitStack() as stack:
        for module in modules:
            family = family_of(module)
            if family is not None:
                watch = family.watch or _refusing(family.how)
                stack.enter_context(watch(module, record, missed))
        yield


def _refusing(why: str) -> Watch:
    @contextmanager
    def watch(module: nn.Module, record: Record, missed: Missed) -> Iterator[None]:
        with hooked(module, after=lambda *_: missed(module, why)):
            yield

    return watch
