"""A whole model with its loss in one graph of torch.compile."""

import os

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import crossent.torch as xt  # noqa: E402

LONG = os.environ.get("CROSSENT_TORCH") == "long"  # `nox -s 'adapter(torch)'`
BATCH, LENGTH, VOCABULARY, WIDTH = 3, 8, 50, 16


class LanguageModel(nn.Module):
    """An embedding, a layer of a transformer, a linear layer over the vocabulary, and the loss."""

    def __init__(self, loss):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))
        self.loss = loss

    def forward(self, tokens):
        hidden = self.layer(self.embedding(tokens[:, :-1]), src_mask=self.mask, is_causal=True)
        return self.loss(self.head(hidden).flatten(0, 1), tokens[:, 1:].flatten())


def step(function, model, tokens):
    model.zero_grad()
    loss = function(tokens)
    loss.backward()
    return loss.detach(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # in a part of the default backend
@pytest.mark.parametrize("backend", ("aot_eager", "inductor") if LONG else ("aot_eager",))
@pytest.mark.parametrize("options", ({}, {"recompute": True}, {"inplace": True}, {"label_smoothing": 0.1}), ids=str)
def test_a_language_model(backend, options):
    torch._dynamo.reset()
    model = LanguageModel(xt.CrossEntropyLoss(ignore_index=0, **options))
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for _ in range(2):  # the second with what the first has compiled
        tokens = torch.randint(VOCABULARY, (BATCH, LENGTH + 1))
        # The matrices' products and their order differ: torch.testing's tolerances for float32, for all but the loss.
        torch.testing.assert_close(step(compiled, model, tokens), step(model, model, tokens))
    explained = torch._dynamo.explain(model)(tokens)
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)
