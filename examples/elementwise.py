"""An activation of one's own: a Python function of one number becomes an op, compiled, with its gradient.

Serf, x erf(log(1 + exp(x))), is from Nag et al., "SERF: Towards better training of deep neural networks using
log-softplus error activation function" (2021).
"""

import math

import numpy as np

import weft
from weft import nn, optim


@weft.elementwise
def serf(x):
    softplus = x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))
    return x * math.erf(softplus)


@weft.elementwise
def huber(prediction, target, *, delta=0.5):
    distance = abs(prediction - target)
    if distance < delta:
        return distance**2 / 2
    return delta * (distance - delta / 2)


class Serf(nn.Module):
    def forward(self, x):
        return serf(x)


if __name__ == "__main__":
    weft.random.seed(0)
    x = np.linspace(-3, 3, 256, dtype=np.float32)[:, None]
    y = np.sin(2 * x) * np.abs(x)
    model = nn.Sequential(nn.Linear(1, 32), Serf(), nn.Linear(32, 32), Serf(), nn.Linear(32, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for step in range(301):
        loss = huber(model(weft.asarray(x)), weft.asarray(y)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
    print(f"serf'(1) = {weft.grad(serf)(weft.asarray(1.0)).item():.4f}")
    print(f"serf'''(1) = {weft.grad(weft.grad(weft.grad(serf)))(weft.asarray(1.0)).item():.4f}")
