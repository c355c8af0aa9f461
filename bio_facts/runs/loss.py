"""The training loss of a causal model, computed a few tokens at a time.

The logits of all tokens at once are the largest tensors of a step: [tokens, V], three copies of them with their gradient. Here
the output layer is left out of the model's forward, and logits are made, used and dropped in chunks that stay in the cache, so
that memory does not grow with V times the tokens.
"""

from collections.abc import Callable
from typing import Any

from bio_facts.checks import needs
from bio_facts.measure.modules import (
    ROUNDING,
    all_logits,
    evaluation_mode,
    largest,
    output_layer,
    short_length,
    vocabulary_size,
)

with needs("train", "training"):
    import torch
    from torch import Tensor
    from torch.nn.functional import cross_entropy

IGNORED_LABEL = -100  # of PyTorch's cross-entropy
_CHUNK_LOGITS = 2**19  # on a CPU: 2 MB in float32, which its cache holds
_CHUNK_LOGITS_GPU = 2**27  # elsewhere: 512 MB
_AMPLIFICATION = 1_000  # of logits, beyond any soft cap


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum over tokens of -log softmax(hidden @ weight.T + bias)[target], whose gradient is computed in the forward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, dtype: torch.dtype) -> Tensor:
        hidden, products = hidden.detach().to(dtype), weight.detach().to(dtype)
        limit = _CHUNK_LOGITS if hidden.device.type == "cpu" else _CHUNK_LOGITS_GPU
        rows = -(-len(hidden) // max(1, -(-len(hidden) * len(weight) // limit)))  # of each chunk, as equal as can be
        grad_hidden = torch.empty(hidden.shape, dtype=torch.float32, device=hidden.device)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(hidden), max(1, rows)):
            chunk, target = hidden[start : start + rows], targets[start : start + rows, None]
            logits = chunk @ products.T
            if bias is not None:
                logits = logits.float() + bias.detach().float()
            probabilities = logits.softmax(dim=1, dtype=torch.float32)
            total += _cross_entropies(logits, probabilities, target).sum()
            grad_logits = probabilities.scatter_add_(1, target, torch.full(target.shape, -1.0, device=target.device))
            if grad_bias is not None:
                grad_bias += grad_logits.sum(dim=0)
            grad_logits = grad_logits.to(dtype)
            grad_hidden[start : start + rows] = grad_logits @ products
            if dtype == torch.float32:
                grad_weight.addmm_(grad_logits.T, chunk)
            else:
                grad_weight += grad_logits.T @ chunk
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if saved is None else saved * gradient for saved in ctx.saved_tensors), None, None


def _cross_entropies(logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
    """-log of the probabilities of targets [rows, 1]; from the logits where one of them is too small for float32."""
    of_target = probabilities.gather(1, target)
    if of_target.numel() and of_target.min() < torch.finfo(torch.float32).tiny:
        logits = logits.float()
        return logits.logsumexp(dim=1, keepdim=True) - logits.gather(1, target)
    return -of_target.log()


def chunked_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Sum of the cross-entropies (nats) of n tokens, a scalar with the gradient of torch.nn.functional.cross_entropy.

    hidden: [n, D]. weight: [V, D] and bias: [V] or None, of the output layer. targets: int64 [n]. dtype: of the matrix
    products; softmax and sums are float32.
    """
    return _ChunkedCrossEntropy.apply(hidden, weight, bias, targets, dtype)  # type: ignore[no-any-return, no-untyped-call]


class TrainingLoss:
    """The Trainer's compute_loss_func: mean cross-entropy of the next token over all tokens of a step.

    In training, the model returns the inputs of its output layer in place of logits, which this takes to the loss in chunks;
    in evaluation mode it returns logits as ever. A model that does more with its logits than scale them (softcapping) is left
    as it is, and its logits are used.

    Args:
        model: is modified as described. dtype: of the matrix products of its output layer.
    """

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        layer: Any = output_layer(model)
        is_linear = isinstance(layer, torch.nn.Linear)
        self.layer = layer if is_linear and _is_last(model, layer) else None
        if self.layer is not None:
            self.layer.forward = _only_in_evaluation(self.layer)

    def __call__(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """The loss in nats per token. outputs.logits: [B, L, D or V]; labels: [B, L], IGNORED_LABEL at padding."""
        targets = labels[:, 1:].flatten()
        is_token = targets != IGNORED_LABEL
        inputs, targets = outputs.logits[:, :-1].flatten(0, 1)[is_token], targets[is_token]
        if self.layer is None:
            total = cross_entropy(inputs.float(), targets, reduction="sum")
        else:
            total = chunked_cross_entropy(inputs, self.layer.weight, self.layer.bias, targets, self.dtype)
        return total / (len(targets) if num_items_in_batch is None else num_items_in_batch)


def _only_in_evaluation(layer: Any) -> Callable[[Tensor], Tensor]:
    """A forward of the layer that returns its input in training mode."""
    forward = type(layer).forward

    def returns_input_in_training(inputs: Tensor) -> Tensor:
        return inputs if layer.training else forward(layer, inputs)

    return returns_input_in_training


def _is_last(model: Any, layer: Any) -> bool:
    """Whether a model's logits are its output layer's output times a constant, tried on a few tokens.

    The layer's output is replaced by its input, and then by 1,000 times itself: soft capping hardly changes the small logits of
    a fresh model, but does change large ones.
    """
    ids = torch.arange(short_length(model))[None] % (vocabulary_size(model) or 2)
    forward = type(layer).forward

    def logits(replacement: Callable[[Tensor], Tensor]) -> Tensor:
        layer.forward = replacement
        try:
            replaced: Tensor = all_logits(model, ids)
        finally:
            del layer.forward
        return replaced

    with evaluation_mode(model), torch.no_grad():
        expected = all_logits(model, ids)
        hidden = logits(lambda inputs: inputs)
        if hidden.shape[:2] != expected.shape[:2] or hidden.shape[-1] != layer.in_features:
            return False
        difference = largest(layer(hidden) - expected)
        amplified = logits(lambda inputs: _AMPLIFICATION * forward(layer, inputs)) / _AMPLIFICATION
    return max(difference, largest(amplified - expected)) <= ROUNDING["float32"] * largest(expected)
