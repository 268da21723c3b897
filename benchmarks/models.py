"""The benchmarked models, written once: `nn` and `F` are either framework's, which share names and arguments."""

from __future__ import annotations

from typing import Any


def mlp(nn: Any, F: Any) -> Any:
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn(nn: Any, F: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(3136, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def resnet18(nn: Any, F: Any) -> Any:
    """ResNet-18 with the 3x3 stem for 32x32 images (He et al. 2015, section 4.2's shapes)."""

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.down = None
            if stride != 1 or inputs != outputs:
                self.down = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            h = F.relu(self.bn1(self.conv1(x)))
            h = self.bn2(self.conv2(h))
            return F.relu(h + (x if self.down is None else self.down(x)))

    layers = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    width = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(width, outputs, stride), Block(outputs, outputs, 1)]
        width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def gpt(
    nn: Any, F: Any, *, vocabulary: int = 65, layers: int = 4, width: int = 256, heads: int = 4, length: int = 128
) -> Any:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln1 = nn.LayerNorm(width)
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)
            self.ln2 = nn.LayerNorm(width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Any) -> Any:
            B, T, C = x.shape
            qkv = self.qkv(self.ln1(x)).reshape(B, T, 3, heads, C // heads)
            q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))  # (B, H, T, D)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.swapaxes(1, 2).reshape(B, T, C))
            return x + self.mlp(self.ln2(x))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Embedding(vocabulary, width)
            self.position = nn.Embedding(length, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens: Any) -> Any:
            x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
            return self.head(self.norm(self.blocks(x))).reshape(-1, vocabulary)

    return GPT()


def lstm(nn: Any, F: Any, *, width: int = 128) -> Any:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(65, width // 2)
            self.lstm = nn.LSTM(width // 2, width, batch_first=True)
            self.head = nn.Linear(width, 65)

        def forward(self, tokens: Any) -> Any:
            h, _ = self.lstm(self.embed(tokens))
            return self.head(h).reshape(-1, 65)

    return Net()


def wide_lstm(nn: Any, F: Any) -> Any:
    return lstm(nn, F, width=256)


def images(*shape: int) -> Any:
    return lambda rng: (rng.standard_normal(shape).astype("f"), rng.integers(0, 10, shape[0]))


def tokens(batch: int, length: int) -> Any:
    return lambda rng: (rng.integers(0, 65, (batch, length)), rng.integers(0, 65, batch * length))


# name: (model, batch maker, what it is)
MODELS = {
    "mlp": (mlp, images(32, 784), "784-128-64-10, batch 32"),
    "cnn": (cnn, images(64, 1, 28, 28), "conv 32, conv 64, dense 128; 28x28, batch 64"),
    "resnet18": (resnet18, images(32, 3, 32, 32), "ResNet-18, 32x32, batch 32"),
    "gpt": (gpt, tokens(16, 128), "4 layers, width 256, T 128, batch 16"),
    "lstm": (lstm, tokens(32, 64), "embedding 64, LSTM 128, T 64, batch 32"),
    "wide_lstm": (wide_lstm, tokens(32, 64), "embedding 128, LSTM 256, T 64, batch 32"),
}
