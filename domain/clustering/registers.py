"""Parts of kernels that keep vectors in registers, which numba's own language has no words for.

They are written as LLVM's vectors, of any width: each processor takes as many of its registers as they need.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

NUMBER, INDEX = ir.FloatType(), ir.IntType(32)
LINE = 16  # numbers that a cache fetches at once


def product_of(n_clusters: int, n_lanes: int) -> Any:
    """Make a part that multiplies so many centroids with so many rows of a block.

    It is called with faced: (all clusters, n_features); first: a cluster; block: (n_features, all lanes); start: a
    lane; products: (all clusters, all lanes), which gets the products of the clusters from `first` and the lanes from
    `start` on, added up over the features in their order, fused where the processor can.
    """
    numbers, indices = ir.VectorType(NUMBER, n_lanes), ir.VectorType(INDEX, n_lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        faced, block, products = _tables(context, builder, signature, arguments, (0, 2, 4))
        first, start = arguments[1], arguments[3]
        clusters = [builder.add(first, first.type(number)) for number in range(n_clusters)]
        rows = [faced.at(cluster, first.type(0)) for cluster in clusters]
        sums = [cgutils.alloca_once_value(builder, numbers(None)) for _ in clusters]
        nothing, everywhere = numbers(ir.Undefined), indices(None)
        with cgutils.for_range(builder, faced.width) as feature:
            values = block.load(feature.index, start, numbers)
            for row, total in zip(rows, sums, strict=True):
                factor = builder.load(builder.gep(row, [feature.index]))
                one = builder.insert_element(nothing, factor, INDEX(0))
                product = builder.fmul(builder.shuffle_vector(one, nothing, everywhere), values, flags=("contract",))
                builder.store(builder.fadd(product, builder.load(total), flags=("contract",)), total)
        for cluster, total in zip(clusters, sums, strict=True):
            products.store(builder.load(total), cluster, start)
        return context.get_dummy_value()

    @intrinsic
    def multiply(_: Any, faced: Any, first: Any, block: Any, start: Any, products: Any) -> Any:  # noqa: ARG001 - types
        return types.void(faced, types.intp, block, types.intp, products), generate

    return multiply


def square_of(side: int) -> Any:
    """Make a part that lays so many features of so many rows side by side; side: a power of two.

    It is called with rows: (n_samples, n_features); members: (all lanes,) int32, which rows; lane and feature: from
    which on; block: (n_features, all lanes). Its turns swap halves, then quarters, then neighbours, between rows that
    lie so far apart (Eklundh 1972).
    """
    numbers, indices = ir.VectorType(NUMBER, side), ir.VectorType(INDEX, side)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, members, block = _tables(context, builder, signature, arguments, (0, 1, 4))
        lane, feature = arguments[2], arguments[3]
        vectors = []
        for number in range(side):
            member = builder.load(builder.gep(members.data, [builder.add(lane, lane.type(number))]))
            vectors.append(rows.load(builder.zext(member, lane.type), feature, numbers))
        apart = side // 2
        while apart:
            stays = [place for place in range(side) if not place & apart]
            low, high = [0] * side, [0] * side
            for place in stays:
                low[place], low[place + apart] = place, side + place
                high[place], high[place + apart] = place + apart, side + place + apart
            for number in stays:
                pair = vectors[number], vectors[number + apart]
                vectors[number] = builder.shuffle_vector(*pair, indices([INDEX(place) for place in low]))
                vectors[number + apart] = builder.shuffle_vector(*pair, indices([INDEX(place) for place in high]))
            apart //= 2
        for number, vector in enumerate(vectors):
            block.store(vector, builder.add(feature, feature.type(number)), lane)
        return context.get_dummy_value()

    @intrinsic
    def lay(_: Any, rows: Any, members: Any, lane: Any, feature: Any, block: Any) -> Any:  # noqa: ARG001 - types
        return types.void(rows, members, types.intp, types.intp, block), generate

    return lay


def _fetch(_: Any, rows: Any, row: Any) -> Any:  # noqa: ARG001 - types
    """Ask for a row that is soon needed, so that it comes from memory while others are worked on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (table,) = _tables(context, builder, signature, arguments, (0,))
        byte, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
        asked = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], asked)
        start = table.at(arguments[1], arguments[1].type(0))
        to_read, all_caches, data = whole(0), whole(3), whole(1)
        lines = builder.udiv(builder.add(table.width, table.width.type(LINE - 1)), table.width.type(LINE))
        with cgutils.for_range(builder, lines) as line:
            place = builder.gep(start, [builder.mul(line.index, line.index.type(LINE))])
            builder.call(prefetch, [builder.bitcast(place, byte), to_read, all_caches, data])
        return context.get_dummy_value()

    return types.void(rows, types.intp), generate


fetch: Any = intrinsic(_fetch)


class _Table:
    """An array in the order of its rows, as LLVM sees it."""

    def __init__(self, builder: Any, array: Any) -> None:
        self._builder = builder
        self.data = array.data
        self.width = cgutils.unpack_tuple(builder, array.shape)[-1]

    def at(self, row: Any, column: Any) -> Any:
        """Point to a number."""
        place = self._builder.add(self._builder.mul(row, self.width), column)
        return self._builder.gep(self.data, [place])

    def load(self, row: Any, column: Any, numbers: Any) -> Any:
        """Fetch the numbers that begin there."""
        return self._builder.load(self._builder.bitcast(self.at(row, column), numbers.as_pointer()), align=4)

    def store(self, vector: Any, row: Any, column: Any) -> None:
        """Put a vector there."""
        self._builder.store(vector, self._builder.bitcast(self.at(row, column), vector.type.as_pointer()), align=4)


def _tables(context: Any, builder: Any, signature: Any, arguments: Any, places: tuple[int, ...]) -> list[_Table]:
    return [
        _Table(builder, context.make_array(signature.args[place])(context, builder, arguments[place]))
        for place in places
    ]
