# SPDX-License-Identifier: Apache-2.0
"""Blocks that lack sublayers, or share weights: what is left of them, and what stands for the rest.

Written by PruneCore beside the checkpoint that it belongs to.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

LAST_PRODUCTS = ("down_proj", "fc2", "c_proj", "dense_4h_to_h")
"""What feed-forwards call their last product, which multiplies their neurons."""

CACHES = ("cache", "layer_past", "past_key_values")
"""What blocks and their attention call keys and values, in one model even by two names."""


class Adapter(nn.Module):
    """Emulates the update of a removed sublayer: bias + matrix @ x.

    x is norm(h), or h itself where there is no norm; a matrix of low rank is up @ down. It computes
    in the type of its own parameters, and gives back that of h.

    Parameters
    ----------
    hidden_size : int
    form : mapping
        kind "bias", "low_rank" or "linear"; rank; epsilon of the norm, None = no norm; norm
        "layer", which has a bias, too, or "rms", the default.
    """

    def __init__(self, hidden_size: int, form: Mapping[str, Any]) -> None:
        super().__init__()
        kind, epsilon, norm = form["kind"], form.get("epsilon"), form.get("norm") or "rms"
        if kind not in ("bias", "low_rank", "linear") or norm not in ("rms", "layer"):
            raise ValueError(f"this modelling file is too old for an adapter of {kind} and {norm}")
        self.kind = kind
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.norm: nn.Module | None = None
        if epsilon is not None:
            made = nn.RMSNorm if norm == "rms" else nn.LayerNorm
            self.norm = made(hidden_size, eps=epsilon)
        if kind == "low_rank":
            self.down = nn.Linear(hidden_size, form["rank"], bias=False)
            self.up = nn.Linear(form["rank"], hidden_size, bias=False)
        elif kind == "linear":
            self.linear = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        update = self.bias
        if self.kind != "bias":
            x = hidden_states.to(self.bias.dtype)
            x = x if self.norm is None else self.norm(x)
            update = update + (self.linear(x) if self.kind == "linear" else self.up(self.down(x)))
        return update.to(hidden_states.dtype).expand_as(hidden_states)


class SharedProjection(nn.Module):
    """A projection with another one's weight and a delta: scale * base @ x + up @ down @ x + bias.

    The bias is its own. The base is no submodule, so that its weight is in one state dict once, and
    in memory once.

    Parameters
    ----------
    base : Module
        The projection whose weight it shares: Linear, or Conv1D of transformers.
    own : Module
        The one in whose place it stands, whose bias it takes.
    rank : int
        Of the delta; 0 = there is none.
    scale : float
        Of the base.
    """

    def __init__(self, base: nn.Module, own: nn.Module, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self._base = (base,)
        self._is_transposed = not isinstance(base, nn.Linear)
        outputs, inputs = base.weight.shape[:: -1 if self._is_transposed else 1]
        self.in_features, self.out_features = inputs, outputs
        self.bias = own.bias
        self.down: nn.Module | None = None
        self.up: nn.Module | None = None
        if rank:
            self.down = nn.Linear(inputs, rank, bias=False)
            self.up = nn.Linear(rank, outputs, bias=False)

    @property
    def weight(self) -> torch.Tensor:
        """The base's, for programs that look at its type or device."""
        return self._base[0].weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight.T if self._is_transposed else self.weight
        y = nn.functional.linear(x, weight)
        y = y if self.scale == 1 else y * self.scale
        y = y if self.up is None else y + self.up(self.down(x))
        return y if self.bias is None else y + self.bias


def share_weights(model: nn.Module, description: Mapping[str, Any]) -> None:
    """Puts shared projections in the places of those whose weights are not stored.

    Parameters
    ----------
    model : Module
    description : mapping
        `prunecore` of config.json: see configuration_prunecore.py.
    """
    for name, form in (description.get("shared") or {}).items():
        place = name.removesuffix(".weight")
        base = model.get_submodule(form["base"].removesuffix(".weight"))
        own = model.get_submodule(place)
        parent, _, last = place.rpartition(".")
        shared = SharedProjection(base, own, form["rank"], form.get("scale", 1.0))
        setattr(model.get_submodule(parent), last, shared)


class Sublayer:
    """One sublayer of a block: h -> last(h + scale * after(update(before(x)))).

    Attributes
    ----------
    modules : list of str
        The update: modules of the block, run one after the other.
    besides : list of str
        Others that read what those read, and whose results are added to theirs.
    before, after, last : str or None
        Norms; None = there is none.
    adds_input : bool
        Whether the last module takes the hidden state, too, and gives the sum.
    scale : float
    is_kept : bool
        Where it is not, the first of its modules is its adapter, or None. `last` stays.
    """

    def __init__(self, own: Mapping[str, Any], scale: float, is_kept: bool) -> None:
        self.modules: list[str] = own["modules"]
        self.besides: list[str] = own.get("besides") or []
        self.before: str | None = own.get("before")
        self.after: str | None = own.get("after")
        self.last: str | None = own.get("last")
        self.adds_input = bool(own.get("adds_input"))
        self.scale = scale
        self.is_kept = is_kept

    @property
    def lost(self) -> set[str]:
        """Modules that go with it."""
        names = [*self.modules, *self.besides, self.before, self.after]
        return set() if self.is_kept else {name for name in names if name}

    @property
    def needed(self) -> set[str]:
        """Modules that it runs, norms included."""
        names = [*self.modules, *self.besides, self.before, self.after]
        kept = {name for name in names if name and self.is_kept}
        return kept | ({self.last} if self.last else set())

    def adapter(self, block: nn.Module) -> Adapter | None:
        """What stands in its place; None if it is kept, or nothing does."""
        return None if self.is_kept else getattr(block, self.modules[0])

    def add(
        self,
        block: nn.Module,
        hidden: torch.Tensor,
        source: torch.Tensor,
        arguments: Mapping[str, Any],
    ) -> torch.Tensor:
        """The hidden state after it.

        Parameters
        ----------
        block : Module
        hidden : Tensor
            The hidden state before it.
        source : Tensor
            What a kept one reads.
        arguments : mapping
            What its first module takes besides.
        """
        if self.is_kept:
            read = update = _normed(block, self.before, source)
            for name in self.modules:
                given = (update, hidden) if self._gives_sum(name) else (update,)
                more = arguments if name == self.modules[0] else {}
                update = _first(getattr(block, name)(*given, **more))
            for name in self.besides:
                other = getattr(block, name)
                update = update if other is None else update + _first(other(read))
            if self.adds_input:
                return update
            update = _normed(block, self.after, update)
            hidden = hidden + (update if self.scale == 1 else update * self.scale)
        elif (adapter := self.adapter(block)) is not None:
            hidden = hidden + adapter(hidden)
        return _normed(block, self.last, hidden)

    def _gives_sum(self, module: str) -> bool:
        return self.adds_input and module == self.modules[-1]


class Pruned:
    """A block that lacks sublayers: the class of transformers, with another `forward`."""

    _attention: Sublayer
    _feed_forward: Sublayer
    _is_parallel: bool
    _signature: inspect.Signature
    _taken: Mapping[str, inspect.Parameter]  # by the attention
    _outputs: int | None  # that the block gives back in a tuple with the state; None = no tuple

    def forward(self, *given: Any, **named: Any) -> Any:
        arguments = self._signature.bind(self, *given, **named).arguments
        _, before, *names = arguments  # the block itself, its hidden state, and the rest
        hidden = source = arguments[before]
        more = {name: arguments[name] for name in names if name != "kwargs"}
        more |= arguments.get("kwargs", {})
        more = _as_taken(self._taken, more)
        block: Any = self
        hidden = self._attention.add(block, hidden, source, more)
        if not self._is_parallel or not self._attention.is_kept:
            source = hidden
        hidden = self._feed_forward.add(block, hidden, source, {})
        return hidden if self._outputs is None else (hidden, *[None] * self._outputs)


def take_out(model: nn.Module, hidden_size: int, description: Mapping[str, Any]) -> None:
    """Takes the removed sublayers out of a model of transformers, and puts adapters in.

    Norms before and after a removed sublayer go, too, unless another sublayer reads them; a norm of
    the sum stays. Kept attention counts anew for the cache of keys and values, which so has no
    entry for the removed one.

    Parameters
    ----------
    model : Module
    hidden_size : int
    description : mapping
        `prunecore` of config.json: see configuration_prunecore.py.
    """
    if description.get("version") not in (2, 3):
        raise ValueError("config.json is of another version than this modelling file")
    share_weights(model, description)
    removed, adapters = set(description["removed"]), description.get("adapters") or {}
    widths = description.get("widths") or {}
    entries = 0
    for number, block in enumerate(model.get_submodule(description["blocks"])):
        attention, feed_forward = (
            Sublayer(
                description[part],
                description.get("update_scale", 1.0),
                is_kept=f"{kind}.{number}" not in removed,
            )
            for kind, part in (("attn", "attention"), ("ffn", "feed_forward"))
        )
        whole = bool(description.get("whole_blocks"))
        if attention.is_kept:
            _number(block if whole else getattr(block, attention.modules[0]), entries)
            entries += 1
        if feed_forward.is_kept and str(number) in widths:
            _narrow(block, feed_forward, widths[str(number)])
        if attention.is_kept and feed_forward.is_kept:
            continue
        _prune(block, attention, feed_forward, description)
        for kind, sublayer in (("attn", attention), ("ffn", feed_forward)):
            if form := adapters.get(f"{kind}.{number}"):
                setattr(block, sublayer.modules[0], Adapter(hidden_size, form))
    _tell_caches(model.config, removed, entries)


def _tell_caches(config: Any, removed: Collection[str], entries: int) -> None:
    """Has a decoder inside of another model make its caches for kept attention alone, too."""
    own = config.get_text_config()
    if entries == 0:  # a cache would say that there are no tokens before
        config.use_cache = own.use_cache = False
    if own is config:  # PruneCore's own class says it
        return
    kind, n_blocks = type(own), own.num_hidden_layers

    def get_text_config(self: Any, decoder: Any = None, encoder: Any = None) -> Any:
        found = kind.get_text_config(self, decoder=decoder, encoder=encoder)
        whole = found.num_hidden_layers == n_blocks  # else it is what is made here
        return of_kept_attention(found, removed) if decoder and whole else found

    own.__class__ = type(kind.__name__, (kind,), {"get_text_config": get_text_config})


def _number(attention: nn.Module, entry: int) -> None:
    """Its entry in the cache: families name it where they use it."""
    for module in attention.modules():
        for name in ("layer_idx", "layer_id"):
            if isinstance(getattr(module, name, None), int):
                setattr(module, name, entry)


def _narrow(block: nn.Module, feed_forward: Sublayer, width: int) -> None:
    """Gives a feed-forward fewer neurons than the configuration has for all of them."""
    products = [
        (name.rpartition(".")[2] in LAST_PRODUCTS, module)
        for own in feed_forward.modules
        for name, module in getattr(block, own).named_modules(prefix=own)
        if getattr(module, "weight", None) is not None and module.weight.ndim == 2
    ]
    # GPT-2 stores inputs as rows.
    turned = any(type(module).__name__ == "Conv1D" for _, module in products)
    inputs, outputs = (0, 1) if turned else (1, 0)
    whole = next(module.weight.shape[inputs] for is_last, module in products if is_last)
    for is_last, module in products:
        shape = list(module.weight.shape)
        changed = inputs if is_last else outputs
        shape[changed] = shape[changed] // whole * width
        module.weight = nn.Parameter(module.weight.new_empty(shape))
        if not is_last and getattr(module, "bias", None) is not None:
            module.bias = nn.Parameter(module.bias.new_empty(shape[outputs]))
        for name, size in (
            ("in_features", shape[inputs]),
            ("out_features", shape[outputs]),
            *(("nx", shape[inputs]), ("nf", shape[outputs])),
        ):
            if hasattr(module, name):
                setattr(module, name, size)


def _prune(
    block: nn.Module, attention: Sublayer, feed_forward: Sublayer, description: Mapping[str, Any]
) -> None:
    own, taken = type(block), {}
    if attention.is_kept:
        taken = dict(inspect.signature(getattr(block, attention.modules[0]).forward).parameters)
    # Under the name that it had: programs choose blocks by the names of their classes.
    block.__class__ = type(own.__name__, (Pruned, own), {"forward": Pruned.forward})
    block._attention, block._feed_forward = attention, feed_forward
    block._is_parallel = bool(description.get("is_parallel"))
    block._signature, block._taken = inspect.signature(own.forward), taken
    block._outputs = description.get("outputs")
    if description.get("whole_blocks"):
        block._modules.clear()
        block._parameters.clear()
        block._buffers.clear()
        for sublayer in (attention, feed_forward):
            setattr(block, sublayer.modules[0], None)
        return
    for name in (attention.lost | feed_forward.lost) - attention.needed - feed_forward.needed:
        setattr(block, name, None)


def _as_taken(taken: Mapping[str, inspect.Parameter], named: Mapping[str, Any]) -> dict[str, Any]:
    """What a block was called with: what its attention takes of it, by the names it has there."""
    own = next((name for name in CACHES if name in taken), None)
    found = {
        own if own is not None and name in CACHES and name not in taken else name: value
        for name, value in named.items()
    }
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return found
    return {name: value for name, value in found.items() if name in taken}


def share_names(own: type, pruned: type) -> None:
    """Has the pruned class read and write tensors under the names that the family's files have.

    transformers holds many of these names, such as those of experts, by class or by model type.
    """
    from transformers import conversion_mapping as mapping

    for name, ours in (
        (own.__name__, pruned.__name__),
        (own.config_class.model_type, pruned.config_class.model_type),
    ):
        found = mapping.get_checkpoint_conversion_mapping(name)
        if found is not None:
            mapping.register_checkpoint_conversion_mapping(ours, found, overwrite=True)


def of_kept_attention(config: Any, removed: Collection[str]) -> Any:
    """The configuration as a cache of keys and values is to see it: of kept attention alone."""
    kept = [n for n in range(config.num_hidden_layers) if f"attn.{n}" not in removed]
    if len(kept) == config.num_hidden_layers:
        return config
    view = copy.copy(config)
    view.__dict__.pop("_heterogeneity_spec", None)
    types = getattr(config, "layer_types", None)
    if types is not None:
        types = [types[number] for number in kept]
        kind = type(config)
        own = kind.attribute_map.get("layer_types", "layer_types")
        if isinstance(inspect.getattr_static(kind, own, None), property):
            # Of a pattern over the numbers of blocks, which nothing can be assigned to.
            view.__class__ = type(kind.__name__, (kind,), {own: types})
        else:
            view.layer_types = types
    view.num_hidden_layers = len(kept)
    return view


def _normed(block: nn.Module, name: str | None, x: torch.Tensor) -> torch.Tensor:
    return x if name is None else getattr(block, name)(x)


def _first(found: Any) -> torch.Tensor:
    """Attention gives its weights back, too, and some mixtures their scores."""
    return found[0] if isinstance(found, tuple) else found
