"""The stages of one attention, for one query and one head: Q, K, V → scores → softmax → weights · V."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.explain.choice import Choice
from limelight.explain.drawn import cells, named, ranked, strip
from limelight.explain.explanation import Check, Numbers, Stage, compare, table
from limelight.explain.inputs import TOLERANCE
from limelight.explain.live import Call
from limelight.explain.plain import AttentionRun, angles, turned
from limelight.explain.walk import Side, Walk
from limelight.matrix import AttentionMatrix
from limelight.modules.attention import MultiHeadAttention
from limelight.modules.positions import ALiBi, Rotary

TINY = 1e-30
"""Weights below this may have become 0 in float32."""
SHIFTS = (0, 1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class View:
    """One attention as its stages look at it: the query at place `row`, the head `head`.

    `group` is the key head that serves it; `key_row` the key whose vectors are shown: of self-attention the
    query's own, of cross-attention the chosen token of the source.
    """

    part: str
    name: str
    kind: str
    walk: Walk
    module: MultiHeadAttention
    run: AttentionRun
    call: Call
    matrix: AttentionMatrix
    queries: Side
    keys: Side
    row: int
    key_row: int
    head: int

    @property
    def group(self) -> int:
        return self.head // (self.module.heads // self.module.groups)

    @property
    def seen_M(self) -> Tensor:
        """(M,) bool: the keys that the query may look at."""
        return self.run.seen_NM[self.row]

    def of_row(self, x_BHNM: Tensor) -> Tensor:
        """The query's row of a (B, H, N, M) stage, in its head."""
        return x_BHNM[0, self.head, self.row]


def view(walk: Walk, choice: Choice, kind: str, part: str) -> View:
    """`kind` is encoder, decoder (their self-attention) or cross."""
    stack = "encoder" if kind == "encoder" else "decoder"
    block = walk.stack(stack).blocks[choice.layer]
    inner = "cross_attention" if kind == "cross" else "self_attention"
    name = f"{stack}.blocks.{choice.layer}.{inner}"
    row = choice.rows[kind]
    return View(
        part, name, kind, walk, getattr(block, inner), walk.attention(kind, choice.layer), walk.live.calls[name],
        walk.live.matrices[name], walk.queries(kind), walk.keys(kind), row,
        choice.rows["encoder"] if kind == "cross" else row, choice.heads[kind],
    )  # fmt: skip


def head_stages(v: View) -> list[Stage]:
    """From the vectors that enter to the output of the head."""
    stages = [_projections(v), _split(v)]
    if isinstance(v.module.positions, Rotary):
        stages.append(_rotary(v))
    stages += [_scores(v), _scale(v)]
    if v.run.bias_HNM is not None:
        stages.append(_penalty(v))
    return [*stages, _mask(v), _softmax(v), _weigh(v), _side_by_side(v)]


def _projections(v: View) -> Stage:
    D, own = v.module.head_width, v.kind != "cross"
    q_D = v.run.q_BNX[0, v.row].view(-1, D)[v.head]
    k_D, v_D = (x[0, v.key_row].view(-1, D)[v.group] for x in (v.run.k_BMX, v.run.v_BMX))
    key = v.keys.labels[v.key_row]
    text = "All three are made of the same vectors." if own else "Queries come from the decoder, keys and values from the encoder."
    return Stage(
        v.part,
        "Wq, Wk, Wv → Q, K, V",
        "Q = X·Wq,  K = X·Wk,  V = X·Wv" if own else "Q = X·Wq,  K = Memory·Wk,  V = Memory·Wv",
        "§3.2.2" if own else "§3.2.3",
        (("q_BNX", tuple(v.run.q_BNX.shape)), ("k_BMX", tuple(v.run.k_BMX.shape)), ("v_BMX", tuple(v.run.v_BMX.shape))),
        f"{text} Here is the slice of head {v.head}: lengths {float(q_D.norm()):.4g}, {float(k_D.norm()):.4g} "
        f"and {float(v_D.norm()):.4g}.",
        (strip(f"Head {v.head}", {f"q of “{v.queries.labels[v.row]}”": q_D, f"k of “{key}”": k_D, f"v of “{key}”": v_D}),),
        compare(
            "Q, K and V of all tokens and heads, with what the model's own Wq, Wk, Wv gave",
            *((v.walk.live.out[f"{v.name}.{each}"], x) for each, x in
              (("Wq", v.run.q_BNX), ("Wk", v.run.k_BMX), ("Wv", v.run.v_BMX))),
            tolerance=TOLERANCE,
        ),
    )  # fmt: skip


def _split(v: View) -> Stage:
    D, H, G = v.module.head_width, v.module.heads, v.module.groups
    pairs = [(v.call.v_BGMD, v.run.v_BGMD)]
    if not isinstance(v.module.positions, Rotary):
        pairs += [(v.call.q_BHND, v.run.split_q_BHND), (v.call.k_BGMD, v.run.split_k_BGMD)]
    grouped = "" if G == H else f" Each of the {G} key heads serves {H // G} query heads."
    norms = torch.stack([v.run.split_q_BHND[0, :, v.row].norm(dim=-1)])
    return Stage(
        v.part,
        "Split heads",
        "head h takes the columns h·D … (h+1)·D",
        "§3.2.2",
        (("q_BHND", tuple(v.run.q_BHND.shape)), ("k_BGMD", tuple(v.run.k_BGMD.shape)), ("v_BGMD", tuple(v.run.v_BGMD.shape))),
        f"The width of {H * D} is cut into {H} heads of {D}; head {v.head} takes the columns {v.head * D} to "
        f"{(v.head + 1) * D - 1}.{grouped}",
        (
            Numbers(
                f"Length of q of “{v.queries.labels[v.row]}” in each head", "bars",
                tuple(f"head {h}" for h in range(H)), ("‖q‖",), table(norms.T), marked=(v.head,),
            ),
        ),
        compare("the heads, with what the fused kernel was given", *pairs, tolerance=TOLERANCE),
    )  # fmt: skip


def _rotary(v: View) -> Stage:
    positions = v.module.positions
    assert isinstance(positions, Rotary)
    q_1D, k_1D = v.run.split_q_BHND[0, v.head, v.row, None], v.run.split_k_BGMD[0, v.group, v.key_row, None]

    def score(query_place: int, key_place: int) -> Tensor:
        return (turned(positions, q_1D[None, None], query_place) * turned(positions, k_1D[None, None], key_place)).sum()

    along = torch.stack([score(v.row + shift, v.key_row + shift) for shift in SHIFTS])
    apart = torch.stack([score(v.key_row + shift, v.key_row) for shift in SHIFTS])
    angle_K = angles(positions, v.row + 1)[v.row]
    labels = (v.queries.labels[v.row], v.keys.labels[v.key_row])
    return Stage(
        v.part,
        "Rotary positions",
        "(q_i, q_i+D/2) ← turned by pos / base^(2i/D),  k likewise",
        "Su et al. 2021",
        (("q_BHND", tuple(v.run.q_BHND.shape)), ("k_BGMD", tuple(v.run.k_BGMD.shape))),
        f"At place {v.row} the first pair of features is turned by {float(angle_K[0]):.4g} radians, the last by "
        f"{float(angle_K[-1]):.4g}. Moved along together, query and key keep their score; moved apart, they do not.",
        (
            strip(f"The turn of each pair at place {v.row}", {"cosine": angle_K.cos(), "sine": angle_K.sin()}),
            Numbers(
                f"Score of q of “{labels[0]}” and k of “{labels[1]}”",
                "table",
                tuple(f"{shift} places" for shift in SHIFTS),
                ("both moved along", "query moved away"),
                table(torch.stack((along, apart), dim=1)),
            ),
        ),
        compare(
            "turned Q and K, with the fused kernel's; and the score at every shift, with that at no shift",
            (v.call.q_BHND, v.run.q_BHND),
            (v.call.k_BGMD, v.run.k_BGMD),
            (along, along[:1].expand_as(along)),
            tolerance=TOLERANCE,
        ),
    )


def _scores(v: View) -> Stage:
    row_M = v.of_row(v.run.steps.scores_BHNM)
    k_BHMD = v.call.k_BGMD.repeat_interleave(v.module.heads // v.module.groups, dim=1)
    low, high = int(row_M.argmin()), int(row_M.argmax())
    return Stage(
        v.part,
        "Scores: matrix multiplication",
        "S = Q·Kᵀ,  S[i, j] = Σ_d Q[i, d] · K[j, d]",
        "§3.2.1",
        (("q_BHND", tuple(v.run.q_BHND.shape)), ("k_BGMD", tuple(v.run.k_BGMD.shape)),
         ("s_BHNM", tuple(v.run.steps.scores_BHNM.shape))),
        f"The query of {named(v.queries.labels, v.row)} meets {len(row_M)} keys: lowest {float(row_M[low]):.4g} "
        f"with {named(v.keys.labels, low)}, highest {float(row_M[high]):.4g} with {named(v.keys.labels, high)}.",
        (ranked("The row of scores, low to high", v.keys.labels, {"score": row_M}, by="score", marked=[v.key_row]),),
        compare(
            "the scores of all heads and pairs, with the product of the Q and K that the fused kernel was given",
            (v.call.q_BHND @ k_BHMD.transpose(-1, -2), v.run.steps.scores_BHNM),
            tolerance=TOLERANCE,
        ),
    )  # fmt: skip


def _scale(v: View) -> Stage:
    before, after = v.run.steps.scores_BHNM[0, v.head], v.run.steps.scaled_BHNM[0, v.head]
    D = v.module.head_width
    rows = {"this row": (before[v.row], after[v.row]), "the whole head": (before, after)}
    variances = torch.stack([torch.stack([x.var(correction=0) for x in pair]) for pair in rows.values()])
    bias_M = 0.0 if v.run.bias_HNM is None else v.run.bias_HNM[v.head, v.row]
    kernel = _logits_of(v) - bias_M
    return Stage(
        v.part,
        "Scale",
        "S ← S / √D",
        "§3.2.1",
        (("s_BHNM", tuple(v.run.steps.scaled_BHNM.shape)),),
        f"Divided by √{D} = {math.sqrt(D):.4g}, the variance of this row falls from {float(variances[0, 0]):.4g} to "
        f"{float(variances[0, 1]):.4g}: a {D}th. Unscaled, the softmax would be steeper.",
        (Numbers("Variance of the scores", "table", tuple(rows), ("before", "after"), table(variances)),),
        compare(
            "differences between the scores of this row, with those between the logarithms of the fused kernel's weights",
            (_centred(kernel, v), _centred(v.of_row(v.run.steps.scaled_BHNM), v)),
            tolerance=TOLERANCE,
        ),
    )


def _penalty(v: View) -> Stage:
    assert v.run.bias_HNM is not None and isinstance(v.module.positions, ALiBi)
    bias_M = v.run.bias_HNM[v.head, v.row]
    slope = -float(v.run.bias_HNM[v.head, 0, 1]) if len(bias_M) > 1 else 0.0
    after_M = v.of_row(v.run.steps.biased_BHNM)
    return Stage(
        v.part,
        "ALiBi: a penalty on distance",
        "S[i, j] ← S[i, j] − slope · |i − j|",
        "Press et al. 2021",
        (("bias_HNM", tuple(v.run.bias_HNM.shape)),),
        f"Head {v.head} has the slope {slope:.4g}; the farthest key loses {-float(bias_M.min()):.4g}.",
        (
            ranked(
                "The row of scores after it, low to high", v.keys.labels,
                {"score": after_M, "penalty": bias_M}, by="score", marked=[v.key_row],
            ),
        ),
        compare(
            "differences between the scores of this row, with those between the logarithms of the fused kernel's weights",
            (_centred(_logits_of(v), v), _centred(after_M, v)),
            tolerance=TOLERANCE,
        ),
    )  # fmt: skip


def _mask(v: View) -> Stage:
    seen_NM, N, M = v.run.seen_NM, *v.run.seen_NM.shape
    hidden = int((~v.seen_M).sum())
    if v.kind == "decoder":
        reason = f"A token may look at itself and at what stands before it: of {M} keys {hidden} come later and are closed."
    else:
        reason = f"The whole {'text' if v.kind == 'encoder' else 'source'} may be seen: {hidden} of {M} keys are closed."
    reason += " There is no padding, since the text stands alone in its batch."
    kernel = v.call.weights()[0]
    certain = ~seen_NM | (v.run.steps.weights_BHNM[0] > TINY)
    wrong = ((kernel > 0) != seen_NM) & certain
    return Stage(
        v.part,
        "Mask",
        "S[i, j] ← −∞  where query i may not look at key j",
        "§3.2.3",
        (("seen_NM", (N, M)),),
        f"{reason} In all, {int((~seen_NM).sum())} of {N * M} cells are closed.",
        (cells("Open cells", seen_NM, v.queries.labels, v.keys.labels, row=v.row, column=v.key_row),),
        Check("cells of all heads that the fused kernel closed otherwise", float(wrong.sum()), 0.0),
    )


def _softmax(v: View) -> Stage:
    row_M, score_M = v.of_row(v.run.steps.weights_BHNM), v.of_row(v.run.steps.masked_BHNM)
    entropy = float(torch.special.entr(row_M).sum())
    open_keys = int(v.seen_M.sum())
    sinks = [
        f"“{v.keys.labels[place]}” takes {float(row_M[place]):.3g} of it"
        for place in v.keys.special.nonzero().flatten().tolist()
        if v.seen_M[place]
    ]
    total = row_M.sum()
    return Stage(
        v.part,
        "Softmax",
        "A[i, j] = exp(S[i, j] − m) / Σ_k exp(S[i, k] − m),  m = max_k S[i, k]",
        "§3.2.1, eq. 1",
        (("a_BHNM", tuple(v.run.steps.weights_BHNM.shape)),),
        f"The row adds up to {float(total):.9g}. Its entropy is {entropy:.4g} nats, as of {math.exp(entropy):.3g} keys "
        f"in equal shares; {math.log(open_keys):.4g} is the most that {open_keys} keys can have."
        + (f" Of the row, {' and '.join(sinks)}.".replace(" of it", "") if sinks else ""),
        (
            ranked(
                f"What “{v.queries.labels[v.row]}” attends to, low to high", v.keys.labels,
                {"weight": row_M, "score": score_M.masked_fill(~v.seen_M, math.nan)}, by="weight",
                marked=[v.key_row], unit="probability",
            ),
        ),
        compare(
            "every weight of all heads, with the fused kernel's; and the sum of this row, with 1",
            (v.call.weights(), v.run.steps.weights_BHNM),
            (total, torch.ones(())),
            tolerance=TOLERANCE,
        ),
    )  # fmt: skip


def _weigh(v: View) -> Stage:
    assert v.run.steps.output_BHND is not None
    row_M, v_MD = v.of_row(v.run.steps.weights_BHNM), v.run.v_BGMD[0, v.group]
    norm_M = v_MD.norm(dim=-1)
    output_D = v.run.steps.output_BHND[0, v.head, v.row]
    high, heavy = int(row_M.argmax()), int((row_M * norm_M).argmax())
    also = "the same key" if high == heavy else f"by length of α·v it is {named(v.keys.labels, heavy)}"
    return Stage(
        v.part,
        "Weights · V",
        "O = A·V,  O[i] = Σ_j A[i, j] · V[j]",
        "§3.2.1, eq. 1",
        (("a_BHNM", tuple(v.run.steps.weights_BHNM.shape)), ("v_BGMD", tuple(v.run.v_BGMD.shape)),
         ("o_BHND", tuple(v.run.steps.output_BHND.shape))),
        f"A value enters with its weight and its own length. By weight the first is {named(v.keys.labels, high)}; {also}.",
        (
            ranked(
                "What each value brings, low to high", v.keys.labels,
                {"‖α·v‖": row_M * norm_M, "α": row_M, "‖v‖": norm_M}, by="‖α·v‖", marked=[v.key_row],
            ),
            strip(f"Output of head {v.head}", {v.queries.labels[v.row]: output_D}),
        ),
        compare(
            "the outputs of all heads and queries, with the fused kernel's",
            (v.call.output_BHND, v.run.steps.output_BHND),
            tolerance=TOLERANCE,
        ),
    )  # fmt: skip


def _side_by_side(v: View) -> Stage:
    weights_HM = v.run.steps.weights_BHNM[0, :, v.row]
    entropies = torch.special.entr(weights_HM).sum(-1)
    flat, sharp = int(entropies.argmax()), int(entropies.argmin())
    return Stage(
        v.part,
        "All heads side by side",
        "head_h = softmax(Q_h·K_hᵀ / √D)·V_h",
        "§3.2.2",
        (("a_BHNM", tuple(v.run.steps.weights_BHNM.shape)),),
        f"The same query in every head of the layer: head {sharp} is the sharpest with {float(entropies[sharp]):.3g} "
        f"nats, head {flat} the flattest with {float(entropies[flat]):.3g}.",
        (
            cells(
                f"Weights of “{v.queries.labels[v.row]}”", weights_HM, [f"head {h}" for h in range(len(weights_HM))],
                v.keys.labels, unit="probability", row=v.head, column=v.key_row,
            ),
        ),
        compare(
            "every entry of all heads, with the AttentionMatrix of this layer",
            (v.matrix.dense(), v.run.steps.weights_BHNM),
            tolerance=TOLERANCE,
        ),
    )  # fmt: skip


def _logits_of(v: View) -> Tensor:
    """The scores of this row as the fused kernel saw them, up to one constant: ln of its weights."""
    return v.of_row(v.call.weights().double()).clamp(min=TINY).log()


def _centred(x_M: Tensor, v: View) -> Tensor:
    """The entries of a row that are open and not lost in float32, less their mean."""
    kept = x_M[v.seen_M & (v.of_row(v.run.steps.weights_BHNM) > TINY)]
    return kept - kept.mean()
