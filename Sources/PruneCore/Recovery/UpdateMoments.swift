// SPDX-License-Identifier: Apache-2.0
/// First and second moments of an adapter's input x and of the update u that it emulates, over tokens, in double.
///
/// Sums are about the mean of the tokens so far, so that no digits are lost where means are large. Parts are joined by the
/// formula of Chan, Golub and LeVeque (1979): with d the difference of their means,
///
///     S = S_a + S_b + n_a n_b / (n_a + n_b) d d^T
///
/// Tokens are added in chunks and tiles of fixed size, so that results do not depend on the thread count.
struct UpdateMoments: Sendable {
    /// Tokens multiplied together: their inputs and updates in double stay in the caches.
    private static let rowsPerChunk = 1024
    /// Rows and columns of the matrices that one thread adds to at a time.
    private static let tileSize = 256

    let width: Int
    private(set) var tokens = 0
    private(set) var inputMean: [Double]
    private(set) var updateMean: [Double]
    /// Sum of (x - mean)(x - mean)^T, width x width; tiles above the diagonal hold nothing. Empty for a bias.
    private var inputScatter: [Double]
    /// Sum of (u - mean)(x - mean)^T: a row per place of u. Empty for a bias.
    private var crossScatter: [Double]
    /// Sum of |u - mean|^2.
    private(set) var updateScatter = 0.0

    init(width: Int, matrices: Bool) {
        self.width = width
        inputMean = Array(repeating: 0, count: width)
        updateMean = Array(repeating: 0, count: width)
        inputScatter = Array(repeating: 0, count: matrices ? width * width : 0)
        crossScatter = inputScatter
    }

    var hasMatrices: Bool { !inputScatter.isEmpty }

    /// Bytes of the matrices.
    static func bytes(width: Int) -> Int { 2 * width * width * MemoryLayout<Double>.stride }

    /// Proves that `count` moments can be made. Errors: `.memory`.
    static func requireMemory(_ count: Int, width: Int, matrices: Bool) throws(PruneError) {
        let own = (matrices ? bytes(width: width) : 0) + 4 * width * MemoryLayout<Double>.stride
        try Memory.require(
            count.times(clamping: own), for: "the moments of \(count) adapters of hidden size \(width)",
            "make fewer at a time, or biases")
    }

    /// Adds tokens with the hidden states `before` and `after` what is emulated, rows x width values each; the input is
    /// norm(before).
    ///
    /// Returns false if a value is not finite; discard the moments then. Errors: `.memory`.
    mutating func add(
        _ before: UnsafePointer<Float>, _ after: UnsafePointer<Float>, rows: Int, norm: InputNorm?,
        _ scratch: BufferPool
    ) throws(PruneError) -> Bool {
        for first in stride(from: 0, to: rows, by: Self.rowsPerChunk) {
            let (count, width) = (min(Self.rowsPerChunk, rows - first), width)
            let updates = try CentredRows(rows: count, width: width, scratch) { row, out, sum in
                let place = (first + row) * width
                Kernels.widenDifference(after + place, before + place, into: out, addingTo: sum, width)
            }
            guard updates.isFinite else { return false }
            if hasMatrices {
                let prepared = try norm?.prepared(scratch)
                let inputs = try CentredRows(rows: count, width: width, scratch) { row, out, sum in
                    Self.widen(before + (first + row) * width, prepared, into: out, addingTo: sum, width)
                }
                guard inputs.isFinite else { return false }
                addMatrices(inputs, updates)
                Self.move(&inputMean, from: tokens, towards: inputs.mean, of: count)
            }
            updateScatter += updates.squares + Self.weight(tokens, count) * squaredDistance(updates.mean, updateMean)
            Self.move(&updateMean, from: tokens, towards: updates.mean, of: count)
            tokens += count
        }
        return true
    }

    /// out = norm(h), or h where there is no norm, in double; sum += out.
    private static func widen(
        _ h: UnsafePointer<Float>, _ norm: PreparedNorm?, into out: UnsafeMutablePointer<Double>,
        addingTo sum: UnsafeMutablePointer<Double>, _ width: Int
    ) {
        guard let norm else {
            for index in 0..<width {
                out[index] = Double(h[index])
                sum[index] += out[index]
            }
            return
        }
        guard norm.kind == .layer || norm.bias != nil else {
            let scale = 1 / (Kernels.dot(h, h, width) / Double(width) + Double(norm.epsilon)).squareRoot()
            return Kernels.widen(h, by: scale, times: norm.gain.pointer, into: out, addingTo: sum, width)
        }
        let mean = norm.kind == .layer ? (0..<width).reduce(0.0) { $0 + Double(h[$1]) } / Double(width) : 0
        let squares = (0..<width).reduce(0.0) { $0 + (Double(h[$1]) - mean) * (Double(h[$1]) - mean) } / Double(width)
        let scale = 1 / (squares + Double(norm.epsilon)).squareRoot()
        for index in 0..<width {
            let bias = norm.bias.map { Double($0.pointer[index]) } ?? 0
            out[index] = (Double(h[index]) - mean) * scale * Double(norm.gain.pointer[index]) + bias
            sum[index] += out[index]
        }
    }

    /// Adds centred rows to both matrices. The difference of the means is one row more, scaled by the root of its weight.
    private mutating func addMatrices(_ inputs: CentredRows, _ updates: CentredRows) {
        let (width, size) = (width, Self.tileSize)
        let root = Self.weight(tokens, inputs.rows).squareRoot()
        inputs.writeLastRow(from: inputMean, scaledBy: root)
        updates.writeLastRow(from: updateMean, scaledBy: root)
        let rows = inputs.rows + 1
        let starts = Array(stride(from: 0, to: width, by: size))
        var tiles: [(isCross: Bool, row: Int, column: Int)] = []
        for row in starts {
            for column in starts {
                tiles.append((true, row, column))
                if column <= row { tiles.append((false, row, column)) }
            }
        }
        inputScatter.withUnsafeMutableBufferPointer { inputScatter in
            crossScatter.withUnsafeMutableBufferPointer { crossScatter in
                // Safe: both are width x width, tiles do not overlap, and the closures do not outlive the call.
                guard let own = inputScatter.baseAddress, let cross = crossScatter.baseAddress else { return }
                BLAS.singleThreaded {
                    ThreadPool.forEach(tiles.count) { index, _ in
                        let tile = tiles[index]
                        let left = (tile.isCross ? updates : inputs).values + tile.row
                        BLAS.addTransposingLeft(
                            m: min(size, width - tile.row), n: min(size, width - tile.column), k: rows, left, width,
                            inputs.values + tile.column, width,
                            to: (tile.isCross ? cross : own) + tile.row * width + tile.column, width)
                    }
                }
            }
        }
    }

    /// Adds the tokens of others of the same width and kind.
    mutating func merge(_ other: UpdateMoments) {
        guard other.tokens > 0 else { return }
        let weight = Self.weight(tokens, other.tokens)
        let updateDifference = zip(other.updateMean, updateMean).map(-)
        if hasMatrices {
            let inputDifference = zip(other.inputMean, inputMean).map(-)
            for place in inputScatter.indices {
                inputScatter[place] += other.inputScatter[place]
                crossScatter[place] += other.crossScatter[place]
            }
            BLAS.addOuterProduct(weight, inputDifference, inputDifference, to: &inputScatter)
            BLAS.addOuterProduct(weight, updateDifference, inputDifference, to: &crossScatter)
            Self.move(&inputMean, from: tokens, towards: other.inputMean, of: other.tokens)
        }
        updateScatter += other.updateScatter + weight * squaredDistance(other.updateMean, updateMean)
        Self.move(&updateMean, from: tokens, towards: other.updateMean, of: other.tokens)
        tokens += other.tokens
    }

    /// Mean second moments of x and u about some centre, of at least one token.
    func secondMoments(aboutInput inputCentre: [Double], update updateCentre: [Double]) -> SecondMoments {
        let scale = 1 / Double(max(tokens, 1))
        let inputShift = zip(inputMean, inputCentre).map(-)
        let updateShift = zip(updateMean, updateCentre).map(-)
        var input = SquareMatrix(hasMatrices ? width : 0)
        var cross = crossScatter.map { $0 * scale }
        if hasMatrices {
            for row in 0..<width {
                for column in 0...row { input[column, row] = inputScatter[row * width + column] * scale }
            }
            input.copyUpperTriangle()
            BLAS.addOuterProduct(1, inputShift, inputShift, to: &input.values)
            BLAS.addOuterProduct(1, updateShift, inputShift, to: &cross)
        }
        let update = updateScatter * scale + updateShift.reduce(0) { $0 + $1 * $1 }
        return SecondMoments(input: input, cross: cross, update: update)
    }

    /// Second moments about the tokens' own means: covariances.
    var covariances: SecondMoments { secondMoments(aboutInput: inputMean, update: updateMean) }

    /// n_a n_b / (n_a + n_b)
    private static func weight(_ a: Int, _ b: Int) -> Double {
        Double(a) * (Double(b) / max(1, Double(a) + Double(b)))
    }

    private static func move(_ mean: inout [Double], from tokens: Int, towards other: [Double], of count: Int) {
        let share = Double(count) / (Double(tokens) + Double(count))
        for place in mean.indices { mean[place] += share * (other[place] - mean[place]) }
    }
}

/// Mean second moments of an input x and an update u about some centre.
struct SecondMoments {
    /// Of x x^T. Empty where only a bias is wanted.
    let input: SquareMatrix
    /// Of u x^T: a row per place of u. Empty where only a bias is wanted.
    let cross: [Double]
    /// Of |u|^2.
    let update: Double
}

private func squaredDistance(_ x: [Double], _ y: [Double]) -> Double {
    zip(x, y).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
}
