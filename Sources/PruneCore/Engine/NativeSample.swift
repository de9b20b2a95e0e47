// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// One weight of every projection, each from another place of its matrix.
    public var weightSample: [Float] {
        var sample: [Float] = []
        for sublayer in 0..<shape.sublayerCount {
            for (index, projection) in weights.projections(ofSublayer: sublayer).enumerated() {
                let weight = projection.weight
                // Any row will do, as long as it is the same for the same model.
                let row = (sublayer * 7919 + index * 104_729) % weight.rows
                guard let values = try? scratch.buffer(weight.columns) else { continue }
                weight.widen(first: row, count: 1, into: values.pointer)
                sample.append(values.pointer[(sublayer * 31 + index) % weight.columns])
            }
        }
        return sample
    }
}
