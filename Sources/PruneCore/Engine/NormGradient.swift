// SPDX-License-Identifier: Apache-2.0
/// Which rows a norm was applied to: `rows` rows, one after the other, of `each` norms of `width` values, the gain of one
/// norm of a row `stride` values after that of the one before it.
struct NormRows {
    let rows: Int
    var each = 1
    let width: Int
    var stride = 0
}

extension NativeModel {
    /// Adds the gradients with respect to the stored numbers of a norm,
    ///
    ///     d gain = sum of dy * (x - mean) * scale    d bias = sum of dy    stored = factor * each
    ///
    /// from dy, the gradient with respect to norm(x). Each value is summed by one thread, over the rows in order.
    func addNormGradient(
        of norm: Norm, _ dy: UnsafePointer<Float>, at x: UnsafePointer<Float>, _ place: NormRows,
        to sums: any WeightGradientSums
    ) throws(PruneError) {
        guard sums.wants(norm) else { return }
        let count = norm.count
        let prepared = try norm.prepared(scratch)
        let (width, each) = (place.width, place.each)
        let norms = place.rows * each
        // Of each norm: mean and scale.
        let moments = try scratch.buffer(2 * norms)
        forEachPiece(of: norms) { piece in
            for index in piece {
                let own = prepared.moments(x + index * width, width: width)
                (moments.pointer[2 * index], moments.pointer[2 * index + 1]) = own
            }
        }
        let gradient = try scratch.buffer(2 * count)
        gradient.pointer.update(repeating: 0, count: gradient.count)
        let columns = 64
        ThreadPool.forEach((width + columns - 1) / columns) { piece, _ in
            // Safe: no two pieces share columns of a norm.
            let own = piece * columns..<min((piece + 1) * columns, width)
            for index in 0..<norms {
                let first = index % each * place.stride
                let (mean, scale) = (moments.pointer[2 * index], moments.pointer[2 * index + 1])
                let (gain, bias) = (gradient.pointer + first, gradient.pointer + count + first)
                let (slope, value) = (dy + index * width, x + index * width)
                for column in own {
                    gain[column] += slope[column] * (value[column] - mean) * scale
                    bias[column] += slope[column]
                }
            }
        }
        var first = 0
        for tensor in norm.gains {
            if let sum = sums.place(of: tensor) {
                Kernels.add(gradient.pointer + first, times: norm.plan.factor, to: sum, tensor.elementCount)
            }
            first += tensor.elementCount
        }
        guard let bias = norm.bias, let sum = sums.place(of: bias) else { return }
        Kernels.add(gradient.pointer + count, times: norm.plan.factor, to: sum, count)
    }

    /// The same for rows of the hidden size in several buffers, of which `dy` is all rows, one after the other.
    func addNormGradient(
        of norm: Norm?, _ dy: UnsafePointer<Float>, at x: [FloatBuffer], to sums: (any WeightGradientSums)?
    ) throws(PruneError) {
        guard let norm, let sums else { return }
        let width = config.hiddenSize
        var first = 0
        for own in x {
            try addNormGradient(
                of: norm, dy + first, at: own.pointer, NormRows(rows: own.count / width, width: width), to: sums)
            first += own.count
        }
    }
}
