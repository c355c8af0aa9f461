"""Where the phases of learning end, from a loss curve. The paper does not state its rule; these are ours."""

from collections.abc import Sequence

PHASE1_FACTOR = 1.05  # statistics are learned once the loss is this close to the no-knowledge loss
PLATEAU_FACTOR = 0.99  # knowledge has begun once the loss stays below this share of it


def phase1_end(steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float) -> int | None:
    """First evaluated step with loss <= 1.05 x no_knowledge_loss; None if there is none. Losses in nats per value."""
    return next((step for step, loss in zip(steps, losses, strict=True) if loss <= PHASE1_FACTOR * no_knowledge_loss), None)


def plateau_end(steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float) -> int | None:
    """First evaluated step from which the loss stays below 0.99 x no_knowledge_loss; None if it does not at the end."""
    return lasting_from(steps, [loss < PLATEAU_FACTOR * no_knowledge_loss for loss in losses])


def lasting_from(steps: Sequence[int], holds: Sequence[bool]) -> int | None:
    """First evaluated step from which something holds at every evaluation; None if it does not at the end."""
    first = None
    for step, held in reversed(list(zip(steps, holds, strict=True))):
        if not held:
            break
        first = step
    return first
