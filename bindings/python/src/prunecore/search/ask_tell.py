# SPDX-License-Identifier: Apache-2.0
"""Searches: what to remove under a budget, from the damages of some masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.ask_tell import AskTell, AskTellCalls
from prunecore._native.library import _check, ffi, lib, new_struct
from prunecore._native.numbers import checked_count
from prunecore._native.signatures import takes
from prunecore.data.verbs import verb
from prunecore.masks.mask import Mask
from prunecore.measures.token_times import TokenTimes
from prunecore.search.options import Protected, ScoresLike, SearchOptions
from prunecore.search.state import SearchState, SearchStep, read_state, read_steps

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from prunecore._native.names.tables import Granularity, Strategy
    from prunecore._native.options_generated import SearchArguments
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel

Keeps = npt.NDArray[np.bool_]


@takes(SearchOptions)
class Search(AskTell):
    """A search under way: it asks for the damages of masks, is told them, and chooses.

    Masks can be evaluated anywhere and told in any order: the same seed and the same damages give
    the same masks.

        search = pc.Search(model, "greedy", remove=4)
        while not search.done:
            masks = search.ask(64)
            search.tell(masks, my_damages(masks))
        print(search.mask.removed)

    A search belongs to one thread at a time.

    Parameters
    ----------
    model : Model
        For what its sublayers cost. It is not kept.
    times : TokenTimes, optional
        Times per token, by which `prefill_ms` and `decode_ms` are counted. See `Model.token_times`.
    protect : str, or list of names or of indices of sublayers, optional
        What is never removed: "attn.0", "block.11".
    start : Mask or array, optional
        The mask to start from. Default: everything kept.
    scores : Scores, ShapleyScores or array, optional
        Influence of each unit, for "one_shot", and for "greedy" with `candidates`. For "window" a
        table such as `Statistics.windows` gives, used instead of damages.
    metric : str, optional
        Which metric of `scores`. May be left out where there is only one.

    Raises
    ------
    ArgumentError
        An option is out of range or of another strategy, there is no budget, or it cannot be met:
        the text says what is left when everything that may go is gone.
    NonFiniteError
        A score is NaN or infinite.
    """

    _calls = AskTellCalls(
        noun="search",
        row="mask",
        value="damage",
        ask=lib.prune_search_ask,
        tell=lib.prune_search_tell,
        save=lib.prune_search_save,
        load=lib.prune_search_load,
        release=lib.prune_search_release,
    )

    def __init__(
        self,
        model: OpenModel,
        strategy: Strategy | Literal["default"] = "greedy",
        granularity: Granularity = "sublayer",
        *,
        times: TokenTimes | None = None,
        protect: Protected = None,
        start: MaskLike | None = None,
        scores: ScoresLike = None,
        metric: str | None = None,
        **options: Unpack[SearchArguments],
    ) -> None:
        chosen = SearchOptions(
            strategy=strategy,
            granularity=granularity,
            times=times,
            protect=protect,
            start=start,
            scores=scores,
            metric=metric,
            **options,
        )
        self._create(model, chosen)

    @classmethod
    def _from_options(cls, model: OpenModel, options: SearchOptions) -> Self:
        """A search from options that are together already."""
        made = cls.__new__(cls)
        made._create(model, options)
        return made

    @verb
    def _create(self, model: OpenModel, options: SearchOptions) -> None:
        plain = replace(options, start=model._keep(options.start))
        struct, _alive = plain.struct(model.shape.n_blocks)
        self._begin(lambda out: int(lib.prune_search_create(model.handle, struct, out)))

    def _row_width(self) -> int:
        return 2 * self.state.n_blocks

    def __repr__(self) -> str:
        if self.closed:
            return f"Search(n_blocks={self.n_blocks}, closed)"
        state = self.state
        return (
            f"Search(n_blocks={self.n_blocks}, '{state.strategy}', told={state.told}, "
            f"removed={state.removed})"
        )

    @property
    def n_blocks(self) -> int:
        """Blocks of the model that it is about."""
        return self._width // 2

    @property
    def state(self) -> SearchState:
        """Where the search stands."""
        state = new_struct("prune_search_state")
        _check(lib.prune_search_info(self.handle, state))
        return read_state(state)

    @property
    def done(self) -> bool:
        """Whether nothing more will be asked for."""
        return self.state.done

    @property
    def mask(self) -> Mask:
        """The mask that it would choose now."""
        keep = np.empty(self._width, dtype=np.uint8)
        out = ffi.from_buffer("uint8_t[]", keep)
        _check(lib.prune_search_mask(self.handle, out, len(keep), ffi.NULL))
        return Mask(keep)

    @property
    def path(self) -> tuple[SearchStep, ...]:
        """The way to the mask: the start, then each removal, or each generation's parent."""
        capacity = self.state.steps
        steps = ffi.new("prune_search_step[]", capacity)
        keeps = np.empty((capacity, self._width), dtype=np.uint8)
        count = ffi.new("size_t *")
        out = ffi.from_buffer("uint8_t[]", keeps)
        _check(lib.prune_search_path(self.handle, steps, out, capacity, count))
        return read_steps(list(steps[0 : count[0]]), keeps)

    def ask(self, most: int) -> Keeps:
        """Asks for masks whose damage is wanted next, on all data.

        Parameters
        ----------
        most : int
            Masks at most.

        Returns
        -------
        array of bool, shape (m, 2 * n_blocks)
            m <= most; True = kept. There are none if the search is done, or waits for damages that
            it asked for before.
        """
        return self._ask(most, ffi.NULL)

    def ask_with_share(self, most: int) -> tuple[Keeps, float]:
        """Asks for masks, and for the share of the data to evaluate them on.

        "evolutionary" chooses among many offspring on a part of the data and among the best of
        them on more: that is cheaper than `ask`, where the data can be cut. Ask in one way or the
        other: the first call decides whether there are such parts.

        Parameters
        ----------
        most : int
            Masks at most; fewer may be handed out though more are wanted.

        Returns
        -------
        masks : array of bool, shape (m, 2 * n_blocks)
            As `ask` gives them.
        share : float
            Of the data, its first sequences: the same for all of these masks.
        """
        share = ffi.new("double *", 1.0)
        return self._ask_once(checked_count("most", most, 0), share).astype(np.bool_), float(
            share[0]
        )

    def tell(self, masks: npt.ArrayLike, damages: npt.ArrayLike) -> None:
        """Tells damages of masks that were asked for, in any order.

        All of them are taken in or, on error, none.

        Parameters
        ----------
        masks : array of bool, or of 0 and 1, shape (m, 2 * n_blocks)
            The masks; or a single one, of shape (2 * n_blocks,).
        damages : array of float, shape (m,)
            What each does, lower = better, such as a loss; or a number.

        Raises
        ------
        ArgumentError
            A mask was never asked for, or was told before, or a shape is wrong.
        NonFiniteError
            A damage is NaN or infinite.
        """
        self._tell(masks, damages)

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Loads a saved search: it continues as if it had never stopped.

        Raises
        ------
        FormatError
            The bytes are damaged, or no saved search.
        UnsupportedError
            They were written by a later version.
        """
        return cls._loaded(data)
