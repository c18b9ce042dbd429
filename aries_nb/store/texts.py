"""Text columns: codes of a list of texts in memory, and pandas' own `str` for everything that a user sees.

A categorical column would be as small, but two frames with different texts do not join by it (`merge_asof`), nor with a
column of a user's own, and counts list texts that do not occur. An Arrow column joins, but has to be built for each
snapshot. This one is built when an operation needs it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.model import Codes

__all__ = ["CodedTexts", "text_array"]

STR = pd.StringDtype("pyarrow", na_value=np.nan)  # the dtype `str` of pandas 3, where pyarrow is installed
_Arrow: TypeAlias = Any  # a pyarrow.ChunkedArray
_PlainTexts: Any = pd.arrays.ArrowStringArray  # its stubs know neither its arguments nor its methods


class CodedTexts(_PlainTexts):  # type: ignore[misc]
    """An array of pandas' dtype `str` that holds codes of texts, and becomes Arrow's texts when an operation needs it.

    Made by `of`. Selecting, comparing, counting and grouping work on the codes. Results, copies by pickle and what is
    written to are pandas' own arrays. A write never changes `codes`.
    """

    _codes: Codes | None  # None once it has been written to
    _texts: Sequence[str]
    _arrow: _Arrow | None  # what pandas finds as `_pa_array`

    def __new__(cls, values: _Arrow = None, *, dtype: pd.StringDtype | None = None) -> Any:  # noqa: ANN401
        """Return an array of pandas' own: pandas calls this where a method makes an array of a result."""
        return object.__new__(_PlainTexts) if values is None else _PlainTexts(values, dtype=dtype or STR)

    @classmethod
    def of(cls, codes: Codes, texts: Sequence[str]) -> CodedTexts:
        """Return the texts with these codes, places in `texts`, to which more texts may be added later."""
        made: CodedTexts = object.__new__(cls)
        made._codes, made._texts, made._arrow = codes, texts, None
        made._dtype, made._cache = STR, {}
        return made

    @property
    def _pa_array(self) -> _Arrow:
        if self._arrow is None:
            assert self._codes is not None, "an array has codes or texts"
            known = pa.array(list(self._texts), pa.large_string())
            self._arrow = pa.chunked_array([known.take(pa.array(self._codes))])
        return self._arrow

    @_pa_array.setter
    def _pa_array(self, arrow: _Arrow) -> None:
        self._arrow, self._codes = arrow, None

    def _from_pyarrow_array(self, pa_array: _Arrow) -> Any:  # noqa: ANN401
        return _PlainTexts(pa_array, dtype=self._dtype)

    def _objects(self) -> Any:  # noqa: ANN401 - a numpy array of str
        # Of a copy, which is made at once: another thread may add texts while numpy reads them.
        return np.array(list(self._texts), dtype=object)

    # What pandas' array does with Arrow's texts, on codes.

    def __len__(self) -> int:
        return super().__len__() if self._codes is None else len(self._codes)

    def __getitem__(self, item: Any) -> Any:  # noqa: ANN401 - as pandas has it
        if self._codes is None:
            return super().__getitem__(item)
        if isinstance(item, slice):
            return self.of(self._codes[item], self._texts)
        if isinstance(item, int | np.integer):
            return self._texts[self._codes[item]]
        item = pd.api.indexers.check_array_indexer(self, item)
        if isinstance(item, np.ndarray) and item.dtype.kind in "iub":
            return self.of(self._codes[item], self._texts)
        return super().__getitem__(item)

    def take(self, indices: Any, allow_fill: bool = False, fill_value: Any = None) -> Any:  # noqa: ANN401, FBT001, FBT002 - as pandas has it
        """Return the texts at these places, as pandas' arrays do."""
        places = np.asarray(indices, dtype=np.intp)
        if self._codes is None or (allow_fill and (places < 0).any()):
            return super().take(indices, allow_fill=allow_fill, fill_value=fill_value)
        return self.of(self._codes.take(places), self._texts)

    def view(self, dtype: Any = None) -> Any:  # noqa: ANN401
        """Return an array of the same codes; a write to either leaves the other as it is."""
        if self._codes is None or dtype is not None:
            return super().view(dtype)
        return self.of(self._codes, self._texts)

    def copy(self) -> Any:  # noqa: ANN401
        """Return an array of the same codes: published codes never change."""
        return super().copy() if self._codes is None else self.of(self._codes, self._texts)

    def _cmp_method(self, other: Any, op: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401
        if self._codes is None or not isinstance(other, str) or op not in {operator.eq, operator.ne}:
            return super()._cmp_method(other, op)
        places = [code for code, text in enumerate(self._texts) if text == other]
        return op(self._codes, places[0] if places else -1)

    def isin(self, values: Any) -> Any:  # noqa: ANN401
        """Return where the texts are among `values`, as a boolean array."""
        if self._codes is None:
            return super().isin(values)
        return pd.Index(self._objects()).isin(values)[self._codes]

    def isna(self) -> Any:  # noqa: ANN401
        """Return False for every text, as a missing one is the empty text."""
        return super().isna() if self._codes is None else np.zeros(len(self._codes), bool)

    def factorize(self, use_na_sentinel: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002
        """Return a code for each text, numbered by first occurrence, and the texts that occur."""
        if self._codes is None:
            return super().factorize(use_na_sentinel)
        places, occurring = pd.factorize(self._codes)
        return places, text_array([self._texts[code] for code in occurring.tolist()])

    def unique(self) -> Any:  # noqa: ANN401
        """Return the texts that occur, by first occurrence."""
        return super().unique() if self._codes is None else self.factorize()[1]

    def value_counts(self, dropna: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002
        """Return how often each text that occurs does, as a Series."""
        if self._codes is None:
            return super().value_counts(dropna)
        places, texts = self.factorize()
        counts = np.bincount(places, minlength=len(texts))
        return pd.Series(counts, index=pd.Index(texts, copy=False), name="count", copy=False)

    def map(self, mapper: Any, na_action: Any = None) -> Any:  # noqa: ANN401
        """Return what `mapper` has for each text; a dictionary or a Series is asked once for equal texts."""
        if self._codes is None or callable(mapper):
            return super().map(mapper, na_action)
        places, texts = self.factorize()
        return pd.Index(texts).map(mapper, na_action)._values.take(places)  # noqa: SLF001 - of any type

    def to_numpy(self, dtype: Any = None, copy: bool = False, na_value: Any = pd.api.extensions.no_default) -> Any:  # noqa: ANN401, FBT001, FBT002
        """Return a new array of str."""
        if self._codes is None or dtype not in {None, object, np.dtype(object)}:
            return super().to_numpy(dtype, copy, na_value)
        return self._objects()[self._codes]

    @property
    def nbytes(self) -> int:
        """The memory of the codes, in bytes."""
        return super().nbytes if self._codes is None else self._codes.nbytes

    def __reduce_ex__(self, protocol: Any) -> Any:  # noqa: ANN401
        # As pandas' own: what is read again must not need this package.
        return partial(_PlainTexts, dtype=self._dtype), (self._pa_array.combine_chunks(),)


def text_array(texts: Sequence[str]) -> Any:  # noqa: ANN401
    """Return texts as an array of pandas' own dtype `str`."""
    return _PlainTexts(pa.array(texts, pa.large_string()), dtype=STR)
