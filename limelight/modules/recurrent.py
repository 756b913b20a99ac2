"""The rivals of attention: recurrent networks, on torch's own cells, with the Transformer's embeddings and doors.

    RecurrentTranslator      an encoder, read in both directions, and a decoder: Sutskever et al. 2014
                             (arXiv:1409.3215) without attention, with Bahdanau's or with Luong's
    RecurrentLanguageModel   one direction, the next token
    RecurrentClassifier      both directions (or one), their mean, one score a class

They take and give what `Transformer`, `LanguageModel` and `Classifier` take and give, so that data, loop, search
and measures are the same for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from limelight.errors import InputError, one_of
from limelight.matrix.masks import Mask
from limelight.modules.attention import Role, text_keys
from limelight.modules.embeddings import TokenEmbedding
from limelight.modules.recurrent_attention import AdditiveAttention, GlobalAttention

Hidden = Tensor | tuple[Tensor, Tensor]
"""What a cell remembers, (layers, B, E): the GRU's one tensor, the LSTM's two."""


@dataclass(frozen=True)
class RecurrentConfig:
    """What a recurrent network looks like. Widths in features, dropout as a probability.

    `forget_bias` is what the LSTM's forget gates begin with: at 0 a fresh cell halves what it remembers at
    every step (Gers et al. 2000, Jozefowicz et al. 2015). The GRU's update gates begin with it likewise.
    `causal` is for a classifier alone: it reads in one direction, as the language model that it was made from.
    """

    cell: Literal["lstm", "gru"] = "lstm"
    attention: Literal["none", "bahdanau", "luong"] = "none"
    width: int = 256
    encoder_layers: int = 2
    decoder_layers: int = 2
    dropout: float = 0.1
    forget_bias: float = 1.0
    causal: bool = False
    architecture: Literal["recurrent"] = "recurrent"

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise InputError(one_of("cell", CELLS, self.cell))
        if self.attention not in ("none", "bahdanau", "luong"):
            raise InputError(f"attention must be none, bahdanau or luong; got {self.attention!r}.")
        if self.width < 2 or self.width % 2:
            raise InputError(f"width must be even, half of it for each direction; got {self.width}.")


CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Layers of cells over (B, N, E), in one direction or, each with half the width, in both."""

    def __init__(self, shape: RecurrentConfig, inputs: int, layers: int, both: bool = False) -> None:
        super().__init__()
        self.cells = CELLS[shape.cell](
            inputs,
            shape.width // 2 if both else shape.width,
            layers,
            batch_first=True,
            bidirectional=both,
            dropout=shape.dropout if layers > 1 else 0.0,
        )
        # torch orders the gates input, forget, … (LSTM) and reset, update, … (GRU): the second is the one.
        size = self.cells.hidden_size
        with torch.no_grad():
            for name, parameter in self.cells.named_parameters():
                if name.startswith("bias"):
                    parameter.zero_()
                if name.startswith("bias_ih"):
                    parameter[size : 2 * size].fill_(shape.forget_bias)

    def forward(
        self, x_BNE: Tensor, hidden: Hidden | None = None, lengths_B: Tensor | None = None
    ) -> tuple[Tensor, Hidden]:
        """Padding, where `lengths_B` says there is any, is not read in either direction."""
        if lengths_B is None or bool((lengths_B == x_BNE.shape[1]).all()):
            return self.cells(x_BNE, hidden)
        packed = pack_padded_sequence(x_BNE, lengths_B.cpu(), batch_first=True, enforce_sorted=False)
        outputs, hidden = self.cells(packed, hidden)
        return pad_packed_sequence(outputs, batch_first=True, total_length=x_BNE.shape[1])[0], hidden


@dataclass
class RecurrentState:
    """What a decoder remembers between two tokens: its cells, and with Bahdanau's attention the last context."""

    hidden: Hidden
    first: Hidden | None = None
    context_B1E: Tensor | None = None

    def select(self, rows: Tensor) -> None:
        """Keep these batch rows, in this order (beams that live on)."""
        self.hidden = _selected(self.hidden, rows)
        self.first = None if self.first is None else _selected(self.first, rows)
        self.context_B1E = None if self.context_B1E is None else self.context_B1E.index_select(0, rows)


class RecurrentTranslator(nn.Module):
    """forward(source (B, M), target (B, N), source_lengths (B,)) → scores (B, N, V), as `Transformer` has it.

    Without attention all that the decoder knows of the source is the encoder's last state. Luong's attention
    (2015, arXiv:1508.04025, "global", "general") looks at the source after the cells; Bahdanau's (2014,
    arXiv:1409.0473, additive) before them, so that it must go token by token in training too. With several
    decoder layers Bahdanau's context enters the first one.
    """

    role: ClassVar[Role] = "pairs"

    def __init__(
        self, shape: RecurrentConfig, source_vocabulary: int, target_vocabulary: int, share: bool = False
    ) -> None:
        super().__init__()
        self.shape = shape
        width, layers = shape.width, shape.decoder_layers
        self.target_embedding = TokenEmbedding(target_vocabulary, width)
        self.source_embedding = self.target_embedding if share else TokenEmbedding(source_vocabulary, width)
        self.dropout = nn.Dropout(shape.dropout)
        self.encoder = Recurrent(shape, width, shape.encoder_layers, both=True)
        self.bridge = nn.Linear(width, layers * width * (2 if shape.cell == "lstm" else 1))
        self.cross_attention: AdditiveAttention | GlobalAttention | None = None
        self.first: Recurrent | None = None
        if shape.attention == "bahdanau":
            self.cross_attention = AdditiveAttention(width)
            self.first = Recurrent(shape, 2 * width, 1)
            layers -= 1
        elif shape.attention == "luong":
            self.cross_attention = GlobalAttention(width)
        self.decoder = Recurrent(shape, width, layers) if layers else None
        self.norm = nn.LayerNorm(width)

    def forward(self, source: Tensor, target: Tensor, source_lengths: Tensor | None = None) -> Tensor:
        memory_BME, state = self.encode(source, source_lengths)
        return self.decode(target, memory_BME, state, text_keys(source_lengths, source.shape[1]))

    def encode(self, source: Tensor, source_lengths: Tensor | None = None) -> tuple[Tensor, RecurrentState]:
        """Source ids (B, M) → what the encoder wrote at every token (B, M, E), and the decoder's first state."""
        embedded_BME = self.dropout(self.source_embedding(source))
        memory_BME, hidden = self.encoder(embedded_BME, lengths_B=source_lengths)
        last = hidden[0] if isinstance(hidden, tuple) else hidden
        last_BE = torch.cat([last[-2], last[-1]], -1)  # the top layer's, left to right and right to left
        parts = self.bridge(last_BE).tanh().unflatten(-1, (-1, self.shape.width)).movedim(1, 0).contiguous()
        layers = self.shape.decoder_layers
        first: Hidden = (parts[:layers], parts[layers:]) if self.shape.cell == "lstm" else parts
        if self.first is None:
            return memory_BME, RecurrentState(first)
        return memory_BME, RecurrentState(_layers(first, 1, layers), _layers(first, 0, 1))

    def decode(
        self, target: Tensor, memory_BME: Tensor, state: RecurrentState, memory_mask: Mask | None = None
    ) -> Tensor:
        """Target ids (B, N) → scores (B, N, V); `state` goes on from where it is to the last token."""
        x_BNE = self.dropout(self.target_embedding(target))
        if self.first is not None:
            x_BNE = self._first_layer(x_BNE, memory_BME, state, memory_mask)
        if self.decoder is not None:
            x_BNE, state.hidden = self.decoder(x_BNE, state.hidden)
        if isinstance(self.cross_attention, GlobalAttention):
            x_BNE = self.cross_attention(x_BNE, memory_BME, memory_mask)
        return self.target_embedding.scores(self.norm(self.dropout(x_BNE)))

    def _first_layer(
        self, x_BNE: Tensor, memory_BME: Tensor, state: RecurrentState, memory_mask: Mask | None
    ) -> Tensor:
        """Bahdanau: each token's context is looked for with the state before it, and read together with it."""
        assert self.first is not None and isinstance(self.cross_attention, AdditiveAttention)
        assert state.first is not None
        look = self.cross_attention.over(memory_BME, memory_mask)
        outputs = []
        for x_B1E in x_BNE.split(1, dim=1):
            top = state.first[0] if isinstance(state.first, tuple) else state.first
            context_B1E = look(top[-1][:, None])
            output_B1E, state.first = self.first(torch.cat([x_B1E, context_B1E], -1), state.first)
            outputs.append(output_B1E)
        look.done()
        return torch.cat(outputs, dim=1)


class RecurrentLanguageModel(nn.Module):
    """ids (B, N) → scores of the next token (B, N, V)."""

    role: ClassVar[Role] = "language"

    def __init__(self, shape: RecurrentConfig, vocabulary: int) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = TokenEmbedding(vocabulary, shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.decoder = Recurrent(shape, shape.width, shape.decoder_layers)
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, target: Tensor, state: RecurrentState | None = None) -> Tensor:
        """With a state, `target` holds new tokens only, and the state goes on."""
        hidden = None if state is None else state.hidden
        x_BNE, hidden = self.decoder(self.dropout(self.embedding(target)), hidden)
        if state is not None:
            state.hidden = hidden
        return self.embedding.scores(self.norm(self.dropout(x_BNE)))

    def new_state(self, batch: int) -> RecurrentState:
        """Nothing read yet: zeros."""
        zeros = self.embedding.table.weight.new_zeros(self.shape.decoder_layers, batch, self.shape.width)
        return RecurrentState((zeros, zeros.clone()) if self.shape.cell == "lstm" else zeros)


class RecurrentClassifier(nn.Module):
    """Both directions (one, if causal), the mean over the text, and one score a class: ids (B, N) → (B, classes)."""

    role: ClassVar[Role] = "classes"

    def __init__(self, shape: RecurrentConfig, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = TokenEmbedding(vocabulary, shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.encoder = Recurrent(shape, shape.width, shape.encoder_layers, both=not shape.causal)
        self.norm = nn.LayerNorm(shape.width)
        self.output = nn.Linear(shape.width, classes)

    def forward(self, source: Tensor, source_lengths: Tensor | None = None) -> Tensor:
        x_BNE, _ = self.encoder(self.dropout(self.embedding(source)), lengths_B=source_lengths)
        x_BNE = self.norm(self.dropout(x_BNE))
        if source_lengths is None:
            return self.output(x_BNE.mean(1))
        place_N = torch.arange(source.shape[1], device=source.device)
        text_BN1 = (place_N < source_lengths[:, None])[..., None]
        return self.output((x_BNE * text_BN1).sum(1) / source_lengths[:, None].clamp_min(1))


def _layers(hidden: Hidden, start: int, stop: int) -> Hidden:
    if isinstance(hidden, tuple):
        return hidden[0][start:stop].contiguous(), hidden[1][start:stop].contiguous()
    return hidden[start:stop].contiguous()


def _selected(hidden: Hidden, rows: Tensor) -> Hidden:
    if isinstance(hidden, tuple):
        return hidden[0].index_select(1, rows), hidden[1].index_select(1, rows)
    return hidden.index_select(1, rows)
