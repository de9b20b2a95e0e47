// SPDX-License-Identifier: Apache-2.0
/// Where the gradients with respect to weights are added as a gradient goes back through the model.
protocol WeightGradientSums: Sendable {
    /// What products multiply in while they are made; nil = in what the model does.
    var compute: ComputeType? { get }

    /// The place of the gradient of a matrix, the one of that number in `SublayerWeights.projections`; nil = it is not
    /// wanted.
    func place(ofMatrix index: Int, _ weight: StoredMatrix) -> GradientPlace?

    /// The place of the gradient of a bias, a gain or other numbers of a vector, as many as it has; nil = it is not wanted.
    func place(of vector: StoredTensor) -> UnsafeMutablePointer<Float>?
}

extension WeightGradientSums {
    /// Whether any number of a norm is wanted.
    func wants(_ norm: Norm) -> Bool { norm.tensors.contains { place(of: $0) != nil } }

    /// Adds the column sums of a gradient to the place of a bias, if both are there.
    func add(
        columnsOf gradient: UnsafePointer<Float>, rows: Int, toBias bias: StoredVector?
    ) {
        guard let bias, let sum = place(of: bias.tensor) else { return }
        WeightGradientProduct.addColumnSums(of: gradient, rows: rows, columns: bias.tensor.elementCount, to: sum)
    }
}

extension WeightGradients: WeightGradientSums {
    /// Their sums are compared between models of any compute type.
    var compute: ComputeType? { .float32 }

    func place(ofMatrix index: Int, _ weight: StoredMatrix) -> GradientPlace? {
        // Safe: the buffer holds all of the matrix, which was checked where it was given.
        GradientPlace(pointer: matrices[index].pointer, stride: weight.columns)
    }

    func place(of vector: StoredTensor) -> UnsafeMutablePointer<Float>? { nil }
}
