// SPDX-License-Identifier: Apache-2.0
internal import COpenBLAS

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The least-squares problem of `SaturatingModel`: worths scaled to 0 ... 1, and the parameters strengths, offset, low,
/// height and logarithm of the shape in one row.
struct SaturatingProblem {
    private let members: [[Int]]
    private let targets: [Double]
    private let players: Int
    /// Squared weights of the pull of strengths to their mean and of the shape to 1, against residuals of order 1.
    private let pull = 1e-4
    private let shapePull = 1e-7

    init(_ coalitions: [Coalition], _ targets: [Double], players: Int) {
        members = coalitions.map(\.members)
        self.targets = targets
        self.players = players
    }

    /// The logarithm of the shape, held where its exponential is a sensible exponent.
    static func logShape(_ p: [Double]) -> Double { min(4, max(-4, p[p.count - 1])) }

    /// Damped Gauss-Newton steps until the cost falls no more.
    func minimise(from start: [Double], steps: Int) -> (parameters: [Double], cost: Double) {
        var p = start
        var cost = cost(p)
        var damping = 1e-3
        for _ in 0..<steps {
            guard let next = step(p, cost, &damping) else { break }
            let gain = cost - next.cost
            (p, cost) = next
            if gain <= 1e-9 * cost { break }
        }
        return (p, cost)
    }

    private func evidence(_ own: [Int], _ p: [Double]) -> Double { own.reduce(p[players]) { $0 + p[$1] } }

    private func meanStrength(_ p: [Double]) -> Double { p[..<players].reduce(0, +) / Double(max(players, 1)) }

    private func cost(_ p: [Double]) -> Double {
        let shape = exp(Self.logShape(p))
        var sum = shapePull * p[players + 3] * p[players + 3]
        for (own, target) in zip(members, targets) {
            let residual = p[players + 1] + p[players + 2] * exp(shape * logSigmoid(evidence(own, p))) - target
            sum += residual * residual
        }
        let mean = meanStrength(p)
        return p[..<players].reduce(sum) { $0 + pull * ($1 - mean) * ($1 - mean) }
    }

    /// One step that lowers the cost; nil if none does.
    private func step(
        _ p: [Double], _ cost: Double, _ damping: inout Double
    ) -> (parameters: [Double], cost: Double)? {
        let count = players + 4
        let shape = exp(Self.logShape(p))
        var jacobian = Array(repeating: 0.0, count: members.count * count)
        var residuals = Array(repeating: 0.0, count: members.count)
        for (row, own) in members.enumerated() {
            let logS = logSigmoid(evidence(own, p))
            let power = exp(shape * logS)
            // d/d evidence of sigmoid^shape = shape * sigmoid^shape * (1 - sigmoid)
            let slope = p[players + 2] * shape * power * (1 - exp(logS))
            let first = row * count
            for player in own { jacobian[first + player] = slope }
            jacobian[first + players] = slope
            jacobian[first + players + 1] = 1
            jacobian[first + players + 2] = power
            jacobian[first + players + 3] = p[players + 2] * power * shape * logS
            residuals[row] = p[players + 1] + p[players + 2] * power - targets[row]
        }
        var gram = SquareMatrix(count)
        var gradient = Array(repeating: 0.0, count: count)
        let rows = blasint(clamping: members.count)
        let columns = blasint(clamping: count)
        // gram = J^T J; the solver reads the triangle that is written here.
        BLAS.singleThreaded {
            BLAS.call {
                cblas_dsyrk(
                    CblasRowMajor, CblasUpper, CblasTrans, columns, rows, 1, jacobian, columns, 0, &gram.values, columns
                )
            }
            BLAS.call {
                cblas_dgemv(
                    CblasRowMajor, CblasTrans, rows, columns, 1, jacobian, columns, residuals, 1, 0, &gradient, 1)
            }
        }
        let mean = meanStrength(p)
        for player in 0..<players {
            gram[player, player] += pull
            gradient[player] += pull * (p[player] - mean)
        }
        gram[count - 1, count - 1] += shapePull
        gradient[count - 1] += shapePull * p[count - 1]
        while damping < 1e12 {
            var damped = gram
            for i in 0..<count { damped[i, i] += damping * max(gram[i, i], 1e-9) }
            if let factor = CholeskyFactor(damped) {
                let next = zip(p, factor.solve(gradient)).map { $0 - $1 }
                let nextCost = self.cost(next)
                if nextCost < cost {
                    damping = max(damping / 5, 1e-12)
                    return (next, nextCost)
                }
            }
            damping *= 4
        }
        return nil
    }
}
