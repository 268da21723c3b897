"""The sum over all alignments of connectionist temporal classification (Graves et al., 2006)."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import op
from weft.backends.array import namespace
from weft.backends.device import beside
from weft.backends.reference.precision import narrow, wide

NEVER = -1e30  # the logarithm of a path that is not: finite, so that differences of two such have a value


def log_sum(xp: Any, terms: list[Any]) -> Any:
    """log(sum(exp(terms))), elementwise."""
    largest = terms[0]
    for term in terms[1:]:
        largest = xp.maximum(largest, term)
    total = None
    for term in terms:
        share = xp.exp(term - largest)
        total = share if total is None else total + share
    return largest + xp.log(total)


def shifted(xp: Any, x: Any, by: int) -> Any:
    """x (N, L) moved `by` places along L, NEVER where nothing comes from."""
    side = (by, 0) if by > 0 else (0, -by)
    return xp.pad(x[:, :-by] if by > 0 else x[:, -by:], ((0, 0), side), value=NEVER)


@op
def ctc_paths(emissions: Any, *, skips: Any, frames: Any, ends: Any) -> Any:
    """The log-probability that a walk over the states of each sample is at one of its last states at its last frame.

    emissions (T, N, L): log-probability of each state at each frame; a walk starts at state 0 or 1 and each frame
    stays, goes on by one, or by two into a state that skips (N, L) allows. frames (T, N): whether a frame belongs to
    the sample; ends (N, L): its last states; all three bool arrays on the host -> (N,), at least NEVER. Sample n has a
    first frame.  (Graves et al., 2006, equations 6 to 16)
    """
    xp, (T, _, L), dtype = namespace(emissions), emissions.shape, emissions.dtype
    emissions = wide(emissions)
    places = [beside(np.where(given, 0.0, NEVER).astype(emissions.dtype), emissions) for given in (skips, ends)]
    jump, last = places  # added to a logarithm: nothing, or NEVER
    inside = [beside(row[:, None], emissions) for row in frames]  # (N, 1) each
    first = beside(np.where(np.arange(L) < 2, 0.0, NEVER).astype(emissions.dtype), emissions)
    forward = [emissions[0] + first]  # (N, L): of all walks that arrive
    for t in range(1, T):
        before = forward[-1]
        ways = [before]
        if L > 1:
            ways.append(shifted(xp, before, 1))
        if L > 2:
            ways.append(shifted(xp, before, 2) + jump)
        forward.append(xp.where(inside[t], log_sum(xp, ways) + emissions[t], before))
    arriving = forward[-1] + last
    peak = xp.max(arriving, axis=1, keepdims=True)
    total = peak + xp.log(xp.sum(xp.exp(arriving - peak), axis=1, keepdims=True))  # (N, 1)

    def vjp(g: Any) -> Any:
        xp = namespace(g)
        g = xp.reshape(wide(g), (-1, 1))
        onward = last + xp.zeros_like(emissions[0])  # (N, L): of all walks from here to the end
        parts = []
        for t in range(T - 1, -1, -1):
            visits = xp.exp(xp.minimum(forward[t] + onward - total, 0.0)) * g
            parts.append(xp.where(inside[t], visits, xp.zeros_like(visits)))
            if not t:
                break
            ahead = onward + emissions[t]
            ways = [ahead]
            if L > 1:
                ways.append(shifted(xp, ahead, -1))
            if L > 2:
                ways.append(shifted(xp, ahead + jump, -2))
            onward = xp.where(inside[t], log_sum(xp, ways), onward)
        return narrow(xp.stack(parts[::-1], axis=0), dtype)

    return narrow(xp.reshape(total, (-1,)), dtype), (vjp,)
