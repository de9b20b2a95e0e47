// SPDX-License-Identifier: Apache-2.0
/// How matrix products of a sublayer are computed: the one thing that its forward, pullback and decode leave open.
///
/// Norms, softmax, activations and sums are fp32 in each. Rows of all states of a call follow one another; `runs` says how
/// many belong together: see `MatrixProduct.apply`.
protocol Products {
    /// Inputs of products: rows x columns, in the form in which they are multiplied.
    associatedtype Rows

    /// norm(h) of all rows, or h where there is no norm.
    ///
    /// - Parameter sums: the successors of the states, if sums that `add` completes may be begun: see there.
    func input(
        _ norm: Norm?, of states: [FloatBuffer], startingSums sums: [FloatBuffer]?
    ) throws(PruneError) -> Rows

    /// x * weight^T + bias for each projection, with x: rows x inputs.
    func project(_ projections: [Projection], of x: Rows, runs: [Int]) throws(PruneError) -> [FloatBuffer]

    /// What a feed-forward, or an expert, has inside: the inputs of its last product.
    func inner(_ layer: FeedForwardWeights, of x: Rows, runs: [Int]) throws(PruneError) -> Rows

    /// Attention of prepared heads: the inputs of its last product.
    func mix(
        _ heads: AttentionRows, _ layer: AttentionWeights, _ sequences: [Range<Int>], _ pause: AttentionPause?
    ) throws(PruneError) -> Rows

    /// sums = states + x * weight^T + bias; `input` was given the sums.
    func add(_ projection: Projection, of x: Rows, to states: [FloatBuffer], giving sums: [FloatBuffer], runs: [Int])
        throws(PruneError)

    /// fp32 rows in the form of inputs. May use their memory.
    func rows(_ x: FloatBuffer, count: Int) throws(PruneError) -> Rows

    /// Rows in fp32. May be their memory.
    func floats(_ x: Rows) throws(PruneError) -> FloatBuffer

    /// Some of the rows, in that order.
    func take(_ indices: [Int], of x: Rows, columns: Int) throws(PruneError) -> Rows

    /// The gradient of x from those of what projections give: the sum of dY * weight, rows x inputs.
    func pullback(
        _ outputs: [(gradient: Rows, projection: Projection)], runs: [Int]
    ) throws(PruneError) -> FloatBuffer

    /// The gradients of what the first projections of a feed-forward give, from that of `inner`'s output's projection, dy.
    ///
    /// - Parameter sums: where the gradients of the weights are added, that of the first matrix of the layer as the one of
    ///   number `first`; nil = they are not wanted.
    func innerPullback(
        _ layer: FeedForwardWeights, at x: Rows, of dy: Rows, runs: [Int],
        sums: (any WeightGradientSums, first: Int)?
    ) throws(PruneError) -> [(gradient: Rows, projection: Projection)]

    /// The gradients of prepared heads from that of what `mix` gives, d: rows x outputs of all heads, in fp32.
    ///
    /// - Parameter sinks: where the gradients with respect to the scores of sinks go, rows x heads; nil = there are none,
    ///   or they are not wanted.
    func mixPullback(
        _ heads: AttentionRows, _ d: FloatBuffer, _ layer: AttentionWeights, _ sequences: [Range<Int>],
        into gradients: AttentionRows, sinks: FloatBuffer?
    ) throws(PruneError)

    /// Adds the gradients with respect to the weight and the bias of a projection, from dy, that of its outputs, and its
    /// inputs x.
    ///
    /// - Parameter index: the matrix's number: see `WeightGradientSums`.
    func addWeightGradient(
        _ dy: Rows, _ x: Rows, of projection: Projection, matrix index: Int, to sums: any WeightGradientSums
    ) throws(PruneError)
}

/// Queries, keys and values of all rows that go through an attention sublayer, or the gradients with respect to them:
/// rows of headCount * headSize, or kvHeadCount * headSize.
struct AttentionRows {
    let query, key, value: FloatBuffer
}
