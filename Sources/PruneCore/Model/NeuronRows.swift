// SPDX-License-Identifier: Apache-2.0
/// Told what the neurons of a feed-forward give, before its last projection: activation(gate(x)) * up(x).
///
/// The values are those of all rows of the batches, one batch after the other, one value per neuron in a row; they are lent
/// for the length of the call.
public typealias NeuronReader = (_ values: UnsafePointer<Float>, _ batches: [TokenBatch]) throws(PruneError) -> Void

extension Model {
    public func neuronCount(ofSublayer sublayer: Int) throws(PruneError) -> Int { throw Self.noNeurons }

    public func neuronReach(ofSublayer sublayer: Int) throws(PruneError) -> [Double] { throw Self.noNeurons }

    public func apply(
        _ sublayer: Int, to states: [any HiddenState], neurons: @escaping NeuronReader
    ) throws(PruneError) -> [any HiddenState] { throw Self.noNeurons }

    private static var noNeurons: PruneError {
        PruneError(
            .unsupported,
            "neurons live inside feed-forwards, of which only models that PruneCore runs itself tell; open the model from its files"
        )
    }
}
