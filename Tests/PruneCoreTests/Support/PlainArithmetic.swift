// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

func logSumExp(_ values: [Double]) -> Double {
    log(values.reduce(0) { $0 + exp($1) })
}

func logSoftmax(_ values: [Double]) -> [Double] {
    let sum = logSumExp(values)
    return values.map { $0 - sum }
}

func softmax(_ values: [Double]) -> [Double] { logSoftmax(values).map { exp($0) } }

/// KL(p || q)
func relativeEntropy(of p: [Double], from q: [Double]) -> Double {
    zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
}

func jensenShannon(_ p: [Double], _ q: [Double]) -> Double {
    let middle = zip(p, q).map { ($0 + $1) / 2 }
    return (relativeEntropy(of: p, from: middle) + relativeEntropy(of: q, from: middle)) / 2
}
