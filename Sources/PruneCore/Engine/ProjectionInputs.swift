// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// What the projections of a sublayer are given, rows x inputs each, in fp32: what comes out of the norm before it, and what
    /// its last projection takes. Of attention the latter are the mixed values of all heads, of a feed-forward its inner
    /// activations. Where products multiply in bf16, values are rounded as they are there.
    ///
    /// - Parameter state: the one before the sublayer.
    /// Errors: `.internal` for a mixture, which has no last projection, and where the sublayer is absent; `.file`; `.memory`.
    func projectionInputs(
        ofSublayer sublayer: Int, at state: any HiddenState
    ) throws(PruneError) -> (first: FloatBuffer, last: FloatBuffer) {
        let state = try settled(native(state), before: sublayer)
        return try readingSublayer(sublayer) { () throws(PruneError) in
            try BLAS.products(in: compute) { () throws(PruneError) in
                switch compute {
                case .float32: try projectionInputs(sublayer, state, Float32Products(self))
                case .bfloat16: try projectionInputs(sublayer, state, BFloat16Products(self))
                }
            }
        }
    }

    private func projectionInputs<P: Products>(
        _ sublayer: Int, _ state: NativeState, _ products: P
    ) throws(PruneError) -> (first: FloatBuffer, last: FloatBuffer) {
        let own = weights.sublayers[sublayer]
        let x = try products.input(own.before, of: own.sources([state], of: sublayer), startingSums: nil)
        guard let (_, inner) = try lastProduct(sublayer, x, [state], products, SublayerContext()) else {
            throw PruneError(.internal, "\(sublayerName(sublayer)) has no last projection")
        }
        return (try products.floats(x), try products.floats(inner))
    }
}
