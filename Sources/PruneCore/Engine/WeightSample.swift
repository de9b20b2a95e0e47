// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// One weight of every projection, each from another place of its matrix.
    public func weightSample() throws(PruneError) -> [Float] {
        var sample: [Float] = []
        for sublayer in 0..<shape.sublayerCount {
            for (index, projection) in weights.projections(ofSublayer: sublayer).enumerated() {
                let weight = projection.weight
                // Any row will do, as long as it is the same for the same model.
                let row = (sublayer * 7919 + index * 104_729) % weight.rows
                let values = try scratch.buffer(weight.columns)
                try readingSublayer(sublayer) { weight.widen(first: row, count: 1, into: values.pointer) }
                sample.append(values.pointer[(sublayer * 31 + index) % weight.columns])
            }
        }
        return sample
    }
}
