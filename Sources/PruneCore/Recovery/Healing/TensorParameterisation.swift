// SPDX-License-Identifier: Apache-2.0
/// When the tensors of a model in training are read.
enum TensorUse: Equatable {
    /// In a step of training; the first is 1.
    case step(Int)
    /// In a look at the held-out loss, and afterwards.
    case look
}

/// How the tensors that a training changes come from the parameters that AdamW moves.
///
/// `WholeTensors` is the plain one: the tensors are the parameters, rounded. Others make a tensor of several parameters, such
/// as a difference of low rank to a shared tensor, W = W0 + U V: they turn the gradient of the tensor into those of the
/// parameters, dU = dW V^T and dV = U^T dW, and may choose in each step what the model computes with.
protocol TensorParameterisation: AnyObject {
    /// What the model reads, each in a `TensorMemory` of its own.
    var tensors: [StoredTensor] { get }

    /// What AdamW moves, in an order that stays.
    var parameters: [TrainedParameter] { get }

    /// Writes the tensors, from the parameters as they are. Called before each use, when no call of the model is under way.
    func write(for use: TensorUse) throws(PruneError)

    /// The gradients of the parameters, one for each in their order, from those of the tensors.
    func gradients(of tensors: TensorGradients) throws(PruneError) -> [FloatBuffer]
}

/// Numbers that AdamW moves, in fp32, and what it keeps for each of them. One owner at a time uses it.
final class TrainedParameter {
    let name: String
    /// Whether weight decay is for it.
    let decays: Bool
    let values: FloatBuffer
    /// The running means of the gradient and of its square.
    let first, second: FloatBuffer
    /// The values of the lowest held-out loss.
    let best: FloatBuffer

    /// - Parameter values: given away.
    /// Errors: `.memory`.
    init(_ name: String, _ values: FloatBuffer, decays: Bool) throws(PruneError) {
        self.name = name
        self.decays = decays
        self.values = values
        first = try FloatBuffer(count: values.count)
        second = try FloatBuffer(count: values.count)
        best = try FloatBuffer(count: values.count)
        first.pointer.update(repeating: 0, count: values.count)
        second.pointer.update(repeating: 0, count: values.count)
        values.copy(to: best.pointer)
    }

    /// Buffers in the order in which they are saved.
    var saved: [FloatBuffer] { [values, first, second, best] }
}
