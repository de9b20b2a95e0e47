// SPDX-License-Identifier: Apache-2.0
/// The difference D of a weight W to the one that it is to share, in the metric of its inputs: that of |D x|, with x of second
/// moments C, or of the matrix alone.
///
/// With C + l I = L L^T, E |(D - U V) x|^2 is |(D - U V) L|^2 but for the ridge, and least of all rank r (Eckart and Young,
/// 1936) where U V L keeps the r leading singular directions P of D L:
///
///     U V = P P^T D L L^-1 = P (P^T D)
///
/// so that no inverse is needed, whichever root of C is taken. Where the base is scaled, D = W - s B, with s the least squares of
/// W L on B L.
struct WeightDifference: Sendable {
    let outputs: Int
    let inputs: Int
    /// W and D, outputs x inputs.
    let weight: [Double]
    let difference: [Double]
    /// On the base.
    let scale: Float
    /// D L, or D itself.
    private let rooted: [Double]
    /// |W L|^2
    let whole: Double
    /// |D L|^2
    let squares: Double

    /// Directions whose singular value is below this part of the greatest are rounding: eigenvalues are its square.
    private static let negligible = 1e-7

    /// - Parameters:
    ///   - weight, base: outputs x inputs.
    ///   - root: of the inputs' moments; nil = the matrices are compared.
    ///   - scaled: whether the base gets a factor; else it is 1.
    init(
        _ weight: [Double], _ base: [Double], outputs: Int, inputs: Int, root: CholeskyFactor?, scaled: Bool = false
    ) {
        self.outputs = outputs
        self.inputs = inputs
        self.weight = weight
        let own = root?.rooted(weight) ?? weight
        let other = root?.rooted(base) ?? base
        var fitted = 1.0
        if scaled {
            let squares = other.reduce(0) { $0 + $1 * $1 }
            let product = BLAS.dot(own, other, first: 0, count: own.count)
            fitted = squares > 0 ? product / squares : 0
        }
        // As it is stored.
        scale = Float(fitted)
        let factor = Double(scale)
        difference = zip(weight, base).map { $0 - factor * $1 }
        rooted = zip(own, other).map { $0 - factor * $1 }
        whole = own.reduce(0) { $0 + $1 * $1 }
        squares = rooted.reduce(0) { $0 + $1 * $1 }
    }

    var mostRank: Int { min(outputs, inputs) }

    /// Bytes that one takes at most while it is solved.
    static func bytes(outputs: Int, inputs: Int) -> Int {
        let side = min(outputs, inputs)
        return outputs.times(clamping: 8 * inputs).plus(clamping: side.times(clamping: 4 * side + 64))
            .times(clamping: MemoryLayout<Double>.stride)
    }

    /// The squares of all singular values of D L, largest first. Errors: `.internal` if LAPACK does not find them.
    func spectrum() throws(PruneError) -> [Double] {
        guard let values = eigenvalues(of: gram) else { throw Self.notFound }
        return values.map { max($0, 0) }
    }

    private var gram: SquareMatrix { BLAS.gram(rooted, columns: inputs, ofRows: outputs <= inputs) }

    private static var notFound: PruneError {
        PruneError(.internal, "the leading directions of the difference of two weights were not found")
    }

    /// The best U: outputs x rank and V: rank x inputs; of the full rank U V is D. Errors: as above.
    ///
    /// U and V have the same norm in each direction, so that they learn at the same pace if trained further.
    func factors(rank: Int) throws(PruneError) -> (up: [Float], down: [Float]) {
        guard rank > 0 else { return ([], []) }
        if rank >= mostRank { return exact(rank) }
        let directions = try leading(rank)
        // P^T D, rank x inputs.
        let rows = BLAS.product(directions, difference, k: outputs, columns: inputs)
        var up = [Float](repeating: 0, count: outputs * rank)
        var down = [Float](repeating: 0, count: rank * inputs)
        for index in 0..<rank {
            let norm = BLAS.dot(rows, rows, first: index * inputs, count: inputs).squareRoot()
            guard norm > 0 else { continue }
            let root = norm.squareRoot()
            for place in 0..<outputs { up[place * rank + index] = Float(directions[index * outputs + place] * root) }
            for place in 0..<inputs { down[index * inputs + place] = Float(rows[index * inputs + place] / root) }
        }
        return (up, down)
    }

    /// D itself, beside the identity.
    private func exact(_ rank: Int) -> (up: [Float], down: [Float]) {
        let side = mostRank
        let identity = (0..<side * side).map { Float($0 / side == $0 % side ? 1 : 0) }
        let own = difference.map { Float($0) }
        return inputs <= outputs ? (own, identity) : (identity, own)
    }

    /// The leading left singular vectors of D L, a row of `outputs` values each.
    private func leading(_ rank: Int) throws(PruneError) -> [Double] {
        guard let (values, vectors) = leadingEigenpairs(of: gram, count: rank, vectors: true) else {
            throw Self.notFound
        }
        if outputs <= inputs { return vectors }
        // Those on the right were found: P = D L Q / s.
        var columns = [Double](repeating: 0, count: inputs * rank)
        for index in 0..<rank {
            for place in 0..<inputs { columns[place * rank + index] = vectors[index * inputs + place] }
        }
        let products = BLAS.product(rooted, columns, k: inputs, columns: rank)
        let least = Self.negligible * max(values.first ?? 0, 0).squareRoot()
        var directions = [Double](repeating: 0, count: rank * outputs)
        for index in 0..<rank {
            let value = max(values[index], 0).squareRoot()
            guard value > least else { continue }
            for place in 0..<outputs { directions[index * outputs + place] = products[place * rank + index] / value }
        }
        return directions
    }
}

/// How much of a whole is left beyond each rank: sqrt(sum of the squares beyond r / whole), for r = 0 ... their count.
///
/// - Parameter spectrum: squares of singular values, largest first.
func relativeTails(_ spectrum: [Double], of whole: Double) -> [Double] {
    var tails = [Double](repeating: 0, count: spectrum.count + 1)
    var sum = 0.0
    for rank in spectrum.indices.reversed() {
        sum += spectrum[rank]
        tails[rank] = whole > 0 ? (sum / whole).squareRoot() : 0
    }
    return tails
}

/// The least rank whose tail is at most `error`.
func rankNeeded(_ tails: [Double], error: Double) -> Int { tails.firstIndex { $0 <= error } ?? tails.count - 1 }
