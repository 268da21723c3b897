from weft import nn, optim
from weft.data import DataLoader, digits, random_split

samples, classes = digits()  # 1,797 handwritten digits, 8 x 8 pixels
train, test = random_split(samples, [0.8, 0.2], stratify=samples.arrays[1])
model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 10))
optimizer, loader = optim.AdamW(model.parameters(), lr=0.01), DataLoader(train, 64, shuffle=True)
for epoch in range(1, 6):
    for images, labels in loader:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.3f}")
right = sum((model(x).numpy().argmax(1) == y.numpy()).sum() for x, y in DataLoader(test, 64))
print(f"{right} of {len(test)} digits never seen before are right")
