// SPDX-License-Identifier: Apache-2.0
/// An adapter at work on states of any model, computed here from its values.
extension Model {
    public func apply(
        _ adapter: Adapter, inPlaceOf sublayer: Int, to state: any HiddenState, _ scratch: BufferPool
    ) throws(PruneError) -> any HiddenState {
        try compute(adapter, on: state, scratch)
    }

    /// The state after an adapter, computed here from its values. Errors: `.memory`; what reading and writing states throws.
    func compute(
        _ adapter: Adapter, on state: any HiddenState, _ scratch: BufferPool
    ) throws(PruneError) -> any HiddenState {
        let rows = state.batch.rowCount
        return try read(state) { values throws(PruneError) in
            try write(like: state) { out throws(PruneError) in
                var failure: PruneError?
                values.withUnsafeBufferPointer { values in
                    out.withUnsafeMutableBufferPointer { out in
                        guard let h = values.baseAddress, let place = out.baseAddress else { return }
                        do throws(PruneError) {
                            try AdapterLayer(adapter, scratch).apply(h, rows: rows, into: place)
                        } catch { failure = error }
                    }
                }
                if let failure { throw failure }
            }
        }
    }
}

extension Model {
    /// The gradient with respect to the state before an adapter, from that with respect to the state after it; adds that
    /// of its parameters to `sum`.
    func pullback(
        _ adapter: Adapter, at state: any HiddenState, of gradient: any HiddenState, addingTo sum: inout [Float],
        _ scratch: BufferPool
    ) throws(PruneError) -> any HiddenState {
        let rows = state.batch.rowCount
        var total = sum
        let before = try read(state) { values throws(PruneError) in
            try read(gradient) { slopes throws(PruneError) in
                try write(like: gradient) { out throws(PruneError) in
                    var failure: PruneError?
                    values.withUnsafeBufferPointer { values in
                        slopes.withUnsafeBufferPointer { slopes in
                            out.withUnsafeMutableBufferPointer { out in
                                guard let h = values.baseAddress, let slope = slopes.baseAddress else { return }
                                do throws(PruneError) {
                                    try AdapterLayer(adapter, scratch).pullback(
                                        at: h, of: slope, rows: rows, addingTo: &total, into: out.baseAddress)
                                } catch { failure = error }
                            }
                        }
                    }
                    if let failure { throw failure }
                }
            }
        }
        sum = total
        return before
    }

    /// Adds the gradient of an adapter's parameters to `sum`, for an adapter that nothing with parameters stands before.
    func addParameterGradient(
        of adapter: Adapter, at state: any HiddenState, of gradient: any HiddenState, to sum: inout [Float],
        _ scratch: BufferPool
    ) throws(PruneError) {
        let rows = state.batch.rowCount
        var total = sum
        try read(state) { values throws(PruneError) in
            try read(gradient) { slopes throws(PruneError) in
                var failure: PruneError?
                values.withUnsafeBufferPointer { values in
                    slopes.withUnsafeBufferPointer { slopes in
                        guard let h = values.baseAddress, let slope = slopes.baseAddress else { return }
                        do throws(PruneError) {
                            try AdapterLayer(adapter, scratch).pullback(
                                at: h, of: slope, rows: rows, addingTo: &total, into: nil)
                        } catch { failure = error }
                    }
                }
                if let failure { throw failure }
            }
        }
        sum = total
    }
}
