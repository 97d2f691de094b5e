import numpy as np
import pytest
import torch

from tasks.downstream.relational_memory import Attention, LayerNorm, MemoryLayerNorm, RelationalMemory, sinusoids


def of(linear: torch.nn.Linear, rows: np.ndarray) -> np.ndarray:
    return rows @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def attention_by_hand(attention: Attention, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of one sample: rows (S, D), others (U, D)."""
    query, key, value = of(attention.query, rows), of(attention.key, others), of(attention.value, others)
    size = rows.shape[1] // attention.heads
    heads = []
    for head in range(attention.heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / np.sqrt(size)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        heads.append(weights / weights.sum(1, keepdims=True) @ value[:, part])
    return of(attention.out, np.concatenate(heads, 1))


def test_a_step_of_the_memory_by_hand():
    torch.manual_seed(0)
    memory = RelationalMemory(width=8, slots=3, heads=2, dropout=0.0).double().eval()
    before, token = torch.randn(2, 3, 8, dtype=torch.double), torch.randn(2, 8, dtype=torch.double)
    after = memory.step(before, token).detach().numpy()
    for m, y, got in zip(before.numpy(), token.numpy(), after, strict=True):
        attended = m + attention_by_hand(memory.attention, m, np.concatenate([m, y[None]]))
        hidden = np.maximum(of(memory.mlp[0], attended), 0)
        updated = attended + np.maximum(of(memory.mlp[2], hidden), 0)
        gates = of(memory.w, y[None]) + of(memory.u, np.tanh(m))
        i, f = gates[:, :8], gates[:, 8:]
        assert got == pytest.approx(sigmoid(i) * np.tanh(updated) + sigmoid(f) * m, abs=1e-12)


def test_the_memory_begins_as_an_identity_and_goes_token_by_token():
    memory = RelationalMemory(8, 3, 2, 0.0)
    tokens = torch.randn(2, 4, 8)
    state = memory.initial(2, tokens)
    assert state[1].equal(torch.eye(8)[:3])
    for place, row in enumerate(memory(tokens).unbind(1)):
        state = memory.step(state, tokens[:, place])
        assert row.equal(state.flatten(1))


def test_gates_decide_between_forgetting_and_writing():
    memory = RelationalMemory(8, 3, 2, 0.0)
    for linear in (memory.w, memory.u):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    with torch.no_grad():
        memory.w.bias[:8], memory.w.bias[8:] = -1e4, 1e4  # write nothing, keep all
    before = torch.randn(2, 3, 8)
    assert memory.step(before, torch.randn(2, 8)).equal(before)


def test_layer_norm_divides_by_the_unbiased_deviation():
    rows = torch.tensor([[1.0, 2.0, 3.0, 6.0]], dtype=torch.double)
    expected = (rows - 3) / np.sqrt(14 / 3)
    assert LayerNorm(4).double()(rows).detach().numpy() == pytest.approx(expected.numpy(), abs=1e-9)


def test_the_memory_moves_scale_and_offset():
    torch.manual_seed(0)
    norm = MemoryLayerNorm(4, 6).double()
    rows, memory = torch.randn(2, 3, 4, dtype=torch.double), torch.randn(2, 3, 6, dtype=torch.double)
    m = memory.numpy()
    gamma = 1 + of(norm.delta_gamma[2], np.maximum(of(norm.delta_gamma[0], m), 0))
    beta = of(norm.delta_beta[2], np.maximum(of(norm.delta_beta[0], m), 0))
    x = rows.numpy()
    expected = gamma * (x - x.mean(-1, keepdims=True)) / x.std(-1, ddof=1, keepdims=True) + beta
    assert norm(rows, memory).detach().numpy() == pytest.approx(expected, abs=1e-9)


def test_sinusoids():
    codes = sinusoids(5, 6)
    assert codes[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert codes[3, 2].item() == pytest.approx(np.sin(3 / 10000 ** (2 / 6)), abs=1e-6)
    assert codes[3, 5].item() == pytest.approx(np.cos(3 / 10000 ** (4 / 6)), abs=1e-6)
