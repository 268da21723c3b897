"""Sums of products by subscripts, made of ops that are recorded, so that they differentiate to any order."""

from __future__ import annotations

import math
from typing import Any

from weft.autograd import Tensor
from weft.ops.elementwise import multiply
from weft.ops.linalg import matmul
from weft.ops.reduce import sum
from weft.ops.shape import broadcast_to, permute_dims, reshape


def parse(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """The letters of each operand and of the result. Axes under an ellipsis get letters of their own."""
    given, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = given.split(",")
    plain = given.replace("...", "") + result.replace("...", "")
    bad = [c for c in plain if not (c.isascii() and c.isalpha() or c == ",")]
    if bad or any(term.count("...") > 1 for term in (*terms, result)):
        raise ValueError(f"einsum: expected letters, commas, one '...' per operand and '->', got {subscripts!r}")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: expected {len(terms)} arrays for {subscripts!r}, got {len(shapes)}")
    hidden = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    most = max([n for n, term in zip(hidden, terms, strict=True) if "..." in term], default=0)
    spare = [chr(0x100 + i) for i in range(max(most, 0))]  # letters that no subscripts have
    for i, (term, n, shape) in enumerate(zip(terms, hidden, shapes, strict=True)):
        if n < 0 or (n and "..." not in term):
            raise ValueError(f"einsum: expected {len(term.replace('...', ''))} axes for {term!r}, got shape {shape}")
        terms[i] = term.replace("...", "".join(spare[len(spare) - n :]))
    if arrow:
        result = result.replace("...", "".join(spare))
    else:
        once = "".join(terms)
        result = "".join(spare) + "".join(sorted({c for c in once if once.count(c) == 1 and c not in spare}))
    if len(set(result)) != len(result) or not set(result) <= set("".join(terms)):
        raise ValueError(f"einsum: expected each letter of the result once, and in an operand, got {subscripts!r}")
    return terms, result


def lengths(terms: list[str], arrays: list[Any]) -> dict[str, int]:
    """The length that each letter stands for; 1 gives way to others under an ellipsis."""
    found: dict[str, int] = {}
    for term, x in zip(terms, arrays, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            known = found.setdefault(letter, n)
            if known != n and not (ord(letter) >= 0x100 and 1 in (known, n)):
                name = "an axis under '...'" if ord(letter) >= 0x100 else repr(letter)
                raise ValueError(f"einsum: expected one length for {name}, got {known} and {n}")
            if known == 1:
                found[letter] = n
    return found


def diagonal(x: Any, term: str) -> tuple[Any, str]:
    """x with every letter of its term once: of letters that come again, the diagonal."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            n = x.shape[i]
            order = [i, j, *[k for k in range(x.ndim) if k not in (i, j)]]
            x = permute_dims(x, tuple(order))
            rest = x.shape[2:]
            x = reshape(x, (n * n, *rest))[:: n + 1] if n else reshape(x, (0, *rest))
            term = letter + "".join(c for k, c in enumerate(term) if k not in (i, j))
    return x, term


def summed(x: Any, term: str, keep: Any) -> tuple[Any, str]:
    """x summed over the letters that nobody after it has."""
    axes = tuple([i for i, letter in enumerate(term) if letter not in keep])
    return (sum(x, axis=axes), "".join(c for c in term if c in keep)) if axes else (x, term)


def arranged(x: Any, term: str, order: str) -> Any:
    """x with its axes in the order of `order`, which has all its letters; length 1 for the letters that it lacks."""
    x = permute_dims(x, tuple([term.index(c) for c in order if c in term]))
    have = iter(x.shape)
    return reshape(x, tuple([next(have) if c in term else 1 for c in order]))


def pair(a: Any, left: str, b: Any, right: str, keep: Any, sizes: dict[str, int]) -> tuple[Any, str]:
    """The product of two operands, summed over the letters that both have and nobody after them: one matmul."""
    a, left = summed(a, left, set(right) | set(keep))
    b, right = summed(b, right, set(left) | set(keep))
    inner = "".join(c for c in left if c in right and c not in keep)
    batch = "".join(c for c in left if c in right and c in keep)
    mine = "".join(c for c in left if c not in right)
    yours = "".join(c for c in right if c not in left)
    if not inner:
        order = batch + mine + yours
        return multiply(arranged(a, left, order), arranged(b, right, order)), order

    def flat(x: Any, term: str, first: str, second: str) -> Any:
        x = arranged(x, term, batch + first + second)
        shape = [sizes[c] if c in inner else n for c, n in zip(batch + first + second, x.shape, strict=True)]
        x = x if tuple(shape) == x.shape else broadcast_to(x, tuple(shape))
        cut = len(batch) + len(first)
        return reshape(x, (*shape[: len(batch)], math.prod(shape[len(batch) : cut]), math.prod(shape[cut:])))

    lead = [max(a.shape[left.index(c)], b.shape[right.index(c)]) for c in batch]
    lead = [0 if 0 in (a.shape[left.index(c)], b.shape[right.index(c)]) else n for c, n in zip(batch, lead)]
    out = matmul(flat(a, left, mine, inner), flat(b, right, inner, yours))
    free = [a.shape[left.index(c)] for c in mine] + [b.shape[right.index(c)] for c in yours]
    return reshape(out, (*lead, *free)), batch + mine + yours


def einsum(subscripts: str, /, *arrays: Any) -> Tensor:
    """Products of arrays summed over the letters that the result lacks, as `numpy.einsum` with subscripts as a string.

    subscripts: "ij,jk->ik"; "..." stands for axes that broadcast; a letter twice in one operand is its diagonal;
    without "->" the result has the letters that come once, in alphabetical order.  Pairs are multiplied from left to
    right, each as one matrix product.  ValueError for subscripts that do not fit the shapes.

    >>> import weft
    >>> weft.einsum("bij,jk->bik", weft.ones((5, 2, 3)), weft.ones((3, 4))).shape
    (5, 2, 4)
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: expected subscripts as a string, got {type(subscripts).__name__}")
    tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in arrays]
    terms, result = parse(subscripts, [x.shape for x in tensors])
    sizes = lengths(terms, tensors)
    parts = [diagonal(x, term) for x, term in zip(tensors, terms, strict=True)]
    out, term = parts[0]
    for i in range(1, len(parts)):
        after = set(result).union(*[t for _, t in parts[i + 1 :]])
        out, term = pair(out, term, *parts[i], after, sizes)
    out, term = summed(out, term, set(result))
    return permute_dims(out, tuple([term.index(c) for c in result]))
